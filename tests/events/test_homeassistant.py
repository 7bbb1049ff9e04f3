"""Home Assistant's discovery: what is announced, held against a table of the keys that its documentation allows.

The table is that of https://www.home-assistant.io/integrations/mqtt/ and its platforms' pages for the keys that streamd uses;
`test_homeassistant_schema.py` asks Home Assistant itself where it is installed.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from streamd.events.contract import TOPICS as TABLE
from streamd.events.contract import CameraState, GalleryState, Presence, Status, Topics, VisitEvent
from streamd.events.homeassistant import discovery, discovery_topic
from streamd.values import Outcome

TOPICS = Topics("streamd/porch")
CAMERAS = ["door", "garage gate"]

COMMON = {"platform", "unique_id", "name", "icon", "entity_category", "json_attributes_topic"}
PLATFORMS = {
    "event": COMMON | {"state_topic", "event_types", "value_template"},
    "binary_sensor": COMMON | {"state_topic", "value_template", "device_class", "payload_on", "payload_off"},
    "sensor": COMMON | {"state_topic", "value_template", "state_class"},
    "button": COMMON | {"command_topic", "payload_press"},
}
REQUIRED = {"event": {"state_topic", "event_types"}, "binary_sensor": {"state_topic"}, "sensor": {"state_topic"}, "button": {"command_topic"}}  # fmt: skip  # noqa: E501
DEVICE = {"identifiers", "name", "manufacturer", "model", "sw_version", "via_device"}
TOP = {"device", "origin", "components", "qos", "availability_topic", "availability_template", "payload_available", "payload_not_available"}  # fmt: skip  # noqa: E501
DEVICE_CLASSES = {"problem", "occupancy"}


def messages() -> dict[str, dict[str, Any]]:
    return {topic: json.loads(body) for topic, body in discovery(TOPICS, "porch", CAMERAS, version="0.1.0").items()}


def components() -> list[dict[str, Any]]:
    return [component for message in messages().values() for component in message["components"].values()]


def test_there_is_a_device_for_the_node_and_one_for_each_camera_linked_to_it() -> None:
    node, *cameras = messages().values()

    assert node["device"]["identifiers"] == ["streamd_porch"]
    assert "via_device" not in node["device"]
    assert [camera["device"]["via_device"] for camera in cameras] == ["streamd_porch"] * 2
    assert len({camera["device"]["identifiers"][0] for camera in cameras}) == 2


def test_a_camera_has_visits_presence_problem_and_the_last_visitor_and_the_node_has_the_gallery() -> None:
    node, door, _ = messages().values()

    assert {name: part["platform"] for name, part in door["components"].items()} == {
        "visit": "event", "presence": "binary_sensor", "problem": "binary_sensor", "last_subject": "sensor"
    }  # fmt: skip
    assert {name: part["platform"] for name, part in node["components"].items()} == {
        "problem": "binary_sensor", "subjects": "sensor", "templates": "sensor", "reload": "button"
    }  # fmt: skip
    assert door["components"]["visit"]["event_types"] == [outcome.value for outcome in Outcome]


def test_only_keys_that_home_assistant_documents_are_used() -> None:
    for message in messages().values():
        assert set(message) <= TOP
        assert set(message["device"]) <= DEVICE
        assert message["origin"]["name"] == "streamd"
    for component in components():
        platform = component["platform"]
        assert set(component) <= PLATFORMS[platform], component
        assert set(component) >= REQUIRED[platform] | {"unique_id", "name"}
        assert component.get("device_class", "problem") in DEVICE_CLASSES


def test_every_entity_has_an_identifier_of_its_own() -> None:
    identifiers = [component["unique_id"] for component in components()]

    assert len(set(identifiers)) == len(identifiers)


def test_every_topic_read_is_one_of_the_contract_and_states_are_read_from_retained_ones() -> None:
    """A restart of Home Assistant must find every state again; only what visits feed starts empty."""
    contract = {TOPICS.at(row.payload, **dict.fromkeys(re.findall(r"{(\w+)}", row.pattern), "+")): row for row in TABLE}
    for component in components():
        topic = component.get("state_topic")
        if topic is None:
            continue
        row = contract[re.sub(r"/camera/[^/]+/", "/camera/+/", topic)]
        assert row.retained or row.payload is VisitEvent
    assert {TOPICS.at(Status), TOPICS.at(GalleryState)} <= {component.get("state_topic") for component in components()}
    assert TOPICS.at(CameraState, camera="garage gate") in {component.get("state_topic") for component in components()}
    assert TOPICS.at(Presence, camera="door") in {component.get("state_topic") for component in components()}


def test_availability_follows_the_last_will() -> None:
    for message in messages().values():
        assert message["availability_topic"] == "streamd/porch/status"
        assert (message["payload_available"], message["payload_not_available"]) == ("online", "offline")


@pytest.mark.parametrize(
    ("node", "camera", "topic"),
    [
        ("porch", None, "homeassistant/device/porch/config"),
        ("porch", "door", "homeassistant/device/porch_door/config"),
        ("porch", "Tür", "homeassistant/device/porch_T_r_00b99e54/config"),
    ],
)
def test_discovery_topics_hold_only_what_home_assistant_allows(node: str, camera: str | None, topic: str) -> None:
    found = discovery_topic(node, camera)

    assert re.fullmatch(r"homeassistant/device/[A-Za-z0-9_-]+/config", found)
    assert found == topic


def test_names_that_look_alike_after_cleaning_stay_apart() -> None:
    assert len({discovery_topic("porch", name) for name in ("front door", "front_door", "front.door")}) == 3
