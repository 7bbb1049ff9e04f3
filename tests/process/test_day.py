"""An ordinary day at a door: who comes is told, photos come and go, commands are obeyed, broken cameras are named.

One daemon for all: two cameras that work (`front` shows a person who is enrolled, by other photos; `back` shows a stranger)
and three that do not. Every test leaves the door as it found it.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd.demo.broker import free_port
from streamd.demo.portraits import CUT_OFF, OFFICIAL, STRANGER
from streamd.demo.rtsp_server import Account
from streamd.events.contract import (
    CameraCondition,
    CameraState,
    CommandResult,
    GalleryEvent,
    LastSeen,
    Presence,
    Refusal,
    Verdict,
    schemas,
)
from streamd.values import Outcome
from tests.events.test_contract import violations
from tests.process.broker import wait_until
from tests.process.door import BROKER_PASSWORD, MAX_AGE, TOPICS, Door, age, fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process

CAMERA_PASSWORD, WRONG_PASSWORD = "p:w@1/ü", "guessed%40twice"
PHOTO_LIVE = 2.0
# What an earlier run left of somebody whose folder was deleted since, and of a camera that was taken down.
REMAINS = {TOPICS.at(LastSeen, subject="moved-away"), TOPICS.at(CameraState, camera="taken-down")}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, portraits: Path, clips: dict[str, Path]) -> Iterator[Door]:
    with Door(tmp_path_factory.mktemp("day")) as door:
        house = door.serve(clips, Account("viewer", CAMERA_PASSWORD))
        login = {"username": "viewer", "password_file": door.secret("camera.secret", CAMERA_PASSWORD)}
        door.cameras = {
            "front": {"source": house.url("person"), **login},
            "back": {"source": house.url("stranger"), **login},
            "dead": f"rtsp://127.0.0.1:{free_port()}/stream",
            "usb": "/dev/video99",
            "locked": house.url("person").replace("//", f"//viewer:{WRONG_PASSWORD}@"),
        }
        door.enrol("Barack Obama", portraits / OFFICIAL.file)
        with door.listen("streamd") as earlier_run:
            for topic in REMAINS:
                earlier_run.send(topic, b'{"schema":1}', retain=True)
        decoy = door.folder / "decoy" / "tensorflow"
        decoy.mkdir(parents=True)
        (decoy / "__init__.py").write_text("import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n")
        door.start(PYTHONPATH=str(decoy.parent))
        yield door


def test_an_enrolled_person_is_identified_by_photos_that_were_never_enrolled(door: Door) -> None:
    """Over TLS, with password and access control, beside three broken cameras; every field of the contract is there."""
    event, message = door.decision("front", Outcome.IDENTIFIED)

    assert violations(schemas()["camera/{camera}/visit"], fields(message)) == []
    assert (event.subject, event.name, event.photo) == ("barack-obama", "Barack Obama", "Barack Obama/portrait.jpg")
    assert event.evidence is not None
    assert event.evidence >= event.threshold
    assert event.frames_used >= 3
    assert event.liveness == "none"
    assert event.started <= event.captured <= event.decided
    assert event.valid_until - event.captured == timedelta(seconds=MAX_AGE)
    assert event.age_ms < 1000 * MAX_AGE
    assert age(message) < MAX_AGE
    assert event.latency_ms < 1000 * MAX_AGE
    assert message.properties is not None
    assert message.properties.MessageExpiryInterval <= MAX_AGE


def test_a_stranger_is_unknown_and_nobody_is_named_beside_them(door: Door) -> None:
    """Not even the enrolled person who comes nearest."""
    event, message = door.decision("back", Outcome.UNKNOWN)

    assert violations(schemas()["camera/{camera}/visit"], fields(message)) == []
    assert (event.subject, event.name, event.photo) == (None, None, None)
    assert b"obama" not in message.body.lower()
    assert event.frames_used >= 8


def test_who_subscribes_later_gets_states_and_no_decision(door: Door) -> None:
    door.decision("front", Outcome.IDENTIFIED)
    door.decision("back", Outcome.UNKNOWN)

    states = {
        f"{TOPICS.base}/{topic}" for topic in ("status", "gallery", "camera/front/presence", "subject/barack-obama/last_seen")
    }
    with door.listen() as late:
        wait_until(lambda: states <= {one.topic for one in late.messages}, "the states")
        # Whatever is kept arrives before the answer to this.
        door.listener.send(TOPICS.command("sentinel"))
        wait_until(lambda: late.at(TOPICS.result("sentinel")), "the answer")
        kept = {one.topic for one in late.messages if one.retained}

    assert [topic for topic in kept if topic.endswith(("/visit", "/left", "/event"))] == []


def test_what_is_kept_of_people_and_cameras_that_went_while_the_daemon_was_down_is_taken_away(door: Door) -> None:
    for topic in REMAINS:
        wait_until(lambda topic=topic: door.listener.at(topic)[-1].body == b"", f"{topic} to be cleared")


def test_the_broker_lets_the_daemon_read_and_write_all_that_it_needs(door: Door) -> None:
    """The access-control list of these tests is the one that docs/mqtt.md asks for: only the node's own topics."""
    status = door.status("online")

    assert [problem for problem in status.problems if "access-control" in problem] == []


