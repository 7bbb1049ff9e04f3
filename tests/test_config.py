"""The configuration: what a file may say, what is said about a wrong one, and that no secret leaves it."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import to_jsonable_python

from streamd.config import CameraSettings, Config, MqttSettings, find, load
from streamd.errors import EXIT_CONFIG, ConfigError
from streamd.recognition.decision import DecisionRules
from streamd.vision.detection import DetectionRules
from streamd.vision.motion import MotionRules
from streamd.vision.quality import QualityRules

SHIPPED = Path(__file__).parent.parent / "config" / "streamd.yaml"

TWO_LINES = """\
cameras: {front: "rtsp://user:pass@10.0.0.7/stream"}
mqtt: "mqtt://10.0.0.2"
"""
CAMERA = 'cameras: {front: "rtsp://10.0.0.7/stream"}\n'
IN_QUOTES = "put text that holds ': ' or ' #', or begins with a sign, in quotes"
BROKER = 'mqtt: "mqtt://10.0.0.2"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "streamd.yaml"


def loaded(file: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file.write_text(text, encoding="utf-8")
    return load(file, environ or {})


def problems(file: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """The sentences about a wrong file, without the name of its folder."""
    with pytest.raises(ConfigError) as refusal:
        loaded(file, text, environ)
    return [problem.replace(f"{file.parent}/", "") for problem in refusal.value.problems]


def sections(model: type[BaseModel], at: str = "") -> dict[str, type[BaseModel]]:
    """Every section of the configuration by its dotted path; a camera's is `cameras.front`, as in the shipped file."""
    found = {at: model}
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= sections(kind, f"{at}.{name}" + (".front" if name == "cameras" else ""))
    return found


# What is enough, and what follows from it


def test_two_lines_are_a_whole_configuration(file: Path) -> None:
    config = loaded(file, TWO_LINES)

    assert config.cameras["front"].url().get_secret_value() == "rtsp://user:pass@10.0.0.7/stream"
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.tls) == ("10.0.0.2", 1883, False)
    assert config.state == Path("/var/lib/streamd")
    assert config.gallery_folder == Path("/var/lib/streamd/gallery")


def test_names_at_the_broker_follow_from_the_node(file: Path) -> None:
    config = loaded(file, TWO_LINES + "node: garage\n")

    assert (config.mqtt.client_id, config.mqtt.base_topic) == ("streamd-garage", "streamd/garage")


def test_a_node_without_a_name_is_called_after_its_host(file: Path) -> None:
    config = loaded(file, TWO_LINES)

    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", config.node)
    assert config.mqtt.base_topic == f"streamd/{config.node}"


