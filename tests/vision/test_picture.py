"""Pictures: whatever is asked of planes, the answer is that of a plain conversion to RGB, cut and turned afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.values import UInt8
from streamd.vision.picture import Picture, Region, RgbPicture, YuvPicture

HEIGHT, WIDTH = 48, 64
TOLERANCE = 3
"""Grey levels by which the library's whole-number conversion may differ from the formula; 1 or 2 is usual."""


def planes(full_range: bool) -> YuvPicture:
    """A picture whose brightness and colour change slowly, so that how chroma is spread over pixels makes no difference."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    low, high = (0, 255) if full_range else (16, 235)
    luma = low + (high - low) * (0.5 + 0.25 * np.sin(x / 9) + 0.2 * np.cos(y / 7))
    cy, cx = np.mgrid[0 : HEIGHT // 2, 0 : WIDTH // 2]
    u, v = 128 + 25 * np.sin(cx / 14 + cy / 25), 128 + 25 * np.cos(cy / 12 - cx / 30)
    return YuvPicture(luma.round().astype(np.uint8), u.round().astype(np.uint8), v.round().astype(np.uint8), full_range)


def by_formula(picture: YuvPicture) -> UInt8:
    """ITU-R BT.601: R = Y + 1.402 V, G = Y - 0.344 U - 0.714 V, B = Y + 1.772 U, with Y 0..255 and U, V around 0.

    Limited range is widened first: Y from 16..235 by 255 / 219, U and V from 16..240 by 255 / 224.
    """
    y, u, v = (plane.astype(np.float64) for plane in (picture.y, picture.u, picture.v))
    u, v = (np.repeat(np.repeat(plane - 128, 2, 0), 2, 1) for plane in (u, v))
    if not picture.full_range:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], -1)
    return rgb.round().clip(0, 255).astype(np.uint8)


def assert_near(left: UInt8, right: UInt8, tolerance: int = TOLERANCE) -> None:
    assert left.shape == right.shape
    assert left.dtype == np.uint8
    assert left.flags.c_contiguous
    assert int(np.abs(left.astype(int) - right.astype(int)).max()) <= tolerance


@pytest.fixture(params=[True, False], ids=["full range", "limited range"])
def yuv(request: pytest.FixtureRequest) -> YuvPicture:
    return planes(request.param)


def test_planes_become_the_colours_of_the_standard(yuv: YuvPicture) -> None:
    assert_near(yuv.rgb(), by_formula(yuv))


@pytest.mark.parametrize(
    "box", [(0, 0, 64, 48), (10, 8, 30, 40), (11, 7, 30, 40), (10, 8, 31, 41), (13, 9, 14, 10), (63, 47, 64, 48)]
)
def test_a_crop_is_that_part_of_the_whole_on_odd_edges_too(yuv: YuvPicture, box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box

    assert_near(yuv.crop(*box), by_formula(yuv)[y0:y1, x0:x1])


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_a_turned_picture_is_turned_clockwise(yuv: YuvPicture, degrees: int, quarters: int) -> None:
    """numpy's rot90 turns against the clock, so `quarters` of it are taken back."""
    turned = yuv.rotated(degrees)

    assert (turned.height, turned.width) == ((HEIGHT, WIDTH) if quarters % 2 == 0 else (WIDTH, HEIGHT))
    assert_near(turned.rgb(), np.rot90(by_formula(yuv), -quarters))
    assert_near(RgbPicture(by_formula(yuv)).rotated(degrees).rgb(), np.rot90(by_formula(yuv), -quarters), 0)


