"""A score is a cosine seen against those with strangers; the formula is held against a plain version of it."""

from __future__ import annotations

import numpy as np
import pytest

from training.cohort import Cohort, measure, normalised


def units(count: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain(a: np.ndarray, b: np.ndarray, cohort: Cohort) -> float:
    """Adaptive symmetric normalisation of one pair, straight from its definition."""
    halves = []
    for one in (a, b):
        top = np.sort(cohort.templates.astype(np.float64) @ one)[::-1][: cohort.nearest]
        halves.append((float(a @ b) - top.mean()) / top.std())
    return cohort.centre + cohort.spread * float(np.mean(halves))


def test_a_score_is_the_definition_for_every_pair() -> None:
    cohort = Cohort(units(300, 16, 1), 20, 0.4, 0.05)
    probes, enrolled = units(5, 16, 2), units(7, 16, 3)

    scores = normalised(probes @ enrolled.T, cohort.standing(probes), cohort.standing(enrolled))

    for row, probe in enumerate(probes):
        for column, other in enumerate(enrolled):
            assert scores[row, column] == pytest.approx(plain(probe, other, cohort), abs=1e-4)


def test_faces_that_are_like_many_strangers_need_a_higher_cosine() -> None:
    """Half of the strangers crowd in one corner: the same cosine counts for less there."""
    corner = np.zeros((1, 16), np.float32)
    corner[0, 0] = 1
    crowd = 0.5 * units(300, 16, 4) + corner
    strangers = np.concatenate([units(300, 16, 5), crowd / np.linalg.norm(crowd, axis=1, keepdims=True)])
    cohort = measure(strangers.astype(np.float32), 30)
    common, rare = corner, units(1, 16, 6)

    same_cosine = np.array([[0.6]], np.float32)
    of_common = normalised(same_cosine, cohort.standing(common), cohort.standing(common))
    of_rare = normalised(same_cosine, cohort.standing(rare), cohort.standing(rare))

    assert of_common < of_rare


def test_scores_keep_the_scale_of_cosines() -> None:
    """A template that stands among strangers as most do has its cosine for a score."""
    strangers = units(2000, 16, 7)
    cohort = measure(strangers, 100)
    probes = units(200, 16, 8)
    cosines = probes @ strangers[:50].T

    scores = normalised(cosines, cohort.standing(probes), cohort.standing(strangers[:50]))

    assert float(np.abs(scores - cosines).mean()) < 0.06
    assert float(np.corrcoef(scores.ravel(), cosines.ravel())[0, 1]) > 0.98


def test_many_rows_are_measured_as_few_are() -> None:
    cohort = measure(units(200, 8, 9), 10)
    vectors = units(1100, 8, 10)

    whole, one = cohort.standing(vectors), cohort.standing(vectors[600:601])

    assert whole.scale[600] == pytest.approx(one.scale[0])
    assert len(whole.shift) == 1100
