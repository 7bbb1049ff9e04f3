"""The MQTT contract, version 1: every topic and every payload that other people's software may rely on. Pure values.

`TOPICS` is the table, `Topics` builds the addresses, each payload is a frozen dataclass whose fields say what they are.
`schemas()` and the tables of docs/mqtt.md are made from the same declarations, so that page, schema and code cannot differ.
Within a version fields are added, never removed or redefined; readers ignore what they do not know.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from streamd.values import Decision, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = 1
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$"


@dataclass(frozen=True, slots=True)
class About:
    """What a field means: a sentence, its bounds, and the digits after the point that are worth sending."""

    text: str
    low: float | None = None
    high: float | None = None
    digits: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A JSON object of the contract."""

    def to_json(self) -> bytes:
        """The payload as UTF-8 JSON; ValueError for a time without a zone or a number that JSON does not know."""
        return json.dumps(self.to_object(), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def to_object(self) -> dict[str, object]:
        """The payload as plain JSON values, in the order of the fields."""
        return {name: _plain(getattr(self, name), about) for name, _, about in fields_of(type(self))}

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Read a payload as a subscriber does: unknown fields are ignored; ValueError says which field is wrong."""
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError(f"{cls.__name__}: expected a JSON object, got {type(found).__name__}")
        return cls.from_object(found)

    @classmethod
    def from_object(cls, found: Mapping[str, object]) -> Self:
        """Read a payload from plain JSON values; ValueError says which field is missing or wrong."""
        values: dict[str, Any] = {}
        required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
        for name, kind, _ in fields_of(cls):
            if name in found:
                values[name] = _typed(kind, found[name], f"{cls.__name__}.{name}")
            elif name in required:
                raise ValueError(f"{cls.__name__}.{name} is missing")
        return cls(**values)


class NodeState(StrEnum):
    """Whether the daemon is there."""

    ONLINE = "online"
    OFFLINE = "offline"


class CameraCondition(StrEnum):
    """Whether a camera delivers."""

    OK = "ok"
    PROBLEM = "problem"


class Verdict(StrEnum):
    """What was said about an enrolled photo."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class Refusal(StrEnum):
    """Why a command was not carried out."""

    RETAINED = "retained"
    UNKNOWN_COMMAND = "unknown_command"
    TOO_LARGE = "too_large"
    INVALID_PAYLOAD = "invalid_payload"
    BUSY = "busy"
    FAILED = "failed"


_Schema = Annotated[int, About("version of this contract", low=SCHEMA, high=SCHEMA)]
_Simulated = Annotated[bool, About("true when `streamd simulate` played it: no camera saw this")]
_Camera = Annotated[str, About("the camera's name in the configuration")]
_Boot = Annotated[str, About("identifies this run of the daemon; a new one after every start")]
_Visit = Annotated[str, About("identifies the visit in every message about it")]
_At = Annotated[datetime, About("when this was written")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Payload):
    """Whether the daemon is there; the last will says `offline` for a daemon that died."""

    schema: _Schema = SCHEMA
    state: Annotated[NodeState, About("`online` or `offline`")]
    version: Annotated[str, About("version of streamd")]
    boot: _Boot
    since: Annotated[datetime | None, About("when this state began; null in the last will, which cannot know")]
    problems: Annotated[tuple[str, ...], About("what is wrong now, one sentence each")] = ()
    simulated: _Simulated = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraState(Payload):
    """Whether a camera delivers, and if not, why."""

    schema: _Schema = SCHEMA
    camera: _Camera
    state: Annotated[CameraCondition, About("`ok` or `problem`")]
    enabled: Annotated[bool, About("false after the command `disable`")] = True
    reason: Annotated[
        str | None,
        About("the kind of problem, such as `refused`, `timeout`, `late`; beside `ok` `still`: nothing moves, not even noise"),
    ] = None
    detail: Annotated[str | None, About("the problem in one sentence, without any password")] = None
    frames_per_second: Annotated[float, About("frames received per second", low=0, digits=1)]
    last_frame_age: Annotated[float | None, About("seconds since the newest frame; null before the first", low=0, digits=1)]
    at: _At
    simulated: _Simulated = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Payload):
    """Faces in view now, for lights and the like; never a reason to open anything."""

    schema: _Schema = SCHEMA
    camera: _Camera
    faces: Annotated[int, About("faces in view", low=0)]
    at: _At
    simulated: _Simulated = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitEvent(Payload):
    """What is said about a visit. Act on it only before `valid_until`."""

    schema: _Schema = SCHEMA
    visit: _Visit
    seq: Annotated[int, About("counts the decisions of this boot; a gap is a decision that was not sent", low=0)]
    boot: _Boot
    camera: _Camera
    decision: Annotated[Outcome, About("`identified`, `unknown`, `ambiguous` or `undecided`")]
    subject: Annotated[
        str | None, About("the person's id, `barack-obama` for the folder `Barack Obama`; null unless `identified`")
    ]
    name: Annotated[str | None, About("the person's name for display; null unless `identified`")]
    evidence: Annotated[float | None, About("evidence for the best subject, natural-log likelihood ratio; null without one")]
    score: Annotated[float | None, About("the best subject's best cosine", low=-1, high=1, digits=4)]
    threshold: Annotated[float, About("evidence that `identified` asks for, natural-log likelihood ratio")]
    second: Annotated[float | None, About("evidence for the second-best subject, natural-log likelihood ratio")]
    margin: Annotated[float, About("the lead over the second that `identified` asks for, natural-log likelihood ratio")]
    photo: Annotated[str | None, About("the enrolled photo that matched best; null unless `identified`")]
    frames_used: Annotated[int, About("good crops behind the decision", low=0)]
    others_in_view: Annotated[int, About("other faces in view at the decision", low=0)]
    unknown_in_view: Annotated[int, About("those of them that are not identified", low=0)]
    liveness: Annotated[str, About("`none`: nothing checks yet that the face is a living one")] = "none"
    captured: Annotated[datetime, About("when the frame that settled the decision was captured")]
    clock_synchronised: Annotated[bool, About("whether the clock behind all these times is synchronised")]
    age_ms: Annotated[int, About("age of that frame at hand-over to the broker, by the monotonic clock", low=0)] = 0
    started: Annotated[datetime, About("when the visit began")]
    decided: Annotated[datetime, About("when the decision was made")]
    valid_until: Annotated[datetime, About("`captured` plus `max_age`: never act later")]
    latency_ms: Annotated[
        int | None,
        About("from the capture of the visit's first good frame to the decision; null where no frame was good", low=0),
    ]
    model: Annotated[str, About("the model that compared: its name, the beginning of its digest, and what ran it")]
    gallery_generation: Annotated[int, About("generation of the gallery that was searched", low=0)]
    reasons: Annotated[tuple[str, ...], About("why it is not `identified`")] = ()
    simulated: _Simulated = False

    @classmethod
    def from_decision(
        cls,
        decision: Decision,
        *,
        visit: str,
        seq: int,
        boot: str,
        camera: str,
        name: str | None,
        others_in_view: int,
        unknown_in_view: int,
        captured: datetime,
        clock_synchronised: bool,
        started: datetime,
        decided: datetime,
        max_age: float,
        latency: float | None,
        model: str,
        gallery_generation: int,
        simulated: bool = False,
    ) -> Self:
        """The event that announces a decision; `max_age` and `latency` in seconds.

        Subject, name and photo are told only of somebody identified: the nearest candidate of a stranger is nobody's business.
        """
        best, second = decision.best, decision.second
        identified = decision.outcome is Outcome.IDENTIFIED
        return cls(
            visit=visit,
            seq=seq,
            boot=boot,
            camera=camera,
            decision=decision.outcome,
            subject=decision.subject,
            name=name if identified else None,
            evidence=best.evidence if best else None,
            score=best.score if best else None,
            threshold=decision.bound,
            second=second.evidence if second else None,
            margin=decision.margin,
            photo=best.photo if best and identified else None,
            frames_used=decision.frames_used,
            others_in_view=others_in_view,
            unknown_in_view=unknown_in_view,
            captured=captured,
            clock_synchronised=clock_synchronised,
            started=started,
            decided=decided,
            valid_until=captured + timedelta(seconds=max_age),
            latency_ms=None if latency is None else round(latency * 1000),
            model=model,
            gallery_generation=gallery_generation,
            reasons=decision.reasons,
            simulated=simulated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Payload):
    """The end of a visit; when the daemon stops as asked, of every visit.

    One that died can say nothing: `offline` at `status` ends every visit of its `boot`.
    """

    schema: _Schema = SCHEMA
    visit: _Visit
    boot: _Boot
    camera: _Camera
    decision: Annotated[Outcome, About("the last decision of the visit")]
    subject: Annotated[
        str | None, About("the person's id, `barack-obama` for the folder `Barack Obama`; null unless `identified`")
    ]
    started: Annotated[datetime, About("when the visit began")]
    left: Annotated[datetime, About("when the face was last seen")]
    duration: Annotated[float, About("seconds from the first to the last sight, by the monotonic clock", low=0, digits=1)]
    simulated: _Simulated = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen(Payload):
    """When and where a subject was last identified."""

    schema: _Schema = SCHEMA
    subject: Annotated[str, About("the person's id, `barack-obama` for the folder `Barack Obama`")]
    name: Annotated[str, About("the person's name for display")]
    camera: _Camera
    visit: _Visit
    at: Annotated[datetime, About("when the person was identified")]
    simulated: _Simulated = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoProblem(Payload):
    """A photo of the gallery that cannot be used."""

    photo: Annotated[str, About("path below the gallery folder")]
    reason: Annotated[str, About("why it cannot be used")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryState(Payload):
    """Who is enrolled, in numbers."""

    schema: _Schema = SCHEMA
    subjects: Annotated[int, About("people enrolled", low=0)]
    templates: Annotated[int, About("photos in use", low=0)]
    generation: Annotated[int, About("counts the changes", low=0)]
    changed: Annotated[datetime | None, About("the last change; null before the first")]
    waiting: Annotated[
        int, About("photos that are still to be judged, also those by a new model while the one before serves", low=0)
    ] = 0
    refused: Annotated[int, About("photos that are not used", low=0)] = 0
    problems: Annotated[tuple[PhotoProblem, ...], About("the first hundred photos that are not used")] = ()
    confusable: Annotated[tuple[str, ...], About("people whom the door may confuse, one sentence for each pair")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryEvent(Payload):
    """One photo judged."""

    schema: _Schema = SCHEMA
    photo: Annotated[str, About("path below the gallery folder")]
    subject: Annotated[str, About("the person's id, `barack-obama` for the folder `Barack Obama`")]
    verdict: Annotated[Verdict, About("`accepted` or `refused`")]
    reasons: Annotated[tuple[str, ...], About("why it was refused, or what is weak about it")] = ()
    advice: Annotated[str | None, About("what to do, one sentence")] = None
    gain: Annotated[float | None, About("how much it adds to the person's other photos", low=0, high=1, digits=2)] = None
    generation: Annotated[int, About("generation of the gallery after it", low=0)]
    at: _At


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolPrompt(Payload):
    """What to tell the person who is being enrolled before a camera; the last one has `finished`."""

    schema: _Schema = SCHEMA
    subject: Annotated[str, About("the person's id, `barack-obama` for the folder `Barack Obama`")]
    camera: _Camera
    step: Annotated[str | None, About("the pose asked for now, left and right being the person's own; null at the end")]
    prompt: Annotated[str, About("what is said, as a word; more words may come")]
    text: Annotated[str, About("what is said, as a sentence")]
    done: Annotated[int, About("poses taken; at the end the photos kept", low=0)]
    of: Annotated[int, About("poses asked for; one more once glasses are seen", low=0)]
    finished: Annotated[bool, About("whether this is the last prompt")]
    ok: Annotated[bool | None, About("whether photos were taken and kept; null until `finished`")]
    at: _At


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult(Payload):
    """What became of a command."""

    schema: _Schema = SCHEMA
    command: Annotated[str, About("the command's name")]
    ok: Annotated[bool, About("whether it was carried out")]
    message: Annotated[str, About("what happened, in one sentence")]
    refusal: Annotated[
        Refusal | None,
        About("null when ok, else `retained`, `unknown_command`, `too_large`, `invalid_payload`, `busy` or `failed`"),
    ] = None
    at: _At


@dataclass(frozen=True, slots=True)
class Topic:
    """One line of the contract: where, what, and how it is delivered."""

    pattern: str
    payload: type[Payload]
    retained: bool
    what: str
    qos: ClassVar[int] = 1


TOPICS: tuple[Topic, ...] = (
    Topic("status", Status, True, "whether the daemon is there; also its last will"),
    Topic("camera/{camera}/state", CameraState, True, "whether the camera delivers, and why not"),
    Topic("camera/{camera}/presence", Presence, True, "faces in view now, for lights and the like"),
    Topic("camera/{camera}/visit", VisitEvent, False, "the decision; expires with `valid_until`"),
    Topic("camera/{camera}/left", Left, False, "the visit's end"),
    Topic("subject/{subject}/last_seen", LastSeen, True, "when and where; can be switched off"),
    Topic("gallery", GalleryState, True, "subjects, photos, last change, photos that cannot be used"),
    Topic("gallery/event", GalleryEvent, False, "one photo judged"),
    Topic("enrol", EnrolPrompt, False, "what to tell the person who is being enrolled before a camera"),
    Topic("cmd/{command}/result", CommandResult, False, "the answer to a command that named no response topic"),
)

# Payloads that mean something only now: never retained, never kept for later.
Event = VisitEvent | Left | GalleryEvent | EnrolPrompt
# Payloads of which only the newest counts.
State = Status | CameraState | Presence | LastSeen | GalleryState

_BY_PAYLOAD: Mapping[type[Payload], Topic] = {topic.payload: topic for topic in TOPICS}


class Topics:
    """The addresses of one node below its base topic, such as `streamd/porch`."""

    def __init__(self, base: str) -> None:
        levels = base.split("/")
        if base.startswith("$") or any(not level or not is_level(level) for level in levels):
            raise ValueError(f"base topic {base!r}: expected words separated by single slashes, without + # or a leading $")
        self.base = base

    def of(self, payload: Payload) -> str:
        """The topic of a payload; ValueError if a name in it cannot be a topic level, TypeError if it has no topic."""
        topic = _BY_PAYLOAD.get(type(payload))
        if topic is None:
            raise TypeError(f"{type(payload).__name__} has no topic of its own")
        names = {name: getattr(payload, name) for name in re.findall(r"{(\w+)}", topic.pattern)}
        if "+" in names.values():
            raise ValueError("'+' cannot stand in a topic: it means every name")
        return self.at(topic.payload, **names)

    def at(self, payload: type[Payload], **names: str) -> str:
        """The topic of a kind of payload, e.g. `at(VisitEvent, camera="door")`; `+` stands for any name."""
        for name in names.values():
            if name != "+" and not is_level(name):
                raise ValueError(f"{name!r} cannot stand in a topic: it is empty or holds one of / + # or a control character")
        return f"{self.base}/{_BY_PAYLOAD[payload].pattern.format(**names)}"

    def command(self, name: str) -> str:
        """Where a command is sent; `command("+")` is the filter for all of them."""
        return f"{self.base}/cmd/{name}"

    def result(self, name: str) -> str:
        """Where the answer to a command goes that named no response topic."""
        return self.at(CommandResult, command=name)

    def command_name(self, topic: str) -> str | None:
        """The command that a topic names, or None."""
        prefix = self.command("")
        name = topic.removeprefix(prefix)
        return name if topic.startswith(prefix) and name and "/" not in name else None


def is_level(text: str) -> bool:
    """Whether a text can be one level of a topic: not empty, without separators, wildcards and control characters."""
    return bool(text) and not any(c in "/+#" or ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text)


def time_text(when: datetime) -> str:
    """A time as the contract writes it: RFC 3339, UTC, milliseconds, `Z`; ValueError for a time without a zone."""
    if when.tzinfo is None:
        raise ValueError(f"the time {when.isoformat()} has no zone; the contract wants UTC")
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fields_of(payload: type[Payload]) -> Iterator[tuple[str, Any, About]]:
    """Name, type and meaning of each field, in order."""
    hints = get_type_hints(payload, include_extras=True)
    for field in dataclasses.fields(payload):
        kind, about = get_args(hints[field.name])
        yield field.name, kind, about


def schemas() -> dict[str, dict[str, object]]:
    """JSON Schema (draft 2020-12) of each payload, by topic pattern."""
    return {
        topic.pattern: {"$schema": "https://json-schema.org/draft/2020-12/schema", **_object_schema(topic.payload)}
        for topic in TOPICS
    }


def topic_table() -> str:
    """The table of topics as Markdown, for docs/mqtt.md."""
    lines = ["| topic | retained | QoS | what |", "| --- | --- | --- | --- |"]
    for topic in TOPICS:
        pattern = re.sub(r"{(\w+)}", r"<\1>", topic.pattern)
        lines.append(f"| `{pattern}` | {'yes' if topic.retained else '**no**'} | {topic.qos} | {topic.what} |")
    return "\n".join(lines)


def field_table(payload: type[Payload]) -> str:
    """The table of a payload's fields as Markdown, for docs/mqtt.md."""
    lines = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, kind, about in fields_of(payload):
        lines.append(f"| `{name}` | {_type_words(kind)} | {about.text} |")
    return "\n".join(lines)


def _object_schema(payload: type[Payload]) -> dict[str, object]:
    properties = {name: _value_schema(kind, about) for name, kind, about in fields_of(payload)}
    return {
        "title": payload.__name__,
        "description": (payload.__doc__ or "").splitlines()[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _value_schema(kind: Any, about: About) -> dict[str, object]:
    kind, optional = _split_optional(kind)
    found: dict[str, object] = {"description": about.text}
    name: str
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        name = "array"
        found["items"] = _object_schema(item) if issubclass(item, Payload) else {"type": "string"}
    elif issubclass(kind, Enum):
        name = "string"
        found["enum"] = [member.value for member in kind] + ([None] if optional else [])
    elif kind is datetime:
        name = "string"
        found |= {"format": "date-time", "pattern": TIME_PATTERN}
    else:
        name = {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]
    if about.low is not None:
        found["minimum"] = about.low
    if about.high is not None:
        found["maximum"] = about.high
    return {"type": [name, "null"] if optional else name, **found}


def _type_words(kind: Any) -> str:
    kind, optional = _split_optional(kind)
    if get_origin(kind) is tuple:
        words = "list of objects" if issubclass(get_args(kind)[0], Payload) else "list of strings"
    elif issubclass(kind, Enum):
        words = "word"
    else:
        words = {bool: "true or false", int: "integer", float: "number", str: "string", datetime: "time"}[kind]
    return f"{words} or null" if optional else words


def _split_optional(kind: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether None was in it."""
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not types.NoneType]
        return rest[0], True
    return kind, False


def _plain(value: object, about: About) -> object:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, tuple):
        return [_plain(item, about) for item in value]
    if isinstance(value, Payload):
        return value.to_object()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, about.digits)
    return value


def _typed(kind: Any, value: object, where: str) -> object:
    kind, optional = _split_optional(kind)
    if value is None and optional:
        return None
    try:
        if get_origin(kind) is tuple and isinstance(value, list):
            return tuple(_typed(get_args(kind)[0], item, where) for item in value)
        if issubclass(kind, Payload) and isinstance(value, dict):
            return kind.from_object(value)
        if kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
        if issubclass(kind, Enum):
            return kind(value)
    except (TypeError, ValueError) as wrong:
        raise ValueError(f"{where}: {wrong}") from None
    if kind is float and type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if type(value) is not kind:
        raise ValueError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