def test_the_top_left_pixel_goes_to_the_top_right_in_a_quarter_turn() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 255

    assert RgbPicture(image).rotated(90).rgb()[0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("region", [(0.0, 0.0, 1.0, 1.0), (0.25, 0.5, 0.75, 1.0), (0.3, 0.3, 0.61, 0.97)])
def test_a_region_is_the_same_part_however_the_picture_is_kept(yuv: YuvPicture, region: Region) -> None:
    whole = by_formula(yuv)
    trimmed, expected = yuv.trimmed(region), RgbPicture(whole).trimmed(region).rgb()

    assert (trimmed.height, trimmed.width) == expected.shape[:2]
    assert_near(trimmed.rgb(), expected)
    x0, y0 = int(region[0] * WIDTH) // 2 * 2, int(region[1] * HEIGHT) // 2 * 2
    assert np.array_equal(expected, whole[y0 : y0 + expected.shape[0], x0 : x0 + expected.shape[1]])


def test_a_region_given_by_pixels_begins_at_these_pixels() -> None:
    """996 / 3156 * 3156 is 995.9999999999999: cut off, and then made even, it would begin two pixels too far left."""
    picture = RgbPicture(np.zeros((2, 3156, 3), np.uint8))
    picture.pixels[:, 996] = 255

    assert picture.trimmed((996 / 3156, 0, 1, 1)).rgb()[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size", [(32, 24), (21, 15), (16, 12)])
def test_a_reduced_picture_is_the_average_of_what_it_covers(yuv: YuvPicture, size: tuple[int, int]) -> None:
    width, height = size
    even = (width + 1) // 2 * 2, (height + 1) // 2 * 2  # chroma needs pairs: an odd size is cut from the next even one
    expected = np.ascontiguousarray(RgbPicture(by_formula(yuv)).reduced(*even)[:height, :width])

    assert_near(yuv.reduced(*size), expected, 8)  # chroma keeps half the size there too, so colour is coarser
    if size == (32, 24):
        means = by_formula(yuv).reshape(24, 2, 32, 2, 3).mean((1, 3))
        assert_near(expected, means.round().astype(np.uint8), 1)


@pytest.mark.parametrize("picture", [planes(True), RgbPicture(by_formula(planes(True)))], ids=["planes", "RGB"])
def test_grey_is_the_averaged_luma_and_follows_turn_and_region(picture: Picture) -> None:
    """White in the lower left quarter of black, in cells of 16 pixels (64 / 4): 4 columns, 3 rows of which the middle one is
    half white, 127 or 128. After a quarter turn it lies in the upper left.
    """
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    black[HEIGHT // 2 :, : WIDTH // 2] = 255
    if isinstance(picture, YuvPicture):
        picture = YuvPicture(black, np.full_like(picture.u, 128), np.full_like(picture.v, 128), True)
    else:
        picture = RgbPicture(np.repeat(black[:, :, None], 3, 2))

    expected = np.array([[0, 0, 0, 0], [127.5, 127.5, 0, 0], [255, 255, 0, 0]])
    assert picture.grey(4) == pytest.approx(expected, abs=0.5)
    assert picture.rotated(90).grey(4) == pytest.approx(np.rot90(expected, -1), abs=0.5)
    assert picture.trimmed((0, 0.5, 0.5, 1)).grey(4).min() == 255


def test_pixels_that_do_not_fill_a_cell_are_left_out_and_a_tiny_picture_is_its_own() -> None:
    """50 pixels in about 4 cells: 12 each, two left over. A picture of 3 by 2 asked for 80 cells has 3 by 2."""
    wide = np.zeros((30, 50, 3), np.uint8)
    wide[24:], wide[:, 48:] = 255, 255

    assert RgbPicture(wide).grey(4).tolist() == [[0] * 4] * 2
    assert RgbPicture(np.zeros((2, 3, 3), np.uint8)).grey(80).shape == (2, 3)


def test_turning_and_trimming_share_the_pixels_instead_of_copying_them(yuv: YuvPicture) -> None:
    view = yuv.rotated(270).trimmed((0.25, 0.25, 0.75, 0.75))

    assert np.shares_memory(view.y, yuv.y)
    assert np.shares_memory(view.u, yuv.u)
