"""From the start of the process to READY=1 with fifty enrolled photos in the cache, and the memory it takes then."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from streamd.bench.scene import ObservedDaemon, clip, scene
from streamd.bench.statistics import quantile
from streamd.demo import portraits

TITLE: Final = "start to READY with 50 photos cached, resident memory"
SECONDS: Final = 10.0
_PHOTOS: Final = 50
_STARTS: Final = 5


def measure(seconds: float) -> dict[str, Any]:
    """The median of five starts, or of two where `seconds` is less than 1; memory after `seconds` of watching."""
    with scene({"still": clip((), 8)}) as here:
        photos = _photos(here.folder / "state" / "gallery")
        config = here.write_config(["still"], {})
        with ObservedDaemon(config) as daemon:
            first = daemon.ready_seconds
        ready, memory = [], 0.0
        for index in range(_STARTS if seconds >= 1 else 2):
            with ObservedDaemon(config) as daemon:
                ready.append(daemon.ready_seconds)
                if index == 0:
                    memory = daemon.window(seconds).rss_mb
    return {
        "ready_s": round(quantile(ready, 0.5), 2),
        "ready_s_slowest": round(max(ready), 2),
        "ready_s_without_cache": round(first, 2),
        "rss_mb": round(memory, 1),
        "photos": photos,
    }


def _photos(gallery: Path) -> int:
    """Fifty photos of ten people, each a file of its own: the portraits at sizes and brightnesses of their own."""
    folder, rng = portraits.folder(), np.random.default_rng(1)
    for index in range(_PHOTOS):
        portrait = (portraits.OFFICIAL, portraits.STRANGER, portraits.STANDING)[index % 3]
        image = np.asarray(cv2.imread(str(folder / portrait.file), cv2.IMREAD_COLOR))
        factor = float(rng.uniform(0.35, 0.6))
        image = np.clip(cv2.resize(image, None, fx=factor, fy=factor) * rng.uniform(0.85, 1.1), 0, 255).astype(np.uint8)
        person = gallery / f"person{index % 10}"
        person.mkdir(exist_ok=True)
        cv2.imwrite(str(person / f"{index}.jpg"), image)
    return sum(1 for _ in gallery.glob("*/*.jpg"))
