"""What nobody heard is said anew: once, of who is still there, and only if nothing was said since."""

from __future__ import annotations

from streamd.events.unheard import Unheard


def test_a_decision_lost_with_the_connection_is_told_again_on_the_next_one_and_once() -> None:
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=1)

    assert unheard.take(1, {"b-1"}) == []
    assert unheard.take(2, {"b-1"}) == ["b-1"]
    assert unheard.take(3, {"b-1"}) == []


def test_what_was_replaced_by_a_decision_that_arrived_is_not_told_again() -> None:
    """`unknown` came too late, `identified` of the same visit arrived."""
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.said("b-1", 2)
    unheard.lost("b-1", 1, connection=1)

    assert unheard.take(2, {"b-1"}) == []


def test_nothing_is_told_again_of_whoever_has_left() -> None:
    unheard = Unheard()
    unheard.said("b-1", 1)
    unheard.lost("b-1", 1, connection=0)

    assert unheard.take(1, {"b-2"}) == []
    assert unheard.take(1, {"b-1"}) == []  # gone for good


def test_what_is_lost_while_the_connection_stands_waits_for_another() -> None:
    """Pictures that come too late make decisions that are too old, and would at every tick."""
    unheard = Unheard()
    for seq in range(1, 300):
        unheard.said("b-1", seq)
        unheard.lost("b-1", seq, connection=1)
        assert unheard.take(1, {"b-1"}) == []

    assert unheard.take(2, {"b-1"}) == ["b-1"]


def test_a_loss_may_be_noticed_before_the_decision_is_noted() -> None:
    """Without a connection it is lost while it is said."""
    unheard = Unheard()
    unheard.lost("b-1", 4, connection=0)
    unheard.said("b-1", 4)

    assert unheard.take(1, {"b-1"}) == ["b-1"]
