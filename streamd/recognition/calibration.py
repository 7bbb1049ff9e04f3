"""Calibration: what a score is worth as evidence, read off a table that was fitted on faces the network never saw.

A cosine alone says little: how likely it is for one person, and how likely for two, depends on the network and on how many
pixels the face had. The table holds the natural logarithm of that ratio (Brümmer and du Preez 2006), rising with the score,
and capped where the comparisons behind it run out (`training.calibrate` makes it).
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamd.values import Float32

Float64 = NDArray[np.float64]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibration(BaseModel):
    """Log-likelihood ratios at knots of score and eye distance, straight lines between them, level outside.

    scores: K rising cosines. eye_distances: E rising pixels between the eyes in the frame. ratios: E rows of K, nats, no row
    falling. correlation: of two crops of one visit, 0 (each is news) to 1 (the second says nothing new).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[_Finite, ...] = Field(min_length=2)
    eye_distances: tuple[_Finite, ...] = Field(min_length=1)
    ratios: tuple[tuple[_Finite, ...], ...]
    correlation: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _is_a_rising_table(self) -> Calibration:
        for name in ("scores", "eye_distances"):
            if any(a >= b for a, b in itertools.pairwise(getattr(self, name))):
                raise ValueError(f"{name} must rise")
        if len(self.ratios) != len(self.eye_distances) or any(len(row) != len(self.scores) for row in self.ratios):
            raise ValueError("ratios must have one row for each eye distance and one column for each score")
        if any(a > b for row in self.ratios for a, b in itertools.pairwise(row)):
            raise ValueError("ratios must not fall as the score rises")
        return self

    def log_likelihood_ratios(self, scores: Float32, eye_distance: float) -> Float64:
        """The same for the scores of all subjects at once: float32 (S,) to float64 (S,)."""
        if not (np.isfinite(scores).all() and math.isfinite(eye_distance)):
            raise ValueError(f"expected finite scores and eye distance, found {scores} and {eye_distance}")
        row, share = _between(self.eye_distances, eye_distance)
        near = np.interp(scores, self.scores, self.ratios[row])
        return near if share == 0 else near + share * (np.interp(scores, self.scores, self.ratios[row + 1]) - near)

    def log_likelihood_ratios_of_pairs(self, scores: Float32, eye_distances: Float32) -> Float64:
        """The same for many scores, each at an eye distance of its own: float32 of one shape, to float64 of that shape."""
        if not (np.isfinite(scores).all() and np.isfinite(eye_distances).all()):
            raise ValueError("expected finite scores and eye distances")
        knots = np.array(self.eye_distances)
        place = np.interp(eye_distances, knots, np.arange(len(knots)))
        ratios = np.zeros(scores.shape)
        for row, values in enumerate(self.ratios):
            share = np.maximum(1 - np.abs(place - row), 0)
            ratios += share * np.interp(scores, self.scores, values)
        return ratios

    def log_likelihood_ratio(self, score: float, eye_distance: float) -> float:
        """Nats for one person against two, of a cosine (-1..1) at that many pixels between the eyes.

        Raises ValueError for a number that is not finite: a template that is no unit vector must not become evidence.
        """
        if not (math.isfinite(score) and math.isfinite(eye_distance)):
            raise ValueError(f"expected a finite score and eye distance, found {score} and {eye_distance}")
        row, row_share = _between(self.eye_distances, eye_distance)
        column, column_share = _between(self.scores, score)
        near = _mix(self.ratios[row], column, column_share)
        return near if row_share == 0 else near + row_share * (_mix(self.ratios[row + 1], column, column_share) - near)


def _between(knots: Sequence[float], value: float) -> tuple[int, float]:
    """The knot at or under a value, and how far towards the next it lies, 0..1; the ends stand for what lies outside."""
    above = bisect_right(knots, value)
    if above == 0:
        return 0, 0.0
    if above == len(knots):
        return len(knots) - 1, 0.0
    return above - 1, (value - knots[above - 1]) / (knots[above] - knots[above - 1])


def _mix(row: Sequence[float], column: int, share: float) -> float:
    return row[column] if share == 0 else row[column] + share * (row[column + 1] - row[column])
