"""Which visits nobody heard the last word of: what was lost on the way is said anew, of whoever is still there.

At once on a new connection; while one stands after a wait that doubles, since what was lost because pictures come late, or
because too much waits, may be lost again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_WAIT: Final = (2.0, 60.0)  # seconds, first and longest


@dataclass(frozen=True, slots=True)
class _Loss:
    """The decision `seq` was lost when there had been `connection` connections; `times` in all were lost of the visit."""

    seq: int
    connection: int
    at: float
    times: int

    @property
    def due(self) -> float:
        return self.at + min(_WAIT[1], _WAIT[0] * 2.0 ** min(self.times - 1, 16))


class Unheard:
    """Decisions by visit: the sequence number of the last one said, and what was lost. Safe to use from any thread.

    Times are monotonic seconds; a connection is how many there had been by then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, int] = {}
        self._lost: dict[str, _Loss] = {}
        self._times: dict[str, int] = {}

    def said(self, visit: str, seq: int) -> None:
        """A decision is on its way."""
        with self._lock:
            self._said[visit] = seq

    def lost(self, visit: str, seq: int, connection: int, now: float) -> None:
        """A decision was not delivered; of several of one visit, lost in whatever order, the newest counts."""
        with self._lock:
            newest = max(self._said.get(visit, 0), self._lost[visit].seq if visit in self._lost else 0)
            if seq < newest:
                return
            self._times[visit] = times = self._times.get(visit, 0) + 1
            self._lost[visit] = _Loss(seq, connection, now, times)

    def outstanding(self, open_visits: Collection[str]) -> list[str]:
        """The visits whose last word was lost and which have not been decided anew yet."""
        with self._lock:
            return [visit for visit, lost in self._lost.items() if visit in open_visits and self._said.get(visit) == lost.seq]

    def take(self, connection: int | None, now: float, open_visits: Collection[str]) -> list[str]:
        """The visits to decide anew: still open, and their last word was lost. Each once.

        connection: of the one that stands, or None: then none can be told, and only those that have ended are forgotten.
        """
        with self._lock:
            self._said = {visit: seq for visit, seq in self._said.items() if visit in open_visits}
            self._times = {visit: times for visit, times in self._times.items() if visit in self._said}
            self._lost = {visit: lost for visit, lost in self._lost.items() if self._said.get(visit) == lost.seq}
            if connection is None:
                return []
            found = [visit for visit, lost in self._lost.items() if lost.connection < connection or now >= lost.due]
            for visit in found:
                del self._lost[visit]
            return found