def test_systemd_says_where_the_state_is_unless_the_file_does(file: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/private/streamd"}

    assert loaded(file, TWO_LINES, environ).state == Path("/var/lib/private/streamd")
    assert loaded(file, TWO_LINES + "state: /srv/streamd\n", environ).state == Path("/srv/streamd")


def test_paths_are_relative_to_the_folder_of_the_file(file: Path) -> None:
    config = loaded(file, "cameras: {front: videos/visit.mp4}\nstate: state\nmqtt: mqtt://localhost\n")

    assert config.cameras["front"].source == str(file.parent / "videos/visit.mp4")
    assert config.state == file.parent / "state"


def test_a_heading_without_keys_means_its_defaults(file: Path) -> None:
    assert loaded(file, TWO_LINES + "motion:\n").motion == loaded(file, TWO_LINES).motion


@pytest.mark.parametrize("name", ["no", "1", "on", "null"])
def test_a_camera_is_called_as_it_is_written_even_where_yaml_means_something_else(file: Path, name: str) -> None:
    assert list(loaded(file, f"cameras: {{{name}: /dev/video0}}\n{BROKER}").cameras) == [name]


@pytest.mark.parametrize(("written", "meant"), [("5", "5"), ("'5'", "5"), ("5.0", "5"), ("3.1.1", "3.1.1")])
def test_the_version_of_mqtt_may_be_a_number(file: Path, written: str, meant: str) -> None:
    assert loaded(file, f"{CAMERA}mqtt: {{url: mqtt://localhost, protocol: {written}}}\n").mqtt.protocol == meant


@pytest.mark.parametrize(("url", "port"), [("mqtt://h", 1883), ("mqtts://h", 8883), ("MQTTS://h:1/", 1), ("mqtt://[::1]:7", 7)])
def test_a_broker_has_the_port_of_its_protocol(url: str, port: int) -> None:
    assert MqttSettings(url=url).port == port


def test_a_configuration_cannot_be_changed(file: Path) -> None:
    config = loaded(file, TWO_LINES)

    with pytest.raises(ValidationError):
        config.decision.margin = 0.0  # type: ignore[misc]


# Sources of pictures


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://10.0.0.7/a?b=c", "rtsps://camera.local:322/a", "http://10.0.0.7/video.mjpg", "https://[fe80::1]/x",
        "/dev/video0", "/dev/v4l/by-id/usb-Logitech-video-index0", "/srv/visit.mp4", "/srv/pictures",
    ],
)  # fmt: skip
def test_a_camera_is_an_address_a_device_a_file_or_a_folder(source: str) -> None:
    assert CameraSettings(source=source).url().get_secret_value() == source


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc/shadow", "concat:a|b", "exec:reboot", "subfile,,start,0,end,9,,:/etc/shadow", "rtmp://h/x", "data:x",
        "-i", "--help", "", "/dev/sda", "/dev/video0/../sda", "rtsp:///x", "rtsp://h:99999/", "rtsp://h/a b", "a\nb",
        "crypto+file:/etc/shadow",
    ],
)  # fmt: skip
def test_no_other_protocol_option_or_device_reaches_the_decoder(source: str) -> None:
    with pytest.raises(ValidationError):
        CameraSettings(source=source)


# Logins


def test_a_password_from_a_file_stands_percent_encoded_in_the_address(file: Path) -> None:
    (file.parent / "secret").write_text("p:/@ ?#\n")
    text = f"cameras: {{front: {{source: 'rtsp://10.0.0.7/s', username: door, password_file: secret}}}}\n{BROKER}"

    assert loaded(file, text).cameras["front"].url().get_secret_value() == "rtsp://door:p%3A%2F%40%20%3F%23@10.0.0.7/s"


def test_a_password_from_a_systemd_credential(file: Path) -> None:
    (file.parent / "broker").write_text("s3cret")
    text = f"{CAMERA}mqtt: {{url: mqtts://localhost, username: door, password_credential: broker}}\n"

    config = loaded(file, text, {"CREDENTIALS_DIRECTORY": str(file.parent)})

    assert config.mqtt.password == SecretStr("s3cret")


def test_a_login_leaves_the_address_so_that_the_address_can_be_shown() -> None:
    camera = CameraSettings(source="rtsp://door:p%40ss@10.0.0.7/s")

    assert camera.source == "rtsp://10.0.0.7/s"
    assert (camera.username, camera.password) == ("door", SecretStr("p@ss"))


