"""A door whose parts fail one after another: camera, broker, and the daemon itself, each killed, halted and started again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from streamd.demo.portraits import OFFICIAL
from streamd.events.contract import CameraCondition
from streamd.values import Outcome
from tests.process.broker import wait_until
from tests.process.door import MAX_AGE, STOP, Door, age

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.camera import CameraProcess

pytestmark = pytest.mark.process

QUIET_SECONDS = 90.0  # MediaPipe tries to report a minute after its first task
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
    door.status("online")

    killed = time.monotonic()
    door.kill()
    door.status("offline", since=killed)
    started = time.monotonic()
    door.start()

    door.status("online", since=started)
    door.decision("front", Outcome.IDENTIFIED, since=started)


def test_a_camera_that_dies_or_hangs_is_a_problem_until_it_is_back(door: Door, house: CameraProcess) -> None:
    door.start()
    door.decision("front", Outcome.IDENTIFIED)

    since = time.monotonic()
    house.kill()
    gone = door.camera("front", lambda one: one.state is CameraCondition.PROBLEM, since)
    assert gone.reason in ("end_of_stream", "refused")
    since = time.monotonic()
    house.start()
    door.camera("front", lambda one: one.state is CameraCondition.OK, since)
    door.decision("front", Outcome.IDENTIFIED, since)

    since = time.monotonic()
    house.halt()
    assert door.camera("front", lambda one: one.state is CameraCondition.PROBLEM, since).reason == "timeout"
    since = time.monotonic()
    house.go_on()
    door.camera("front", lambda one: one.state is CameraCondition.OK, since)


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
    door.decision("front", Outcome.IDENTIFIED, since=back)
    assert max(age(message) for message in door.decisions("front")) < MAX_AGE + DISTURBANCE
    assert door.metric('streamd_messages_dropped_total{why="offline"}') >= 2


@pytest.mark.usefixtures("house")
def test_sigterm_says_goodbye_and_ends_in_time_with_status_0(door: Door) -> None:
    door.start()
    door.decision("front", Outcome.IDENTIFIED)

    since = time.monotonic()
    status, seconds = door.stop()

    assert status == 0
    assert seconds <= STOP
    door.status("offline", since=since)
    door.presence("front", 0)


def test_sigterm_ends_in_time_while_camera_and_broker_are_away(door: Door, house: CameraProcess) -> None:
    door.start()
    house.halt()
    door.broker.halt()

    status, seconds = door.stop()

    door.broker.go_on()
    assert status == 0
    assert seconds <= STOP


@pytest.mark.usefixtures("house")
def test_a_second_daemon_in_the_same_state_folder_is_refused(door: Door) -> None:
    door.start()

    second = door.command("run")

    assert second.returncode == 69
    assert door.process is not None
    assert re.search(rf"in use by another streamd \(process {door.process.pid}\); stop it", second.stderr)


def test_a_wrong_configuration_ends_the_start_with_78_and_every_problem(door: Door) -> None:
    door.cameras["front"] = "concat:/etc/passwd"
    door.options["decison"] = {}
    door.write_config()

    ended = door.command("run")

    assert ended.returncode == 78
    assert "cameras.front: expected rtsp://" in ended.stderr
    assert "decison: unknown key; did you mean 'decision'?" in ended.stderr


@pytest.mark.usefixtures("house")
def test_systemd_is_told_ready_the_watchdog_and_the_end(door: Door) -> None:
    """READY comes once camera and broker have answered, WATCHDOG while the stages move, STOPPING at the end."""
    address = str(door.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(30)
        door.start(NOTIFY_SOCKET=address, WATCHDOG_USEC="2000000")
        told = [systemd.recv(4096).decode()]
        while "WATCHDOG=1" not in told[-1] or not any("READY=1" in one for one in told):
            told.append(systemd.recv(4096).decode())
        ready = door.status("online")
        door.stop()
        while "STOPPING=1" not in told[-1]:
            told.append(systemd.recv(4096).decode())

    assert ready.state == "online"
    assert sum("READY=1" in one for one in told) == 1


@pytest.mark.usefixtures("house")
def test_nothing_is_looked_up_and_no_packet_goes_anywhere_but_to_camera_and_broker(door: Door, house: CameraProcess) -> None:
    """Ninety seconds under strace. MediaPipe's own attempt shows as a socket that the kernel refused it."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed (apt-get install strace)")
        pytest.skip("strace is not installed (apt-get install strace)")
    trace = door.folder / "trace"
    calls = "trace=socket,connect,sendto,sendmsg,sendmmsg"
    door.start(through=[strace, "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", str(trace)])
    started = time.monotonic()
    door.decision("front", Outcome.IDENTIFIED)
    wait_until(lambda: time.monotonic() - started >= QUIET_SECONDS, "90 seconds of quiet", QUIET_SECONDS + 10)

    assert door.process is not None
    os.kill(int((door.state / "lock").read_text()), signal.SIGTERM)  # strace keeps the signal to itself
    door.process.wait(20)
    lines = trace.read_text(errors="replace").splitlines()
    reached = {
        (address, int(port))
        for line in lines
        for port, address in re.findall(r"sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|AF_INET6, )\"([^\"]+)\"", line)
    }
    assert reached == {("127.0.0.1", house.port), ("127.0.0.1", door.broker.port)}
    assert [line for line in lines if re.search(r"socket\(AF_INET.*EACCES", line)], "MediaPipe did not even try: test nothing"
