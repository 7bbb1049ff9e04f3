"""Calibration: from a score and the size of a face to evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamd.assembly import SHIPPED_CARD
from streamd.recognition.calibration import Calibration
from streamd.recognition.card import read_card

TABLE = Calibration(
    scores=(0.2, 0.4, 0.6), eye_distances=(10.0, 30.0), ratios=((-4.0, 0.0, 6.0), (-6.0, 2.0, 10.0)), correlation=0.5
)
SHIPPED = read_card(SHIPPED_CARD).calibration

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("score", "eye_distance", "nats"),
    [
        (0.4, 10.0, 0.0),
        (0.4, 30.0, 2.0),
        (0.4, 20.0, 1.0),
        (0.5, 10.0, 3.0),
        (0.5, 20.0, 4.5),
        (0.6, 30.0, 10.0),
    ],
)
def test_between_knots_the_evidence_lies_on_straight_lines(score: float, eye_distance: float, nats: float) -> None:
    assert TABLE.log_likelihood_ratio(score, eye_distance) == pytest.approx(nats)


def test_many_pairs_are_read_off_as_each_alone() -> None:
    scores = np.linspace(-1, 1, 60, dtype=np.float32).reshape(12, 5)
    eyes = np.linspace(5, 60, 60, dtype=np.float32)[::-1].reshape(12, 5)

    alone = [SHIPPED.log_likelihood_ratio(float(s), float(e)) for s, e in zip(scores.flat, eyes.flat, strict=True)]

    assert SHIPPED.log_likelihood_ratios_of_pairs(scores, eyes).ravel().tolist() == pytest.approx(alone, abs=1e-4)


@given(finite, finite)
def test_outside_of_the_table_the_evidence_stays_at_its_ends(score: float, eye_distance: float) -> None:
    """No score is worth more than the trials behind the table can support."""
    assert -6.0 <= TABLE.log_likelihood_ratio(score, eye_distance) <= 10.0


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(1, 300))
def test_a_higher_score_is_never_worth_less(one: float, other: float, eye_distance: float) -> None:
    low, high = sorted((one, other))

    assert SHIPPED.log_likelihood_ratio(low, eye_distance) <= SHIPPED.log_likelihood_ratio(high, eye_distance) + 1e-9


@pytest.mark.parametrize(("score", "eye_distance"), [(math.nan, 40.0), (math.inf, 40.0), (0.5, math.nan)])
def test_what_is_no_number_does_not_become_evidence(score: float, eye_distance: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        TABLE.log_likelihood_ratio(score, eye_distance)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": (0.4, 0.2, 0.6)},
        {"eye_distances": (30.0, 10.0)},
        {"ratios": ((-4.0, 0.0, 6.0),)},
        {"ratios": ((-4.0, 0.0), (-6.0, 2.0))},
        {"ratios": ((-4.0, 0.0, -1.0), (-6.0, 2.0, 10.0))},
        {"ratios": ((-4.0, 0.0, math.inf), (-6.0, 2.0, 10.0))},
        {"correlation": 1.5},
    ],
)
def test_a_table_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate(TABLE.model_dump() | change)


def test_the_shipped_table_tells_strangers_from_the_enrolled() -> None:
    """LFW's strangers lie around 0.1 and pass 0.48 in one of 100,000 pairs; one person's photographs lie around 0.7."""
    for eye_distance in (12.0, 40.0):
        assert SHIPPED.log_likelihood_ratio(0.1, eye_distance) < -4
        assert SHIPPED.log_likelihood_ratio(0.7, eye_distance) > 9
