"""Home Assistant's own schemas and templates take what streamd announces. Runs only where Home Assistant is installed.

    python3.13 -m venv ha && ha/bin/pip install homeassistant==2025.4.4 paho-mqtt pytest numpy
    ha/bin/python -m pytest -c /dev/null --noconftest --import-mode=importlib tests/events/test_homeassistant_schema.py

Private names of Home Assistant are used, so the version matters.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from streamd.events.contract import CameraCondition, CameraState, NodeState, Presence, Status, Topics, VisitEvent
from streamd.events.homeassistant import discovery
from streamd.values import Outcome

pytest.importorskip("homeassistant", reason="Home Assistant is not installed (the docstring says how)")
vol = pytest.importorskip("voluptuous")

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
TOPICS = Topics("streamd/porch")
MESSAGES = discovery(TOPICS, "porch", ["door", "garage gate"], version="0.1.0")


def accepted(text: bytes) -> dict[str, Any]:
    """The components of a discovery message, after Home Assistant's schemas; raises voluptuous.Invalid."""

    async def check() -> dict[str, Any]:
        # Templates are parsed only where there is a Home Assistant; an empty one will do.
        home = importlib.import_module("homeassistant.core").HomeAssistant("")
        try:
            return _checked(text)
        finally:
            await home.async_stop(force=True)

    return asyncio.run(check())


def _checked(text: bytes) -> dict[str, Any]:
    mqtt = "homeassistant.components.mqtt"
    found = importlib.import_module(f"{mqtt}.discovery")
    schemas = importlib.import_module(f"{mqtt}.schemas")
    message = found.MQTTDiscoveryPayload(json.loads(text))
    found._replace_all_abbreviations(message)
    schemas.DEVICE_DISCOVERY_SCHEMA(message)
    shared = {key: message[key] for key in (*schemas.SHARED_OPTIONS, "qos", "encoding") if key in message}
    checked = {}
    for name, component in message["components"].items():
        entity = {**shared, "device": message["device"], "origin": message["origin"], **component}
        platform = importlib.import_module(f"{mqtt}.{entity.pop('platform')}")
        checked[name] = platform.DISCOVERY_SCHEMA(dict(entity))
        # Discovery drops keys that it does not know without a word; the schema for YAML names them.
        platform.PLATFORM_SCHEMA_MODERN(entity)
    return checked


def render(template: str, payload: bytes) -> str:
    """What Home Assistant makes of a payload."""
    helpers = importlib.import_module("homeassistant.helpers.template")
    values: dict[str, Any] = {"value": payload.decode()}
    if payload:
        values["value_json"] = json.loads(payload)
    return str(helpers.TemplateEnvironment(None).from_string(template).render(**values))


def visit(outcome: Outcome, name: str | None) -> bytes:
    return VisitEvent(
        visit="b-1", seq=1, boot="b", camera="door", decision=outcome, subject=name and name.lower(), name=name, evidence=9.0,
        score=0.7, threshold=5.0, second=None, margin=2.0, photo=None, frames_used=3, others_in_view=0, unknown_in_view=0,
        captured=NOW, clock_synchronised=True, started=NOW, decided=NOW, valid_until=NOW, latency_ms=200, model="m",
        gallery_generation=1,
    ).to_json()  # fmt: skip


@pytest.mark.parametrize("topic", MESSAGES)
def test_home_assistant_accepts_every_device(topic: str) -> None:
    components = accepted(MESSAGES[topic])

    assert len({component["unique_id"] for component in components.values()}) == len(components) == 4


def test_the_check_rejects_what_home_assistant_rejects() -> None:
    message = json.loads(MESSAGES["homeassistant/device/porch_door/config"])
    for spoil in (
        lambda m: m["components"]["visit"].pop("event_types"),
        lambda m: m["components"]["presence"].update(device_class="face"),
        lambda m: m["components"]["presence"].update(colour="red"),
        lambda m: m.pop("origin"),
    ):
        spoilt = json.loads(json.dumps(message))
        spoil(spoilt)
        with pytest.raises(vol.Invalid):
            accepted(json.dumps(spoilt).encode())


def test_a_visit_becomes_an_event_with_its_fields_as_attributes() -> None:
    template = accepted(MESSAGES["homeassistant/device/porch_door/config"])["visit"]["value_template"].template

    event = json.loads(render(template, visit(Outcome.IDENTIFIED, 'Änna "O\'Hara" <&>')))

    assert event["event_type"] == "identified"
    assert event["name"] == 'Änna "O\'Hara" <&>'
    assert event["frames_used"] == 3


def test_an_empty_message_at_the_visit_topic_is_no_event() -> None:
    template = accepted(MESSAGES["homeassistant/device/porch_door/config"])["visit"]["value_template"].template

    assert render(template, b"") == ""


def test_states_read_as_home_assistant_expects() -> None:
    door = json.loads(MESSAGES["homeassistant/device/porch_door/config"])
    node = json.loads(MESSAGES["homeassistant/device/porch/config"])
    online = Status(state=NodeState.ONLINE, version="0", boot="b", since=NOW, problems=("camera door: refused",)).to_json()
    broken = CameraState(
        camera="door", state=CameraCondition.PROBLEM, frames_per_second=0.0, last_frame_age=None, at=NOW
    ).to_json()

    assert render(door["availability_template"], online) == door["payload_available"]
    assert render(node["components"]["problem"]["value_template"], online) == "ON"
    assert render(door["components"]["problem"]["value_template"], broken) == door["components"]["problem"]["payload_on"]
    presence = door["components"]["presence"]["value_template"]
    assert render(presence, Presence(camera="door", faces=2, at=NOW).to_json()) == "ON"
    assert render(presence, Presence(camera="door", faces=0, at=NOW).to_json()) == "OFF"
    last = door["components"]["last_subject"]["value_template"]
    assert render(last, visit(Outcome.IDENTIFIED, "Anna")) == "Anna"
    assert render(last, visit(Outcome.UNKNOWN, None)) == "unknown"
