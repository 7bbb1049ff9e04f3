"""Figures from samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np


def quantile(samples: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of the samples lie; NaN without samples."""
    return float(np.quantile(np.asarray(samples), share)) if len(samples) else float("nan")


def slope_per_minute(times: Sequence[float], values: Sequence[float]) -> float:
    """The growth of `values` a minute by least squares; `times` in seconds. 0 with fewer than two samples."""
    return float(np.polyfit(times, values, 1)[0] * 60) if len(times) > 1 else 0.0


def timed(call: Callable[[], object], seconds: float, period: float = 0.0) -> tuple[list[float], float]:
    """Call in a loop for so long after one warm-up: the wall milliseconds of each call, and the mean CPU milliseconds.

    period: seconds from the start of one call to the next, at least.
    """
    call()
    samples: list[float] = []
    cpu, end = time.process_time(), time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        call()
        took = time.perf_counter() - started
        samples.append(took * 1e3)
        if took < period:
            time.sleep(period - took)
    return samples, (time.process_time() - cpu) * 1e3 / len(samples)
