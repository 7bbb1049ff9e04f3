"""A camera as a process of its own, so that it can be killed, halted and started again at the same port like a real one.

`python -m tests.process.camera '{"port": 8554, "clips": {"door": "/tmp/door.mp4"}}'` serves clips without end.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.demo.rtsp_server import Account, RtspServer, read_clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

PROJECT = Path(__file__).resolve().parents[2]
START = 30.0


class CameraProcess:
    """Serves clips by name at `rtsp://127.0.0.1:<port>/<name>`, each from its start for every client, again and again."""

    def __init__(self, port: int, clips: Mapping[str, Path], account: Account | None = None) -> None:
        self.port = port
        self._options = {"port": port, "clips": {name: str(path) for name, path in clips.items()}}
        if account is not None:
            self._options["account"] = [account.username, account.password]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def url(self, clip: str) -> str:
        """The address of a clip, without a login."""
        return f"rtsp://127.0.0.1:{self.port}/{clip}"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        command = [sys.executable, "-m", "tests.process.camera", json.dumps(self._options)]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"serving\n", "the camera's process ended at once"

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def halt(self) -> None:
        """Let it hang: connections stay open, nothing comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it continue after `halt`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def main() -> None:
    options = json.loads(sys.argv[1])
    clips = {name: read_clip(Path(path)) for name, path in options["clips"].items()}
    account = Account(*options["account"]) if "account" in options else None
    with RtspServer(clips, options["port"], account):
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
