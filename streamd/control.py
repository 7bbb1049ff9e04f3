"""The control socket, `<state>/control`: how commands on this machine speak to the daemon that runs, with or without a broker.

A stream socket of mode 0600. One line of JSON asks, `{"command": "forget", "subject": "anna"}`; lines of JSON answer, the last
of which holds `ok` and `message`. Whoever may open the socket may do anything: it is the owner of the state or root.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamd.errors import StreamdError, UnavailableError

log = logging.getLogger(__name__)

NAME: Final = "control"
_IDLE: Final = 0.5  # seconds without a client after which the thread shows that it moves
_MAX_LINE: Final = 1 << 20
_AT_ONCE: Final = 8  # clients that are served; more wait until one of them is
_PATIENCE: Final = 5.0  # seconds that a client has for its question, and then for taking each answer

Answer = Mapping[str, Any]
Handler = Callable[[Mapping[str, Any]], Iterator[Answer | None]]
"""Takes what was asked, gives answers as they come, and None at least every half second without one, since others are served
in between; raises StreamdError where it cannot be done. It is closed where the client hangs up.
"""


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    answers: Generator[Answer | None]

    def hung_up(self) -> bool:
        """Whether nobody is there any more; one who has merely asked everything still listens."""
        poll = select.poll()
        poll.register(self.connection, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        self.answers.close()
        self.connection.close()


class ControlServer:
    """Answers a few clients in turn, a step each, so that a guided enrolment holds up nobody; `run` is its thread's body."""

    def __init__(self, state: Path, handlers: Mapping[str, Handler], alive: Callable[[], None] = lambda: None) -> None:
        """alive: told that the thread moves, before and after each client and every half second without one.

        Raises UnavailableError where the socket cannot be made. The state folder is held by this process already.
        """
        self._handlers = handlers
        self._alive = alive
        self._stopping = threading.Event()
        self._path = state / NAME
        try:
            with _short(state) as short:
                self._path.unlink(missing_ok=True)
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
                before = os.umask(0o177)
                try:
                    self._socket.bind(short)
                finally:
                    os.umask(before)
                self._socket.listen(4)
        except OSError as error:
            raise UnavailableError(
                f"{self._path}: the control socket cannot be made ({error.strerror}); set `state` to a folder on a local disk"
            ) from None

    def run(self) -> None:
        """Serve until stopped."""
        clients: list[_Client] = []
        with self._socket:
            while not self._stopping.is_set():
                self._alive()
                if len(clients) < _AT_ONCE and (client := self._accepted(wait=not clients)) is not None:
                    clients.append(client)
                clients = [client for client in clients if self._goes_on(client)]
            for client in clients:
                client.close()
        self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """End; a client that is being served is hung up on when its next answer is due."""
        self._stopping.set()

    def _accepted(self, *, wait: bool) -> _Client | None:
        """A client who has asked, if there is one."""
        self._socket.settimeout(_IDLE if wait else 0)
        try:
            connection, _ = self._socket.accept()
        except (TimeoutError, BlockingIOError):
            return None
        self._alive()
        try:
            line = _line(connection, time.monotonic() + _PATIENCE)
            connection.settimeout(_PATIENCE)
        except OSError:
            connection.close()
            return None
        return _Client(connection, self._answers(line))

    def _goes_on(self, client: _Client) -> bool:
        """Take a step with a client; whether there is another. Nothing is done for one who has hung up."""
        with contextlib.suppress(OSError, StopIteration):
            if not client.hung_up():
                answer = next(client.answers)
                if answer is not None:
                    line = json.dumps(answer, ensure_ascii=False, default=str) + "\n"
                    client.connection.sendall(line.encode(errors="replace"))
                return True
        client.close()
        return False

    def _answers(self, line: bytes) -> Generator[Answer | None]:
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError):
            asked = None
        handler = self._handlers.get(str(asked.get("command"))) if isinstance(asked, dict) else None
        if handler is None:
            yield {"ok": False, "message": f"expected one of these commands: {', '.join(sorted(self._handlers))}"}
            return
        try:
            yield from handler(asked)
        except StreamdError as error:
            yield {"ok": False, "message": str(error)}
        except Exception as error:  # a fault of one command harms no other
            log.exception("the command %s failed", asked.get("command"))
            yield {"ok": False, "message": f"it failed: {error!r}; the daemon's log has more"}


def _line(client: socket.socket, until: float) -> bytes:
    """What a client asks, to the end of the line; TimeoutError at `until`, however slowly bytes drip in."""
    line = bytearray()
    while b"\n" not in line and len(line) < _MAX_LINE:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError
        client.settimeout(left)
        if not (received := client.recv(4096)):
            break
        line += received
    return bytes(line.partition(b"\n")[0])


def ask(state: Path, command: str, timeout: float = 30.0, **what: object) -> Iterator[dict[str, Any]]:
    """Ask the daemon of a state folder; the answers as they come.

    timeout: seconds between two answers. Raises UnavailableError where no daemon runs or it does not answer.
    """
    try:
        with _short(state) as short, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(timeout)
            server.connect(short)
            server.sendall(json.dumps({"command": command, **what}).encode() + b"\n")
            server.shutdown(socket.SHUT_WR)
            with server.makefile("rb") as lines:
                for line in lines:
                    yield json.loads(line)
    except TimeoutError:
        raise UnavailableError(f"{state / NAME}: the daemon did not answer within {timeout:g} s; see its log") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise UnavailableError(f"no streamd runs on {state}; start it, or name its configuration with --config") from None
    except OSError as error:
        raise UnavailableError(
            f"{state / NAME}: {(error.strerror or 'error').lower()}; run this as the daemon's user"
        ) from None


@contextlib.contextmanager
def _short(state: Path) -> Iterator[str]:
    """The socket's address; a path of more than 107 bytes is none (unix(7)), so it goes by the folder's descriptor."""
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)
