"""Ten thousand photos dropped at once on a daemon that watches a camera: all judged, and the camera watched as before.

The photographs are those of Labeled Faces in the Wild where STREAMD_TEST_DATA names a folder with its lfw-view2.tar and
lfw-rest.tar; else variations of the demonstration's portraits, which give the coach more to do: all are of two people.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from streamd.bench.scene import BASE, ObservedDaemon, Scene, clip, scene
from streamd.demo import portraits
from streamd.demo.story import Visit
from streamd.events.contract import GalleryState, Topics

TITLE: Final = "10,000 photos dropped at once: photos a second, the camera's frame rate meanwhile, memory"
SECONDS: Final = 1000.0
_PHOTOS_A_SECOND: Final = 10  # photos for each second that is asked for
_BEFORE_SECONDS: Final = 30.0
_PATIENCE: Final = 120.0  # without any progress
_SCENE: Final = (Visit((portraits.STRANGER,), 0, 8, walks=False),)


def measure(seconds: float) -> dict[str, Any]:
    """Ten photos for each second; it takes as long as it takes."""
    count = round(seconds * _PHOTOS_A_SECOND)
    with scene({"stranger": clip(_SCENE, 8)}) as here:
        staged = here.folder / "staged"
        source = _stage(staged, count)
        with ObservedDaemon(here.write_config(["stranger"], {})) as daemon:
            daemon.window(5.0)
            calm = daemon.window(min(_BEFORE_SECONDS, seconds))
            before, began = daemon.reading(), time.monotonic()
            for person in sorted(staged.iterdir()):
                person.rename(here.folder / "state" / "gallery" / person.name)
            judged, peak = _await_all(here, daemon, count)
            busy = daemon.since(before)
            took = time.monotonic() - began
        shutil.rmtree(here.folder / "state" / "gallery")
    rates = [(one.counts.get("frames:camera0", 0) - one.frames_replaced) / one.seconds for one in (calm, busy)]
    return {
        "photos": count,
        "judged": judged,
        "photos_per_s": round(judged / took, 1),
        "frame_rate_loss": round(1 - rates[1] / rates[0], 3),
        "frames_per_s": {"before": round(rates[0], 2), "meanwhile": round(rates[1], 2)},
        "rss_mb_peak": round(max(peak, busy.rss_mb), 1),
        "rss_mb_before": round(calm.rss_mb, 1),
        "source": source,
    }


def _await_all(here: Scene, daemon: ObservedDaemon, count: int) -> tuple[int, float]:
    """How many photos were judged when none is waiting any more, and the most memory seen, megabytes."""
    topic = Topics(BASE).at(GalleryState)
    moved = time.monotonic()
    judged, peak = 0, 0.0
    while time.monotonic() - moved < _PATIENCE:
        message = here.listener.next(5.0)
        if message is None or message.topic != topic:
            continue
        state = GalleryState.from_json(message.body)
        peak = max(peak, daemon.window(0.0).rss_mb)
        before, judged = judged, state.templates + state.refused - 1  # one was enrolled before
        if judged > before:
            moved = time.monotonic()
        if judged >= count and not state.waiting:
            break
    return judged, peak


def _stage(folder: Path, count: int) -> str:
    """Write so many photos, a folder for each person; where they are from."""
    data = Path(os.environ.get("STREAMD_TEST_DATA", ""))
    archives = [data / name for name in ("lfw-view2.tar", "lfw-rest.tar")]
    real = os.environ.get("STREAMD_TEST_DATA") is not None and all(path.is_file() for path in archives)
    photos = _archived(archives) if real else _varied()
    for person, name, content in itertools.islice(photos, count):
        (folder / person).mkdir(parents=True, exist_ok=True)
        (folder / person / name).write_bytes(content)
    return "Labeled Faces in the Wild" if real else "variations of two people's portraits"


def _archived(archives: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    for path in archives:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".jpg") else None
                if file is not None:
                    yield Path(member.name).parent.name, Path(member.name).name, file.read()


def _varied() -> Iterator[tuple[str, str, bytes]]:
    rng = np.random.default_rng(1)
    folder = portraits.folder()
    images = [
        np.asarray(cv2.imread(str(folder / portrait.file), cv2.IMREAD_COLOR))
        for portrait in (portraits.OFFICIAL, portraits.STRANGER)
    ]
    for index in itertools.count():
        image = images[index % 2]
        factor = float(rng.uniform(0.3, 0.6))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.float32)
        noisy = np.clip(small * rng.uniform(0.7, 1.2) + rng.normal(0, rng.uniform(0, 8), small.shape), 0, 255)
        encoded, data = cv2.imencode(".jpg", noisy.astype(np.uint8))
        if encoded:
            yield f"somebody-{index % 2}-{index // 200:04d}", f"{index}.jpg", bytes(data)
