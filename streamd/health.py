"""Health: what each part of the daemon last did, what is wrong now, and the figures that metrics show."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

LATENCY_BUCKETS: Final = (0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 2.0, float("inf"))
"""Upper bounds of the latency histograms, seconds."""


class Heartbeats:
    """When each worker must have shown a sign of life again; the watchdog is fed only while none is late. Thread-safe."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def beat(self, worker: str, now: float, good_for: float) -> None:
        """A worker has moved; the next sign is due within `good_for` seconds (monotonic `now`)."""
        self._due[worker] = now + good_for

    def done(self, worker: str) -> None:
        """A worker has ended as it should."""
        self._due.pop(worker, None)

    def late(self, now: float) -> tuple[str, ...]:
        """The workers that hang."""
        return tuple(sorted(worker for worker, due in list(self._due.items()) if now > due))


class Tally:
    """Counters and latency histograms by name and labels. Thread-safe. `observer` hears every single latency."""

    def __init__(self, observer: Callable[[str, float], None] | None = None) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[str, Counter[float]] = {}
        self._sums: dict[str, float] = {}

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, label] += by

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        if self._observer is not None:
            self._observer(name, seconds)
        bucket = next(bound for bound in LATENCY_BUCKETS if seconds <= bound)
        with self._lock:
            self._latencies.setdefault(name, Counter())[bucket] += 1
            self._sums[name] = self._sums.get(name, 0.0) + seconds

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Every counter by name and label."""
        with self._lock:
            return dict(self._counts)

    def histograms(self) -> Mapping[str, tuple[Mapping[float, int], float]]:
        """Every histogram: how many fell into each bucket, and their sum in seconds."""
        with self._lock:
            return {name: (dict(buckets), self._sums[name]) for name, buckets in self._latencies.items()}


@dataclass(slots=True)
class CameraHealth:
    """What one camera last did, written by its thread and read by the others; single fields, so no lock is needed.

    last_frame: monotonic seconds of the newest frame, None before the first. failure, sentence: why there is none now. still:
    a sentence while all frames are the same.
    """

    enabled: bool = True
    frames: int = 0
    last_frame: float | None = None
    failure: str | None = None
    sentence: str | None = None
    still: str | None = None


class FaultLog:
    """Which faults of one camera are worth a line in the log, so that one that flaps does not fill it; one owner thread.

    Of each kind the first is, then one in `again_after` seconds, and one that has lasted for `lasting` without a line. After
    `well_after` seconds without any, the next is a first again.
    """

    def __init__(self, again_after: float = 3600.0, well_after: float = 300.0, lasting: float = 60.0) -> None:
        self._again_after, self._well_after, self._lasting = again_after, well_after, lasting
        self._said: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()
        self._down_since: float | None = None
        self._well_since = float("-inf")
        self._said_now = False

    def fault(self, kind: str, now: float) -> int | None:
        """None where a fault is not worth a line; else how many of its kind had none since the last line."""
        if self._down_since is None:
            if now - self._well_since >= self._well_after:
                self._said.clear()
                self._passed_over.clear()
            self._down_since, self._said_now = now, False
        old = now - self._said.get(kind, float("-inf")) >= self._again_after
        lasts = not self._said_now and now - self._down_since >= self._lasting
        if not old and not lasts:
            self._passed_over[kind] += 1
            return None
        self._said[kind], self._said_now = now, True
        return self._passed_over.pop(kind, 0)

    def well(self, now: float) -> bool:
        """All is well again, or still; True where that is worth a line: where the fault that has ended was."""
        if self._down_since is None:
            return False
        self._down_since, self._well_since = None, now
        return self._said_now


class Rate:
    """Events a second over the last seconds, from readings of a growing count; one owner thread."""

    def __init__(self, window_seconds: float = 5.0) -> None:
        self._window = window_seconds
        self._readings: deque[tuple[int, float]] = deque()

    def reading(self, count: int, now: float) -> float:
        """The rate between the oldest reading of the window and this one; 0 at the first."""
        self._readings.append((count, now))
        while now - self._readings[0][1] > self._window:
            self._readings.popleft()
        before, then = self._readings[0]
        return (count - before) / (now - then) if now > then else 0.0