def test_nothing_that_is_made_of_a_configuration_shows_a_secret(file: Path) -> None:
    (file.parent / "secret").write_text("hunter2-file")
    config = loaded(
        file,
        "cameras:\n"
        "  front: rtsp://door:hunter2@10.0.0.7/s\n"
        "  back: {source: 'http://10.0.0.7/v?user=a&pwd=hunter2', username: door, password_file: secret}\n"
        "mqtt: {url: mqtt://10.0.0.2, username: door, password: hunter2}\n",
    )

    for text in (repr(config), str(config), str(config.model_dump()), config.model_dump_json(), "".join(config.warnings())):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "text",
    [
        "cameras: {front: 'rtsp://door:hunter2@10.0.0.7:99999/s'}",
        "cameras: {front: 'rtsp://door:hunter2/x@10.0.0.7/s'}",
        "cameras: {front: 'rtsp://door:hunter2@hunter2@10.0.0.7 /s'}",
        "cameras: {front: 'rtsp://door:my hunter2@10.0.0.7/s'}",
        "cameras: {front: 'rstp://door:hunter2@10.0.0.7/s'}",
        "cameras: {front: 'door:hunter2@10.0.0.7/s'}",
        "cameras: {front: 'rtsp:/door:hunter2@10.0.0.7/s'}",
        "cameras: 'rtsp://door:hunter2@10.0.0.7/s'",
        "cameras: {'rtsp://door:hunter2@10.0.0.7/s'}",
        "cameras: ['rtsp://door:hunter2@10.0.0.7/s']",
        "mqtt: 'http://door:hunter2@10.0.0.7'",
        "mqtt: {url: 'mqtts://door:hunter2@10.0.0.7', username: door}",
        "mqtt: {passwort: hunter2}",
        "mqtt: {password: [hunter2]}",
        "mqtt: {password_file: hunter2}",
        "mqtt: {password_credential: hunter2/}",
        "mqtt: {password_credential: hunter2}",
        "mqtt: {password: !hunter2 }",
        "mqtt: {password: !hunter2!x }",
        "mqtt: {password: *hunter2 }",
        "mqtt: {password: 'hunter2",
        "mqtt: {password: hunter2: x: y}",
    ],
)
def test_no_problem_of_a_wrong_file_shows_a_secret(file: Path, text: str) -> None:
    assert "hunter2" not in "\n".join(problems(file, text, {"CREDENTIALS_DIRECTORY": str(file.parent)}))


