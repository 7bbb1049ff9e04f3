"""Signals: before there is anything to stop or to reload, and while there is.

It imports nothing but the standard library, so that it can be called first of all.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


def leave_when_asked() -> None:
    """SIGTERM ends the process as asked (status 0), SIGHUP does nothing; for the time in which libraries and model load."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def answering(calls: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Within the block each of these signals has its call made, on a thread of their own; to be entered by the main thread.

    Python runs a handler between any two steps of the main thread, which may hold the very lock that the handler wants: setting
    an event that is waited for there would wait for ever.
    """
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    thread = threading.Thread(target=_answer, args=(woken, calls), name="signals", daemon=True)
    thread.start()
    descriptor = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _leave_it_to_the_thread) for number in calls}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
        waking.close()
        thread.join(1.0)
        woken.close()


def _leave_it_to_the_thread(_number: int, _frame: object) -> None:
    """With no handler the signal would end the process; what wakes the thread is the descriptor."""


def _answer(woken: socket.socket, calls: Mapping[signal.Signals, Callable[[], object]]) -> None:
    while numbers := woken.recv(64):
        for number in numbers:
            if (call := calls.get(signal.Signals(number))) is not None:
                call()
