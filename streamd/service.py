"""`streamd run`: the daemon as one process: its folder and lock, signals, broker, systemd, and its exit status."""

from __future__ import annotations

import base64
import binascii
import functools
import logging
import os
import signal
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from streamd import __version__, assembly, desk
from streamd.clock import Clock
from streamd.config import Config
from streamd.control import Answer
from streamd.daemon import Daemon
from streamd.enrolment.dropping import drop, person_folder
from streamd.enrolment.images import SUFFIXES
from streamd.errors import GalleryError
from streamd.events import homeassistant
from streamd.events.commands import Command, Handler
from streamd.events.contract import CommandResult, Presence, Refusal, VisitEvent
from streamd.events.mqtt import Identity, Publisher
from streamd.events.outbox import Drop
from streamd.events.remains import Remains
from streamd.health import Tally
from streamd.people import Kept
from streamd.plural import counted
from streamd.recognition.card import ModelCard
from streamd.recognition.embedding import Embedder
from streamd.signals import answering
from streamd.state import locked_state
from streamd.systemd import Systemd

log = logging.getLogger(__name__)

_READY_WITHIN: Final = 3.0  # seconds that READY waits for first frames and the broker's answer
_FAREWELL_SECONDS: Final = 1.5


class Service:
    """One daemon with its broker connection and its watchdog."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        tally: Tally | None = None,
        *,
        open_model: Callable[[Config], tuple[Embedder, ModelCard]] = assembly.open_model,
        clock: Clock | None = None,
    ) -> None:
        """Opens the model; raises ModelError. tally, clock: in place of the daemon's own, for whoever listens or turns it."""
        self._config = config
        self._systemd = Systemd(environ, os.getpid())
        self._watched_at = float("-inf")
        self._late: tuple[str, ...] = ()
        self._ready_at: float | None = None
        self._ready = False
        boot = uuid.uuid4().hex[:12]
        self._systemd.status("loading the model")
        embedder, card = open_model(config)
        topics, home = assembly.topics(config), config.home_assistant
        told = functools.partial(homeassistant.discovery_topic, config.node, prefix=home.discovery_prefix)
        self._remains = Remains(topics, config.cameras, told if home.enabled else None)
        self.publisher = Publisher(
            assembly.broker_settings(config),
            topics,
            Identity(__version__, boot),
            handlers=self._handlers() if config.mqtt.commands else {},
            discovery_prefix=home.discovery_prefix if home.enabled else None,
            remains=self._remains,
            on_drop=self._dropped,
        )
        self.daemon = Daemon(
            config,
            self.publisher,
            embedder,
            card.calibration,
            boot=boot,
            tally=tally,
            clock=clock,
            requests={name: functools.partial(self._request, name) for name in desk.COMMANDS},
            on_tick=self._tick,
            on_progress=self._progress,
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP looks at the enrolment folder. Raises what ended the daemon."""
        for camera in self._config.cameras:  # a run that was killed may have left another number at the broker
            self.publisher.publish_state(Presence(camera=camera, faces=0, at=datetime.now(UTC)))
        if self._config.home_assistant.enabled:
            config, topics = self._config, assembly.topics(self._config)
            prefix = config.home_assistant.discovery_prefix
            found = homeassistant.discovery(topics, config.node, config.cameras, version=__version__, prefix=prefix)
            for topic, body in found.items():
                self.publisher.retain(topic, body)
        stop, reload = self.daemon.stop, self.daemon.reload
        with answering({signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}):
            self.publisher.start()
            try:
                self.daemon.run()
            finally:
                self._systemd.stopping("stopping")
                self.publisher.stop(_FAREWELL_SECONDS)

    def _handlers(self) -> dict[str, Handler]:
        return {"reload": self._reload, "enable": self._enable, "disable": self._disable, "enrol": self._enrol}

    def _reload(self, command: Command) -> CommandResult:
        if command.payload:
            return _not_understood(command, ())
        self.daemon.reload()
        return command.done("the enrolment folder is being looked at")

    def _enrol(self, command: Command) -> CommandResult:
        """A person by a photo in the message, or guided before a camera."""
        payload = command.payload
        who, camera, photo = payload.get("subject"), payload.get("camera"), payload.get("photo")
        if payload.keys() - {"subject", "camera", "photo", "name"}:
            return _not_understood(command, ("subject", "camera", "photo", "name"))
        if (camera is None) == (photo is None):
            both = "both" if camera is not None else "neither"
            return command.refused(f"expected a camera or a photo, found {both}", Refusal.INVALID_PAYLOAD)
        if not all(isinstance(one, str) for one in (who, camera or photo, payload.get("name", ""))):
            return command.refused("expected text for subject, camera, photo and name", Refusal.INVALID_PAYLOAD)
        try:
            if camera is not None:
                guided = self.daemon.guide(str(who), camera)
                return command.done(f"{guided.name} is guided at {camera}; what is said is at the topic enrol")
            data = base64.b64decode(str(photo), validate=True)
            suffix = Path(payload.get("name") or "photo.jpg").suffix.lower()
            if suffix not in SUFFIXES:
                return command.refused(f"expected a name of a photo, such as a.jpg, found {suffix!r}", Refusal.INVALID_PAYLOAD)
            person = person_folder(self._config.gallery_folder, assembly.gallery_seen(self._config), str(who))
            dropped = drop(self._config.gallery_folder / person, payload.get("name") or "mqtt.jpg", data)
        except binascii.Error as error:
            return command.refused(f"photo: expected base64 ({error})", Refusal.INVALID_PAYLOAD)
        except GalleryError as error:
            return command.refused(str(error))
        return command.done(f"{person}/{dropped} is being judged; the verdict is at the topic gallery/event")

    def _enable(self, command: Command) -> CommandResult:
        return self._switch(command, enabled=True)

    def _disable(self, command: Command) -> CommandResult:
        return self._switch(command, enabled=False)

    def _switch(self, command: Command, *, enabled: bool) -> CommandResult:
        camera = command.payload.get("camera")
        if command.payload.keys() - {"camera"}:
            return _not_understood(command, ("camera",))
        if camera is not None and (not isinstance(camera, str) or camera not in self.daemon.health):
            known = ", ".join(self.daemon.health)
            return command.refused(f"there is no camera {camera!r}; there are: {known}", Refusal.INVALID_PAYLOAD)
        names = self.daemon.enable(camera, enabled)
        return command.done(f"{', '.join(names)}: {'enabled' if enabled else 'disabled'}")

    def _request(self, command: str, kept: Kept, asked: Mapping[str, Any]) -> Answer:
        return desk.do(command, kept, self._config, asked)

    def _dropped(self, drop: Drop) -> None:
        self.daemon.tally.count("messages_dropped", drop.reason.value)
        if drop.may_be_made_anew and isinstance(drop.event, VisitEvent):
            self.daemon.not_delivered(drop.event.visit, drop.event.seq, self.publisher.health().connections)

    def _progress(self, text: str) -> None:
        self._systemd.status(text)
        self._systemd.extend(30.0)

    def _tick(self, now: float, late: tuple[str, ...]) -> None:
        """Tell systemd the truth: ready once every camera and the broker have answered or failed, alive while nothing hangs."""
        problems = [f"{worker} hangs" for worker in late]
        problems += [health.sentence for health in self.daemon.health.values() if health.enabled and health.sentence]
        if self.daemon.enrolment.problem is not None:
            problems.append(self.daemon.enrolment.problem)
        self.publisher.set_problems(tuple(problems))
        broker, enrolment = self.publisher.health(), self.daemon.enrolment
        self.daemon.tell_again(broker.connections if broker.connected else None)
        # While photos are still to be judged, the gallery lacks people who are enrolled.
        settled = self.daemon.started and enrolment.problem is None and not enrolment.waiting
        self._remains.enrolled((enrolment.gallery.names if self._config.mqtt.last_seen else ()) if settled else None)
        period = self._systemd.watchdog_seconds
        if late and late != self._late:
            log.error("%s: no sign of life", ", ".join(late))
        self._late = late
        if not late and period is not None and now - self._watched_at >= period / 2:
            self._watched_at = now
            self._systemd.watchdog()
        if not self._ready and self.daemon.started:
            self._ready_at = self._ready_at or now + _READY_WITHIN
            if self._answered() or now >= self._ready_at:
                self._ready = True
                cameras = counted(len(self.daemon.health), "camera")
                people = counted(len(self.daemon.enrolment.gallery.names), "person", "people")
                self._systemd.ready(f"watching {cameras}, {people} enrolled")
                log.info("ready: %s, %s enrolled", cameras, people)

    def _answered(self) -> bool:
        cameras = self.daemon.health.values()
        seen = all(not one.enabled or one.frames or one.sentence for one in cameras)
        health = self.publisher.health()
        return seen and (health.connected or health.fault is not None)


def _not_understood(command: Command, known: tuple[str, ...]) -> CommandResult:
    """The answer to a command with a key that means nothing: perhaps a typing error in the one that would have limited it."""
    found = ", ".join(sorted(repr(key) for key in command.payload.keys() - set(known)))
    expected = ", ".join(map(repr, known)) or "an empty object"
    return command.refused(f"{found} is not understood; expected {expected}", Refusal.INVALID_PAYLOAD)


def serve(
    config: Config,
    environ: Mapping[str, str],
    tally: Tally | None = None,
    on_service: Callable[[Service], None] = lambda _service: None,
) -> None:
    """Run the daemon of a configuration until it is asked to stop. Raises StreamdError when it cannot start."""
    for warning in config.warnings():
        log.warning("%s", warning)
    with locked_state(config.state):
        service = Service(config, environ, tally)
        on_service(service)
        service.run()
