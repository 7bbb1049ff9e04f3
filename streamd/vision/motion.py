"""The motion gate: nothing costly runs while nothing moves in front of the camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.values import Float32, UInt8

CELLS: Final = 80
"""How many cells the long side is cut into: averages of 16x16 pixels at 1280x720, so that noise is gone."""

_MEMORY_SECONDS = 2.0  # how fast the remembered scene follows slow light; a person who stays is kept by the tracker


@dataclass(frozen=True, slots=True)
class MotionRules:
    """threshold: grey levels by which a cell must change. min_area: fraction of cells. hold_seconds: how long one lasts."""

    threshold: float = 6.0
    min_area: float = 0.002
    hold_seconds: float = 2.0


class MotionGate:
    """Whether something moves in the pictures of one camera; one owner thread."""

    def __init__(self, rules: MotionRules) -> None:
        self._rules = rules
        self._scene: Float32 | None = None
        self._seen_at = 0.0
        self._moved_at: float | None = None

    def moving(self, grey: UInt8, now: float) -> bool:
        """True while something moves and `hold_seconds` longer; grey: uint8 (rows, columns); now: seconds, monotonic.

        The first picture, and one of another size, counts as motion. A change of the whole picture's brightness does not.
        """
        if self._scene is None or self._scene.shape != grey.shape:
            self._scene = grey.astype(np.float32)
            self._moved_at = now
        else:
            difference = grey - self._scene
            change = np.abs(difference - np.median(difference))
            cells = np.count_nonzero(change > self._rules.threshold)
            if cells >= max(1, round(self._rules.min_area * grey.size)):
                self._moved_at = now
            self._scene += min(1.0, (now - self._seen_at) / _MEMORY_SECONDS) * difference
        self._seen_at = now
        return self._moved_at is not None and now - self._moved_at <= self._rules.hold_seconds
