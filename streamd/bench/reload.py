"""From a photo fully written to its person identified in a running stream, and whether a change ever costs an answer.

A thousand photos are enrolled. Somebody stands before the camera; again and again their photo is dropped and taken away. Then
a hundred changes of the gallery while they stand there: every crop that is good must be compared.
"""

from __future__ import annotations

import time
from typing import Any, Final

from streamd.bench import enrolled
from streamd.bench.scene import BASE, ObservedDaemon, Scene, clip, scene
from streamd.bench.statistics import quantile
from streamd.demo import portraits
from streamd.demo.story import Visit
from streamd.events.contract import GalleryState, Topics, VisitEvent
from streamd.values import Outcome

TITLE: Final = "a photo written to its person identified, with 1,000 photos enrolled; answers during 100 reloads"
SECONDS: Final = 60.0
_ENROLLED: Final = 1000
_RELOADS: Final = 100
_PATIENCE: Final = 20.0
_SCENE: Final = (Visit((portraits.STRANGER,), 0, 8, walks=False),)


def measure(seconds: float) -> dict[str, Any]:
    """The times of all photos dropped within `seconds`, and the answers during the reloads."""
    with scene({"stranger": clip(_SCENE, 8)}) as here:
        config = here.write_config(["stranger"], {"decision": {"cooldown_seconds": 0}})
        enrolled.enrol(config, _ENROLLED)
        with ObservedDaemon(config) as daemon:
            daemon.window(5.0)
            times = _dropped(here, seconds)
            before = daemon.reading()
            _reload(here)
            window = daemon.since(before)
    good, compared = window.counts.get("crops:good", 0), window.counts.get("comparisons:", 0)
    return {
        "photos": _ENROLLED,
        "photo_to_identified_s": {
            "p50": round(quantile(times, 0.5), 3),
            "p95": round(quantile(times, 0.95), 3),
            "times": len(times),
        },
        "reloads": _RELOADS,
        "frames_compared": compared,
        # One crop may be under way at either end.
        "frames_without_answer": max(0, good - compared - 1) + window.counts.get("crops_dropped:", 0),
        "rss_mb": round(window.rss_mb, 1),
    }


def _dropped(here: Scene, seconds: float) -> list[float]:
    """Seconds from the photo's last byte to the message that names its person, over and over."""
    source = (portraits.folder() / portraits.STRANGER.file).read_bytes()
    gallery = here.folder / "state" / "gallery"
    person = gallery / "Somebody New"
    times: list[float] = []
    end = time.monotonic() + seconds
    _await(here, Outcome.UNKNOWN)
    while time.monotonic() < end or not times:
        person.mkdir()
        (person / "portrait.jpg").write_bytes(source)
        written = time.monotonic()
        times.append(_await(here, Outcome.IDENTIFIED) - written)
        (person / "portrait.jpg").unlink()
        _await(here, Outcome.UNKNOWN)
        for rest in person.iterdir():
            rest.unlink()
        person.rmdir()
    return times


def _reload(here: Scene) -> None:
    """A hundred changes of somebody else's settings, each waited for."""
    settings = here.folder / "state" / "gallery" / "somebody-00000" / "subject.yaml"
    topic = Topics(BASE).at(GalleryState)
    for index in range(_RELOADS):
        settings.write_text(f"name: Somebody {index}\n")
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            message = here.listener.next(0.5)
            if message is not None and message.topic == topic:
                break


def _await(here: Scene, outcome: Outcome) -> float:
    """When the next decision of this outcome arrived, monotonic seconds."""
    topic = Topics(BASE).at(VisitEvent, camera="camera0")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        message = here.listener.next(0.5)
        if message is not None and message.topic == topic and VisitEvent.from_json(message.body).decision is outcome:
            return message.at
    raise TimeoutError(f"nobody was said to be {outcome.value} within {_PATIENCE:g} s")
