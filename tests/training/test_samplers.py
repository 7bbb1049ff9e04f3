"""What lies in a batch, how evenly it is drawn, and that it depends on seed and step alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from training.prepare import DataError
from training.samplers import Pictures, pairs, subjects_by_pictures, tuples

# Subject 0 has 50 pictures, 1 to 5 have three, 6 to 9 have one.
SUBJECTS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), [50, 3, 3, 3, 3, 3, 1, 1, 1, 1]))
PICTURES = Pictures(SUBJECTS)


def test_every_second_pair_is_of_one_subject_in_two_pictures_and_the_others_of_two() -> None:
    drawn = np.concatenate([pairs(PICTURES, 8, 1, step) for step in range(50)])
    first, second = SUBJECTS[drawn].T

    assert (first == second).tolist() == [True, False] * 200
    assert (drawn[:, 0] != drawn[:, 1]).all()


def test_subjects_are_drawn_evenly_whatever_the_number_of_their_pictures() -> None:
    """2,000 genuine pairs over six subjects that have two pictures: 333 each, give or take 4 standard deviations of 17."""
    drawn = np.concatenate([pairs(PICTURES, 40, 1, step) for step in range(100)])[0::2]
    counts = Counter(SUBJECTS[drawn[:, 0]].tolist())

    assert set(counts) == set(range(6))
    assert all(abs(count - 333) < 68 for count in counts.values())


def test_strangers_are_drawn_among_all_subjects_those_of_one_picture_too() -> None:
    drawn = np.concatenate([pairs(PICTURES, 40, 1, step) for step in range(20)])[1::2]

    assert set(SUBJECTS[drawn].ravel().tolist()) == set(range(10))


@pytest.mark.parametrize("strangers", [1, 2])
def test_a_tuple_is_two_pictures_of_one_subject_and_one_each_of_others(strangers: int) -> None:
    for step in range(20):
        drawn = tuples(PICTURES, 10, strangers, 1, step)
        whose = SUBJECTS[drawn]

        assert drawn.shape == (10, 2 + strangers)
        assert (drawn[:, 0] != drawn[:, 1]).all()
        assert (whose[:, 0] == whose[:, 1]).all()
        assert all(len(set(row)) == 1 + strangers for row in whose.tolist())


def test_p_by_k_gives_each_subject_once_before_one_comes_again() -> None:
    drawn = np.concatenate([subjects_by_pictures(PICTURES, 3, 4, 1, step) for step in range(2)])
    whose = SUBJECTS[drawn]

    assert sorted(whose[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    assert (whose == whose[:, :1]).all()


def test_p_by_k_repeats_pictures_only_where_there_are_too_few() -> None:
    for row in subjects_by_pictures(PICTURES, 6, 4, 1, 0):
        assert len(set(row.tolist())) == (4 if SUBJECTS[row[0]] == 0 else 3)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed, step: pairs(PICTURES, 8, seed, step),
        lambda seed, step: tuples(PICTURES, 8, 2, seed, step),
        lambda seed, step: subjects_by_pictures(PICTURES, 3, 4, seed, step),
    ],
)
def test_a_batch_is_drawn_from_seed_and_step_alone(draw) -> None:  # type: ignore[no-untyped-def]
    assert (draw(1, 7) == draw(1, 7)).all()
    assert not (draw(1, 7) == draw(1, 8)).all()
    assert not (draw(1, 7) == draw(2, 7)).all()


def test_people_of_whom_no_batch_can_be_made_are_refused() -> None:
    with pytest.raises(DataError, match="expected two people or more with two pictures each, found 1"):
        Pictures([0, 0, 1, 2])

    with pytest.raises(DataError, match="expected 7 people with two pictures or more, found 6; lower `subjects`"):
        subjects_by_pictures(PICTURES, 7, 2, 1, 0)
