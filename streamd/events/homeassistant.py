"""What Home Assistant is told so that it finds the node and its cameras by itself: MQTT device discovery. Pure.

One discovery message makes one device, so there is one for the node and one for each camera, linked by `via_device`. The
messages are retained; the publisher sends them again at every connection and when Home Assistant says `online`.
See https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload (since Home Assistant 2024.11).
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

from streamd.events.contract import CameraCondition, CameraState, GalleryState, NodeState, Presence, Status, Topics, VisitEvent
from streamd.values import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

# An event entity wants `event_type` in a JSON object; what else is in it becomes the event's attributes. An empty message (a
# topic being cleared) leaves nothing to render, and Home Assistant ignores it.
_VISIT_EVENT = "{% if value_json is defined %}{{ dict(value_json, event_type=value_json.decision) | to_json }}{% endif %}"
_LAST_SUBJECT = "{% if value_json is defined %}{{ value_json.name or value_json.decision }}{% endif %}"


def discovery(
    topics: Topics, node: str, cameras: Iterable[str], *, version: str, prefix: str = "homeassistant"
) -> dict[str, bytes]:
    """The discovery messages of a node, by topic. node, cameras: their names. version: streamd's. prefix: Home Assistant's."""
    messages = {discovery_topic(node, prefix=prefix): _node_device(topics, node, version)}
    for camera in cameras:
        messages[discovery_topic(node, camera, prefix=prefix)] = _camera_device(topics, node, camera, version)
    return {topic: json.dumps(message, ensure_ascii=False).encode() for topic, message in messages.items()}


def discovery_topic(node: str, camera: str | None = None, *, prefix: str = "homeassistant") -> str:
    """Where a device is announced; an empty retained message there takes the device away again."""
    return f"{prefix}/device/{_identifier(node, camera)}/config"


def _node_device(topics: Topics, node: str, version: str) -> dict[str, object]:
    identifier = f"streamd_{_identifier(node)}"
    status, gallery = topics.at(Status), topics.at(GalleryState)
    return {
        "device": {
            "identifiers": [identifier],
            "name": f"streamd {node}",
            "manufacturer": "streamd",
            "model": "Face recognition node",
            "sw_version": version,
        },
        "origin": _origin(version),
        "components": {
            "problem": {
                "platform": "binary_sensor",
                "unique_id": f"{identifier}_problem",
                "name": "Problem",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": status,
                "value_template": "{{ 'ON' if value_json.problems else 'OFF' }}",
                "json_attributes_topic": status,
            },
            "subjects": {
                "platform": "sensor",
                "unique_id": f"{identifier}_subjects",
                "name": "Enrolled people",
                "icon": "mdi:account-multiple",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "state_topic": gallery,
                "value_template": "{{ value_json.subjects }}",
                "json_attributes_topic": gallery,
            },
            "templates": {
                "platform": "sensor",
                "unique_id": f"{identifier}_templates",
                "name": "Photos in use",
                "icon": "mdi:image-multiple",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "state_topic": gallery,
                "value_template": "{{ value_json.templates }}",
            },
            "reload": {
                "platform": "button",
                "unique_id": f"{identifier}_reload",
                "name": "Reload",
                "icon": "mdi:reload",
                "entity_category": "config",
                "command_topic": topics.command("reload"),
                "payload_press": "{}",
            },
        },
        **_availability(topics),
        "qos": 1,
    }


def _camera_device(topics: Topics, node: str, camera: str, version: str) -> dict[str, object]:
    identifier = f"streamd_{_identifier(node, camera)}"
    state, visit = topics.at(CameraState, camera=camera), topics.at(VisitEvent, camera=camera)
    return {
        "device": {
            "identifiers": [identifier],
            "name": f"streamd {node} {camera}",
            "manufacturer": "streamd",
            "model": "Camera",
            "sw_version": version,
            "via_device": f"streamd_{_identifier(node)}",
        },
        "origin": _origin(version),
        "components": {
            "visit": {
                "platform": "event",
                "unique_id": f"{identifier}_visit",
                "name": "Visit",
                "icon": "mdi:account-eye",
                "state_topic": visit,
                "event_types": [outcome.value for outcome in Outcome],
                "value_template": _VISIT_EVENT,
            },
            "presence": {
                "platform": "binary_sensor",
                "unique_id": f"{identifier}_presence",
                "name": "Presence",
                "device_class": "occupancy",
                "state_topic": topics.at(Presence, camera=camera),
                "value_template": "{{ 'ON' if value_json.faces > 0 else 'OFF' }}",
            },
            "problem": {
                "platform": "binary_sensor",
                "unique_id": f"{identifier}_problem",
                "name": "Problem",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": state,
                "value_template": "{{ value_json.state }}",
                "payload_on": CameraCondition.PROBLEM.value,
                "payload_off": CameraCondition.OK.value,
                "json_attributes_topic": state,
            },
            "last_subject": {
                "platform": "sensor",
                "unique_id": f"{identifier}_last_subject",
                "name": "Last visitor",
                "icon": "mdi:account-clock",
                "state_topic": visit,
                "value_template": _LAST_SUBJECT,
            },
        },
        **_availability(topics),
        "qos": 1,
    }


def _availability(topics: Topics) -> dict[str, object]:
    return {
        "availability_topic": topics.at(Status),
        "availability_template": "{{ value_json.state }}",
        "payload_available": NodeState.ONLINE.value,
        "payload_not_available": NodeState.OFFLINE.value,
    }


def _origin(version: str) -> dict[str, str]:
    return {"name": "streamd", "sw_version": version}


def _identifier(node: str, camera: str | None = None) -> str:
    """Names as a discovery topic allows them: letters, digits, `_` and `-`; a changed name keeps apart by its checksum."""
    words = []
    for name in (node,) if camera is None else (node, camera):
        clean = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        words.append(clean if clean == name else f"{clean}_{zlib.crc32(name.encode()):08x}")
    return "_".join(words)
