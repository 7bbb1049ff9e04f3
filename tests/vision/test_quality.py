"""Quality: what the rules say of a mesh and a crop, where no photograph can be so exact."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamd.values import Float32, QualityReason, UInt8
from streamd.vision.landmarks import FIVE_POINTS
from streamd.vision.quality import QualityRules, judge, pose

WIDTH, HEIGHT = 640, 480
NOISE = np.random.default_rng(0).integers(60, 200, (150, 150, 3)).astype(np.uint8)


def mesh(*outside: int) -> Float32:
    """A mesh in the middle of the picture, eyes 80 pixels apart; some of its points lie a pixel beyond the left edge."""
    points = np.full((478, 3), (320, 240, 0), np.float32)
    points[[33, 263], 0] = 270, 370
    points[[10, 152], 1] = 150, 330
    points[FIVE_POINTS[0], 0], points[FIVE_POINTS[1], 0] = 280, 360
    points[list(outside), 0] = -1
    return points


def test_a_face_within_the_picture_is_whole() -> None:
    assert QualityReason.CUT_OFF not in judge(NOISE, mesh(), WIDTH, HEIGHT, QualityRules()).reasons


@pytest.mark.parametrize("point", FIVE_POINTS)
def test_a_face_of_which_the_edge_takes_one_of_the_five_points_is_cut_off(point: int) -> None:
    """However much of the rest is there: the alignment stands on that point."""
    assert QualityReason.CUT_OFF in judge(NOISE, mesh(point), WIDTH, HEIGHT, QualityRules()).reasons


def test_a_twentieth_of_the_mesh_may_be_missing_where_the_five_points_are_there() -> None:
    others = [index for index in range(200, 300) if index not in FIVE_POINTS]

    few, many = (
        judge(NOISE, mesh(*others[:23]), WIDTH, HEIGHT, QualityRules()),
        judge(NOISE, mesh(*others[:25]), WIDTH, HEIGHT, QualityRules()),
    )

    assert QualityReason.CUT_OFF not in few.reasons
    assert QualityReason.CUT_OFF in many.reasons


def turned(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Float32:
    """The mesh of a face that looks so many degrees to the right of the picture, up, and leans clockwise."""
    y, p, r = np.radians([yaw, pitch, roll])
    sideways = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    nodding = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    leaning = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    middle = np.array([320, 240, 0])
    return ((mesh() - middle) @ (leaning @ sideways @ nodding).T + middle).astype(np.float32)


@pytest.mark.parametrize("angle", ["yaw", "pitch", "roll"])
@pytest.mark.parametrize("degrees", [-20.0, 0.0, 20.0])
def test_a_pose_is_read_from_the_mesh_in_degrees(angle: str, degrees: float) -> None:
    told = dict(zip(("yaw", "pitch", "roll"), pose(turned(**{angle: degrees})), strict=True))

    assert told == pytest.approx({"yaw": 0.0, "pitch": 0.0, "roll": 0.0, angle: degrees}, abs=0.01)


@pytest.mark.parametrize(
    ("angle", "bound", "reason"),
    [
        ("yaw", "max_yaw_degrees", QualityReason.TURNED_AWAY),
        ("pitch", "max_pitch_degrees", QualityReason.TURNED_AWAY),
        ("roll", "max_roll_degrees", QualityReason.TILTED),
    ],
)
@pytest.mark.parametrize("side", [-1, 1])
def test_a_face_that_is_turned_further_than_its_bound_is_not_compared(
    angle: str, bound: str, reason: QualityReason, side: int
) -> None:
    """Each angle has its own bound, to both sides."""
    rules = QualityRules(**{bound: 15.0})

    within, beyond = (judge(NOISE, turned(**{angle: side * degrees}), WIDTH, HEIGHT, rules).reasons for degrees in (14, 16))

    assert reason not in within
    assert reason in beyond


@pytest.mark.parametrize(
    ("crop", "reason"),
    [
        (NOISE // 8, QualityReason.DARK),
        (255 - NOISE // 8, QualityReason.OVEREXPOSED),
        (100 + NOISE // 32, QualityReason.FLAT),
        (cv2.resize(NOISE[:9, :9], (150, 150), interpolation=cv2.INTER_CUBIC), QualityReason.BLURRED),
    ],
)
def test_a_crop_is_refused_for_its_light_or_its_blur(crop: UInt8, reason: QualityReason) -> None:
    assert reason in judge(crop, mesh(), WIDTH, HEIGHT, QualityRules()).reasons
    assert reason not in judge(NOISE, mesh(), WIDTH, HEIGHT, QualityRules()).reasons
