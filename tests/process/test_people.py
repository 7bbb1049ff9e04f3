"""What is kept of people at a running door, and that they can be listed, made known, handed their data and forgotten.

A stranger comes and goes before the only camera. What is kept of them is sealed; they are enrolled from it, without a photo of
their own, and then forgotten: nothing of them is found in any file of the state, nor at the broker.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from streamd.demo.portraits import OFFICIAL, STANDING, STRANGER
from streamd.events.contract import CommandResult, EnrolPrompt, GalleryEvent, LastSeen, Left, Verdict
from streamd.values import Outcome
from tests.process.broker import wait_until
from tests.process.door import TOPICS, Door, ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.conftest import Visited

pytestmark = pytest.mark.process


@dataclass(frozen=True)
class Guided:
    """A door where somebody is being guided before the camera `front`, and the command that guides them."""

    door: Door
    command: subprocess.Popen[str]


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory, clips: dict[str, Path]) -> Iterator[Guided]:
    """It takes half a minute, in which the other tests go on."""
    with Door(tmp_path_factory.mktemp("guided")) as door:
        door.cameras["front"] = door.serve(clips).url("near")
        door.start()
        door.presence("front", 1)
        command = door.begin("enrol", "Barack", "--camera", "front", "--json")
        yield Guided(door, command)
        command.kill()
        ended(command)


@pytest.fixture(scope="module")
def door(visited: Visited, guided: Guided) -> Door:
    return visited.door


def asked(door: Door, *command: str) -> Any:
    """What a command of this machine answers, as JSON."""
    done = door.command(*command, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_photos_are_enrolled_by_a_command_that_tells_what_each_is_worth(door: Door, portraits: Path) -> None:
    told = asked(door, "enrol", "Barack Obama", str(portraits / STANDING.file))

    assert [(one["used"], one["photo"]) for one in told] == [(True, f"Barack Obama/{STANDING.file}")]
    assert 0 <= told[0]["gain"] <= 1
    (person,) = asked(door, "gallery")["subjects"]
    assert (person["subject"], len(person["photos"])) == ("barack-obama", 2)


def test_a_stranger_who_comes_again_is_made_known_and_then_forgotten(door: Door) -> None:
    # The same visitor over visits, kept sealed.
    wait_until(lambda: any(one["visits"] >= 2 for one in asked(door, "unknown")["visitors"]), "two visits of one stranger", 60)
    (visitor,) = asked(door, "unknown")["visitors"]
    assert visitor["cameras"] == ["back"]
    assert not any(b"JFIF" in path.read_bytes() for path in (door.state / "unknown").iterdir())

    # Made known from what was kept, and recognised when they come again.
    asked(door, "unknown", "assign", visitor["id"], "Joe")
    door.await_state(GalleryEvent, lambda one: one.subject == "joe" and one.verdict is Verdict.ACCEPTED, "a photo that is used")
    event, _ = door.decision("back", Outcome.IDENTIFIED)
    assert event.subject == "joe"
    assert visitor["id"] not in {one["id"] for one in asked(door, "unknown")["visitors"]}
    kept = TOPICS.at(LastSeen, subject="joe")
    wait_until(lambda: door.listener.at(kept), "last_seen")

    # Handed their data.
    asked(door, "export", "joe", str(door.folder / "export"))
    assert json.loads((door.folder / "export" / "templates.json").read_text())[0]["template"]
    assert list((door.folder / "export" / "photos" / "Joe").glob("*.jpg"))

    # And forgotten, with proof.
    told = asked(door, "forget", "joe", "--yes")
    assert (told["ok"], told["found"], told["unread"]) == (True, [], [])
    assert told["files"] >= 3
    wait_until(lambda: door.listener.at(kept)[-1].body == b"", "last_seen to be cleared")
    since = door.listener.at(kept)[-1].at
    door.decision("back", Outcome.UNKNOWN, since=since)


def test_an_ignored_visitor_is_listed_no_more(door: Door) -> None:
    wait_until(lambda: asked(door, "unknown")["visitors"], "the stranger to be kept again", 60)
    (visitor,) = asked(door, "unknown")["visitors"]
    asked(door, "unknown", "ignore", visitor["id"])
    gone = len(door.said(Left, camera="back"))
    wait_until(lambda: len(door.said(Left, camera="back")) > gone, "another visit", 60)

    assert asked(door, "unknown")["visitors"] == []


@pytest.mark.parametrize("command", [("forget", "nobody", "--yes"), ("unknown", "assign", "visitor-000000", "Joe")])
def test_what_is_not_there_is_said_in_one_sentence(door: Door, command: tuple[str, ...]) -> None:
    done = door.command(*command)

    assert done.returncode != 0
    assert "there is" in done.stdout + done.stderr or "no unknown visitor" in done.stdout + done.stderr


def test_a_photo_comes_over_mqtt(door: Door, portraits: Path) -> None:
    photo = base64.b64encode((portraits / STRANGER.file).read_bytes()).decode()
    since = time.monotonic()

    door.listener.send(TOPICS.command("enrol"), json.dumps({"subject": "Joe B", "photo": photo, "name": "a.jpg"}).encode())

    judged = door.await_state(GalleryEvent, lambda one: one.subject == "joe-b", "the verdict", since=since)
    assert (judged.photo, judged.verdict) == ("Joe B/a.jpg", Verdict.ACCEPTED)


@pytest.mark.parametrize(
    "payload",
    [
        {"subject": "../x", "photo": ""},
        {"subject": "Joe", "photo": "no base64!"},
        {"subject": "Joe", "photo": "", "name": "a.exe"},
        {"subject": "Joe", "camera": "nowhere"},
        {"subject": "Joe"},
        {"subject": 7, "photo": ""},
    ],
)
def test_an_enrolment_over_mqtt_that_cannot_be_is_refused(door: Door, payload: dict[str, object]) -> None:
    since = time.monotonic()
    before = set(door.gallery.iterdir())

    door.listener.send(TOPICS.command("enrol"), json.dumps(payload).encode())

    answer = door.await_state(CommandResult, lambda one: not one.ok, "the refusal", since=since, command="enrol")
    assert answer.message
    assert set(door.gallery.iterdir()) <= before | {door.gallery / "Joe"}


def test_a_person_is_guided_before_the_camera_and_known_from_then_on(guided: Guided) -> None:
    """A portrait that looks ahead all the time: the turned poses are waited for and skipped, what was taken counts."""
    done = ended(guided.command)

    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert said[-1]["ok"] is True
    assert said[0]["text"]
    heard = guided.door.said(EnrolPrompt)
    assert [one.text for one in heard] == [one["text"] for one in said]
    assert [one.finished for one in heard] == [False] * (len(heard) - 1) + [True]
    photos = list((guided.door.gallery / "Barack").glob("camera-front-*-straight.jpg"))
    assert len(photos) == 1
    event, _ = guided.door.decision("front", Outcome.IDENTIFIED)
    assert event.subject == "barack"


def test_the_gallery_is_backed_up_beside_the_daemon_and_restored_without_it(tmp_path: Path, portraits: Path) -> None:
    """Photos are not kept here, so that the vault is all there is."""
    with Door(tmp_path) as door:
        door.cameras["front"] = {"source": str(portraits), "enabled": False}
        door.options["gallery"] = {"keep_photos": False}
        door.enrol("Barack Obama", portraits / OFFICIAL.file)
        door.start()
        door.gallery_state(lambda one: one.templates == 1)
        (tmp_path / "words").write_text("five words that nobody guesses")
        how = (str(tmp_path / "backup"), "--passphrase-file", str(tmp_path / "words"))
        assert door.command("backup", *how).returncode == 0
        refused = door.command("restore", *how)
        door.stop()
        # A machine that has nothing: another key, no folder.
        for name in ("vault", "gallery"):
            shutil.rmtree(door.state / name)
        (door.state / "vault.key").unlink()
        (door.state / "gallery.seen").unlink()

        assert "in use by another streamd" in refused.stderr
        assert "restored: 1 template; known by templates alone" in door.command("restore", *how).stdout
        since = time.monotonic()
        door.start()
        door.gallery_state(lambda one: one.templates == 1, since)
