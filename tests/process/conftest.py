"""What the process tests share: short clips of real photographs, made once, and a door that people visit."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.demo import story
from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING, STRANGER
from streamd.demo.rtsp_server import encode
from tests.process.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CLIPS = {
    # The person who is enrolled, by two photos that are not; stands there all the time.
    "person": ((SPEAKING, STANDING), 0.0, 4.0, 4.0),
    "stranger": ((STRANGER,), 0.0, 3.0, 3.0),
    # The person again, for two seconds out of every four: a visit each time.
    "passing": ((SPEAKING,), 1.0, 3.0, 4.0),
    # The stranger, who goes for long enough to have left.
    "visits": ((STRANGER,), 1.0, 4.0, 7.5),
    # The person, close to the camera.
    "near": ((OFFICIAL,), 0.0, 4.0, 4.0),
}


@pytest.fixture(scope="session")
def clips(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Video files by name, 640x360 at 15 pictures a second."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for name, (who, start, end, seconds) in _CLIPS.items():
        made[name] = folder / f"{name}.mp4"
        near = {"face_width": 380} if name == "near" else {}
        pictures = story.pictures(portraits, (story.Visit(who, start, end, walks=False, **near),), seconds)
        small = (np.asarray(cv2.resize(one, (640, 360), interpolation=cv2.INTER_AREA), np.uint8) for one in pictures)
        encode(made[name], small, story.FPS, bitrate=800_000)
    return made


@dataclass(frozen=True)
class Visited:
    """A door that runs, and all that it says to any socket: lines of strace, None where that is not installed."""

    door: Door
    started: float
    camera_port: int
    trace: Path | None


@pytest.fixture(scope="session")
def visited(tmp_path_factory: pytest.TempPathFactory, portraits: Path, clips: dict[str, Path]) -> Iterator[Visited]:
    """One person is enrolled and a stranger, who is kept sealed, comes and goes before the only camera."""
    folder = tmp_path_factory.mktemp("people")
    strace, trace = shutil.which("strace"), folder / "trace"
    calls = "trace=socket,connect,sendto,sendmsg,sendmmsg"
    # With -D the daemon is our own child, so that signals reach it and not strace.
    through = [strace, "-D", "-f", "-q", "-ttt", "-e", calls, "-e", "signal=none", "-o", str(trace)] if strace else []
    with Door(folder / "door") as door:
        house = door.serve(clips)
        door.cameras = {"back": house.url("visits")}
        door.options = {"privacy": {"keep_unknown_days": 1}, "decision": {"cooldown_seconds": 0, "rejoin_seconds": 1}}
        door.enrol("Barack Obama", portraits / OFFICIAL.file)
        started = time.monotonic()
        door.start(through=through)
        yield Visited(door, started, house.port, trace if strace else None)
