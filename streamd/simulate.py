"""Visits that nobody makes, for people who write automations: `streamd simulate` plays them onto MQTT. No camera, no model.

A scenario is a pure list of messages with their times; `play` sends them, `run` is the command. Every message says
`"simulated": true`, and the node has a name of its own, `<node>-simulation`: neither the daemon that runs beside it nor the
door that it opens is disturbed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from streamd import __version__
from streamd.assembly import broker_settings
from streamd.config import Config, find, load
from streamd.errors import BrokerError, ConfigError
from streamd.events.contract import CameraCondition, CameraState, Event, LastSeen, Left, Presence, State, Topics, VisitEvent
from streamd.events.homeassistant import discovery
from streamd.events.mqtt import Identity, Publisher, probe
from streamd.recognition.decision import DecisionRules, Reason, evidence_bound
from streamd.values import Decision, Outcome, QualityReason, SubjectEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from streamd.events.outbox import EventSink

SUBJECT, NAME = "anna", "Anna"
CONNECT_SECONDS = 5.0
# Seconds: how old the deciding frame is when its decision leaves, and how long a decision may be acted upon.
FRAME_AGE = 0.06
MAX_AGE = 2.0
# The scripted household has ten people enrolled and the rules as they come.
RULES = DecisionRules()
BOUND, MARGIN = evidence_bound(10, RULES.max_false_accepts), RULES.margin
MANY = RULES.unknown_after_good_frames


@dataclass(frozen=True, slots=True)
class Step:
    """One message of a scenario, `at` seconds of the script after its start."""

    at: float
    message: State | Event


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and when a scenario plays: the camera, its start, the run's identifier, the number of the visit, and how fast."""

    camera: str
    start: datetime
    boot: str
    seq: int
    speed: float = 1.0

    @property
    def visit(self) -> str:
        """The visit's identifier."""
        return f"{self.boot}-{self.seq}"

    def when(self, at: float) -> datetime:
        """The time of day when the script is `at` seconds on."""
        return self.start + timedelta(seconds=at / self.speed)


def identified(stage: Stage) -> tuple[Step, ...]:
    """Anna comes, is recognised, and leaves after three seconds."""
    best = SubjectEvidence(SUBJECT, 14.7, 0.62, f"{SUBJECT}/portrait.jpg")
    second = SubjectEvidence("berta", -3.1, 0.14, "berta/portrait.jpg")
    decision = Decision(Outcome.IDENTIFIED, best, second, BOUND, MARGIN, RULES.min_good_frames, 2.1)
    seen = LastSeen(subject=SUBJECT, name=NAME, camera=stage.camera, visit=stage.visit, at=stage.when(0.4), simulated=True)
    return _visit(stage, decision, extra=(Step(0.4, seen),))


def unknown(stage: Stage) -> tuple[Step, ...]:
    """A stranger comes; enough good pictures, and nobody fits."""
    best = SubjectEvidence(SUBJECT, -4.2, 0.11, f"{SUBJECT}/portrait.jpg")
    return _visit(
        stage,
        Decision(Outcome.UNKNOWN, best, None, BOUND, MARGIN, MANY, 3.4, (Reason.EVIDENCE_BELOW_BOUND,)),
    )


def ambiguous(stage: Stage) -> tuple[Step, ...]:
    """Somebody comes who fits two people almost equally well, such as a twin."""
    best = SubjectEvidence(SUBJECT, 11.0, 0.55, f"{SUBJECT}/portrait.jpg")
    second = SubjectEvidence("berta", 10.2, 0.53, "berta/portrait.jpg")
    return _visit(
        stage,
        Decision(Outcome.AMBIGUOUS, best, second, BOUND, MARGIN, MANY, 3.4, (Reason.LEAD_BELOW_MARGIN,)),
    )


def undecided(stage: Stage) -> tuple[Step, ...]:
    """Somebody passes by, face turned away all the time."""
    reasons = (Reason.TOO_FEW_GOOD_FRAMES, QualityReason.TURNED_AWAY)
    return _visit(stage, Decision(Outcome.UNDECIDED, None, None, BOUND, MARGIN, 1, 1.0, reasons), decided_at=3.0)


def camera_fault(stage: Stage) -> tuple[Step, ...]:
    """The camera stops delivering, and is back after three seconds."""
    silent = CameraState(
        camera=stage.camera,
        state=CameraCondition.PROBLEM,
        reason="timeout",
        detail="no frame for 3 s (simulated)",
        frames_per_second=0.0,
        last_frame_age=3.0,
        at=stage.when(1.0),
        simulated=True,
    )
    return (Step(0.0, _delivers(stage, 0.0)), Step(1.0, silent), Step(4.0, _delivers(stage, 4.0)))


SCENARIOS: Mapping[str, Callable[[Stage], tuple[Step, ...]]] = {
    "identified": identified,
    "unknown": unknown,
    "ambiguous": ambiguous,
    "undecided": undecided,
    "camera_fault": camera_fault,
}


