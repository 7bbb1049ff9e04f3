"""Alignment: five points land on the template, by turning, scaling and shifting alone, and the version says when it changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, TEMPLATE, VERSION, align, similarity

FACE = np.array([[271, 342], [334, 329], [309, 372], [289, 413], [341, 402]], np.float32)
"""Five points of a leaning face in the scene below, as numbers of their own: they must not follow a change of the template."""

GOLDEN = {
    "arcface5-150/1": (
        [[0.7291, -0.1323, -100.7954], [0.1323, 0.7291, -215.338]],
        [
            [147.2, 136.7, 82.8, 60.4, 97.8],
            [139.0, 135.5, 98.7, 102.2, 153.9],
            [181.4, 153.4, 101.5, 98.0, 134.8],
            [131.6, 97.8, 60.7, 83.3, 137.4],
            [169.6, 136.8, 109.0, 136.8, 176.2],
        ],
    )
}
"""The transform of FACE, and the mean grey level of its crop in a raster of 5x5 parts, by the version that made them."""

angles = st.floats(-180, 180)
scales = st.floats(0.1, 8)
shifts = st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000))


def moved(points: Float32, degrees: float, scale: float, shift: tuple[float, float]) -> Float32:
    """Points turned (clockwise as seen in a picture), scaled and shifted."""
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (points @ matrix.T + np.array(shift)).astype(np.float32)


def applied(matrix: Float32, points: Float32) -> Float32:
    return points @ matrix[:, :2].T + matrix[:, 2]


def scene(height: int, width: int) -> UInt8:
    """Slow waves of light, different along both axes."""
    y, x = np.mgrid[0:height, 0:width]
    grey = 120 + 40 * np.sin(x / 29) + 35 * np.cos(y / 17 + x / 50)
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, 2)


@given(angles, scales, shifts)
def test_a_face_turned_scaled_and_shifted_lands_on_the_template(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    matrix = similarity(moved(TEMPLATE, degrees, scale, shift))

    assert applied(matrix, moved(TEMPLATE, degrees, scale, shift)) == pytest.approx(TEMPLATE, abs=0.05)
    assert float(np.hypot(matrix[0, 0], matrix[1, 0])) == pytest.approx(1 / scale, rel=1e-3)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=5, max_size=5))
def test_no_five_points_whatever_are_ever_mirrored_or_sheared(points: list[tuple[float, float]]) -> None:
    """A similarity without reflection is [[a, -b], [b, a]] with a determinant of zero (points in disorder) or above."""
    try:
        matrix = similarity(np.array(points, np.float32))
    except ValueError:
        return

    assert matrix[0, 0] == pytest.approx(matrix[1, 1], abs=1e-4)
    assert matrix[0, 1] == pytest.approx(-matrix[1, 0], abs=1e-4)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    """Least squares with reflection would fit it without error; without one an error must be left."""
    mirrored = TEMPLATE * np.array([-1, 1], np.float32)
    matrix = similarity(mirrored)

    assert np.linalg.det(matrix[:, :2]) > 0
    assert float(np.abs(applied(matrix, mirrored) - TEMPLATE).max()) > 10


def test_the_fit_is_the_best_in_the_sense_of_least_squares() -> None:
    """The residual of a noisy face grows with any small further turn, scale or shift."""
    noisy = moved(TEMPLATE, 20, 1.7, (300, 200)) + np.random.default_rng(0).normal(0, 4, (5, 2)).astype(np.float32)
    landed = applied(similarity(noisy), noisy)
    residual = float(((landed - TEMPLATE) ** 2).sum())

    for degrees, scale, shift in (
        (1, 1, (0, 0)),
        (-1, 1, (0, 0)),
        (0, 1.02, (0, 0)),
        (0, 0.98, (0, 0)),
        (0, 1, (0.5, 0)),
        (0, 1, (0, 0.5)),
    ):
        middle = landed.mean(0)
        other = moved((landed - middle).astype(np.float32), degrees, scale, shift) + middle
        assert float(((other - TEMPLATE) ** 2).sum()) > residual


def test_five_points_in_one_place_are_an_error_and_not_a_picture() -> None:
    with pytest.raises(ValueError, match="coincide"):
        similarity(np.full((5, 2), 7, np.float32))


def test_known_points_are_seen_at_the_template_in_the_crop() -> None:
    """White dots at the five points of a leaning face come out, each as the brightest spot near its place."""
    points = moved(TEMPLATE, 25, 1.3, (120, 60))
    image = np.zeros((420, 420, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(float(x)), round(float(y))), 5, (255, 255, 255), -1)

    crop = align(image, points)

    assert crop.shape == (SIDE, SIDE, 3)
    assert all(crop[y, x].min() > 200 for x, y in TEMPLATE.round().astype(int))
    _, _, _, middles = cv2.connectedComponentsWithStats((crop[:, :, 0] > 127).astype(np.uint8))
    assert np.array(sorted(middles[1:].tolist())) == pytest.approx(np.array(sorted(TEMPLATE.tolist())), abs=0.8)


@pytest.mark.parametrize("scale", [2.5, 6.0, 16.0])
def test_a_face_larger_than_the_crop_is_averaged_and_not_sampled(scale: float) -> None:
    """Stripes one pixel wide are grey when averaged: a deviation near 0, at 2.5 (where a part covers 1.25 pixels) up to 28.

    A sampler that skips pixels finds waves of black and white (55 and more at 2.5), or nothing but one of them.
    """
    side = round(SIDE * scale)
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 255

    crop = align(stripes, (TEMPLATE + 0.5) * scale - 0.5)

    assert float(crop[10:-10, 10:-10].std()) < (28 if scale < 3 else 12)
    assert float(crop.mean()) == pytest.approx(127.5, abs=4)


@pytest.mark.parametrize("scale", [0.5, 1.9, 2.1, 4.0, 7.3])
def test_reducing_first_moves_nothing(scale: float) -> None:
    """The same scene drawn larger gives the same crop: no shift where averaging sets in (at twice the crop's size)."""
    y, x = np.mgrid[0 : round(SIDE * scale), 0 : round(SIDE * scale)]
    px, py = (x + 0.5) / scale, (y + 0.5) / scale
    grey = 127 + 60 * np.sin(px / 9) + 50 * np.cos(py / 11)
    image = np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, 2)
    crop = align(image, (TEMPLATE + 0.5) * np.float32(scale) - 0.5)

    y, x = np.mgrid[0:SIDE, 0:SIDE]
    expected = 127 + 60 * np.sin((x + 0.5) / 9) + 50 * np.cos((y + 0.5) / 11)
    assert float(np.abs(crop[5:-5, 5:-5, 0] - expected[5:-5, 5:-5]).mean()) < 1.5


def test_what_lies_outside_the_picture_repeats_its_edge() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)

    crop = align(image, TEMPLATE - np.float32(70))

    assert crop.min() == crop.max() == 200


def test_a_change_of_the_transform_is_a_change_of_the_version() -> None:
    """Templates made before are refused by the version alone: whoever changes a number must change it, and this table."""
    assert VERSION in GOLDEN, "a new version: add its transform and crop to GOLDEN"
    transform, raster = (np.array(table) for table in GOLDEN[VERSION])
    crop = align(scene(480, 640), FACE)[:, :, 1].reshape(5, 30, 5, 30).mean((1, 3))

    assert similarity(FACE) == pytest.approx(transform, abs=1e-3), similarity(FACE).round(4).tolist()
    assert crop == pytest.approx(raster, abs=0.75), crop.round(1).tolist()
