"""Group: dealing photographs into visits, and the figures of a grouping."""

from __future__ import annotations

import numpy as np
import pytest

from training.group import b_cubed, deal


def test_a_grouping_is_judged_by_each_visits_neighbours() -> None:
    """a a b | b: of the first three, 2/3, 2/3 and 1/3 of the group are their own, of the last all; a is whole, b in halves."""
    precision, recall = b_cubed(["1", "1", "1", "2"], ["a", "a", "b", "b"])

    assert precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert recall == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)


def test_a_visit_shows_one_person_in_three_to_five_good_photographs_each_used_once() -> None:
    people = ("ada",) * 11 + ("bob",) * 4 + ("cy",) * 2
    good = np.array([True] * 16 + [False])

    visits = deal(people, good, np.random.default_rng(1))

    used = [int(index) for visit in visits for index in visit]
    assert len(used) == len(set(used))
    assert all(3 <= len(visit) <= 5 and len({people[index] for index in visit}) == 1 for visit in visits)
    assert {people[index] for index in used} == {"ada", "bob"}
