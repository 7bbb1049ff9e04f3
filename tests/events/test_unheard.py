"""What nobody heard is said anew: of who is still there, only if nothing was said since, and never in a flood."""

from __future__ import annotations

from streamd.events.unheard import Unheard


def test_a_decision_lost_with_the_connection_is_told_again_on_the_next_one_and_once() -> None:
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=1, now=10.0)

    assert unheard.take(1, 10.1, {"b-1"}) == []
    assert unheard.take(2, 10.2, {"b-1"}) == ["b-1"]
    assert unheard.take(3, 99.0, {"b-1"}) == []


def test_a_broker_that_held_up_for_a_while_is_told_again_without_a_new_connection() -> None:
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=1, now=10.0)

    assert unheard.take(1, 11.9, {"b-1"}) == []
    assert unheard.take(1, 12.0, {"b-1"}) == ["b-1"]


def test_what_was_replaced_by_a_decision_that_arrived_is_not_told_again() -> None:
    """`unknown` came too late, `identified` of the same visit arrived."""
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.said("b-1", 2)
    unheard.lost("b-1", 1, connection=1, now=10.0)

    assert unheard.take(2, 99.0, {"b-1"}) == []


def test_nothing_is_told_again_of_whoever_has_left() -> None:
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=0, now=10.0)

    assert unheard.take(None, 10.1, {"b-2"}) == []  # they left while there was no broker
    assert unheard.take(1, 99.0, {"b-1"}) == []


def test_of_two_decisions_of_a_visit_the_newest_is_told_again_whichever_was_lost_last() -> None:
    """A broker that hangs: what waits is dropped first, and then what was sent and never confirmed."""
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.said("b-1", 2)
    unheard.lost("b-1", 2, connection=1, now=10.0)
    unheard.lost("b-1", 1, connection=1, now=10.0)

    assert unheard.take(2, 10.1, {"b-1"}) == ["b-1"]


def test_what_is_lost_again_and_again_is_told_ever_less() -> None:
    """Pictures that come too late make decisions that are too old, and would at every tick: six in two minutes, not 480."""
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=1, now=0.0)
    told = []
    for tick in range(480):
        now = tick / 4
        if unheard.take(1, now, {"b-1"}):
            told.append(now)
            unheard.said("b-1", 1 + len(told))
            unheard.lost("b-1", 1 + len(told), connection=1, now=now)

    assert told == [2, 6, 14, 30, 62]


def test_a_loss_may_be_noticed_before_the_decision_is_noted() -> None:
    """Without a connection it is lost while it is said."""
    unheard = Unheard()
    unheard.lost("b-1", 4, connection=0, now=10.0)
    unheard.said("b-1", 4)

    assert unheard.take(1, 10.0, {"b-1"}) == ["b-1"]


def test_what_was_lost_is_outstanding_until_it_is_decided_anew_or_replaced() -> None:
    unheard = Unheard()
    for visit in ("b-1", "b-2", "b-3"):
        unheard.said(visit, 1)
        unheard.lost(visit, 1, connection=0, now=10.0)
    unheard.said("b-2", 2)

    assert unheard.outstanding({"b-1", "b-2"}) == ["b-1"]
    assert unheard.take(None, 10.1, {"b-1", "b-2"}) == []
    assert unheard.outstanding({"b-1", "b-2"}) == ["b-1"]
    assert unheard.take(1, 10.2, {"b-1", "b-2"}) == ["b-1"]
    assert unheard.outstanding({"b-1", "b-2"}) == []


def test_how_often_something_was_lost_is_forgotten_with_its_visit() -> None:
    """Else they would add up for as long as the daemon runs."""
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=1, now=0.0)
    assert unheard.take(1, 1.0, {"b-2"}) == []

    unheard.said("b-1", 2)
    unheard.lost("b-1", 2, connection=1, now=10.0)
    assert unheard.take(1, 12.0, {"b-1"}) == ["b-1"]
