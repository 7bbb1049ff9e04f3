"""Cohort: templates of strangers that come with the model, against which a score is set in proportion.

Some faces are like many others, and the same cosine then says less of them. Of every template mean and standard deviation
of its highest cosines with the cohort are known; a score is the cosine in those measures, averaged over both templates
(adaptive symmetric score normalisation, Matejka et al. 2017) and brought back to the scale of cosines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How templates stand among strangers: halves of the scale and shift that make a cosine a score, float32 (N,) each."""

    scale: Float32
    shift: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """templates: float32 (M, D), unit rows. nearest: how many of a template's highest cosines count, at most M.

    centre, spread: mean and standard deviation that stand for all templates, so that scores keep the scale of cosines.
    """

    templates: Float32
    nearest: int
    centre: float
    spread: float

    def standing(self, vectors: Float32) -> Standing:
        """Of templates, float32 (N, D), unit rows."""
        mean, deviation = highest(vectors, self.templates, self.nearest)
        scale = np.float32(0.5 * self.spread) / deviation
        shift = np.float32(0.5 * self.centre) - mean * scale
        return Standing(scale.astype(np.float32), shift.astype(np.float32))


def highest(vectors: Float32, strangers: Float32, nearest: int) -> tuple[Float32, Float32]:
    """Mean and standard deviation of each row's `nearest` highest cosines: float32 (N,) each."""
    means, deviations = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for start in range(0, len(vectors), _ROWS):
        cosines = vectors[start : start + _ROWS] @ strangers.T
        top = np.partition(cosines, len(strangers) - nearest, axis=1)[:, len(strangers) - nearest :]
        means.append(top.mean(1))
        deviations.append(top.std(1))
    return np.concatenate(means), np.concatenate(deviations)


_ROWS = 512  # at a time: a matrix of all rows by all strangers would not fit a small machine


def normalised(cosines: Float32, probes: Standing, enrolled: Standing) -> Float32:
    """Scores of a matrix of cosines, float32 (B, N), of B probes and N enrolled templates."""
    scale = probes.scale[:, None] + enrolled.scale[None, :]
    return np.asarray(cosines * scale + (probes.shift[:, None] + enrolled.shift[None, :]), np.float32)


def measure(templates: Float32, nearest: int) -> Cohort:
    """A cohort of these templates; its centre and spread are medians over the cohort's own members, each left out in turn."""
    cosines = templates @ templates.T
    np.fill_diagonal(cosines, -2)
    top: NDArray[np.float32] = np.partition(cosines, len(templates) - nearest, axis=1)[:, len(templates) - nearest :]
    return Cohort(templates, nearest, float(np.median(top.mean(1))), float(np.median(top.std(1))))
