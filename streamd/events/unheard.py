"""Which visits nobody heard the last word of: what was lost on the way is said anew once a new connection stands.

Only once for each connection: what is lost while one stands, because it came too late or was too much, would be lost again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Unheard:
    """Decisions by visit: the sequence number of the last one said, and of the last one lost. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, int] = {}
        self._lost: dict[str, tuple[int, int]] = {}

    def said(self, visit: str, seq: int) -> None:
        """A decision is on its way."""
        with self._lock:
            self._said[visit] = seq

    def lost(self, visit: str, seq: int, connection: int) -> None:
        """A decision was not delivered; connection: how many there had been by then."""
        with self._lock:
            self._lost[visit] = seq, connection

    def take(self, connection: int, open_visits: Collection[str]) -> list[str]:
        """The visits to decide anew: still open, and their last word was lost before this connection. Each once."""
        with self._lock:
            self._said = {visit: seq for visit, seq in self._said.items() if visit in open_visits}
            self._lost = {visit: lost for visit, lost in self._lost.items() if self._said.get(visit) == lost[0]}
            found = [visit for visit, (_, lost_in) in self._lost.items() if lost_in < connection]
            for visit in found:
                del self._lost[visit]
            return found
