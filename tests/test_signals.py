"""Signals: answered by a thread of their own, so that no lock that the main thread holds is ever waited for in a handler."""

from __future__ import annotations

import os
import signal
import threading
import time

from streamd.signals import answering


def test_a_signal_is_answered_though_it_comes_while_the_main_thread_holds_what_the_answer_wants() -> None:
    lock, answered = threading.Lock(), threading.Event()

    def answer() -> None:
        if lock.acquire(timeout=2.0):
            answered.set()
            lock.release()

    with answering({signal.SIGUSR1: answer}):
        with lock:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.1)  # here a handler would run
            assert not answered.is_set()
        assert answered.wait(5.0)


def test_each_signal_has_its_own_answer_and_others_have_none() -> None:
    calls: list[str] = []
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: None)
    try:
        with answering({signal.SIGUSR1: lambda: calls.append("one"), signal.SIGUSR2: lambda: calls.append("two")}):
            for number in (signal.SIGUSR2, signal.SIGALRM, signal.SIGUSR1):
                os.kill(os.getpid(), number)
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert calls == ["two", "one"]


def test_handlers_and_descriptor_are_as_before_when_the_block_ends() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with answering({signal.SIGUSR1: lambda: None}):
        assert signal.getsignal(signal.SIGUSR1) is not before

    assert signal.getsignal(signal.SIGUSR1) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]
