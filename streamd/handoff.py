"""How values pass between threads: `Latest` keeps the newest frame of each camera, `Batcher` gathers crops for one run.

Both are bounded, never block the side that puts, count what they drop, and wake everyone when they close.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Latest(Generic[Key, Value]):
    """One slot for each key; a new value replaces one that nobody took. Keys are served in turn."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._slots: OrderedDict[Key, Value] = OrderedDict()
        self._closed = False
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """How many values nobody took before the next one came."""
        return self._replaced

    def put(self, key: Key, value: Value) -> None:
        """Leave a value; the key keeps its place in the turn."""
        with self._ready:
            self._replaced += key in self._slots
            self._slots[key] = value
            self._ready.notify()

    def take(self, timeout: float) -> Value | None:
        """The value that is next in turn, or None after `timeout` seconds or when closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._slots or self._closed, timeout)
            return self._slots.popitem(last=False)[1] if self._slots and not self._closed else None

    def close(self) -> None:
        """Let every waiting side go on with None; values left behind are gone."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()


class Batcher(Generic[Value]):
    """Gathers what several sides put into batches of at most the largest of `sizes`, waiting a few milliseconds for more.

    A value takes the place of one with the same key that still waits, so that one side cannot make the others wait; at most
    `capacity` values wait, beyond that the oldest is dropped. Both are counted: the newest serves a door best.
    """

    def __init__(self, sizes: Sequence[int], max_wait_seconds: float, capacity: int = 64) -> None:
        self._largest = max(sizes)
        self._max_wait = max_wait_seconds
        self._waiting: OrderedDict[Hashable, Value] = OrderedDict()
        self._capacity = capacity
        self._ready = threading.Condition()
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many values were dropped because the other side could not keep up."""
        return self._dropped

    def put(self, value: Value, key: Hashable | None = None) -> Value | None:
        """Add a value, without a key as one of its own; returns the one that was dropped for it, if any."""
        with self._ready:
            key = object() if key is None else key
            dropped = self._waiting.get(key)
            if dropped is None and len(self._waiting) >= self._capacity:
                dropped = self._waiting.popitem(last=False)[1]
            self._dropped += dropped is not None
            self._waiting[key] = value
            self._ready.notify()
            return dropped

    def take(self, timeout: float) -> list[Value]:
        """The next batch, oldest first; empty after `timeout` seconds without a value, or when closed."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._waiting or self._closed, timeout) or self._closed:
                return []
            self._ready.wait_for(lambda: len(self._waiting) >= self._largest or self._closed, self._max_wait)
            return [self._waiting.popitem(last=False)[1] for _ in range(min(self._largest, len(self._waiting)))]

    def close(self) -> None:
        """Let the taking side go on with an empty batch; values left behind are gone."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
