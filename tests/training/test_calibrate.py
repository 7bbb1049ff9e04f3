"""Calibrate: scores of known pairs become a table of evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.calibrate import KNOTS, Trials, pooled, ratio_row
from training.prepare import Faces
from training.scores import Scores, cross, few_of_each
from training.visits import intraclass_correlation


def trials(
    genuine: np.ndarray, impostor: np.ndarray, genuine_trials: int = 3_000_000, impostor_trials: int = 3_000_000
) -> Trials:
    return Trials(
        40.0, Scores(genuine.astype(np.float32), impostor.astype(np.float32), 100), genuine_trials, impostor_trials, 0.0
    )


def faces(*pictures: str) -> Faces:
    count = len(pictures)
    return Faces(np.zeros((count, 150, 150, 3), np.uint8), np.ones(count, np.float32), np.ones(count, bool), pictures, ())


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 9)), min_size=1, max_size=40))
def test_pooling_gives_a_rising_sequence_of_the_same_weighted_sum(pairs: list[tuple[float, float]]) -> None:
    ratios, weights = np.array(pairs, np.float32).T

    rising = pooled(ratios, weights)

    assert (np.diff(rising) >= -1e-6).all()
    assert rising @ weights == pytest.approx(ratios @ weights, rel=1e-4, abs=1e-4)


def test_pooling_leaves_what_rises_and_mixes_what_falls() -> None:
    """0.8 and 0.2 with weights 1 and 2 become 0.4."""
    found = pooled(np.array([0.1, 0.8, 0.2, 0.9], np.float32), np.array([1, 1, 2, 1], np.float32))

    assert found.tolist() == pytest.approx([0.1, 0.4, 0.4, 0.9])


def test_the_table_finds_the_ratio_of_two_known_densities() -> None:
    """Normal densities of spread 0.1 around 0.6 and 0.1 have the log ratio 50 s - 17.5."""
    random = np.random.default_rng(1)
    row = ratio_row(trials(random.normal(0.6, 0.1, 300_000), random.normal(0.1, 0.1, 300_000)))

    for knot, ratio in zip(KNOTS, row, strict=True):
        if 0.25 <= knot <= 0.45:
            assert ratio == pytest.approx(50 * knot - 17.5, abs=0.5)


def test_the_ends_are_what_the_trials_support() -> None:
    """No impostor above 0.5 in 300 trials: the rate may be 3 / 300, so the evidence is at most ln 100; below likewise."""
    random = np.random.default_rng(1)
    row = ratio_row(trials(random.normal(0.6, 0.02, 5000), random.normal(0.0, 0.02, 5000), 30, 300))

    assert row[0] == pytest.approx(-math.log(10), abs=1e-3)
    assert row[-1] == pytest.approx(math.log(100), abs=1e-3)


def test_correlation_is_the_share_of_variance_between_visits() -> None:
    """Visits differ with variance 1, crops of one visit with variance 1: one half."""
    random = np.random.default_rng(1)
    groups = [(visit + random.normal(0, 1, 8)).astype(np.float32) for visit in random.normal(0, 1, 4000)]

    assert intraclass_correlation(groups) == pytest.approx(0.5, abs=0.03)
    assert intraclass_correlation([np.full(5, 0.1, np.float32), np.full(9, 0.8, np.float32)]) == pytest.approx(1)
    assert intraclass_correlation([random.normal(0, 1, 9).astype(np.float32) for _ in range(3000)]) < 0.02


def test_pairs_are_of_different_pictures_and_a_copy_is_no_other_picture() -> None:
    """Ada twice and Bob once: Ada's two pictures make two genuine pairs with the reduced ones, strangers make four."""
    enrolled, probes = faces("Ada/1", "Ada/2", "Bob/1"), faces("Bob/1", "Ada/1", "Ada/2")
    vectors = np.eye(3, dtype=np.float32)

    found = cross(enrolled, vectors, probes, vectors)

    assert (len(found.genuine), len(found.impostor), found.people) == (2, 4, 2)


def test_the_most_photographed_do_not_outweigh_the_others() -> None:
    assert few_of_each(["a", "a", "b", "a", "b", "a"], 2).tolist() == [0, 1, 2, 4]
