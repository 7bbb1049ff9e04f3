"""The MQTT contract: what subscribers may rely on, and that code, schema and page say the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from streamd.events.contract import (
    TOPICS,
    CameraCondition,
    CameraState,
    CommandResult,
    GalleryState,
    NodeState,
    Payload,
    PhotoProblem,
    Presence,
    Status,
    Topics,
    VisitEvent,
    field_table,
    schemas,
    topic_table,
)
from streamd.values import Decision, Outcome, SubjectEvidence

PAGE = Path(__file__).parents[2] / "docs" / "mqtt.md"
NOW = datetime(2026, 11, 25, 9, 0, 0, 123456, tzinfo=UTC)
ANNA = SubjectEvidence("anna", 12.34567, 0.678912, "anna/portrait.jpg")
BERTA = SubjectEvidence("berta", 1.5, 0.3, "berta/portrait.jpg")


def visit(decision: Decision, name: str | None = "Anna") -> VisitEvent:
    return VisitEvent.from_decision(
        decision, visit="b7-1", seq=1, boot="b7", camera="door", name=name, others_in_view=0, unknown_in_view=0, captured=NOW,
        clock_synchronised=True, started=NOW, decided=NOW, max_age=2.0, latency=0.2504, model="m", gallery_generation=4,
    )  # fmt: skip


KEYWORDS = {"$schema", "title", "description", "type", "properties", "required", "items", "enum", "format", "pattern"}
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def violations(schema: dict[str, Any], value: Any, where: str = "$") -> list[str]:
    """What a JSON Schema says against a value; knows the keywords that `schemas()` uses, and no others."""
    assert set(schema) <= KEYWORDS | {"minimum", "maximum"}, schema
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, KINDS[name]) and (name == "boolean") == isinstance(value, bool) for name in names):
        return [f"{where}: {value!r} is not {names}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not in {schema['enum']}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{where}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: {value!r} is out of bounds")
    if isinstance(value, dict):
        found += [f"{where}.{name} is missing" for name in schema["required"] if name not in value]
        for name, part in value.items():
            found += violations(schema["properties"][name], part, f"{where}.{name}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            found += violations(schema["items"], part, f"{where}[{index}]")
    return found


def examples() -> dict[str, str]:
    """The JSON of the page, by topic pattern: under each heading that names a topic stands one example."""
    found = re.findall(r"^### `([^`]+)`\n.*?```json\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {re.sub(r"<(\w+)>", r"{\1}", topic): text for topic, text in found}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.pattern)
def test_the_page_shows_each_payload_as_the_code_writes_it(topic: Any) -> None:
    """The example obeys the schema, and reading it and writing it again changes nothing, not even the order of the fields."""
    example = examples()[topic.pattern]

    written = json.loads(topic.payload.from_json(example).to_json())

    assert list(written.items()) == list(json.loads(example).items())
    assert violations(schemas()[topic.pattern], written) == []


def test_the_page_holds_the_tables_of_the_code() -> None:
    page = PAGE.read_text()

    assert topic_table() in page
    assert all(field_table(topic.payload) in page for topic in TOPICS)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("decision", "maybe"), ("score", 1.5), ("captured", "2026-11-25 09:00"), ("seq", True), ("subject", 7), ("schema", 2)],
)
def test_the_schema_of_a_visit_refuses_wrong_values(field: str, wrong: object) -> None:
    event = json.loads(examples()["camera/{camera}/visit"]) | {field: wrong}

    assert violations(schemas()["camera/{camera}/visit"], event)


def test_what_means_something_only_now_is_never_retained() -> None:
    retained = {topic.pattern: topic.retained for topic in TOPICS}

    assert not retained["camera/{camera}/visit"]
    assert not retained["camera/{camera}/left"]
    assert not retained["gallery/event"]
    assert all(topic.qos == 1 for topic in TOPICS)


def test_times_are_utc_with_milliseconds_whatever_zone_they_came_in() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))

    assert json.loads(Presence(camera="door", faces=1, at=elsewhere).to_json())["at"] == "2026-11-25T09:00:00.123Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        Presence(camera="door", faces=1, at=datetime(2026, 11, 25)).to_json()  # noqa: DTZ001


def test_a_number_that_json_does_not_know_is_refused() -> None:
    state = CameraState(
        camera="door", state=CameraCondition.OK, frames_per_second=float("nan"), last_frame_age=None, at=NOW
    )  # fmt: skip

    with pytest.raises(ValueError, match="JSON"):
        state.to_json()


def test_an_identified_visit_says_who_how_sure_and_until_when() -> None:
    event = json.loads(visit(Decision(Outcome.IDENTIFIED, ANNA, BERTA, 9.21034, 3.0, 3, 2.1)).to_json())

    assert (event["subject"], event["name"], event["photo"]) == ("anna", "Anna", "anna/portrait.jpg")
    assert (event["evidence"], event["score"], event["second"]) == (12.346, 0.6789, 1.5)
    assert (event["threshold"], event["margin"], event["latency_ms"]) == (9.21, 3.0, 250)
    assert event["valid_until"] == "2026-11-25T09:00:02.123Z"


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.AMBIGUOUS])
def test_the_nearest_candidate_of_somebody_not_identified_is_not_named(outcome: Outcome) -> None:
    text = visit(Decision(outcome, ANNA, BERTA, 9.2, 3.0, 8, 3.4, ("evidence_below_bound",))).to_json()

    assert b"anna" not in text.lower()
    assert json.loads(text)["evidence"] == 12.346


def test_readers_ignore_fields_that_they_do_not_know() -> None:
    text = b'{"schema":1,"camera":"door","faces":2,"at":"2026-11-25T09:00:00.000Z","mood":"good"}'

    assert Presence.from_json(text).faces == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"[]", "expected a JSON object"),
        (b'{"camera":"door","at":"2026-11-25T09:00:00.000Z"}', "Presence.faces is missing"),
        (b'{"camera":"door","faces":"two","at":"2026-11-25T09:00:00.000Z"}', "Presence.faces: expected int"),
        (b'{"camera":"door","faces":2,"at":"yesterday"}', "Presence.at"),
    ],
)
def test_readers_are_told_which_field_is_wrong(text: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Presence.from_json(text)


def test_nested_values_survive_writing_and_reading() -> None:
    state = GalleryState(subjects=1, templates=2, generation=3, changed=NOW.replace(microsecond=123000), problems=(
        PhotoProblem(photo="anna/blurred.jpg", reason="blurred"),
    ))  # fmt: skip

    assert GalleryState.from_json(state.to_json()) == state


def test_topics_are_built_from_the_names_in_the_payload() -> None:
    topics = Topics("streamd/porch")

    assert topics.of(Presence(camera="door", faces=0, at=NOW)) == "streamd/porch/camera/door/presence"
    assert topics.of(CommandResult(command="reload", ok=True, message="", at=NOW)) == "streamd/porch/cmd/reload/result"
    assert topics.of(Status(state=NodeState.ONLINE, version="0", boot="b", since=NOW)) == "streamd/porch/status"
    assert topics.at(VisitEvent, camera="+") == "streamd/porch/camera/+/visit"


@pytest.mark.parametrize("name", ["", "front/door", "door#", "+", "a\nb"])
def test_a_name_that_would_break_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        Topics("streamd/porch").of(CommandResult(command=name or "", ok=True, message="", at=NOW))


@pytest.mark.parametrize("base", ["", "/streamd", "streamd/", "streamd//porch", "streamd/+", "$SYS/streamd"])
def test_a_base_topic_that_is_none_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="base topic"):
        Topics(base)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("streamd/porch/cmd/reload", "reload"),
        ("streamd/porch/cmd/reload/result", None),
        ("streamd/porch/cmd/", None),
        ("streamd/cellar/cmd/reload", None),
    ],
)
def test_a_command_is_known_by_its_topic(topic: str, name: str | None) -> None:
    assert Topics("streamd/porch").command_name(topic) == name


def test_a_payload_of_another_contract_has_no_topic() -> None:
    class Other(Payload):
        pass

    with pytest.raises(TypeError, match="no topic of its own"):
        Topics("streamd/porch").of(Other())
