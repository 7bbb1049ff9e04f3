"""The clocks: a sleep ends early for those who are woken, and for them once."""

from __future__ import annotations

import threading
import time

from streamd.clock import SystemClock, WakingClock


def test_a_waking_clock_sleeps_until_it_is_woken_and_then_to_the_end_again() -> None:
    wake = threading.Event()
    clock = WakingClock(SystemClock(), wake)
    threading.Timer(0.1, wake.set).start()

    started = time.monotonic()
    clock.sleep(30.0)
    woken = time.monotonic()
    clock.sleep(0.3)

    assert woken - started < 10.0
    assert time.monotonic() - woken >= 0.29