# What is said about a wrong file


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BROKER, "1: cameras: missing; expected the cameras by name, each an address or a section"),
        (CAMERA, "1: mqtt: missing; expected the broker, an address or a section"),
        ("cameras: {}\n" + BROKER, "1: cameras: expected at least one entry, found a section"),
        (
            "cameras: {front: door@10.0.0.7/s}\n" + BROKER,
            "1: cameras.front: expected an address with its scheme, found 'door@10.0.0.7/s'; did you mean 'rtsp://...'?",
        ),
        ("cameras: [a]\n" + BROKER, "1: cameras: expected a section of keys and values, found a list"),
        (TWO_LINES + "decison: {}\n", "3: decison: unknown key; did you mean 'decision'?"),
        (CAMERA + "mqtt:\n  url: mqtt://h\n  prot: 5\n", "4: mqtt.prot: unknown key; did you mean 'protocol'?"),
        (TWO_LINES + "log: {x: 1}\n", "3: log.x: unknown key; known here: level"),
        (
            TWO_LINES + "node: Front Door\n",
            "3: node: expected a name of small letters, digits, '-' and '_' (at most 63), "
            "found 'Front Door'; did you mean 'front-door'?",
        ),
        (
            f"cameras:\n  a/b: /dev/video0\n{BROKER}",
            "2: cameras.a/b: expected a name of small letters, digits, '-' and '_' "
            "(at most 63), found 'a/b'; did you mean 'a-b'?",
        ),
        (f"cameras:\n  a: 5\n{BROKER}", "2: cameras.a: expected an address or a section of keys and values, found 5"),
        (
            f"cameras:\n  a:\n{BROKER}",
            "2: cameras.a.source: missing; expected where pictures come from: an address, a device, "
            "a video file or a folder of images",
        ),
        (
            f"cameras:\n  a: file:///x\n{BROKER}",
            "2: cameras.a: expected rtsp://, rtsps://, http:// or https://, /dev/video0, "
            "/dev/v4l/by-id/..., a video file or a folder of images, found 'file:///x'",
        ),
        (
            f"cameras:\n  a: /dev/null\n{BROKER}",
            "2: cameras.a: expected /dev/video0, /dev/v4l/by-id/... or /dev/v4l/by-path/..., found '/dev/null'",
        ),
        (
            f"cameras:\n  a: rtsp://u:p@h:x/\n{BROKER}",
            "2: cameras.a: expected rtsp://host[:port]/path with a port from 1 to 65535, found 'rtsp://h:x/'",
        ),
        (
            f"cameras:\n  a: rtsp://u:p/w@h/\n{BROKER}",
            "2: cameras.a: expected rtsp://host[:port]/path, found 'rtsp://***@h/'; "
            "in a password write / as %2F, ? as %3F, # as %23 and @ as %40, or use password_file",
        ),
        (
            f"cameras: {{a: {{source: x.mp4, username: me}}}}\n{BROKER}",
            "1: cameras.a.source: a device, a file or a folder takes no username; remove it",
        ),
        (
            f"cameras: {{a: {{source: /dev/video0, loop: true}}}}\n{BROKER}",
            "1: cameras.a.loop: only a video file or a folder of images can begin again; expected false",
        ),
        (
            f"cameras: {{a: {{source: /dev/video0, rotation: 45}}}}\n{BROKER}",
            "1: cameras.a.rotation: expected 0, 90, 180 or 270, found 45",
        ),
        (
            f"cameras: {{a: {{source: /dev/video0, region: [0, 0, 1]}}}}\n{BROKER}",
            "1: cameras.a.region: expected [x0, y0, x1, y1], fractions of width and height with 0 <= x0 < x1 <= 1 and "
            "0 <= y0 < y1 <= 1",
        ),
        (
            f"cameras: {{a: {{source: /dev/video0, reconnect_min_seconds: 9}}}}\n{BROKER}",
            "1: cameras.a.reconnect_max_seconds: expected at least reconnect_min_seconds (9), is 5",
        ),
        (
            f"cameras: {{a: {{source: 'http://u:p@h/', username: u}}}}\n{BROKER}",
            "1: cameras.a.source: the address holds a login and there are username or password keys beside it; "
            "keep one of the two",
        ),
        (
            f"cameras: {{a: {{source: 'http://h/', password: x}}}}\n{BROKER}",
            "1: cameras.a.password: a password needs a username beside it",
        ),
        (CAMERA + "mqtt: {url: mqtt://h, username: u, password: 1234}\n", "2: mqtt.password: expected text in quotes or null"),
        (
            CAMERA + "mqtt: {url: mqtt://h, username: u, password_file: gone}\n",
            "2: mqtt.password_file: the file cannot be read: "
            "no such file or directory; expected a file with the password in one line",
        ),
        (
            CAMERA + "mqtt: {url: mqtt://h, username: u, password_credential: broker}\n",
            "2: mqtt.password_credential: systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set); "
            "add LoadCredential= to the unit, or use password_file where streamd runs without systemd",
        ),
        (CAMERA + "mqtt: 10.0.0.2\n", "2: mqtt: expected mqtt://host[:port] or mqtts://host[:port], found '10.0.0.2'"),
        (
            CAMERA + "mqtt: mqtt://h/doors\n",
            "2: mqtt: expected mqtt://host[:port] or mqtts://host[:port] and nothing after it; topics are set by base_topic",
        ),
        (CAMERA + "mqtt: {url: mqtt://h, protocol: 4}\n", "2: mqtt.protocol: expected '5' or '3.1.1', found 4"),
        (
            "cameras: {a: {source: rtsp://h/a, ca_file: x}}\nmqtt: mqtt://h\n",
            "1: cameras.a.ca_file: is for encrypted connections; expected source to begin with https:// or rtsps://",
        ),
        (
            CAMERA + "mqtt: {url: mqtt://h, ca_file: x}\n",
            "2: mqtt.ca_file: is for encrypted connections; expected url to begin with mqtts://",
        ),
        (
            CAMERA + "mqtt: {url: mqtt://h, base_topic: a/+}\n",
            "2: mqtt.base_topic: expected a topic without '+', '#', spaces and "
            "empty levels that does not begin with '$', found 'a/+'",
        ),
        (CAMERA + "mqtt: {url: mqtt://h, client_id: 5}\n", "2: mqtt.client_id: expected text in quotes, found 5"),
        (TWO_LINES + "motion: fast\n", "3: motion: expected a section of keys and values, found 'fast'"),
        (TWO_LINES + "motion: {enabled: maybe}\n", "3: motion.enabled: expected true or false, found 'maybe'"),
        (
            TWO_LINES + "detection: {min_score: 1.5}\n",
            "3: detection.min_score: expected a number above 0 and below 1, found 1.5",
        ),
        (
            TWO_LINES + "detection: {max_faces: 2.5}\n",
            "3: detection.max_faces: expected a whole number from 1 to 64, found 2.5",
        ),
        (
            TWO_LINES + "detection: {workers: many}\n",
            "3: detection.workers: expected a whole number from 1 to 64 or null, found 'many'",
        ),
        (
            TWO_LINES + "quality: {min_brightness: .nan}\n",
            "3: quality.min_brightness: expected a number from 0 to 255, found nan",
        ),
        (
            TWO_LINES + "quality: {min_brightness: 250}\n",
            "3: quality.max_brightness: expected at least min_brightness (250), is 220",
        ),
        (TWO_LINES + "model: {card: 5}\n", "3: model.card: expected a path or null, found 5"),
        (
            TWO_LINES + "model: {backend: litertt}\n",
            "3: model.backend: expected 'auto', 'litert' or 'tensorflow', found 'litertt'; did you mean 'litert'?",
        ),
        (
            TWO_LINES + "model: {batch_sizes: [4, 2]}\n",
            "3: model.batch_sizes: expected a rising list of whole numbers from 1 to 256, such as [1, 2, 4, 8], or null",
        ),
        (
            TWO_LINES + "decision: {max_false_accepts: 0.5}\n",
            "3: decision.max_false_accepts: expected a number above 0 and at most 0.1, found 0.5",
        ),
        (
            TWO_LINES + "decision: {min_good_frames: 9}\n",
            "3: decision.unknown_after_good_frames: expected at least min_good_frames (9), is 8",
        ),
        (
            TWO_LINES + "metrics: {address: localhost}\n",
            "3: metrics.address: expected an IP address such as 127.0.0.1 or ::1, found 'localhost'",
        ),
        (TWO_LINES + "log: {level: null}\n", "3: log.level: expected 'debug', 'info', 'warning' or 'error', found nothing"),
        (TWO_LINES + "log: {level: info}\nlog: {level: debug}\n", "4: log: given twice, first in line 3"),
        ("- a\n", "1: expected a section of keys and values, found a list"),
        (
            "cameras:\n\tfront: x\n",
            "2: not YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs",
        ),
        (
            "cameras: {front: x\nmqtt: y\n",
            "2: not YAML: expected ',' or '}', but got ':'; look at the indentation and brackets of "
            "this line and the one before",
        ),
        ("cameras: x: y\n", "1: not YAML: mapping values are not allowed here; " + IN_QUOTES),
        ("mqtt: @x\n", "1: not YAML: found character '@' that cannot start any token; " + IN_QUOTES),
        ("a: &x {b: *x}\n", "1: aliases (*name) are not supported; write the value again"),
        ("a: !secret x\n", "1: not YAML: there is a value that begins with '!' or '&'; " + IN_QUOTES),
        (
            TWO_LINES + "metrics: {port: 2026-13-01}\n",
            "3: metrics.port: expected a whole number from 1 to 65535 or null, found '2026-13-01'",
        ),
        (
            TWO_LINES + "decision: {max_false_accepts: 1e-3}\n",
            "3: decision.max_false_accepts: expected a number above 0 and at most 0.1, found '1e-3', which is text to YAML; "
            "write 1.0e-3 or 0.001",
        ),
        (
            f"cameras:\n  a: {{source: /dev/video0, max_fps: 1:30}}\n{BROKER}",
            "2: cameras.a.max_fps: expected a number above 0 and at most 120, found '1:30'",
        ),
        (
            f"cameras:\n  a: rtsp://h:99999/s\n{BROKER}",
            "2: cameras.a: expected rtsp://host[:port]/path with a port from 1 to 65535, found 'rtsp://h:99999/s'",
        ),
        (
            CAMERA + "mqtt: mqtt://h:0\n",
            "2: mqtt: expected mqtt://host[:port] or mqtts://host[:port] with a port from 1 to 65535, found 'mqtt://h:0'",
        ),
        (
            f"cameras:\n  a: ~/a.mp4\n{BROKER}",
            "2: cameras.a: expected a path without '~', which is a home folder to a shell only; write the whole path",
        ),
        (
            TWO_LINES + "state: ~anna/state\n",
            "3: state: expected a path without '~', which is a home folder to a shell only; write the whole path",
        ),
        (
            TWO_LINES + "log: !!python/object:os.system {level: info}\n",
            f"3: not YAML: there is a value that begins with '!' or '&'; {IN_QUOTES}",
        ),
        (
            TWO_LINES + "node: !!str porch\n",
            f"3: not YAML: there is a value that begins with '!' or '&'; {IN_QUOTES}",
        ),
        ("[" * 3000, "1: nested too deeply; expected a few levels of keys and values"),
        ("a: 1\n---\nb: 2\n", "2: a second document begins here; expected one"),
        ("a: 1\nb: \x07\n", "2: there is a character that YAML does not allow"),
    ],
)
def test_a_wrong_file_is_answered_by_line_key_and_what_would_be_right(file: Path, text: str, sentence: str) -> None:
    assert problems(file, text) == [f"streamd.yaml:{sentence}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(file: Path) -> None:
    text = """\
cameras:
  front:
    source: "rtsp://10.0.0.7/stream"
    rotation: 45
    reconnect_min_seconds: 9
    colour: red
    password: x
  Back: "exec:reboot"
mqtt:
  url: mqtt://10.0.0.2
  url: mqtt://10.0.0.3
  keepalive_seconds: soon
  client_key: /x
decision: {margin: -1}
"""

    told = [problem.split(": ")[0:2] for problem in problems(file, text)]

    assert told == [
        ["streamd.yaml:2", "cameras.front.reconnect_max_seconds"],
        ["streamd.yaml:4", "cameras.front.rotation"],
        ["streamd.yaml:6", "cameras.front.colour"],
        ["streamd.yaml:7", "cameras.front.password"],
        ["streamd.yaml:8", "cameras.Back"],  # its name
        ["streamd.yaml:8", "cameras.Back"],  # its source
        ["streamd.yaml:11", "mqtt.url"],
        ["streamd.yaml:12", "mqtt.keepalive_seconds"],
        ["streamd.yaml:13", "mqtt.client_key"],
        ["streamd.yaml:14", "decision.margin"],
    ]


def test_a_file_that_is_not_text_is_named_with_the_line(file: Path) -> None:
    file.write_bytes(b"node: a\n# caf\xe9\n")

    with pytest.raises(ConfigError) as refusal:
        load(file, {})

    assert refusal.value.problems == (f"{file}:2: not UTF-8 text; save it in UTF-8",)


def test_a_file_that_cannot_be_read_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, {})

    assert refusal.value.problems == (f"{tmp_path}: cannot be read: is a directory",)
    assert refusal.value.exit_status == EXIT_CONFIG