def play(
    sink: EventSink,
    camera: str,
    scenarios: Iterable[str],
    *,
    boot: str,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    utc: Callable[[], datetime],
    speed: float = 1.0,
    told: Callable[[Step], None] | None = None,
) -> int:
    """Play scenarios one after the other onto a sink; returns how many messages that was. KeyError names an unknown one.

    sleep, clock: seconds, monotonic. speed: how many times as fast as the script. told: called after each message, to show it.
    At the end nothing of it is kept at the broker but the camera's state and an empty view.
    """
    count = 0
    try:
        for seq, name in enumerate(scenarios, start=1):
            stage = Stage(camera, utc(), boot, seq, speed)
            began = clock()
            for step in SCENARIOS[name](stage):
                if (wait := began + step.at / speed - clock()) > 0:
                    sleep(wait)
                if isinstance(step.message, Event):
                    sink.publish_event(step.message, clock() - FRAME_AGE)
                else:
                    sink.publish_state(step.message)
                count += 1
                if told is not None:
                    told(step)
    finally:
        sink.forget(SUBJECT)
    return count


def run(scenario: str, broker: str | None, config: Path | None, speed: float, *, as_json: bool = False) -> int:
    """`streamd simulate`: play one scenario or `all` and print each message; returns the exit status.

    as_json: each message as one object with `topic` and `payload`, as the demonstration prints it. broker: an address
    (mqtt://host) instead of a configuration. Raises ConfigError, and BrokerError if there is no connection.
    """
    names = tuple(SCENARIOS) if scenario == "all" else (scenario.replace("-", "_"),)
    if names[0] not in SCENARIOS:
        known = ", ".join(name.replace("_", "-") for name in SCENARIOS)
        raise ConfigError([f"there is no scenario {scenario!r}; there are: {known}, all"])
    if not 0 < speed < math.inf:
        raise ConfigError([f"--speed: expected a number above 0, found {speed:g}"])
    found = load(find(config, os.environ), os.environ) if broker is None else _config_of(broker)
    settings = broker_settings(found)
    settings = dataclasses.replace(settings, client_id=f"{settings.client_id}-simulation")
    probe(settings, CONNECT_SECONDS)
    node, topics = f"{found.node}-simulation", Topics(f"{found.mqtt.base_topic}-simulation")
    boot = uuid.uuid4().hex[:12]
    publisher = Publisher(settings, topics, Identity(__version__, boot, simulated=True))
    camera = next(iter(found.cameras))
    prefix = found.home_assistant.discovery_prefix
    announced = discovery(topics, node, [camera], version=__version__, prefix=prefix) if found.home_assistant.enabled else {}
    for topic, body in announced.items():
        publisher.retain(topic, body)

    def told(step: Step) -> None:
        topic, body = topics.of(step.message), step.message.to_json().decode()
        sys.stdout.write((f'{{"topic": {json.dumps(topic)}, "payload": {body}}}' if as_json else f"{topic} {body}") + "\n")
        sys.stdout.flush()

    publisher.start()
    try:
        _wait_for(publisher)
        play(
            publisher,
            camera,
            names,
            boot=boot,
            sleep=time.sleep,
            clock=time.monotonic,
            utc=lambda: datetime.now(UTC),
            speed=speed,
            told=told,
        )
    finally:
        for topic in announced:
            publisher.retract(topic)
        publisher.stop()
    return 0


def _config_of(broker: str) -> Config:
    """A configuration that knows only the broker, and a camera that is never opened."""
    try:
        return Config.model_validate({"cameras": {"door": "rtsp://127.0.0.1/simulated"}, "mqtt": broker})
    except ValidationError as error:
        raise ConfigError([f"--broker: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()]) from None


def _wait_for(publisher: Publisher) -> None:
    until = time.monotonic() + CONNECT_SECONDS
    while not (health := publisher.health()).connected:
        if time.monotonic() >= until:
            raise BrokerError(health.fault.sentence if health.fault else "the broker does not answer")
        time.sleep(0.05)


def _visit(stage: Stage, decision: Decision, extra: tuple[Step, ...] = (), decided_at: float = 0.4) -> tuple[Step, ...]:
    """Somebody comes into view, is decided on, and leaves after 3 s."""
    decided = stage.when(decided_at)
    event = VisitEvent.from_decision(
        decision,
        visit=stage.visit,
        seq=stage.seq,
        boot=stage.boot,
        camera=stage.camera,
        name=NAME,
        others_in_view=0,
        unknown_in_view=0,
        captured=decided - timedelta(seconds=FRAME_AGE),
        clock_synchronised=True,
        started=stage.start,
        decided=decided,
        max_age=MAX_AGE,
        latency=decided_at / stage.speed,
        model="simulated",
        gallery_generation=0,
        simulated=True,
    )
    left = Left(
        visit=stage.visit,
        boot=stage.boot,
        camera=stage.camera,
        decision=decision.outcome,
        subject=decision.subject,
        started=stage.start,
        left=stage.when(3.0),
        duration=3.0 / stage.speed,
        simulated=True,
    )
    return (
        Step(0.0, _delivers(stage, 0.0)),
        Step(0.0, _faces(stage, 1, 0.0)),
        Step(decided_at, event),
        *extra,
        Step(3.0, _faces(stage, 0, 3.0)),
        Step(3.0, left),
    )


def _faces(stage: Stage, faces: int, at: float) -> Presence:
    return Presence(camera=stage.camera, faces=faces, at=stage.when(at), simulated=True)


def _delivers(stage: Stage, at: float) -> CameraState:
    return CameraState(
        camera=stage.camera,
        state=CameraCondition.OK,
        frames_per_second=15.0,
        last_frame_age=0.1,
        at=stage.when(at),
        simulated=True,
    )
