"""Nothing leaves the house: ninety seconds of the daemon under strace, with people at the door.

It is the daemon of test_people.py, so that what is traced are also photos that are judged, and people who are enrolled, handed
their data and forgotten; by itself this test starts it and lets it watch a stranger come and go.

MediaPipe reports its use to its maker when a task is closed and a minute after one was made. Without the measures against it
(`streamd.vision.mediapipe_tasks.silence`) this test sees it ask the name server for play.googleapis.com.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from streamd.values import Outcome
from tests.process.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.process.conftest import Visited

QUIET_SECONDS = 90.0
REPORT_SECONDS = 60.0  # after which MediaPipe tries
# Where the C library asks for the user's home when Python starts; where nobody listens, names would go to a server and be seen.
USER_DATABASE = "AF_UNIX /var/run/nscd/socket"
_ADDRESS = re.compile(r"sa_family=(AF_\w+)(?:, sin6?_port=htons\((\d+)\))?[^}]*?\"([^\"]*)\"")


def destinations(trace: Iterable[str]) -> set[str]:
    """Whom a process spoke to, by the lines of strace: `AF_INET 127.0.0.1:8554`. The kernel itself (AF_NETLINK) is nobody."""
    found = set()
    for line in trace:
        if "sa_family=" in line and "sa_family=AF_NETLINK" not in line:
            addresses = _ADDRESS.findall(line)
            assert addresses, f"a destination that this test cannot read: {line}"
            found |= {f"{family} {address}:{port}" if port else f"{family} {address}" for family, port, address in addresses}
    return found


@pytest.mark.parametrize(
    ("line", "whom"),
    [
        (
            '7 1.5 connect(13, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.255.255.53")}, 16) = 0',
            {"AF_INET 10.255.255.53:53"},
        ),
        (
            '7 1.5 sendto(3, "q", 1, 0, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), '
            'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>',
            {"AF_INET6 2001:db8::1:53"},
        ),
        ('7 1.5 connect(9, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1 ENOENT', {"AF_UNIX /run/nscd"}),
        ("7 1.5 socket(AF_INET, SOCK_DGRAM, IPPROTO_IP) = 3", set()),
        ('7 1.5 sendto(8, "\\300\\0", 2, 0, NULL, 0) = 2', set()),
    ],
)
def test_a_destination_is_read_from_a_line_of_the_trace(line: str, whom: set[str]) -> None:
    """The first is what MediaPipe does where nothing keeps it from it."""
    assert destinations([line]) == whom


@pytest.mark.process
def test_no_name_is_looked_up_and_no_packet_goes_anywhere_but_to_camera_and_broker(visited: Visited) -> None:
    """That MediaPipe would have tried shows in sockets that the kernel refused it, the last ones after a minute."""
    door = visited.door
    if visited.trace is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is missing: apt-get install strace")
        pytest.skip("strace is not installed (apt-get install strace)")
    trace = visited.trace
    door.decision("back", Outcome.UNKNOWN)
    wait_until(lambda: time.monotonic() - visited.started >= QUIET_SECONDS, "90 seconds of quiet", QUIET_SECONDS + 10)
    assert door.process is not None
    end = f"{door.process.pid} "
    status, _ = door.stop()
    assert status == 0
    wait_until(lambda: re.search(rf"(?m)^{end}.*\+\+\+ exited with 0", trace.read_text()), "the end of the trace")

    lines = trace.read_text(errors="replace").splitlines()
    met = destinations(lines) - {USER_DATABASE}
    assert met == {f"AF_INET 127.0.0.1:{visited.camera_port}", f"AF_INET 127.0.0.1:{door.broker.port}"}
    first = float(lines[0].split()[1])
    refused = [float(line.split()[1]) - first for line in lines if re.search(r"socket.* = -1 EACCES", line)]
    assert refused, "MediaPipe made no attempt that could be refused, so this test has shown nothing"
    assert max(refused) > REPORT_SECONDS - 5