def test_a_photo_dropped_in_makes_its_person_known_and_taking_it_away_makes_them_a_stranger_again(
    door: Door, portraits: Path
) -> None:
    """The stranger stands before the camera all the time; within two seconds of the photo's last byte they are known."""
    door.decision("back", Outcome.UNKNOWN)

    written = door.enrol("Joe Biden", portraits / STRANGER.file)

    event, message = door.decision("back", Outcome.IDENTIFIED, since=written)
    assert (event.subject, event.name, event.photo) == ("joe-biden", "Joe Biden", "Joe Biden/portrait.jpg")
    assert message.at - written <= PHOTO_LIVE
    gallery = door.gallery_state(lambda one: one.subjects == 2, since=written)
    assert (gallery.templates, gallery.problems) == (2, ())
    judged = door.await_state(GalleryEvent, lambda one: one.subject == "joe-biden", "the photo's verdict", since=written)
    assert (judged.photo, judged.verdict) == ("Joe Biden/portrait.jpg", Verdict.ACCEPTED)

    removed = time.monotonic()
    shutil.rmtree(door.gallery / "Joe Biden")

    event, message = door.decision("back", Outcome.UNKNOWN, since=removed)
    assert event.subject is None
    assert message.at - removed <= PHOTO_LIVE
    # Nothing is kept of them at the broker either.
    wait_until(
        lambda: door.listener.at(f"{TOPICS.base}/subject/joe-biden/last_seen")[-1].body == b"", "last_seen to be cleared"
    )
    gallery = door.gallery_state(lambda one: one.subjects == 1, since=removed)
    assert gallery.templates == 1


def test_a_change_that_follows_at_once_upon_another_is_not_missed(door: Door, portraits: Path) -> None:
    """Each comes while the daemon is still busy with the one before, when nobody waits for changes."""
    for _ in range(3):
        since = door.enrol("Joe Biden", portraits / STRANGER.file)
        door.decision("back", Outcome.IDENTIFIED, since)
        since = time.monotonic()
        shutil.rmtree(door.gallery / "Joe Biden")
        _, message = door.decision("back", Outcome.UNKNOWN, since)
        assert message.at - since <= PHOTO_LIVE


def test_a_photo_that_cannot_be_used_is_named_with_its_reason_everywhere(door: Door, portraits: Path) -> None:
    """On the `gallery` topic, in the log and in `streamd check`, which runs beside the daemon."""
    since = door.enrol("Anna", portraits / CUT_OFF.file, "half.jpg")
    (door.gallery / "Anna" / "notes.jpg").write_text("Anna was here")

    gallery = door.gallery_state(lambda one: len(one.problems) == 2, since)
    findings = json.loads(door.command("check", "--json").stdout)
    shutil.rmtree(door.gallery / "Anna")

    told = {problem.photo: problem.reason for problem in gallery.problems}
    assert set(told) == {"Anna/half.jpg", "Anna/notes.jpg"}
    assert "this is text" in told["Anna/notes.jpg"]
    refused = {one.photo: one for one in door.said(GalleryEvent, since) if one.verdict is Verdict.REFUSED}
    assert set(refused) == set(told)
    checked = {one["part"]: one for one in findings}
    for photo, event in refused.items():
        assert event.advice is not None
        assert f"{photo} is not used: {event.advice}" in door.log
        assert checked[f"photo {photo}"]["state"] == "warning"
        assert checked[f"photo {photo}"]["mend"] == event.advice
    door.gallery_state(lambda one: one.problems == (), since)


