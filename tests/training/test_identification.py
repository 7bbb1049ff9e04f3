"""Searches and false matches between groups, on scores whose rates are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from training.identification import cosines, fnir_interval, group_rates, one_shot, open_set
from training.prepare import DataError


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_people_with_enough_photographs_are_enrolled_and_the_others_are_strangers() -> None:
    people = ["ann", "bob", "ann", "bob", "ann", "bob", "eve"]
    vectors = unit((1, 0, 0), (0, 1, 0), (1, 0.1, 0), (0, 1, 0.1), (1, 0.4, 0), (1, 0.2, 0), (0.5, 0.5, 1))

    search = open_set(people, vectors, cosines, photos=2, least=3)

    assert search.right.tolist() == [True, False]  # bob's third photograph looks like ann
    assert search.own[0] == pytest.approx(float(vectors[4] @ vectors[2]))
    assert search.strangers.tolist() == [pytest.approx(float((vectors[6] @ vectors[:4].T).max()))]
    assert search.rank_one == 0.5


def test_a_search_fails_where_a_stranger_would_have_passed() -> None:
    """Of ten strangers one scores 0.9: at an FPIR of 0.1 the threshold lies at the next, at less above that one."""
    people = [*["ann"] * 3, *(f"stranger{n}" for n in range(10))]
    angles = np.array([0, 0.1, 0.6, 0.45, *np.linspace(1.0, 1.5, 9)])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    search = open_set(people, vectors, cosines, photos=1, least=3)

    assert search.threshold(0.1) == pytest.approx(np.cos(1.0), abs=1e-6)
    assert search.fnir(0.1) == 0
    assert search.fnir(0.01) == 0.5  # the probe at 0.6 is further than the stranger at 0.45


def test_the_interval_reckons_with_people_not_with_photographs() -> None:
    """One of ten people fails, with as many probes as all the others together: half of the probes, but one person."""
    people, angles = [], []
    for person in range(10):
        probes = 9 if person == 0 else 1
        people += [f"p{person}"] * (1 + probes)
        angles += [person * 0.5, *([person * 0.5 + (0.2 if person == 0 else 0.001)] * probes)]
    people += [f"s{n}" for n in range(20)]
    angles += [person * 0.5 + 0.1 for person in range(10) for _ in range(2)]
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    search = open_set(people, vectors, cosines, photos=1, least=2)
    low, high = fnir_interval(search, 0.1)

    assert search.fnir(0.1) == 0.5
    assert low == 0  # nobody drew the one who fails
    assert high > 0.6


def test_false_matches_of_each_group_are_counted_within_it_alone() -> None:
    groups = ["a"] * 50 + ["b"] * 50
    random = np.random.default_rng(0)
    scores = random.uniform(0, 0.5, (100, 100)).astype(np.float32)
    scores[:50, :50] += 0.25  # a's are more alike
    scores[0, 1] = scores[1, 0] = 9  # one person twice

    left_out = scores > 5
    found = group_rates(scores, groups, 0.01, left_out, draws=50)

    every = scores[np.triu(np.ones((100, 100), bool), 1) & ~left_out]
    assert float((every > found.threshold).mean()) == pytest.approx(0.01, abs=1e-3)
    assert found.pairs == {"a": 50 * 49 // 2 - 1, "b": 50 * 49 // 2}
    assert found.rates["b"] == 0
    assert found.largest_over_smallest == float("inf")
    assert found.largest_over_mean == 2
    low, high = found.intervals["a"]
    assert low < found.rates["a"] < high


def crowd(people: int, spread: float) -> tuple[np.ndarray, list[str]]:
    """Two pictures of each person, the further apart the larger the spread."""
    random = np.random.default_rng(2)
    own = np.repeat(random.normal(size=(people, 40)), 2, 0) * (spread < np.inf)
    vectors = own + min(spread, 1.0) * random.normal(size=(2 * people, 40))
    return unit(*vectors), [f"person {n // 2}" for n in range(2 * people)]


def test_whoever_is_told_apart_well_is_found_among_twenty_and_whoever_is_not_by_chance() -> None:
    good, chance = (one_shot(cosines, *crowd(60, spread), ways=20) for spread in (0.1, np.inf))

    assert good.accuracy == 1
    assert chance.accuracy == pytest.approx(1 / 20, abs=0.02)
    assert chance.interval[0] < 1 / 20 < chance.interval[1]


def test_the_fewer_there_are_the_easier_one_is_found() -> None:
    found = [one_shot(cosines, *crowd(60, 1.0), ways=ways).accuracy for ways in (2, 5, 20, 60)]

    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] > 0.1


def test_a_trial_wants_so_many_people_and_one_with_two_pictures() -> None:
    vectors, people = crowd(10, 0.1)

    with pytest.raises(DataError, match="expected 11 people or more, found 10, 10 with two pictures"):
        one_shot(cosines, vectors, people, ways=11)
    with pytest.raises(DataError, match="0 with two pictures"):
        one_shot(cosines, vectors[::2], people[::2], ways=5)
