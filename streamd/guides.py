"""Guided enrolments under way, at most one at each camera: between the cameras that see and the thread that keeps photos."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from streamd.enrolment.guided import GuideRules, Prompt, Result, SeenFace, Session, Worn
from streamd.errors import GalleryError
from streamd.events.contract import EnrolPrompt
from streamd.values import Crop, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Guided:
    """One enrolment: who, where, its state, and what was said so far for whoever asked for it. worn: what is on each face, by
    its track, as its newest template told.
    """

    subject: str
    name: str
    camera: str
    session: Session[Frame]
    said: queue.SimpleQueue[Prompt] = field(default_factory=queue.SimpleQueue)
    worn: dict[int, Worn] = field(default_factory=dict)


class Guides:
    """Safe to use from any thread. publish: what is said. gathered: an enrolment whose pictures are to be checked and kept,
    after which `conclude` is due.
    """

    def __init__(
        self,
        publish: Callable[[EnrolPrompt], None],
        gathered: Callable[[Guided, Result[Frame]], None],
        utc: Callable[[], datetime],
        rules: GuideRules | None = None,
    ) -> None:
        self._publish = publish
        self._gathered = gathered
        self._utc = utc
        self._rules = rules or GuideRules()
        self._lock = threading.Lock()
        self._guided: dict[str, Guided] = {}

    def begin(self, subject: str, name: str, camera: str, now: float) -> Guided:
        """Begin to guide somebody. Raises GalleryError where somebody is guided at that camera already."""
        with self._lock:
            if camera in self._guided:
                raise GalleryError(f"{self._guided[camera].name} is being enrolled at {camera}; wait until that has ended")
            guided = Guided(subject, name, camera, Session(subject, self._rules, now))
            self._guided[camera] = guided
            self._say(guided, guided.session.tick(now))
        return guided

    def at(self, camera: str) -> bool:
        """Whether somebody is guided at a camera, so that every face is wanted."""
        return camera in self._guided

    def wears(self, camera: str, track: int, worn: Worn) -> None:
        """What the template of a face told: it is known a moment after its frame, and holds for those that follow."""
        guided = self._guided.get(camera)
        if guided is not None:
            guided.worn[track] = worn

    def worn(self, crop: Crop) -> Worn | None:
        """What is on a face; None as long as it is not known."""
        guided = self._guided.get(crop.camera)
        return None if guided is None else guided.worn.get(crop.track)

    def look(self, camera: str, now: float, faces: Sequence[SeenFace[Frame]]) -> None:
        """What a frame showed."""
        self._step(camera, lambda session: session.look(now, faces))

    def tick(self, now: float) -> None:
        """Let time pass, also where a camera gives no picture."""
        for camera in list(self._guided):
            self._step(camera, lambda session: session.tick(now))

    def conclude(self, guided: Guided, result: Result[Frame]) -> None:
        """How it ended, once the pictures were checked and written."""
        with self._lock:
            self._say(guided, guided.session.conclude(result))

    def abort(self, guided: Guided) -> None:
        """End it now and keep nothing, unless it has ended."""
        with self._lock:
            self._say(guided, guided.session.abort())

    def _step(self, camera: str, step: Callable[[Session[Frame]], list[Prompt]]) -> None:
        gathered: Result[Frame] | None = None
        with self._lock:
            guided = self._guided.get(camera)
            if guided is None:
                return
            before = guided.session.result
            self._say(guided, step(guided.session))
            if guided.session.result is not before and not guided.session.finished:
                gathered = guided.session.result
        if gathered is not None:
            self._gathered(guided, gathered)

    def _say(self, guided: Guided, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            guided.said.put(prompt)
            self._publish(
                EnrolPrompt(
                    subject=guided.subject, camera=guided.camera, step=prompt.step, prompt=prompt.code, text=prompt.text,
                    done=prompt.done, of=prompt.of, finished=prompt.finished, ok=prompt.ok, at=self._utc(),
                )
            )  # fmt: skip
        if guided.session.finished:
            self._guided.pop(guided.camera, None)
