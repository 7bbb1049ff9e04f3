"""What a shipped model is made of and how its figures come to the card; the whole making needs the photographs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from training.difference import with_difference
from training.fairface import Strangers
from training.identification import GroupRates
from training.ship import RECIPES, TUNED, group_figures, open_set_figures, some_strangers, view2_figures
from training.teacher import SFACE, load, locate, read
from training.tune import tuned_file


def found(races: list[str], outside: list[float]) -> Strangers:
    """Each face is a crop of one colour, its own."""
    count = len(races)
    crops = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 150, 150, 3))
    names = np.array(races)
    return Strangers(
        crops, np.array(outside, np.float32), tuple(map(str, range(count))), names, np.full(count, "Male"), names, count
    )


def test_strangers_are_of_all_groups_alike_as_far_as_there_are_so_many() -> None:
    races = ["A"] * 50 + ["B"] * 50 + ["C"] * 3

    chosen = some_strangers(found(races, [0.0] * 103), 43)[:, 0, 0, 0]

    assert Counter(races[face] for face in chosen) == {"A": 20, "B": 20, "C": 3}
    assert len(set(chosen.tolist())) == 43


def test_strangers_whose_crop_lies_mostly_outside_the_photograph_are_left_out() -> None:
    chosen = some_strangers(found(["A"] * 10, [0.0, 0.5] * 5), 10)[:, 0, 0, 0]

    assert chosen.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda one: one.name)
def test_the_shares_of_a_recipe_are_a_whole(recipe: object) -> None:
    assert sum(recipe.shares.values()) == pytest.approx(1)  # type: ignore[attr-defined]


def test_sface_as_tuned_here_is_sface_still() -> None:
    start = read(load(locate(SFACE)), "sface").get_weights()
    weights = with_difference(TUNED / tuned_file("sface"), start)

    moved = [float(np.linalg.norm(one - other) / np.linalg.norm(one)) for one, other in zip(start, weights, strict=True)]
    assert 0.01 < np.median(moved) < 0.3


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda one: one.name)
def test_what_a_recipe_mixes_in_comes_with_the_package(recipe: object) -> None:
    for name in recipe.tuned:  # type: ignore[attr-defined]
        with np.load(TUNED / tuned_file(name)) as stored:
            assert all(np.isfinite(stored[one]).all() for one in stored.files)


def test_view_2_comes_to_the_card_with_the_interval_of_its_accuracy() -> None:
    made = {one.name: one for one in view2_figures({"accuracy": 0.996, "accuracy_interval": (0.99, 1.0), "eer": 0.004})}

    assert made["lfw_view2_accuracy"].interval == (0.99, 1.0)
    assert made["lfw_view2_eer"].value == 0.004


def test_searches_come_to_the_card_by_photographs_enrolled() -> None:
    rates = {"rank_one": 0.99, "fnir_at_fpir_0.01": 0.005, "fnir_at_fpir_0.003": 0.01}
    intervals = {"fnir_at_fpir_0.01_interval": (0.001, 0.01), "fnir_at_fpir_0.003_interval": (0.004, 0.02)}

    made = {one.name: one for one in open_set_figures({"enrolled_with_3": rates | intervals})}

    assert made["lfw_rest_enrolled_with_3_fnir_at_fpir_0.003"].value == 0.01
    assert made["lfw_rest_enrolled_with_3_fnir_at_fpir_0.003"].interval == (0.004, 0.02)


def test_groups_come_to_the_card_with_their_rates_and_how_far_apart_they_are() -> None:
    rates = GroupRates(0.3, {"A, Male": 0.001, "B, Male": 0.002}, {"A, Male": (0, 0.1), "B, Male": (0, 0.2)}, {})
    told = {
        "largest_over_smallest": rates.largest_over_smallest,
        "fmr": rates.rates,
        "fmr_interval": rates.intervals,
    }

    made = {one.name: one for one in group_figures({"race": told, "sex": told, "race_and_sex": told})}

    assert made["fairface_race_and_sex_largest_over_smallest"].value == 2
    assert made["fairface_fmr_b_male"].interval == (0, 0.2)
