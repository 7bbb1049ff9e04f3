"""Detection: where the faces are in a picture, by MediaPipe's full-range network on the whole picture or on three tiles.

The network sees 192x192 pixels, so the size of a face relative to the long side of what it is shown decides: 32 pixels between
the eyes in a picture of 1280, 20 in tiles, at four times the cost (`streamd bench detection`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.values import Face, Float32
from streamd.vision.mediapipe_tasks import DetectionTask
from streamd.vision.picture import Picture

_LONG_SIDE: Final = 640  # what the network is shown; hits are the same from 192 to 1280, and converting costs less
_SAME_FACE: Final = 0.4  # overlap above which two tiles have found one face


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """min_score: 0..1. max_faces: the largest are kept. tiles: 1 (whole picture) or 3."""

    min_score: float = 0.5
    max_faces: int = 8
    tiles: int = 1


class FaceDetector:
    """Finds faces; one owner thread. Use as a context manager, or call `close`."""

    def __init__(self, rules: DetectionRules) -> None:
        self._rules = rules
        self._task = DetectionTask(rules.min_score)

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the network."""
        self._task.close()

    def detect(self, picture: Picture) -> list[Face]:
        """The faces of a picture in its own pixels, largest first, at most `max_faces`."""
        found: list[Face] = []
        for x0, y0, x1, y1 in tiles(picture.width, picture.height, self._rules.tiles):
            width, height = x1 - x0, y1 - y0
            factor = min(1.0, _LONG_SIDE / max(width, height))
            size = max(round(width * factor), 1), max(round(height * factor), 1)
            whole = (width, height) == (picture.width, picture.height)
            part = (
                picture
                if whole
                else picture.trimmed((x0 / picture.width, y0 / picture.height, x1 / picture.width, y1 / picture.height))
            )
            ratio = np.array([part.width / size[0], part.height / size[1]], np.float32)
            origin = np.array([x0 // 2 * 2, y0 // 2 * 2], np.float32)
            for box, points, score in self._task.detect(part.reduced(*size)):
                corners = (box.reshape(2, 2) * ratio + origin).reshape(4)
                found.append(Face(corners.astype(np.float32), (points * ratio + origin).astype(np.float32), score))
        return distinct(found)[: self._rules.max_faces]


def tiles(width: int, height: int, count: int) -> list[tuple[int, int, int, int]]:
    """The parts of a picture that the network is shown, pixels x0 y0 x1 y1: the whole, or squares along the long side."""
    if count == 1:
        return [(0, 0, width, height)]
    side = min(width, height)
    steps = [round(i * (max(width, height) - side) / (count - 1)) for i in range(count)]
    if width >= height:
        return [(step, 0, step + side, side) for step in steps]
    return [(0, step, side, step + side) for step in steps]


def overlap(a: Float32, b: Float32) -> float:
    """Intersection over union of two boxes (float32 (4,), x0 y0 x1 y1), 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (_area(a) + _area(b) - shared)


def distinct(faces: list[Face]) -> list[Face]:
    """Faces that are not the same one found twice (the surer stays), largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) < _SAME_FACE for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -_area(face.box))


def _area(box: Float32) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