def test_a_retained_command_is_refused_and_taken_away(door: Door) -> None:
    """It would be carried out again at every start."""
    topic, since = TOPICS.command("disable"), time.monotonic()

    door.listener.send(topic, b'{"camera": "front"}', retain=True)

    answer = door.await_state(CommandResult, lambda _: True, "the answer", since=since, command="disable")
    assert (answer.ok, answer.refusal) == (False, Refusal.RETAINED)
    wait_until(lambda: door.listener.at(topic)[-1].body == b"", "the command to be taken away")
    assert all(state.enabled for state in door.said(CameraState, since, camera="front"))


@pytest.mark.parametrize("payload", [b'{"camrea": "back"}', b'{"camera": ["back"]}', b'{"camera": "bcak"}'])
def test_a_typing_error_in_a_command_switches_nothing_off(door: Door, payload: bytes) -> None:
    since = time.monotonic()

    door.listener.send(TOPICS.command("disable"), payload)

    answer = door.await_state(CommandResult, lambda _: True, "the answer", since=since, command="disable")
    assert (answer.ok, answer.refusal) == (False, Refusal.INVALID_PAYLOAD)
    assert door.said(CameraState, since, camera="back") == [] or door.said(CameraState, since, camera="back")[-1].enabled


def test_disable_and_enable_switch_one_camera(door: Door) -> None:
    door.presence("back", 1)
    since = time.monotonic()

    door.listener.send(TOPICS.command("disable"), b'{"camera": "back"}')

    state = door.camera("back", lambda one: not one.enabled, since)
    assert (state.state, state.reason, state.detail) == (CameraCondition.PROBLEM, "disabled", None)
    door.presence("back", 0, since)
    assert door.said(CommandResult, since, command="disable")[-1].ok

    since = time.monotonic()
    door.listener.send(TOPICS.command("enable"), b'{"camera": "back"}')

    state = door.camera("back", lambda one: one.enabled and one.state is CameraCondition.OK, since)
    door.presence("back", 1, since)


def test_reload_answers_where_it_was_asked_to_with_the_asker_s_own_data(door: Door) -> None:
    asked = Properties(PacketTypes.PUBLISH)
    asked.ResponseTopic, asked.CorrelationData = "answers/of-the-automation", b"42"

    door.listener.send(TOPICS.command("reload"), properties=asked)

    wait_until(lambda: door.listener.at("answers/of-the-automation"), "the answer")
    [answer] = door.listener.at("answers/of-the-automation")
    assert CommandResult.from_json(answer.body).ok
    assert answer.properties is not None
    assert answer.properties.CorrelationData == b"42"


@pytest.mark.parametrize(
    ("camera", "reason", "words"),
    [
        ("dead", "refused", "refused the connection"),
        ("usb", "not_found", "/dev/video99 is not there; is the camera plugged in"),
        ("locked", "unauthorised", "user name"),
    ],
)
def test_a_camera_that_does_not_work_says_why(door: Door, camera: str, reason: str, words: str) -> None:
    state = door.camera(camera, lambda one: one.state is CameraCondition.PROBLEM)

    assert state.reason == reason
    assert state.detail is not None
    assert state.detail.startswith(f"{camera}: ")
    assert words in state.detail
    assert state.detail in door.log
    assert {one.faces for one in door.said(Presence, camera=camera)} == {0}  # whatever an earlier run left


def test_enable_tries_a_camera_at_once_that_waits_for_its_next_try(door: Door) -> None:
    """After a wrong password that is a minute away."""
    door.camera("locked", lambda one: one.state is CameraCondition.PROBLEM)
    tries = 'streamd_outages_total{failure="unauthorised"}'
    before = door.metric(tries)

    door.listener.send(TOPICS.command("enable"), b'{"camera": "locked"}')

    wait_until(lambda: door.metric(tries) > before, "another try", 15)


def test_no_password_stands_anywhere(door: Door) -> None:
    """Neither in the log, which is written at its most talkative, nor in any message."""
    door.camera("locked", lambda one: one.state is CameraCondition.PROBLEM)
    written = door.log.encode() + b"".join(message.body for message in door.listener.messages)

    for secret in (CAMERA_PASSWORD, "p%3Aw%401", WRONG_PASSWORD, "guessed@twice", BROKER_PASSWORD):
        assert secret.encode() not in written


def test_tensorflow_is_not_imported_where_litert_serves(door: Door) -> None:
    """A decoy that would tell of its import lies on the daemon's path."""
    assert not (door.folder / "decoy" / "tensorflow" / "imported").exists()
    assert door.process is not None
    with open(f"/proc/{door.process.pid}/maps") as maps:
        mapped = maps.read()
    assert "ai_edge_litert" in mapped
