"""`streamd check`: everything that a start needs is tried once; what does not work is named with its mend, and no secret is."""

from __future__ import annotations

import io
import json
import shutil
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from streamd.check import Finding, State
from streamd.demo.broker import free_port
from streamd.demo.portraits import CUT_OFF, OFFICIAL
from streamd.demo.rtsp_server import Account, encode
from streamd.display import findings_table
from tests.process.door import BROKER_PASSWORD, Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process

CAMERA_PASSWORD, WRONG_PASSWORD = "p:w@1/ü", "guessed"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of noise: whether a camera works does not depend on who stands before it."""
    noise = np.random.default_rng(1).integers(0, 255, (5, 48, 64, 3), np.uint8)
    path = tmp_path_factory.mktemp("clip") / "noise.mp4"
    encode(path, iter(noise), 5)
    return path


@pytest.fixture
def door(tmp_path: Path, portraits: Path, clip: Path) -> Iterator[Door]:
    """A door at which everything works."""
    with Door(tmp_path) as door:
        house = door.serve({"front": clip}, Account("viewer", CAMERA_PASSWORD))
        secret = door.secret("camera.secret", CAMERA_PASSWORD)
        door.cameras["front"] = {"source": house.url("front"), "username": "viewer", "password_file": secret}
        door.enrol("Barack Obama", portraits / OFFICIAL.file)
        yield door


def test_where_everything_works_each_part_says_so_and_the_status_is_0(door: Door) -> None:
    door.write_config()

    done = door.command("check", "--json")

    assert done.returncode == 0, done.stderr
    findings = {one["part"]: one for one in json.loads(done.stdout)}
    assert list(findings) == ["configuration", "state folder", "metrics", "model", "gallery", "camera front", "broker"]
    assert {one["state"] for one in findings.values()} == {"ok"}
    assert "64x48" in findings["camera front"]["seen"]
    assert findings["gallery"]["seen"].startswith("1 person, 1 photo in ")
    assert findings["broker"]["seen"].endswith("MQTT 5, TLS")


def test_the_table_says_the_same_to_a_person(door: Door) -> None:
    door.write_config()

    done = door.command("check")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "Everything works."
    assert sum(line.startswith("works") for line in done.stdout.splitlines()) == 7


def test_the_table_is_not_cut_where_nobody_sees_it(door: Door) -> None:
    """Through a pipe, long names and addresses stand in one line, as whoever searches them expects."""
    address = f"rtsp://127.0.0.1:{free_port()}/{'long/' * 30}stream"
    door.cameras["dead"] = address
    door.write_config()

    done = door.command("check")

    assert [line for line in done.stdout.splitlines() if address in line]


def test_what_is_broken_is_named_with_its_mend_and_without_any_secret(door: Door, portraits: Path) -> None:
    """Two cameras, two photos and the broker; the camera and the photo beside them still count as what they are."""
    door.cameras["dead"] = f"rtsp://127.0.0.1:{free_port()}/stream"
    door.cameras["locked"] = door.cameras["front"]["source"].replace("//", f"//viewer:{WRONG_PASSWORD}@")
    door.enrol("Anna", portraits / CUT_OFF.file, "half.jpg")
    (door.gallery / "Anna" / "notes.jpg").write_text("Anna was here")
    door.write_config()
    (door.folder / "broker.secret").write_text("not the broker's")

    table = door.command("check")
    listed = door.command("check", "--json")

    assert (table.returncode, listed.returncode) == (69, 69)
    findings = {one["part"]: one for one in json.loads(listed.stdout)}
    broken = {part: one for part, one in findings.items() if one["state"] == "failed"}
    assert set(broken) == {"camera dead", "camera locked", "broker"}
    assert broken["camera dead"]["mend"] == "is it on, and is the port right?"
    assert broken["camera locked"]["mend"] == "mend them in the configuration"
    assert broken["broker"]["mend"] == "check the user name and password of `mqtt`"
    assert findings["camera front"]["state"] == "ok"
    assert findings["gallery"]["seen"].startswith("1 person, 1 photo in ")
    assert findings["photo Anna/notes.jpg"]["seen"] == "text"
    for photo in ("Anna/half.jpg", "Anna/notes.jpg"):
        assert findings[f"photo {photo}"]["state"] == "warning"
        assert findings[f"photo {photo}"]["mend"]
    # That a password stands in a file that all may read is something to look at, too.
    assert next(one["mend"] for one in json.loads(listed.stdout) if one["state"] == "warning").startswith("chmod o-r it")
    assert table.stdout.splitlines()[-1] == "3 broken. 3 to look at."
    said = table.stdout + table.stderr + listed.stdout + listed.stderr
    for secret in (CAMERA_PASSWORD, "p%3Aw", WRONG_PASSWORD, BROKER_PASSWORD, "not the broker's"):
        assert secret not in said


def test_what_is_switched_off_is_not_tried_and_a_taken_port_is_something_to_look_at(door: Door) -> None:
    """Of the camera that is switched off nobody asks for a picture: there is none to be had."""
    door.cameras["shed"] = {"source": f"rtsp://127.0.0.1:{free_port()}/stream", "enabled": False}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door.options["metrics"] = {"port": taken.getsockname()[1]}
        door.write_config()

        done = door.command("check", "--json")

    findings = {one["part"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0
    assert {part for part, one in findings.items() if one["state"] == "warning"} == {"metrics", "camera shed"}
    assert findings["camera shed"]["mend"] == "set enabled: true to use it"
    assert "address already in use" in findings["metrics"]["seen"]


def test_before_the_first_start_nobody_is_enrolled_and_nothing_is_made(door: Door) -> None:
    shutil.rmtree(door.state)
    door.write_config()

    done = door.command("check", "--json")

    findings = {one["part"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0
    assert findings["state folder"]["seen"].endswith("made at the first start")
    assert (findings["gallery"]["state"], findings["gallery"]["seen"].partition(": ")[2]) == (
        "warning", "nobody is enrolled, everyone will be unknown",
    )  # fmt: skip
    assert not door.state.exists()


def test_a_model_that_cannot_be_opened_leaves_the_gallery_not_looked_at(door: Door) -> None:
    door.options["model"] = {"card": "nowhere.json"}
    door.write_config()

    done = door.command("check", "--json")

    findings = {one["part"]: one["state"] for one in json.loads(done.stdout)}
    assert done.returncode == 69
    assert (findings["model"], findings["gallery"], findings["camera front"]) == ("failed", "warning", "ok")


def test_names_with_brackets_are_shown_as_they_are() -> None:
    console = Console(width=200, file=io.StringIO(), highlight=False)

    findings_table([Finding("photo [b]Anna[/b]/1.jpg", State.FAILED, "[/srv/[a]", "look into [red]")], console)

    told = console.file.getvalue()
    assert all(text in told for text in ("photo [b]Anna[/b]/1.jpg", "[/srv/[a]", "look into [red]"))
