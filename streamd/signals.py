"""Signals before there is anything to stop or to reload; it imports nothing, so that it can be called first of all."""

from __future__ import annotations

import signal
import sys


def leave_when_asked() -> None:
    """SIGTERM ends the process as asked (status 0), SIGHUP does nothing; for the time in which libraries and model load."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
