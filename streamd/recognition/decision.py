"""The rule that decides who a visit is: a pure function of its comparisons.

Per crop, the calibration turns the score against subject j into a natural-log likelihood ratio. Crops of one visit are not
independent: with correlation rho between them, n count as n_eff = n / (1 + (n - 1) rho) (the design effect of Kish 1965).
The evidence for j is n_eff times the quality-weighted mean of its ratios.

A stranger's evidence exceeds t with probability at most e^-t (Markov's inequality for a likelihood ratio), so with S
subjects enrolled the bound ln(S / max_false_accepts) keeps the wrongly identified strangers below `max_false_accepts`,
as far as the calibration is true.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamd.recognition.gallery import FLOOR, best_photo
from streamd.values import Comparison, Decision, Float32, Gallery, Outcome, Quality, SubjectEvidence


class Calibration(Protocol):
    """What the rule needs of the model card's calibration."""

    @property
    def correlation(self) -> float:
        """Correlation of the ratios of two crops of one visit, 0..1."""

    def log_likelihood_ratios(self, scores: Float32, eye_distance: float) -> NDArray[np.float64]:
        """Natural-log likelihood ratios, same person against stranger, of cosines at that distance between the eyes (px)."""


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """max_false_accepts: share of strangers' visits that may be identified, 0..0.1. margin: nats to the second subject."""

    max_false_accepts: float = 0.001
    margin: float = 3.0
    min_good_frames: int = 3
    unknown_after_good_frames: int = 8


class Reason(StrEnum):
    """Why a visit is not identified."""

    EMPTY_GALLERY = "empty_gallery"
    TOO_FEW_GOOD_FRAMES = "too_few_good_frames"
    EVIDENCE_BELOW_BOUND = "evidence_below_bound"
    LEAD_BELOW_MARGIN = "lead_below_margin"
    LEFT_BEFORE_DECISION = "left_before_decision"


def weight(quality: Quality) -> float:
    """What a good crop counts beside others, above 0 and at most 1: a face that is small or turned says less."""
    return max(0.1, min(1.0, quality.eye_distance / 48.0) * math.cos(math.radians(quality.yaw)) ** 2)


def evidence_bound(subjects: int, max_false_accepts: float) -> float:
    """The evidence (nats) that a subject needs when `subjects` are enrolled."""
    return math.log(max(subjects, 1) / max_false_accepts)


def evidence(comparisons: Sequence[Comparison], calibration: Calibration) -> tuple[Float32, float]:
    """Evidence of every subject, float32 (S,) nats, and n_eff; all comparisons are against one gallery."""
    weights = np.array([weight(one.quality) for one in comparisons])
    count = len(comparisons)
    effective = count / (1 + (count - 1) * calibration.correlation)

    def of(scores: Sequence[Float32]) -> Float32:
        pairs = zip(scores, comparisons, strict=True)
        ratios = np.stack([calibration.log_likelihood_ratios(row, one.quality.eye_distance) for row, one in pairs])
        return np.asarray(effective * (weights @ ratios) / weights.sum(), np.float32)

    if comparisons[0].gallery.index is None:
        return of([one.scores for one in comparisons]), effective
    # Of the many whom an index found near in no crop the evidence is the same: worked out once.
    near = np.flatnonzero(np.max([one.scores for one in comparisons], axis=0) > FLOOR)
    total = np.repeat(of([np.array([FLOOR], np.float32)] * count), len(comparisons[0].scores))
    total[near] = of([one.scores[near] for one in comparisons])
    return total, effective


def decide(
    comparisons: Sequence[Comparison],
    gallery: Gallery,
    rules: DecisionRules,
    calibration: Calibration,
    *,
    ended: bool = False,
    failures: Sequence[str] = (),
) -> Decision | None:
    """What is said about a visit with these comparisons of good crops with `gallery`; None while it is too early.

    ended: the visit has ended, so something must be said now. failures: the quality reasons of its bad crops, the most
    frequent first; they explain an `undecided`.
    """
    count = len(comparisons)
    bound = evidence_bound(len(gallery.names), rules.max_false_accepts)
    if count < rules.min_good_frames and not ended:
        return None
    if count < rules.min_good_frames:
        reasons = (Reason.TOO_FEW_GOOD_FRAMES, *failures)
        return Decision(Outcome.UNDECIDED, None, None, bound, rules.margin, count, float(count), reasons)
    patient = count < rules.unknown_after_good_frames and not ended
    if not gallery.names:
        empty = Decision(Outcome.UNKNOWN, None, None, bound, rules.margin, count, float(count), (Reason.EMPTY_GALLERY,))
        return None if patient else empty
    total, effective = evidence(comparisons, calibration)
    first = int(total.argmax())
    best = _subject_evidence(first, float(total[first]), comparisons)
    total[first] = -np.inf
    next_best = int(total.argmax())
    second = _subject_evidence(next_best, float(total[next_best]), comparisons) if len(total) > 1 else None
    own = gallery.rules.get(best.subject)
    if own is not None and own.max_false_accepts is not None:
        bound = evidence_bound(len(gallery.names), own.max_false_accepts)
    passed = best.evidence >= bound
    leads = second is None or best.evidence - second.evidence >= rules.margin
    if passed and leads and ended:
        # Nobody is identified after they have left: the evidence, or the photo behind it, came too late to act upon.
        reasons = (Reason.LEFT_BEFORE_DECISION,)
        return Decision(Outcome.UNDECIDED, best, second, bound, rules.margin, count, effective, reasons)
    if passed and leads:
        return Decision(Outcome.IDENTIFIED, best, second, bound, rules.margin, count, effective)
    if patient:
        return None
    outcome, reason = (
        (Outcome.AMBIGUOUS, Reason.LEAD_BELOW_MARGIN) if passed else (Outcome.UNKNOWN, Reason.EVIDENCE_BELOW_BOUND)
    )
    return Decision(outcome, best, second, bound, rules.margin, count, effective, (reason,))


def _subject_evidence(index: int, value: float, comparisons: Sequence[Comparison]) -> SubjectEvidence:
    nearest = max(comparisons, key=lambda one: float(one.scores[index]))
    photo = best_photo(nearest.template.vector, nearest.gallery, index)
    return SubjectEvidence(nearest.gallery.names[index], value, float(nearest.scores[index]), photo)
