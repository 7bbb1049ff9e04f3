"""Four cameras on one machine, a person in view of each: does delay grow, and what is dropped?

Once with the defaults, and once overloaded (`every_frame_compared`): every frame of every camera is to be compared, which is
more than two cores can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamd.bench.scene import EVERY_FRAME, ObservedDaemon, Scene, clip, scene
from streamd.bench.statistics import quantile, slope_per_minute
from streamd.demo.portraits import SPEAKING, STANDING, STRANGER
from streamd.demo.story import Visit

TITLE: Final = "four cameras: growth of delay, dropped frames"
SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 5.0
_SCENES: Final = {
    "a": (Visit((STANDING,), 0, 8, walks=False),),
    "b": (Visit((STRANGER,), 0, 8, walks=False),),
    "c": (Visit((SPEAKING,), 0, 8, walks=False),),
    "d": (Visit((STRANGER,), 0, 8, face_width=110, walks=False),),
}


def measure(seconds: float) -> dict[str, Any]:
    """The defaults, and the overloaded case beside them; `seconds` each."""
    with scene({path: clip(visits, 8) for path, visits in _SCENES.items()}) as here:
        return {
            "cameras": len(_SCENES),
            **_observe(here, {}, seconds),
            "every_frame_compared": _observe(here, EVERY_FRAME, seconds),
        }


def _observe(here: Scene, settings: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    with ObservedDaemon(here.write_config(list(_SCENES), settings)) as daemon:
        daemon.window(min(_SETTLE_SECONDS, seconds))
        window = daemon.window(seconds)
    found = [(at, value * 1e3) for name, at, value in window.samples if name == "capture_to_comparison_seconds"]
    times, delays = [at for at, _ in found], [value for _, value in found]
    frames = sum(count for name, count in window.counts.items() if name.startswith("frames:"))
    return {
        "p50_ms": round(quantile(delays, 0.5), 1),
        "p99_ms": round(quantile(delays, 0.99), 1),
        "delay_slope_ms_per_min": round(slope_per_minute(times, delays), 2),
        "dropped": window.frames_replaced + window.counts.get("crops_dropped:", 0),
        "frames": frames,
        "compared": len(found),
        "cores": round(window.cores(), 3),
        "rss_mb": round(window.rss_mb, 1),
    }
