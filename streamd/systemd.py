"""What systemd is told while the daemon lives (sd_notify(3)): ready, what it does, that it still moves, that it stops."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Final

log = logging.getLogger(__name__)

_SEND_SECONDS: Final = 1.0  # a full queue of systemd must not hold up the daemon for longer
_STATUS_CHARACTERS: Final = 500  # systemd drops messages of more than 4096 bytes


class Systemd:
    """Sends the daemon's state to $NOTIFY_SOCKET; without systemd every method does nothing.

    environ: the process's environment. pid: its own, by which systemd says whom the watchdog watches. A message that cannot
    be delivered is logged and lost: systemd has a time-out for what it misses.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = _socket_address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds: Final = _watchdog_seconds(environ, pid)
        """How often `watchdog` must be called, half of what systemd waits; None where nobody waits."""

    @property
    def present(self) -> bool:
        """Whether systemd wants to be told anything."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The daemon has started; `status` as in `status`."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """What the daemon does now, one sentence for `systemctl status`."""
        self._send(f"STATUS={_one_line(status)}")

    def extend(self, seconds: float) -> None:
        """The start takes longer, but goes on: systemd waits this much longer for READY."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def watchdog(self) -> None:
        """The daemon moves. Call it only where that has been proved."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The daemon has begun to stop; `status` says why."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", message.partition("\n")[0], error.strerror or error)


def _socket_address(name: str) -> str | None:
    """The address to send to: a path, or an abstract name, whose `@` stands for NUL; None for what this is not."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Half of $WATCHDOG_USEC, as sd_watchdog_enabled(3) advises, if $WATCHDOG_PID does not name another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / 2e6


def _one_line(status: str) -> str:
    """A line break would begin another assignment."""
    return " ".join(status.split())[:_STATUS_CHARACTERS]
