"""The learning rate of a step, by the clock of the steps or by the judgements on the epochs."""

from __future__ import annotations

import pytest

from training.run import Pace, Plateau, plateau_rate

PLATEAU = Plateau(patience=2, factor=0.1, lowest=0.0005)


def after(judgements: str, plateau: Plateau | None = PLATEAU) -> Pace:
    """`+` is an epoch better than all before, `-` one that is not."""
    pace = Pace()
    for one in judgements:
        pace = pace.after(one == "+", plateau)
    return pace


@pytest.mark.parametrize(
    ("judgements", "factor"),
    [("+-", 1), ("+--", 0.1), ("+-+-", 1), ("+---", 0.1), ("+----", 0.01), ("+--+", 0.1), ("--", 0.1)],
)
def test_the_rate_falls_whenever_so_many_epochs_in_a_row_brought_nothing_better(judgements: str, factor: float) -> None:
    assert after(judgements).factor == pytest.approx(factor)


def test_how_long_the_best_epoch_is_ago_is_not_forgotten_when_the_rate_falls() -> None:
    assert after("+----").without == 4
    assert after("+----+").without == 0


def test_judgements_move_no_rate_that_is_not_theirs() -> None:
    assert after("-----", None) == Pace(1.0, 5, 5)


def test_the_rate_rises_over_the_warm_up_and_never_falls_below_the_lowest() -> None:
    rates = [plateau_rate(0.01, 4, PLATEAU, Pace(), step) for step in range(6)]

    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    assert plateau_rate(0.01, 4, PLATEAU, Pace(0.1), 9) == pytest.approx(0.001)
    assert plateau_rate(0.01, 4, PLATEAU, Pace(0.0001), 9) == pytest.approx(0.0005)
