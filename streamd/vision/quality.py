"""Quality: what a crop is worth for comparison, and the reasons when it is worth nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from streamd.values import Float32, Quality, QualityReason, UInt8
from streamd.vision.alignment import SIDE, TEMPLATE
from streamd.vision.landmarks import FIVE_POINTS

_TEMPLATE_EYES: Final = float(np.linalg.norm(TEMPLATE[0] - TEMPLATE[1]))
# Outer eye corners, forehead and chin of the 478-point mesh: the two axes that tell where a face looks.
_EYE_CORNERS: Final = (33, 263)
_FOREHEAD_CHIN: Final = (10, 152)
_MIN_INSIDE: Final = 0.95  # share of the mesh that must lie in the picture
_FACE: Final = np.s_[SIDE // 5 : -SIDE // 8, SIDE // 5 : -SIDE // 5]  # the face without hair and background


@dataclass(frozen=True, slots=True)
class QualityRules:
    """The bounds outside of which a crop takes no part: pixels, degrees, grey levels; sharpness as in Quality."""

    min_eye_distance_pixels: float = 18.0
    max_yaw_degrees: float = 45.0
    max_pitch_degrees: float = 35.0
    max_roll_degrees: float = 45.0
    min_sharpness: float = 0.07
    min_brightness: float = 40.0
    max_brightness: float = 220.0
    min_contrast: float = 15.0


def pose(mesh: Float32) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a mesh (float32 (478, 3), pixels), all 0 for a face that looks into the camera.

    Yaw is positive when the face looks to the right of the picture, pitch when it looks up, roll when it leans clockwise.
    """
    across = mesh[_EYE_CORNERS[1]] - mesh[_EYE_CORNERS[0]]
    down = mesh[_FOREHEAD_CHIN[1]] - mesh[_FOREHEAD_CHIN[0]]
    roll = np.arctan2(across[1], across[0])
    yaw = np.arctan2(across[2], np.hypot(across[0], across[1]))
    pitch = np.arctan2(-down[2], np.hypot(down[0], down[1]))
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def sharpness(grey: UInt8, eye_distance: float) -> float:
    """Fine detail of an aligned crop (uint8 (150, 150)) relative to its contrast, 0 upwards; blur and defocus lower it.

    Measured at the size that the face has in the frame, so that a small face is not called blurred for being enlarged; and
    in the direction that has less of it, since motion blurs along its way only.
    """
    factor = min(1.0, eye_distance / _TEMPLATE_EYES)
    if factor < 1:
        side = max(round(SIDE * factor), 24)
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    height, width = grey.shape
    face = grey[height // 5 : -height // 8, width // 5 : -width // 5].astype(np.float32)
    detail = min(
        float(cv2.Sobel(face, cv2.CV_32F, 2, 0, ksize=1).std()), float(cv2.Sobel(face, cv2.CV_32F, 0, 2, ksize=1).std())
    )
    return detail / (float(face.std()) + 1.0)


def judge(crop: UInt8, mesh: Float32, width: int, height: int, rules: QualityRules) -> Quality:
    """The quality of an aligned crop (uint8 (150, 150, 3) RGB) whose mesh lies in a picture of that width and height."""
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)
    points = mesh[list(FIVE_POINTS), :2]
    eye_distance = float(np.linalg.norm(points[0] - points[1]))
    brightness, contrast = float(grey[_FACE].mean()), float(grey[_FACE].std())
    sharp = sharpness(grey, eye_distance)
    yaw, pitch, roll = pose(mesh)
    inside = np.all((mesh[:, :2] >= 0) & (mesh[:, :2] < [width, height]), axis=1)
    cut_off = float(np.mean(inside)) < _MIN_INSIDE or not np.all(np.take(inside, FIVE_POINTS))
    tests = (
        (eye_distance < rules.min_eye_distance_pixels, QualityReason.TOO_SMALL),
        (cut_off, QualityReason.CUT_OFF),
        (abs(yaw) > rules.max_yaw_degrees or abs(pitch) > rules.max_pitch_degrees, QualityReason.TURNED_AWAY),
        (abs(roll) > rules.max_roll_degrees, QualityReason.TILTED),
        (brightness < rules.min_brightness, QualityReason.DARK),
        (brightness > rules.max_brightness, QualityReason.OVEREXPOSED),
        (contrast < rules.min_contrast, QualityReason.FLAT),
        (sharp < rules.min_sharpness, QualityReason.BLURRED),
    )
    reasons = tuple(reason for failed, reason in tests if failed)
    return Quality(sharp, brightness, contrast, yaw, pitch, roll, eye_distance, reasons)
