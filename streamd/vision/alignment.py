"""Alignment: one versioned similarity transform from a face in a picture to the crop that the embedding network sees.

The same code serves training and the daemon; what is trained on is what is served. Change a number here and the version
changes, and with it every template made before is refused.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from streamd.values import Float32, UInt8

VERSION: Final = "arcface5-150/1"
SIDE: Final = 150

# ArcFace's five points for a 112-pixel crop (Deng et al. 2019): eyes, nose tip, mouth corners, left of the picture first.
_ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
TEMPLATE: Final[Float32] = ((_ARCFACE_112 + 0.5) * (SIDE / 112) - 0.5).astype(np.float32)


def similarity(points: Float32) -> Float32:
    """The rotation, scale and shift that bring five points nearest to TEMPLATE: float32 (2, 3), picture to crop.

    points: float32 (5, 2), pixels: eyes, nose tip, mouth corners, left of the picture first. Least squares without
    reflection (Umeyama 1991). Raises ValueError when the points coincide.
    """
    source, target = points.astype(np.float64), TEMPLATE.astype(np.float64)
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    spread = float((a**2).sum())
    if spread < 1e-6:
        raise ValueError("the five points coincide")
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((singular * sign).sum()) / spread
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * rotation
    matrix[:, 2] = target_mean - matrix[:, :2] @ source_mean
    return matrix.astype(np.float32)


def align(image: UInt8, points: Float32) -> UInt8:
    """The aligned crop, uint8 (150, 150, 3) RGB, of the face at `points` (float32 (5, 2), pixels of `image`, RGB).

    Pixels outside the picture repeat its edge: black corners shift the templates of faces cut tight. A face much larger
    than the crop is averaged down first, since linear interpolation alone would skip pixels.
    """
    matrix = similarity(points)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        factor = 2 * scale
        height, width = image.shape[:2]
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        ratio = np.array([size[0] / width, size[1] / height], np.float32)
        matrix = similarity((points + 0.5) * ratio - 0.5)
    crop = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)
