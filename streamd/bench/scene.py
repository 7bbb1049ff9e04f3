"""The scene of the benchmarks: cameras that show portraits, an enrolled person, a broker, and the daemon under observation."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from streamd.demo import portraits, story
from streamd.demo.broker import EmbeddedBroker, free_port
from streamd.demo.rtsp_server import Clip, RtspServer, encode, read_clip
from streamd.errors import UnavailableError
from streamd.events.listener import Listener

BASE: Final = "streamd/bench"
EVERY_FRAME: Final = {"decision": {"max_crops_per_second": 60, "min_good_frames": 100, "unknown_after_good_frames": 1000}}
"""Settings with which every good frame of a face is compared: what the most work costs."""

_READY_SECONDS: Final = 60.0


def clip_file(visits: Sequence[story.Visit], seconds: float) -> Path:
    """A story as a video file, 1280x720 at 15 fps in H.264, made once and kept in the cache folder."""
    source = Path(story.__file__).read_bytes()
    name = f"bench-{zlib.crc32(repr((visits, seconds)).encode() + source):08x}.mp4"
    folder = portraits.cache_folder(os.environ) / "clips"
    path = folder / name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.mp4")
        encode(part, story.pictures(portraits.folder(), visits, seconds), story.FPS)
        part.replace(path)
    return path


def clip(visits: Sequence[story.Visit], seconds: float) -> Clip:
    """The same, ready to be served."""
    return read_clip(clip_file(visits, seconds))


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two readings of a daemon: wall seconds, CPU seconds, per thread too, counters, latencies."""

    seconds: float
    cpu: float
    threads: Mapping[str, float]
    rss_mb: float
    counts: Mapping[str, int]
    frames_replaced: int
    samples: tuple[tuple[str, float, float], ...]

    def latencies(self, name: str) -> list[float]:
        """The latencies of one kind, seconds."""
        return [seconds for kind, _, seconds in self.samples if kind == name]

    def cores(self, prefix: str = "") -> float:
        """CPU of the process, or of the threads whose names begin so, as a share of one core."""
        cpu = sum(cpu for name, cpu in self.threads.items() if name.startswith(prefix)) if prefix else self.cpu
        return cpu / self.seconds


class ObservedDaemon:
    """The daemon as a process of its own, ready and watched; use as a context manager. `ready_seconds`: start to READY=1."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.ready_seconds = math.nan

    def __enter__(self) -> ObservedDaemon:
        self._folder = tempfile.TemporaryDirectory()
        address = f"{self._folder.name}/notify"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(address)
        self._notify.settimeout(_READY_SECONDS)
        self._log = (self._config.parent / "streamd.log").open("wb")
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamd.bench.observed", str(self._config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": address},
        )
        with contextlib.suppress(TimeoutError):
            while b"READY=1" not in self._notify.recv(4096):
                pass
            self.ready_seconds = time.monotonic() - started
        if math.isnan(self.ready_seconds):
            self.__exit__(None, None, None)
            raise UnavailableError(f"the daemon was not ready within {_READY_SECONDS:g} s; see {self._log.name}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.communicate(timeout=15)  # closes the pipes, too
        self._notify.close()
        self._log.close()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def window(self, seconds: float) -> Window:
        """Observe for so long."""
        before = self.reading()
        time.sleep(seconds)
        return self.since(before)

    def reading(self) -> Mapping[str, Any]:
        """How things stand, for `since`."""
        return self._read()

    def since(self, before: Mapping[str, Any]) -> Window:
        """What happened since a reading."""
        after = self._read()
        return Window(
            seconds=after["at"] - before["at"],
            cpu=after["cpu"] - before["cpu"],
            threads={name: cpu - before["threads"].get(name, 0.0) for name, cpu in after["threads"].items()},
            rss_mb=after["rss_mb"],
            counts={name: count - before["counts"].get(name, 0) for name, count in after["counts"].items()},
            frames_replaced=after["frames_replaced"] - before["frames_replaced"],
            samples=tuple((name, at, value) for name, at, value in after["samples"]),
        )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


@dataclass(frozen=True, slots=True)
class Scene:
    """Cameras and broker that run; `write_config` makes configurations for daemons in `folder`."""

    folder: Path
    server: RtspServer
    broker_port: int
    listener: Listener

    def write_config(self, cameras: Sequence[str], settings: Mapping[str, Any]) -> Path:
        """A configuration with the cameras at these paths and some settings besides the defaults."""
        path = self.folder / "streamd.yaml"
        config = {
            "cameras": {f"camera{index}": self.server.url(path) for index, path in enumerate(cameras)},
            "mqtt": {"url": f"mqtt://127.0.0.1:{self.broker_port}", "protocol": "3.1.1", "base_topic": BASE},
            "node": "bench",
            "state": "state",
            "home_assistant": {"enabled": False},
            **settings,
        }
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path


@contextlib.contextmanager
def scene(clips: Mapping[str, Clip]) -> Iterator[Scene]:
    """A broker, a camera for each clip, and one person enrolled from one photo."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker(port),
        RtspServer(clips) as server,
        Listener("127.0.0.1", port, BASE) as listener,
    ):
        person = Path(folder) / "state" / "gallery" / portraits.OFFICIAL.person
        person.mkdir(parents=True)
        photo = portraits.OFFICIAL.file
        (person / photo).write_bytes((portraits.folder() / photo).read_bytes())
        yield Scene(Path(folder), server, port, listener)
