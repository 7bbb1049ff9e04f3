"""The photo that is made of a camera's frame: one face with its surroundings, and nobody else's face in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from streamd.values import Float32, UInt8

_MARGIN: Final = 1.0  # on each side, in widths and heights of the box: what the detector wants around a face
_LEAST_MARGIN: Final = 0.25  # a cut narrower than this would take hair and chin away
_HEAD: Final = 0.15  # of another face's box on each side: its hair and ears


def cut_area(box: Float32, others: Sequence[Float32]) -> tuple[float, float, float, float] | None:
    """The rectangle to cut around a face, pixels x0 y0 x1 y1, perhaps beyond the picture; boxes are float32 (4,) x0 y0 x1 y1.

    Narrowed where another face would be in it, on the side where it costs least; None where that would touch the face itself.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    wide, high = x1 - x0, y1 - y0
    area = [x0 - _MARGIN * wide, y0 - _MARGIN * high, x1 + _MARGIN * wide, y1 + _MARGIN * high]
    near = (x0 - _LEAST_MARGIN * wide, y0 - _LEAST_MARGIN * high, x1 + _LEAST_MARGIN * wide, y1 + _LEAST_MARGIN * high)
    # The nearest first: what is cut away for it often takes the farther ones along.
    for other in sorted(others, key=lambda one: _distance(box, one)):
        grow_x, grow_y = _HEAD * float(other[2] - other[0]), _HEAD * float(other[3] - other[1])
        head = (other[0] - grow_x, other[1] - grow_y, other[2] + grow_x, other[3] + grow_y)
        if head[0] >= area[2] or head[2] <= area[0] or head[1] >= area[3] or head[3] <= area[1]:
            continue
        ways = []
        for edge in range(4):
            moved = [*area]
            moved[edge] = float(head[(edge + 2) % 4])
            if moved[edge] <= near[edge] if edge < 2 else moved[edge] >= near[edge]:
                ways.append(moved)
        if not ways:
            return None
        area = max(ways, key=lambda one: (one[2] - one[0]) * (one[3] - one[1]))
    return area[0], area[1], area[2], area[3]


def cut(image: UInt8, box: Float32, others: Sequence[Float32] = ()) -> UInt8 | None:
    """A face cut out of its frame, uint8 (H, W, 3) RGB, as a photo of its own; None as in `cut_area`."""
    area = cut_area(box, others)
    if area is None:
        return None
    height, wide = image.shape[:2]
    x0, y0 = max(0, round(area[0])), max(0, round(area[1]))
    x1, y1 = min(wide, round(area[2])), min(height, round(area[3]))
    # A copy: a view would hold the whole frame in memory.
    return np.array(image[y0:y1, x0:x1], order="C") if x1 > x0 and y1 > y0 else None


def photo_name(camera: str, pose: str, wall: datetime) -> str:
    """The file name of a photo from a camera, such as `camera-door-20261125T174201Z-straight.jpg`; `wall` has a zone."""
    return f"camera-{camera}-{wall.astimezone(UTC):%Y%m%dT%H%M%SZ}-{pose}.jpg"


def width(box: Float32) -> float:
    """The width of a box, pixels."""
    return float(box[2] - box[0])


def _distance(one: Float32, other: Float32) -> float:
    return float(np.hypot(one[0] + one[2] - other[0] - other[2], one[1] + one[3] - other[1] - other[3]))
