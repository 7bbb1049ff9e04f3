"""What a door camera makes of a face: measured by what it takes away, and the same at every call."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.recognition.embedding import golden_crop
from streamd.vision.alignment import SIDE
from training.augment import EYES, HARD, NAMED, Camera, DoorViews, contact_sheet, door_view, named_view, seen_by


def detail(image: np.ndarray) -> float:
    """What differs from one pixel to the next."""
    return float(
        np.abs(np.diff(image.astype(np.float64), axis=1)).mean() + np.abs(np.diff(image.astype(np.float64), axis=0)).mean()
    )


def noisy_face() -> np.ndarray:
    """The drawn face with fine structure, so that there is something to lose."""
    grain = np.random.default_rng(1).normal(0, 20, (SIDE, SIDE, 3))
    return np.clip(golden_crop() + grain, 0, 255).astype(np.uint8)


def test_the_eyes_of_a_crop_are_47_pixels_apart() -> None:
    assert pytest.approx(47.2, abs=0.1) == EYES


def test_a_camera_without_faults_changes_next_to_nothing() -> None:
    seen = seen_by(Camera(jpeg=100), golden_crop(), np.random.default_rng(0))

    assert np.abs(seen.astype(int) - golden_crop()).mean() < 1.5


def test_the_further_away_a_face_is_the_less_of_it_is_left() -> None:
    left = [detail(named_view(name)(noisy_face(), np.random.default_rng(0))) for name in ("25px", "12px", "9px", "6px")]

    assert left == sorted(left, reverse=True)
    assert detail(noisy_face()) > 2 * left[0]


def test_motion_smears_along_its_direction_alone() -> None:
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[:, ::10] = 255  # columns: motion along them changes nothing, motion across them evens them out
    along = seen_by(Camera(motion=20, angle=np.pi / 2, jpeg=100), upright, np.random.default_rng(0))[:, 20:-20]
    across = seen_by(Camera(motion=20, angle=0, jpeg=100), upright, np.random.default_rng(0))[:, 20:-20]

    assert along.std() > 0.9 * upright.std()
    assert across.std() < 0.1 * upright.std()


def test_low_light_leaves_few_levels_and_noise() -> None:
    dark = named_view("low_light")(golden_crop(), np.random.default_rng(0))

    assert dark.mean() < 0.1 * golden_crop().mean()
    assert len(np.unique(dark)) < 32


def test_an_infrared_picture_has_no_colour() -> None:
    grey = seen_by(Camera(grey=True, jpeg=100), golden_crop(), np.random.default_rng(0)).astype(int)

    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 3
    assert np.abs(golden_crop()[..., 0].astype(int) - golden_crop()[..., 2]).max() > 30


@pytest.mark.parametrize("name", [*NAMED])
def test_a_named_view_is_the_same_for_the_same_generator(name: str) -> None:
    one, other = (named_view(name)(noisy_face(), np.random.default_rng(7)) for _ in range(2))

    assert one.shape == (SIDE, SIDE, 3)
    assert (one == other).all()


def test_every_hard_view_is_one_that_has_a_name() -> None:
    assert set(HARD) < set(NAMED)


def test_random_views_are_as_often_clean_as_they_are_told_to_be() -> None:
    crop = golden_crop()
    random = np.random.default_rng(2)
    rules = DoorViews(clean=0.4, misaligned=0)

    clean = sum(bool((door_view(rules, crop, random) == crop).all()) for _ in range(300))

    assert 90 < clean < 150


def test_a_misaligned_view_moves_the_face_by_pixels_not_by_a_head() -> None:
    random = np.random.default_rng(2)
    rules = DoorViews(clean=1, misaligned=1)
    moved = [np.abs(door_view(rules, golden_crop(), random).astype(int) - golden_crop()).mean() for _ in range(20)]
    elsewhere = np.abs(np.roll(golden_crop(), 30, 1).astype(int) - golden_crop()).mean()

    assert 0 < float(np.mean(moved)) < elsewhere / 3


def test_a_video_stream_keeps_less_of_a_face_the_fewer_bits_it_has() -> None:
    kept = [detail(seen_by(Camera(h264=factor), noisy_face(), np.random.default_rng(0))) for factor in (20, 30, 40)]

    assert kept == sorted(kept, reverse=True)
    assert detail(noisy_face()) > 1.5 * kept[-1]
    assert np.abs(seen_by(Camera(h264=1), golden_crop(), np.random.default_rng(0)).astype(int) - golden_crop()).mean() < 3


def test_a_covering_hides_a_part_of_the_face_as_often_as_it_is_told_to() -> None:
    free = DoorViews(clean=1, misaligned=0)
    some = DoorViews(clean=1, misaligned=0, covered=0.5)
    changed = [
        float((door_view(some, golden_crop(), np.random.default_rng(n)) != golden_crop()).any(-1).mean()) for n in range(60)
    ]

    assert (door_view(free, golden_crop(), np.random.default_rng(0)) == golden_crop()).all()
    assert 0.3 < np.mean([share > 0 for share in changed]) < 0.7
    assert max(changed) < 0.7  # the rest of the face stays


def test_the_contact_sheet_shows_the_face_as_taken_and_then_otherwise() -> None:
    faces = np.stack([golden_crop(), noisy_face()])

    sheet = contact_sheet(faces, columns=6)

    assert (sheet[26 : 26 + SIDE, :SIDE] == faces[0]).all()
    assert (sheet[26 + SIDE : 26 + 2 * SIDE, :SIDE] == faces[1]).all()
    others = [sheet[26 : 26 + SIDE, SIDE * column : SIDE * (column + 1)] for column in range(1, 6)]
    assert all((other != faces[0]).any() for other in others)
