"""A door whose parts fail one after another: camera, broker, and the daemon itself, each killed, halted and started again."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import time
from typing import TYPE_CHECKING

import pytest

from streamd.demo.portraits import OFFICIAL
from streamd.events.contract import CameraCondition, LastSeen, Left
from streamd.values import Outcome
from tests.process.broker import wait_until
from tests.process.camera import silent_port
from tests.process.door import MAX_AGE, STOP, Door, age

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.camera import CameraProcess

pytestmark = pytest.mark.process

NOTICED = 8.0  # seconds: three of silence are allowed (read_timeout_seconds), the rest is for a loaded machine
DISTURBANCE = 0.5  # seconds of a loaded machine between the broker and this process


@pytest.fixture
def door(tmp_path: Path, portraits: Path) -> Iterator[Door]:
    with Door(tmp_path) as door:
        door.enrol("Barack Obama", portraits / OFFICIAL.file)
        # Somebody who comes back after two seconds is a visit of their own.
        door.options["decision"] = {"cooldown_seconds": 0, "rejoin_seconds": 0, "left_after_seconds": 0.5}
        yield door


@pytest.fixture
def house(door: Door, clips: dict[str, Path]) -> CameraProcess:
    house = door.serve(clips)
    door.cameras["front"] = house.url("passing")
    return house


@pytest.mark.usefixtures("house")
def test_a_killed_daemon_is_offline_by_its_will_and_starts_again_in_the_same_state(door: Door) -> None:
    door.start()
    alive = door.status("online")

    killed = time.monotonic()
    door.kill()
    will = door.status("offline", since=killed)
    started = time.monotonic()
    door.start()

    assert (will.boot, will.since) == (alive.boot, None)  # the dead cannot say since when
    assert door.status("online", since=started).boot != alive.boot
    event, _ = door.decision("front", Outcome.IDENTIFIED, since=started)
    assert (event.subject, event.seq) == ("barack-obama", 1)


def test_a_camera_that_dies_or_hangs_is_a_problem_until_it_is_back(
    door: Door, house: CameraProcess, clips: dict[str, Path]
) -> None:
    """Meanwhile the camera beside it sees who comes as ever."""
    door.cameras["yard"] = door.serve(clips).url("passing")
    door.start()
    door.decision("front", Outcome.IDENTIFIED)

    since = time.monotonic()
    house.kill()
    gone = door.camera("front", lambda one: one.state is CameraCondition.PROBLEM, since, within=NOTICED)
    assert gone.reason in ("end_of_stream", "refused")
    assert gone.detail is not None
    door.decision("yard", Outcome.IDENTIFIED, since)
    since = time.monotonic()
    house.start()
    door.camera("front", lambda one: one.state is CameraCondition.OK, since)
    door.decision("front", Outcome.IDENTIFIED, since)

    since = time.monotonic()
    house.halt()
    gone = door.camera("front", lambda one: one.state is CameraCondition.PROBLEM, since, within=NOTICED)
    assert gone.reason == "timeout"
    door.decision("yard", Outcome.IDENTIFIED, since)
    since = time.monotonic()
    house.go_on()
    door.camera("front", lambda one: one.state is CameraCondition.OK, since)
    door.decision("front", Outcome.IDENTIFIED, since)


@pytest.mark.usefixtures("house")
def test_what_was_decided_while_the_broker_was_away_is_never_told(door: Door) -> None:
    """Visits go on meanwhile; afterwards the states come back and every decision that arrives is a fresh one."""
    door.start()
    door.decision("front", Outcome.IDENTIFIED)

    door.broker.kill()
    decided = door.log.count("front: Barack Obama")
    wait_until(lambda: door.log.count("front: Barack Obama") >= decided + 2, "two visits without a broker", 40)
    back = time.monotonic()
    door.broker.start()

    door.status("online", since=back)
    door.camera("front", lambda one: one.state is CameraCondition.OK, since=back)
    door.gallery_state(lambda one: one.subjects == 1, since=back)
    door.await_state(LastSeen, lambda one: one.camera == "front", "last_seen", since=back, subject="barack-obama")
    door.decision("front", Outcome.IDENTIFIED, since=back)
    assert max(age(message) for message in door.decisions("front")) < MAX_AGE + DISTURBANCE
    assert door.metric('streamd_messages_dropped_total{why="offline"}') >= 2


def test_whoever_still_stands_there_when_the_broker_comes_is_announced_by_what_is_seen_then(
    door: Door, clips: dict[str, Path]
) -> None:
    """They were identified while nobody could be told; the door must not wait for them to go and come again."""
    door.cameras["front"] = door.serve(clips).url("person")
    door.broker.kill()
    door.start()
    wait_until(lambda: "front: Barack Obama" in door.log, "the decision", 40)
    decided, dropped = door.log.count("front: Barack Obama"), 'streamd_messages_dropped_total{why="offline"}'
    lost = door.metric(dropped)

    door.broker.start()

    # The listener may be back later than the daemon, and nothing is sent twice: so by what the daemon did.
    wait_until(lambda: door.log.count("front: Barack Obama") > decided, "a decision made anew", 40)
    assert door.metric(dropped) == lost
    assert "not handed to the broker" not in door.log.rpartition("connected to the broker")[2]


@pytest.mark.usefixtures("house")
def test_whoever_went_before_anybody_could_be_told_is_announced_when_they_come_again(door: Door) -> None:
    """No cool-down follows a word that reached nobody; it does once one has arrived."""
    door.options["decision"] |= {"cooldown_seconds": 600}
    door.broker.kill()
    door.start()
    wait_until(lambda: door.log.count("front: Barack Obama") >= 2, "two visits without a broker", 40)

    door.bring_the_broker_back()
    _, message = door.decision("front", Outcome.IDENTIFIED)
    time.sleep(2 * 4.0)  # twice the clip

    assert door.decisions("front") == [message]


@pytest.mark.usefixtures("house")
def test_sigterm_says_goodbye_and_ends_in_time_with_status_0(door: Door) -> None:
    """Whoever is in view then has left, for all who listen: nobody would ever tell them otherwise."""
    door.start()
    event, _ = door.decision("front", Outcome.IDENTIFIED)

    since = time.monotonic()
    status, seconds = door.stop()

    assert status == 0
    assert seconds <= STOP
    door.status("offline", since=since)
    door.presence("front", 0)
    left = door.await_state(Left, lambda one: one.visit == event.visit, "the visit's end", camera="front")
    assert (left.decision, left.subject, left.started) == (Outcome.IDENTIFIED, "barack-obama", event.started)


def test_sigterm_ends_in_time_while_camera_and_broker_are_away(door: Door, house: CameraProcess) -> None:
    """One camera hangs while it plays, another takes connections and says nothing; and the broker hangs: worse than gone."""
    with silent_port() as mute:
        door.cameras["mute"] = {"source": f"rtsp://127.0.0.1:{mute}/stream", "open_timeout_seconds": 60}
        door.start()
        house.halt()
        door.broker.halt()

        status, seconds = door.stop()

        door.broker.go_on()
    assert status == 0
    assert seconds <= STOP
    assert "camera-mute still waits for its camera" in door.log
    assert " ERROR " not in door.log


@pytest.mark.usefixtures("house")
def test_a_second_daemon_in_the_same_state_folder_is_refused(door: Door) -> None:
    """From the moment on in which the first has begun."""
    door.start(until="model pair")

    second = door.command("run")

    assert second.returncode == 69
    assert door.process is not None
    assert f"in use by another streamd (process {door.process.pid}); stop it" in second.stderr


@pytest.mark.usefixtures("house")
@pytest.mark.alone
def test_a_photo_is_noticed_where_no_inotify_instance_is_left(door: Door, portraits: Path) -> None:
    """Other programs of this user have taken all of them; the folder is looked at every two seconds instead."""
    shutil.rmtree(door.gallery / "Barack Obama")
    libc, taken = ctypes.CDLL(None, use_errno=True), []
    try:
        while (descriptor := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            taken.append(descriptor)
            assert len(taken) < 10_000, "this machine has no limit to reach"
        door.start(until="cannot be watched")
        door.decision("front", Outcome.UNKNOWN)
        dropped = door.enrol("Barack Obama", portraits / OFFICIAL.file)
        door.decision("front", Outcome.IDENTIFIED, since=dropped, within=15)
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_a_wrong_configuration_ends_the_start_with_78_and_every_problem(door: Door) -> None:
    door.cameras["front"] = "concat:/etc/passwd"
    door.options["decison"] = {}
    door.write_config()

    ended = door.command("run")

    assert ended.returncode == 78
    assert "cameras.front: expected rtsp://" in ended.stderr
    assert "decison: unknown key; did you mean 'decision'?" in ended.stderr


@pytest.mark.usefixtures("house")
def test_a_model_that_is_not_there_ends_the_start_with_69(door: Door) -> None:
    door.options["model"] = {"card": "nowhere.json"}
    door.write_config()

    ended = door.command("run")

    assert ended.returncode == 69
    assert f"streamd: {door.folder / 'nowhere.json'}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_systemd_is_told_ready_the_watchdog_and_the_end(door: Door, house: CameraProcess) -> None:
    """READY comes once the broker and the camera have answered, WATCHDOG while the stages move, STOPPING at the end."""
    address, patience = str(door.folder / "notify"), 2.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(30)
        told: list[tuple[float, str]] = []

        def hear(until: str) -> None:
            while not told or until not in told[-1][1]:
                told.append((time.monotonic(), systemd.recv(4096).decode()))

        house.halt()
        door.broker.halt()
        door.start(until="gallery 1: ", NOTIFY_SOCKET=address, WATCHDOG_USEC=f"{patience * 1e6:.0f}")
        door.broker.go_on()
        wait_until(lambda: "connected to the broker" in door.log, "the broker's answer")
        assert " ready: " not in door.log
        house.go_on()
        hear("READY=1")
        assert door.metric('streamd_frames_total{camera="front"}') > 0
        for _ in range(4):
            hear("WATCHDOG=1")
            told.append((time.monotonic(), ""))
        status, _ = door.stop()
        hear("STOPPING=1")

    assert status == 0
    assert sum("READY=1" in text for _, text in told) == 1
    beats = [at for at, text in told if "WATCHDOG=1" in text]
    assert len(beats) >= 4
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < patience


@pytest.mark.usefixtures("house")
def test_sigterm_ends_in_time_while_photos_are_judged(door: Door, portraits: Path) -> None:
    """Two hundred photos take longer than a stop may; none is told to be bad because of it, and the next start goes on."""
    photo = (portraits / OFFICIAL.file).read_bytes()
    for index in range(200):
        (door.gallery / "Barack Obama" / f"{index}.jpg").write_bytes(photo + f"{index}".encode())
    door.start(until="model pair")

    status, seconds = door.stop()

    assert status == 0
    assert seconds <= STOP
    assert "is not used" not in door.log


@pytest.mark.usefixtures("house")
def test_sigterm_before_the_model_is_loaded_is_an_end_as_asked_too(door: Door) -> None:
    """The state folder is held before the model is opened; whenever the signal comes after that, the status is 0."""
    for patience in (0.0, 0.1, 0.3):
        (door.state / "lock").unlink(missing_ok=True)
        process = door.launch()
        wait_until(lambda: (door.state / "lock").exists() and (door.state / "lock").read_bytes(), "the lock")
        time.sleep(patience)
        process.terminate()
        assert process.wait(2 * STOP) == 0
