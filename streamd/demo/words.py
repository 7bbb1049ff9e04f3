"""MQTT messages in words that a person reads."""

from __future__ import annotations

import math
from typing import Final

from streamd.events.contract import (
    TOPICS,
    CameraCondition,
    CameraState,
    EnrolPrompt,
    GalleryEvent,
    GalleryState,
    LastSeen,
    Left,
    Payload,
    Presence,
    Status,
    Topics,
    Verdict,
    VisitEvent,
)
from streamd.plural import counted
from streamd.values import Outcome

_KINDS: Final = (Status, CameraState, Presence, VisitEvent, Left, LastSeen, GalleryEvent, EnrolPrompt, GalleryState)
_REASONS: Final = {
    "evidence_below_bound": "nobody enrolled is like them",
    "lead_below_margin": "two people enrolled are about equally like them",
    "too_few_good_frames": "too few good frames",
    "left_before_decision": "they left before it could be said who they are",
    "empty_gallery": "nobody is enrolled",
}


def read(topics: Topics, topic: str, body: bytes) -> Payload | None:
    """The message at a topic, or None for one that is not of the contract (Home Assistant's, say)."""
    for kind in _KINDS:
        pattern = topics.at(kind, **{name: "+" for name in ("camera", "subject") if f"{{{name}}}" in _pattern(kind)})
        if _matches(pattern, topic):
            return kind.from_json(body)
    return None


def describe(payload: Payload) -> str:
    """One line for a person; empty where there is nothing to say."""
    if isinstance(payload, Status):
        return f"streamd {payload.version} is {payload.state.value}"
    if isinstance(payload, CameraState):
        if payload.state is CameraCondition.OK:
            return f"camera {payload.camera}: delivers pictures"
        return f"camera {payload.camera}: {payload.detail or payload.reason or 'switched off'}"
    if isinstance(payload, Presence):
        return f"camera {payload.camera}: {counted(payload.faces, 'face') if payload.faces else 'no faces'} in view"
    if isinstance(payload, VisitEvent):
        return _visit(payload)
    if isinstance(payload, Left):
        who = payload.subject or f"the {payload.decision.value} visitor"
        return f"{who} left after {payload.duration:.1f} s"
    if isinstance(payload, LastSeen):
        return f"{payload.name} was last seen by camera {payload.camera}"
    if isinstance(payload, GalleryEvent):
        if payload.verdict is Verdict.ACCEPTED:
            return f"photo {payload.photo}: accepted"
        return f"photo {payload.photo}: refused, {payload.advice}"
    if isinstance(payload, EnrolPrompt):
        return f"camera {payload.camera}, {payload.done} of {payload.of} pictures of {payload.subject}: {payload.text}"
    if isinstance(payload, GalleryState):
        return f"gallery: {counted(payload.subjects, 'person', 'people')}, {counted(payload.templates, 'photo')}"
    return ""


def _visit(event: VisitEvent) -> str:
    after = "no frame of the face was good"
    if event.latency_ms is not None:
        after = f"{event.latency_ms / 1000:.2f} s after the first good frame, from {counted(event.frames_used, 'frame')}"
    how = f"best score {event.score:.2f}" if event.score is not None else ""
    if event.evidence is not None:
        how += f", evidence {_odds(event.evidence)} where {_odds(event.threshold)} is asked for"
    if event.decision is Outcome.IDENTIFIED:
        return f"{event.name}: {how}; photo {event.photo} matched best; {after}"
    why = "; ".join(_REASONS.get(reason, reason.replace("_", " ")) for reason in event.reasons)
    return f"{event.decision.value}: {why}" + (f" ({how})" if how else "") + f"; {after}"


def _odds(nats: float) -> str:
    """Evidence as odds: e^nats to one, rounded to a power of ten where it is large."""
    if nats >= math.log(1000):
        return f"10^{nats / math.log(10):.1f} to 1"
    return f"{math.exp(nats):.0f} to 1" if nats >= 0 else f"1 to 10^{-nats / math.log(10):.1f}"


def _pattern(kind: type[Payload]) -> str:
    return next(topic.pattern for topic in TOPICS if topic.payload is kind)


def _matches(pattern: str, topic: str) -> bool:
    wanted, found = pattern.split("/"), topic.split("/")
    return len(wanted) == len(found) and all(part in ("+", other) for part, other in zip(wanted, found, strict=True))