# Where the file is


def test_the_command_line_comes_before_the_environment(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.touch()
    second.touch()

    assert find(first, {"STREAMD_CONFIG": str(second)}) == first
    assert find(None, {"STREAMD_CONFIG": str(second)}) == second


def test_a_file_that_was_named_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    gone = tmp_path / "gone.yaml"

    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file \(named by --config\)"):
        find(gone, {})
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file \(named by STREAMD_CONFIG\)"):
        find(None, {"STREAMD_CONFIG": str(gone)})


# What is allowed and not wise


def test_nothing_is_said_about_a_configuration_that_keeps_its_secrets(file: Path) -> None:
    file.touch(0o600)

    assert loaded(file, "cameras: {front: 'rtsp://u:p@10.0.0.7/s'}\nmqtt: mqtts://10.0.0.2\n").warnings() == []


def test_a_password_that_everybody_can_read_is_warned_of(file: Path) -> None:
    secret = file.parent / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    file.touch()
    file.chmod(0o644)
    text = (
        "cameras: {front: 'rtsp://u:p@10.0.0.7/s'}\n"
        "mqtt: {url: mqtts://10.0.0.2, username: door, password_file: secret}\n"
    )  # fmt: skip

    assert loaded(file, text).warnings() == [
        f"{file} holds a password and every user of this machine can read it; chmod o-r it, or use password_file",
        f"mqtt.password_file: every user of this machine can read {secret}; chmod o-r it",
    ]


@pytest.mark.parametrize(
    ("host", "warned"), [("10.0.0.2", 1), ("broker.lan", 1), ("localhost", 0), ("127.0.0.3", 0), ("[::1]", 0)]
)
def test_a_plain_text_broker_on_another_machine_is_warned_of(file: Path, host: str, warned: int) -> None:
    warnings = loaded(file, f"{CAMERA}mqtt: 'mqtt://{host}'\n").warnings()

    assert len(warnings) == warned
    assert all(f"mqtt://{host} is not encrypted" in warning for warning in warnings)


def test_open_metrics_and_doors_without_a_camera_are_warned_of(file: Path) -> None:
    camera = "cameras: {front: {source: /dev/video0, enabled: false}}\n"
    text = camera + "mqtt: mqtt://localhost\nmetrics: {port: 9, address: 0.0.0.0}\n"

    assert loaded(file, text).warnings() == [
        "metrics.address: every machine that reaches 0.0.0.0 can read the metrics; set it to 127.0.0.1",
        "cameras: none is enabled, so nobody is recognised; set enabled: true for one of them",
    ]


# The manual


def test_the_manual_names_every_key_with_its_default() -> None:
    """Walks the fields of the models; the example camera and the example broker are what has no default."""
    manual = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for path, model in sections(Config).items():
        section = manual
        for name in path.split(".")[1:]:
            section = section[name]

        assert section.keys() == model.model_fields.keys(), path
        for name, field in model.model_fields.items():
            if not field.is_required() and f"{path}.{name}" not in sections(Config):
                in_yaml = to_jsonable_python(field.default)
                assert section[name] == in_yaml, f"{path}.{name}"


def test_the_manual_loads_to_the_very_defaults_of_the_code() -> None:
    manual = load(SHIPPED, {})
    code = Config(
        cameras={"front": CameraSettings(source="rtsp://192.168.1.20/stream1")}, mqtt=MqttSettings(url="mqtt://127.0.0.1")
    )

    assert manual.model_dump() == code.model_dump()
    assert manual.warnings() == []


def test_the_two_lines_of_the_manual_are_a_configuration(file: Path) -> None:
    lines = re.findall(r"^#     (cameras: .*|mqtt: .*)$", SHIPPED.read_text(encoding="utf-8"), re.MULTILINE)

    assert list(loaded(file, "\n".join(lines)).cameras) == ["front"]


def test_every_key_is_described_in_one_sentence_and_every_number_has_a_range() -> None:
    for path, model in sections(Config).items():
        for name, field in model.model_fields.items():
            assert re.fullmatch(r"[A-Z0-9`].*[^.]\.", field.description or ""), f"{path}.{name}"
            if {int, float} & {field.annotation, *get_args(field.annotation)} and name != "batch_sizes":
                bounds = {bound for item in field.metadata for bound in ("gt", "ge", "lt", "le") if hasattr(item, bound)}
                assert len(bounds) == 2, f"{path}.{name} needs a least and a greatest value"


def test_the_defaults_are_those_of_the_stages() -> None:
    config = Config(cameras={"front": CameraSettings(source="/dev/video0")}, mqtt=MqttSettings(url="mqtt://localhost"))

    for section, rules in (
        (config.motion, MotionRules()),
        (config.detection, DetectionRules()),
        (config.quality, QualityRules()),
        (config.decision, DecisionRules()),
    ):
        stage = asdict(rules)
        assert {name: value for name, value in section if name in stage} == stage
