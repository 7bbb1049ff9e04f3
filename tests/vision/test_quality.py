"""Quality: what the rules say of a mesh and a crop, where no photograph can be so exact."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.values import Float32, QualityReason
from streamd.vision.landmarks import FIVE_POINTS
from streamd.vision.quality import QualityRules, judge

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
