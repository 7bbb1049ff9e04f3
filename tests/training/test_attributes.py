"""Attributes: labels that can be read, statistics derived by hand, and paintings that stay where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from training import coverings
from training.attributes import LABELS, Examples, Label, fit, held_out_scores, interval, labels, part_of, threshold_at
from training.prepare import DataError


def test_what_people_saw_is_enough_to_measure_by_and_names_no_picture_twice() -> None:
    text = LABELS.read_text()
    told = labels(text)

    assert len(told) == len(text.splitlines()) - 1
    assert sum(seen.by_lot and seen.glasses is not None for seen in told.values()) >= 200
    assert sum(seen.covered == "dark_glasses" for seen in told.values()) >= 50
    assert {kind for kind, _ in told} == {"lfw-rest", "fairface"}


def test_an_unknown_label_is_neither_yes_nor_no() -> None:
    assert labels("set,picture,chosen,glasses,covered\nfairface,1.jpg,lot,,mask\n") == {
        ("fairface", "1.jpg"): Label(by_lot=True, glasses=None, covered="mask")
    }
    with pytest.raises(DataError, match="covered is 'yes'"):
        labels("set,picture,chosen,glasses,covered\nfairface,1.jpg,lot,,yes\n")


def test_the_threshold_lets_no_more_pass_than_it_may() -> None:
    """Of a hundred scores 0 to 99, two may pass: 98 and 99, so it lies at 97.5."""
    assert threshold_at(np.arange(100.0), 0.02) == 97.5
    assert threshold_at(np.arange(100.0), 0.0) > 99


def test_an_interval_of_a_share() -> None:
    """Wilson for 8 of 10: 0.4902 to 0.9433."""
    assert interval(8, 10) == (0.4902, 0.9433)


def test_a_face_is_judged_by_a_rule_that_never_saw_its_person() -> None:
    """Each person has a mark of its own and a random truth: a rule that saw the person would know it, these must not."""
    random = np.random.default_rng(0)
    names = [f"p{number}" for number in range(100)] * 2
    seen = np.concatenate([np.eye(100), np.eye(100)]).astype(np.float32)
    truth = np.tile(random.random(100) < 0.5, 2)
    faces = Examples(seen, truth, np.ones(200), part_of(names))

    weights, bias = fit(seen, truth, np.ones(200), ridge=0.1)

    assert float(np.mean((seen @ weights + bias > 0) == truth)) == 1
    assert len(set(np.round(held_out_scores(faces), 9))) <= 5


@pytest.mark.parametrize(
    "paint",
    [coverings.mask, coverings.scarf, coverings.sunglasses, coverings.glasses, coverings.hat],
    ids=lambda one: one.__name__,
)
def test_a_painting_changes_a_part_of_the_face_and_is_another_each_time(paint: coverings.Paint) -> None:
    crop = np.random.default_rng(2).integers(60, 200, (150, 150, 3), np.uint8)
    random = np.random.default_rng(3)

    first, second = paint(crop, random), paint(crop, random)
    changed = float(np.mean((first != crop).any(axis=2)))

    assert (first.shape, first.dtype) == (crop.shape, np.uint8)
    assert 0.01 < changed < 0.8
    assert (first != second).any()
    assert (paint(crop, np.random.default_rng(3)) == first).all()
