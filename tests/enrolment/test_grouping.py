"""Grouping: whose visits are one visitor's, and what they are called."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.enrolment.grouping import Looks, Neighbours, Visitors, link_bound
from streamd.recognition import gallery
from streamd.recognition.calibration import Calibration
from streamd.recognition.decision import evidence
from streamd.values import Comparison, Float32, Quality, Template

TABLE = Calibration(
    scores=(0.2, 0.4, 0.6), eye_distances=(10.0, 30.0), ratios=((-4.0, 0.0, 6.0), (-6.0, 2.0, 10.0)), correlation=0.5
)
BOUND = 4.0
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def quality(eye_distance: float = 48.0, yaw: float = 0.0) -> Quality:
    return Quality(0.3, 120.0, 40.0, yaw, 0.0, 0.0, eye_distance)


def unit(rows: object) -> Float32:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def at(*degrees: float) -> Looks:
    """Looks of a face that is one direction in the plane: two people are as unlike as their angle is wide."""
    angles = np.radians(degrees)
    return Looks.of(unit(np.stack([np.cos(angles), np.sin(angles)], axis=1)), [quality()] * len(degrees))


def near(**visits: Looks) -> Neighbours:
    known = Neighbours(TABLE, 2)
    known.add(visits)
    return known


class Door:
    """Visits in the order in which they come."""

    def __init__(self) -> None:
        self.visitors = Visitors()
        self.near = Neighbours(TABLE, 2)
        self._count = 0

    def comes(self, visit: str, *degrees: float) -> str:
        placed = self.visitors.place(visit, NOON + timedelta(minutes=self._count), self.near.linked(at(*degrees), BOUND))
        self.visitors.take(visit, placed)
        self.near.add({visit: at(*degrees)})
        self._count += 1
        return placed.visitor

    def goes(self, *visits: str) -> None:
        self.visitors.remove(visits)
        self.near.remove(visits)

    def groups(self) -> set[frozenset[str]]:
        return {self.visitors.visits(visitor) for visitor in self.visitors}


def test_a_look_against_a_visit_is_worth_what_it_is_worth_against_a_gallery() -> None:
    """One photo with ample pixels, three looks: the evidence is that of the rule that decides who somebody is."""
    photo = unit([[1, 0.1, 0]])
    looks = unit([[1, 0.5, 0.2], [1, 0.2, 0.9], [0.5, 0.1, 0.5]])
    qualities = [quality(20.0, 10.0), quality(35.0), quality(28.0, 30.0)]
    enrolled = gallery.build([gallery.Enrolled("ada", "ada/1.jpg", photo[0])], 1, "model", 3)
    scores = gallery.search(looks, enrolled)
    comparisons = [
        Comparison(Template(look, "model"), row, enrolled, one, 0.0, NOON, 0.0)
        for look, row, one in zip(looks, scores, qualities, strict=True)
    ]

    expected = pytest.approx({"visit": float(evidence(comparisons, TABLE)[0][0])}, rel=1e-5)

    one, other = Looks.of(looks, qualities), Looks.of(photo, [quality(1000.0)])
    for known, new in ((one, other), (other, one)):
        neighbours = Neighbours(TABLE, 3)
        neighbours.add({"visit": known})
        assert neighbours.linked(new, 0.1) == expected


def test_looks_of_one_visit_count_for_less_than_looks_of_many() -> None:
    """Cosine 1 is 10 nats for a pair; with rho = 0.5, two looks count as 4/3 and three as 3/2, from either side."""
    assert near(a=at(0)).linked(at(0), BOUND) == pytest.approx({"a": 10.0})
    assert near(a=at(0, 0)).linked(at(0, 0, 0), BOUND) == pytest.approx({"a": 10.0 * 4 / 3 * 3 / 2})


def test_many_looks_that_are_each_worth_little_are_enough_together() -> None:
    """Cosine 0.38 is 1.2 nats; a hundred looks count as 200/101 from either side: 4.7 nats, where one pair would not do."""
    assert near(a=at(0)).linked(at(67.67), BOUND) == {}
    assert near(a=at(*[0] * 100)).linked(at(*[67.67] * 100), BOUND) == pytest.approx({"a": 1.2 * (200 / 101) ** 2}, abs=0.02)


looks = st.lists(st.floats(0, 180), min_size=1, max_size=4).map(lambda degrees: at(*degrees))


@settings(deadline=None, max_examples=50)
@given(st.lists(looks, min_size=2, max_size=6), st.floats(0.5, 12))
def test_evidence_is_the_same_from_either_side_and_whoever_else_is_known(visits: list[Looks], bound: float) -> None:
    everybody = near(**{str(number): one for number, one in enumerate(visits)})

    for (i, one), (j, other) in itertools.combinations(enumerate(visits), 2):
        from_one = everybody.linked(one, bound).get(str(j))
        from_other = everybody.linked(other, bound).get(str(i))

        alone = near(j=other).linked(one, bound).get("j")
        # Where one of them is just below the bound by its last bit it is not told, so it counts as at the bound.
        assert [from_one or bound, from_other or bound] == pytest.approx([alone or bound] * 2, rel=1e-4)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 360), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_who_is_together_does_not_depend_on_the_order_in_which_they_came(degrees: list[float], random: object) -> None:
    """At whole degrees, so that no link hangs on the last bit of a product."""
    visits = [(str(number), round(angle)) for number, angle in enumerate(degrees)]
    one, other = Door(), Door()
    for visit, angle in visits:
        one.comes(visit, angle)
    random.shuffle(visits)  # type: ignore[attr-defined]
    for visit, angle in visits:
        other.comes(visit, angle)

    assert one.groups() == other.groups()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 360), st.booleans()), max_size=25))
def test_an_id_stays_with_every_visit_that_had_it_whoever_comes_and_goes(events: list[tuple[float, bool]]) -> None:
    door, shown = Door(), {}
    for number, (angle, leaves) in enumerate(events):
        shown[str(number)] = door.comes(str(number), angle)
        if leaves:
            oldest = next(iter(shown))
            door.goes(oldest)
            del shown[oldest]

        assert all(door.visitors.resolve(visitor) == door.visitors.of(visit) for visit, visitor in shown.items())
        assert len(door.near) == len(shown)


def test_where_two_visitors_are_one_the_older_id_survives_and_the_other_is_an_alias() -> None:
    """Right angles are strangers (cosine 0, -6 nats); 45 degrees are not (cosine 0.71, 10 nats)."""
    door = Door()
    first, second = door.comes("a", 0), door.comes("b", 90)
    assert first != second

    assert door.comes("c", 45) == first
    assert door.visitors.resolve(second) == first
    assert door.visitors.aliases(first) == (second,)
    assert door.visitors.visits(second) == {"a", "b", "c"}


def test_who_was_once_together_stays_so_when_the_visit_between_them_expires() -> None:
    door = Door()
    first, second = door.comes("a", 0), door.comes("b", 90)
    door.comes("c", 45)

    door.goes("c")
    assert door.groups() == {frozenset("ab")}

    door.goes("a")
    assert door.visitors.of("b") == first
    assert door.comes("d", 90) == first
    assert door.visitors.resolve(second) == first


def test_an_id_that_somebody_has_is_not_given_again() -> None:
    """It grows by one digit instead."""
    name = Visitors().place("a", NOON, ()).visitor
    other = Visitors().place("a", NOON, (), taken=[name]).visitor

    assert other.startswith(name)
    assert len(other) == len(name) + 1


def test_a_template_that_was_removed_is_in_memory_no_more() -> None:
    """Whether its room is closed at once, as the second time here, or later."""
    known = near(**{name: at(10.0 * number, 10.0 * number + 1) for number, name in enumerate("abcdef")})
    for removed, angle in (("b", 10.0), ("e", 40.0)):
        known.remove([removed])

        assert not (known._vectors == at(angle).vectors).all(axis=1).any()
        assert removed not in known.linked(at(angle), 0.1)
    assert known.linked(at(30.0), 0.1) == near(a=at(0, 1), c=at(20, 21), d=at(30, 31), f=at(50, 51)).linked(at(30.0), 0.1)


def test_the_bound_follows_from_how_many_are_compared() -> None:
    """ln(10 000 / 0.1) = 11.5: one visit in ten, of those that meet ten thousand strangers."""
    assert link_bound(10_000, 0.1) == pytest.approx(11.51, abs=0.01)
