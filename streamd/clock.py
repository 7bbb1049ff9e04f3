"""The clocks of a running program; every stage is given them, none reads the time by itself."""

from __future__ import annotations

import ctypes
import threading
import time
from datetime import UTC, datetime
from typing import Final, Protocol

_STA_UNSYNC: Final = 0x0040  # linux/timex.h


class Clock(Protocol):
    """What time it is, and waiting."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""

    def utc(self) -> datetime:
        """The time of day, UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait; returns early when the program ends."""


class SystemClock:
    """The machine's clocks; `sleep` ends when `stopping` is set."""

    def __init__(self, stopping: threading.Event | None = None) -> None:
        self._stopping = stopping or threading.Event()

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def utc(self) -> datetime:
        """See Clock."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """See Clock."""
        self._stopping.wait(seconds)


class WakingClock:
    """Another clock, whose `sleep` also ends when `wake` is set, and takes that back: it wakes one sleep, not all to come."""

    def __init__(self, clock: Clock, wake: threading.Event) -> None:
        self._clock = clock
        self._wake = wake

    def monotonic(self) -> float:
        """See Clock."""
        return self._clock.monotonic()

    def utc(self) -> datetime:
        """See Clock."""
        return self._clock.utc()

    def sleep(self, seconds: float) -> None:
        """See Clock."""
        if self._wake.wait(seconds):
            self._wake.clear()


def clock_synchronised() -> bool:
    """Whether the kernel holds the wall clock for synchronised (adjtimex(2)); False where it cannot be asked."""
    buffer = (ctypes.c_byte * 256)()  # larger than struct timex on every architecture; modes = 0 only reads
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))
    # `status` follows modes (int, padded), offset, freq, maxerror and esterror (longs).
    status = ctypes.c_int.from_buffer(buffer, 5 * ctypes.sizeof(ctypes.c_long)).value
    return state >= 0 and state != 5 and not status & _STA_UNSYNC
