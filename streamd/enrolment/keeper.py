"""The gallery's keeper: the body of the thread that watches the enrolment folder and hands out every new gallery.

A look at the folder takes what went and what was set into force at once, and judges new photos in slices, what came last
first, so that ten thousand that lie there keep nobody waiting who drops one more: a change in the folder ends a slice early and
makes the next one short, at the end of which it is in force. The thread works at low priority: whoever stands at the door
comes first.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import watchfiles

from streamd.clock import Clock
from streamd.enrolment.folder import Enrolment, PhotoEvent, Refreshed
from streamd.enrolment.listing import is_remote
from streamd.enrolment.words import SIDECAR_SUFFIX

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 1.0  # where the file system tells nothing
_RESCAN_SECONDS: Final = 30.0  # file-system events can be lost; a look at the folder cannot
_SLICE_SECONDS: Final = (0.25, 5.0)  # the shortest and longest time for which photos are judged before a new gallery is made
_FIRST_SECONDS: Final = (
    1.5  # at the start, before the cameras are opened: a few new photos are then in force from the first frame
)
_ASKED_SLICE_SECONDS: Final = 0.3  # after which somebody who asked, such as to forget, is served first
_CHANGED_SLICE_SECONDS: Final = 0.5  # after which a change in the folder is looked at
_OVERHEAD: Final = 0.1  # share of the time that making galleries may take while many photos are judged
_GOOD_FOR: Final = 60.0  # seconds for which a sign of life holds
_NICENESS: Final = 10


class Refreshable(Protocol):
    """A folder that is looked at again and again, as `EnrolmentFolder` says."""

    @property
    def enrolment(self) -> Enrolment:
        """What is in force."""

    def refresh(self, now_ns: int, settle_ns: int, out_of_time: Callable[[], bool]) -> Refreshed:
        """Look at it once."""


_Changes = Iterator[set[watchfiles.main.FileChange]]
Answer = TypeVar("Answer")
Folder = TypeVar("Folder", bound=Refreshable)


class GalleryKeeper(Generic[Folder]):
    """Runs an `EnrolmentFolder`; `run` is the thread's body, everything else may be called from any thread.

    open_folder: makes the folder on the keeper's own thread. prepare: makes what judging photos needs, called when a photo is
    seen coming. close_idle: may free it again, called whenever there is nothing to judge. in_force: told of each new
    enrolment and of the photos whose verdict is news.
    """

    def __init__(
        self,
        folder: Path,
        open_folder: Callable[[], Folder],
        prepare: Callable[[], object],
        close_idle: Callable[[], None],
        in_force: Callable[[Enrolment, tuple[PhotoEvent, ...]], None],
        *,
        settle_seconds: float,
        poll_seconds: float | None,
        clock: Clock,
        alive: Callable[[float], None],
        progress: Callable[[str], None],
    ) -> None:
        """settle_seconds: how long a photo must be left alone. poll_seconds: between looks; None: as the file system allows.
        alive: told for how many seconds the thread may now be silent. progress: what the start is busy with, for people.
        """
        self._path = folder
        self._open_folder = open_folder
        self._prepare = prepare
        self._close_idle = close_idle
        self._in_force = in_force
        self._settle = settle_seconds
        self._poll = poll_seconds
        self._clock = clock
        self._alive = alive
        self._progress = progress
        self._stopping = threading.Event()
        self._look = threading.Event()
        self._tasks: queue.SimpleQueue[Callable[[Folder], None]] = queue.SimpleQueue()
        self._changes: _Changes | None = None
        self._meanwhile: _Changes | None = None
        """What changes while many photos are judged; None where that cannot be told."""
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells how many changes there were, at every one
        self._unwatched = False
        self._handed_out: Enrolment | None = None
        self.ready = threading.Event()
        """Set once the gallery that was there at the start is in force."""

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()
        self._look.set()

    def reload(self) -> None:
        """Look at the folder now."""
        self._look.set()

    def ask(self, task: Callable[[Folder], Answer]) -> Future[Answer]:
        """Have something done with the folder on the keeper's thread, between two looks."""
        answer: Future[Answer] = Future()

        def run(folder: Folder) -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(task(folder))
                except Exception as error:  # noqa: BLE001, it is for whoever asked
                    answer.set_exception(error)

        self._tasks.put(run)
        self._look.set()
        return answer

    def run(self) -> None:
        """Watch the folder until stopped."""
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        folder = self._open_folder()
        slice_seconds = _FIRST_SECONDS
        while not self._stopping.is_set():
            self._look.clear()
            self._run_tasks(folder)
            settles_in, overhead, changed = self._refresh(folder, slice_seconds)
            self.ready.set()
            if folder.enrolment.waiting:
                self._listen()
                longest = _SLICE_SECONDS[0] if changed else _SLICE_SECONDS[1] if self._meanwhile else self._poll_seconds
                slice_seconds = min(max(overhead / _OVERHEAD, _SLICE_SECONDS[0]), longest)
                continue
            self._meanwhile, slice_seconds = None, _SLICE_SECONDS[0]
            if settles_in is None:
                self._close_idle()
                self._wait()
            else:
                began = self._clock.monotonic()
                self._prepare()
                # No longer than a photo takes to settle, as nothing that changes meanwhile is heard.
                self._look.wait(max(0.01, min(settles_in, self._settle) - (self._clock.monotonic() - began)))
        self._changes = self._meanwhile = None

    def _run_tasks(self, folder: Folder) -> None:
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            task(folder)

    def _refresh(self, folder: Folder, slice_seconds: float) -> tuple[float | None, float, bool]:
        """One look; when a photo that is being written may have settled, the seconds that were not spent judging, and whether
        the folder changed meanwhile, or something in it is about to settle.
        """
        began = self._clock.monotonic()
        judging = 0.0
        first: float | None = None
        changed = False

        def out_of_time() -> bool:
            nonlocal first, judging, changed
            now = self._clock.monotonic()
            first = now if first is None else first
            judging = now - first
            self._alive(_GOOD_FOR)
            asked = judging >= _ASKED_SLICE_SECONDS and not self._tasks.empty()
            changed = judging >= _CHANGED_SLICE_SECONDS and (self._look.is_set() or self._hears())
            return self._stopping.is_set() or asked or changed or judging >= slice_seconds

        self._alive(_GOOD_FOR)
        self._hears()  # what came until now is seen by this look
        found = folder.refresh(time.time_ns(), round(self._settle * 1e9), out_of_time)
        # A task may have changed it too, such as forgetting somebody.
        if found.enrolment is not self._handed_out or found.judged:
            self._handed_out = found.enrolment
            self._in_force(found.enrolment, found.judged)
        if found.enrolment.waiting:
            self._progress(f"judging photos, {found.enrolment.waiting} to go")
        changed = changed or found.settles_in is not None
        return found.settles_in, self._clock.monotonic() - began - judging, changed

    # Hearing of a change while photos are judged

    @property
    def _poll_seconds(self) -> float:
        return _POLL_SECONDS if self._poll is None else self._poll

    def _listen(self) -> None:
        """Have changes heard that come while many photos are judged."""
        if self._meanwhile is None and self._poll is None and self._path.is_dir() and not is_remote(self._path):
            self._meanwhile = watchfiles.watch(
                self._path, debounce=1, step=1, rust_timeout=1, yield_on_timeout=True, watch_filter=_is_of_interest,
                raise_interrupt=False,
            )  # fmt: skip
            self._hears()

    def _hears(self) -> bool:
        """Whether the folder changed since this was asked last, as far as that can be told: it takes a millisecond or two."""
        if self._meanwhile is None:
            return False
        try:
            return bool(next(self._meanwhile))
        except (OSError, RuntimeError, StopIteration):  # no more inotify watches, or the folder is gone
            self._meanwhile = None
            return False

    # Waiting for a change

    def _wait(self) -> None:
        """Return when the folder may have changed, or when it is time for a look anyway."""
        if self._poll is not None:
            self._look_within(self._poll)
        elif not self._path.is_dir() or is_remote(self._path):
            self._look_within(_POLL_SECONDS)
        else:
            self._wait_for_change()

    def _wait_for_change(self) -> None:
        try:
            self._watch()
            self._unwatched = False
        except (OSError, RuntimeError) as error:  # no more inotify watches, or a file system that has none
            self._changes = None
            if not self._unwatched:
                log.warning("%s cannot be watched (%s); it is looked at every %g s meanwhile", self._path, error, _POLL_SECONDS)
            self._unwatched = True
            self._look_within(_POLL_SECONDS)

    def _watch(self) -> None:
        """Return when the file system tells a change; raises OSError where it cannot."""
        if self._changes is None:
            # Kept from look to look, so that nothing is missed that happens during one; what came before shows in the next.
            self._changes = watchfiles.watch(
                self._path, debounce=100, step=20, rust_timeout=250, yield_on_timeout=True, watch_filter=_is_of_interest,
                stop_event=self._look, raise_interrupt=False,
            )  # fmt: skip
            next(self._changes, None)
            return
        waited = self._clock.monotonic()
        for changes in self._changes:
            now = self._clock.monotonic()
            self._alive(_GOOD_FOR)
            if self._stopping.is_set():
                return
            if changes and all(Path(path) != self._path for _, path in changes):
                return
            if changes or now - waited > _RESCAN_SECONDS:
                break
        self._changes = None  # asked to look, or the folder may be another one by now

    def _look_within(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while (left := deadline - self._clock.monotonic()) > 0 and not self._look.wait(min(left, 0.5)):
            if self._stopping.is_set():
                return
            self._alive(_GOOD_FOR)


def _is_of_interest(_change: watchfiles.Change, path: str) -> bool:
    """Not what the keeper itself writes: a sidecar, or its temporary file."""
    return not path.endswith((SIDECAR_SUFFIX, f"{SIDECAR_SUFFIX}.tmp"))
