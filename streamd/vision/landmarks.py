"""Landmarks: 478 points of one detected face, and the five of them that alignment uses."""

from __future__ import annotations

from typing import Final

import numpy as np

from streamd.values import Face, Float32, UInt8
from streamd.vision.mediapipe_tasks import LandmarkTask
from streamd.vision.picture import Picture

# Iris centres, nose tip, mouth corners of MediaPipe's 478-point mesh, left of the picture first.
FIVE_POINTS: Final = (468, 473, 1, 61, 291)

_MARGIN: Final = 2.0  # side of the crop that the network is shown, in box sides
_SAME_FACE: Final = 0.5  # how far the eyes may lie from the detector's, in eye distances


class FaceLandmarker:
    """Finds the mesh of a detected face; one owner thread. Use as a context manager, or call `close`."""

    def __init__(self) -> None:
        self._task = LandmarkTask()

    def __enter__(self) -> FaceLandmarker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the network."""
        self._task.close()

    def find(self, picture: Picture, face: Face) -> tuple[Float32, UInt8, Float32] | None:
        """The mesh of `face`, or None where the network sees no face there.

        Returns the mesh, float32 (478, 3), in pixels of the picture; and the part of the picture that was looked at,
        uint8 (h, w, 3) RGB, with its origin, float32 (2,), so that alignment need not convert it again.
        """
        x0, y0, x1, y1 = surroundings(face.box, picture.width, picture.height)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return None
        part = picture.crop(x0, y0, x1, y1)
        origin = np.array([x0, y0], np.float32)
        eyes = (face.keypoints[:2] - origin).mean(0)
        reach = _SAME_FACE * float(np.linalg.norm(face.keypoints[0] - face.keypoints[1]))
        # A neighbour's face may be in the crop too: the one meant has its eyes where the detector saw them.
        for mesh in self._task.landmarks(part):
            if float(np.linalg.norm(mesh[list(FIVE_POINTS[:2]), :2].mean(0) - eyes)) <= max(reach, 0.1 * (x1 - x0)):
                mesh[:, :2] += origin
                return mesh, part, origin
        return None


def surroundings(box: Float32, width: int, height: int) -> tuple[int, int, int, int]:
    """The square of twice the box around its middle, cut at the picture's edges: pixels x0 y0 x1 y1."""
    centre_x, centre_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = _MARGIN / 2 * float(max(box[2] - box[0], box[3] - box[1]))
    return (
        max(0, int(centre_x - half)),
        max(0, int(centre_y - half)),
        min(width, int(centre_x + half) + 1),
        min(height, int(centre_y + half) + 1),
    )
