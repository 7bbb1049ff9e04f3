"""The rule that decides who a visit is. Every number expected here is derived in the docstring.

In most tests the calibration is the simplest there is: a score s is worth 10 s nats, whatever the face's size, and the crops
are independent, so that the evidence for somebody is 10 times the sum of the scores.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamd.recognition.decision import DecisionRules, Reason, decide, evidence, evidence_bound, weight
from streamd.recognition.gallery import Enrolled, build
from streamd.values import Comparison, Decision, Float32, Gallery, Outcome, Quality, SubjectRules, Template

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FRONTAL = Quality(0.3, 120, 40, 0, 0, 0, 60)
RULES = DecisionRules(max_false_accepts=0.001, margin=3.0, min_good_frames=3, unknown_after_good_frames=8)
NAMES = ("anna", "ben", "cleo")


@dataclass(frozen=True)
class Linear:
    """A score is worth `nats` times itself."""

    correlation: float = 0.0
    nats: float = 10.0

    def log_likelihood_ratios(self, scores: Float32, eye_distance: float) -> NDArray[np.float64]:
        assert eye_distance > 0
        return self.nats * scores.astype(np.float64)


def gallery(*names: str) -> Gallery:
    """Two photos of each: one along the subject's own axis, one turned half-way to the next."""
    axes = np.eye(8, dtype=np.float32)
    rows = []
    for i, name in enumerate(names):
        rows += [
            Enrolled(name, f"{name}/front.jpg", axes[i]),
            Enrolled(name, f"{name}/side.jpg", (axes[i] + axes[i + 1]) / math.sqrt(2)),
        ]
    return build(rows, 4, "model", 8)


PEOPLE = gallery(*NAMES)


def crop(*scores: float, quality: Quality = FRONTAL, among: Gallery = PEOPLE, axis: int = 0) -> Comparison:
    """One good crop with its scores in the order of the names, looking most like the photo along `axis`."""
    vector = np.eye(8, dtype=np.float32)[axis]
    return Comparison(Template(vector, "model"), np.array(scores, np.float32), among, quality, 0.0, NOON, 0.0)


def said(
    comparisons: Sequence[Comparison],
    among: Gallery = PEOPLE,
    rules: DecisionRules = RULES,
    ended: bool = False,
    **more: object,
) -> Decision:
    decision = decide(comparisons, among, rules, Linear(), ended=ended, **more)  # type: ignore[arg-type]
    assert decision is not None
    return decision


# What must be passed


def test_the_bound_keeps_false_accepts_below_the_share_asked_for() -> None:
    """ln(S / p): ln(1 / 0.001) = 6.908 for one subject, ln(50 / 0.001) = 10.820 for fifty; nobody counts as one."""
    assert evidence_bound(1, 0.001) == pytest.approx(6.908, abs=1e-3)
    assert evidence_bound(50, 0.001) == pytest.approx(10.820, abs=1e-3)
    assert evidence_bound(0, 0.001) == evidence_bound(1, 0.001)


def test_the_bound_holds_for_strangers_whose_calibration_is_true() -> None:
    """Ratios of two normal distributions d apart, drawn from the strangers' one: of 100 000 visits with 5 subjects at most 2 %
    may be identified when 2 % are allowed; three standard errors of sampling are added. The bound is no estimate: the
    share lies well below it.
    """
    random, d = np.random.default_rng(0), 3.0
    ratios = d * random.standard_normal((100_000, 5)) - d * d / 2

    share = float((ratios.max(1) >= evidence_bound(5, 0.02)).mean())
    assert share <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / 100_000)


# What a crop counts


def test_a_near_frontal_face_counts_fully_and_a_small_or_turned_one_less() -> None:
    """Half of 48 pixels between the eyes: 0.5. 45 degrees: cos² = 0.5. Both: 0.25. Never nothing: 0.1 at least."""
    assert weight(FRONTAL) == 1.0
    assert weight(dataclasses.replace(FRONTAL, eye_distance=24)) == pytest.approx(0.5)
    assert weight(dataclasses.replace(FRONTAL, yaw=-45)) == pytest.approx(0.5)
    assert weight(dataclasses.replace(FRONTAL, yaw=45, eye_distance=24)) == pytest.approx(0.25)
    assert weight(dataclasses.replace(FRONTAL, yaw=89, eye_distance=10)) == pytest.approx(0.1)


def test_evidence_is_the_weighted_mean_times_what_the_crops_count_as() -> None:
    """Two crops, weights 1 and 0.5, worth 8 and 2 nats for anna: mean (8 + 0.5 * 2) / 1.5 = 6.

    With correlation 0.5 two crops count as 2 / (1 + 0.5) = 1.333, so 8 nats; independent ones as 2, so 12.
    """
    seen = [crop(0.8, 0, 0), crop(0.2, 0, 0, quality=dataclasses.replace(FRONTAL, eye_distance=24))]

    correlated, effective = evidence(seen, Linear(correlation=0.5))
    independent, all_of_them = evidence(seen, Linear())

    assert (correlated[0], effective) == (pytest.approx(8.0, abs=1e-5), pytest.approx(4 / 3))
    assert (independent[0], all_of_them) == (pytest.approx(12.0, abs=1e-5), 2.0)


def test_crops_that_tell_the_same_count_as_one_however_many() -> None:
    """With correlation 1 the design effect is n / n = 1: standing at the door for an hour makes nobody more alike."""
    total, effective = evidence([crop(0.5, 0, 0)] * 24, Linear(correlation=1.0))

    assert (total[0], effective) == (pytest.approx(5.0), 1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24), st.floats(0, 1))
def test_correlated_crops_are_never_worth_more_than_independent_ones_nor_less_than_one(
    scores: list[float], correlation: float
) -> None:
    seen = [crop(score, 0, 0) for score in scores]
    correlated, effective = evidence(seen, Linear(correlation))
    independent, count = evidence(seen, Linear(0.0))

    assert 1 - 1e-9 <= effective <= count
    assert correlated[0] <= independent[0] + 1e-4


def test_a_small_faces_score_is_read_with_its_own_size() -> None:
    """The calibration is asked with the eye distance of each crop, not with that of the first."""
    asked: list[float] = []

    @dataclass(frozen=True)
    class Noting(Linear):
        def log_likelihood_ratios(self, scores: Float32, eye_distance: float) -> NDArray[np.float64]:
            asked.append(eye_distance)
            return super().log_likelihood_ratios(scores, eye_distance)

    evidence([crop(0.5, 0, 0, quality=dataclasses.replace(FRONTAL, eye_distance=size)) for size in (20, 40, 80)], Noting())

    assert asked == [20, 40, 80]


# What is said


def test_somebody_who_passes_the_bound_and_leads_is_identified_with_all_that_led_to_it() -> None:
    """Three crops of anna, 0.5, 0.6 and 0.4: 5 + 6 + 4 = 15 nats; the bound is ln(3 / 0.001) = 8.006. Ben: 3 x 1 = 3."""
    decision = said([crop(0.5, 0.1, 0), crop(0.6, 0.1, 0), crop(0.4, 0.1, 0)])

    assert (decision.outcome, decision.subject, decision.reasons) == (Outcome.IDENTIFIED, "anna", ())
    assert decision.best is not None
    assert decision.second is not None
    assert (decision.best.evidence, decision.second.evidence) == (pytest.approx(15, abs=1e-4), pytest.approx(3, abs=1e-4))
    assert (decision.best.score, decision.best.photo) == (pytest.approx(0.6), "anna/front.jpg")
    assert (decision.second.subject, decision.bound, decision.margin) == ("ben", pytest.approx(8.006, abs=1e-3), 3.0)
    assert (decision.frames_used, decision.effective_frames) == (3, 3.0)


@pytest.mark.parametrize(("ben", "outcome"), [(0.39, Outcome.IDENTIFIED), (0.41, Outcome.AMBIGUOUS)])
def test_two_who_are_too_alike_are_ambiguous_and_nobody_is_named(ben: float, outcome: Outcome) -> None:
    """Eight crops, anna at 0.43: 34.4 nats. Ben at 0.39 has 31.2, a lead of 3.2 over the margin of 3; at 0.41 one of 1.6."""
    decision = said([crop(0.43, ben, 0)] * 8)

    assert decision.outcome is outcome
    assert decision.subject == ("anna" if outcome is Outcome.IDENTIFIED else None)
    assert decision.reasons == (() if outcome is Outcome.IDENTIFIED else (Reason.LEAD_BELOW_MARGIN,))


@pytest.mark.parametrize(("score", "outcome"), [(0.12, Outcome.IDENTIFIED), (0.08, Outcome.UNKNOWN)])
def test_whoever_stays_below_the_bound_is_unknown(score: float, outcome: Outcome) -> None:
    """Eight crops: at 0.12 9.6 nats pass the bound of 8.006; at 0.08 6.4 do not. The nearest subject is told all the same."""
    decision = said([crop(score, 0, 0)] * 8)

    assert decision.outcome is outcome
    assert decision.best is not None
    assert decision.best.subject == "anna"
    if outcome is Outcome.UNKNOWN:
        assert (decision.subject, decision.reasons) == (None, (Reason.EVIDENCE_BELOW_BOUND,))


def test_one_subject_alone_needs_no_lead() -> None:
    """Three crops at 0.3: 9 nats over ln(1 / 0.001) = 6.908."""
    alone = gallery("anna")
    decision = said([crop(0.3, among=alone)] * 3, alone)

    assert (decision.subject, decision.second) == ("anna", None)


def test_with_nobody_enrolled_everybody_is_unknown() -> None:
    nobody = gallery()
    assert decide([crop(among=nobody)] * 7, nobody, RULES, Linear()) is None
    decision = said([crop(among=nobody)] * 8, nobody)

    assert (decision.outcome, decision.best, decision.reasons) == (Outcome.UNKNOWN, None, (Reason.EMPTY_GALLERY,))


# When it is said


def test_however_sure_the_first_crops_are_the_minimum_is_waited_for() -> None:
    """One crop at 1.0 with 10 nats is past the bound of 8.006; a fault of one picture must not open a door."""
    assert decide([crop(1.0, 0, 0)], PEOPLE, RULES, Linear()) is None
    assert decide([crop(1.0, 0, 0)] * 2, PEOPLE, RULES, Linear()) is None
    assert said([crop(1.0, 0, 0)] * 3).subject == "anna"


def test_unknown_and_ambiguous_are_not_said_before_patience_ends() -> None:
    """A better crop may come; after eight, or when the person has left, it is said."""
    for scores in ((0.0, 0.0, 0.0), (0.9, 0.9, 0.0)):
        assert decide([crop(*scores)] * 7, PEOPLE, RULES, Linear()) is None
        assert said([crop(*scores)] * 8).outcome in {Outcome.UNKNOWN, Outcome.AMBIGUOUS}
        assert said([crop(*scores)] * 7, ended=True).outcome in {Outcome.UNKNOWN, Outcome.AMBIGUOUS}


def test_a_visit_that_ends_with_too_few_good_crops_is_undecided_and_says_why() -> None:
    """Even where the one crop was like anna's photo to the last bit."""
    decision = said([crop(1.0, 0, 0)], ended=True, failures=("blurred", "too_small"))

    assert (decision.outcome, decision.subject, decision.frames_used) == (Outcome.UNDECIDED, None, 1)
    assert decision.reasons == (Reason.TOO_FEW_GOOD_FRAMES, "blurred", "too_small")


def test_a_visit_without_a_single_crop_can_be_ended_too() -> None:
    assert said([], ended=True).outcome is Outcome.UNDECIDED


scores = st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=3, max_size=12)


@given(scores, st.integers(0, 11), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_never_costs_anybody_their_identification(
    rows: list[list[float]], which: int, more: float, correlation: float
) -> None:
    calibration = Linear(correlation)
    before = decide([crop(*row) for row in rows], PEOPLE, RULES, calibration)
    if before is None or before.subject is None:
        return
    index = NAMES.index(before.subject)
    rows[which % len(rows)][index] = min(1.0, rows[which % len(rows)][index] + more)

    after = decide([crop(*row) for row in rows], PEOPLE, RULES, calibration)

    assert after is not None
    assert after.subject == before.subject


@given(scores, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_crops_makes_no_difference(rows: list[list[float]], random: object, ended: bool) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (decide([crop(*row) for row in order], PEOPLE, RULES, Linear(), ended=ended) for order in (rows, shuffled))

    assert (one is None) == (other is None)
    if one is not None and other is not None and abs(_lead(one)) > 1e-3:
        assert (one.outcome, one.subject) == (other.outcome, other.subject)


@given(scores, st.booleans())
def test_whoever_is_identified_passed_the_bound_by_the_lead(rows: list[list[float]], ended: bool) -> None:
    decision = decide([crop(*row) for row in rows], PEOPLE, RULES, Linear(), ended=ended)
    if decision is None or decision.best is None or decision.second is None:
        return
    sure = decision.best.evidence >= decision.bound and decision.best.evidence - decision.second.evidence >= decision.margin

    assert (decision.outcome is Outcome.IDENTIFIED) == (sure and not ended)
    assert (Reason.LEFT_BEFORE_DECISION in decision.reasons) == (sure and ended)


def _lead(decision: Decision) -> float:
    """How far a decision is from being another one, nats."""
    if decision.best is None or decision.second is None:
        return math.inf
    to_bound = decision.best.evidence - decision.bound
    lead = decision.best.evidence - decision.second.evidence
    return min(abs(to_bound), abs(lead - decision.margin), abs(lead))


def test_a_subject_may_ask_for_more_evidence_than_the_others() -> None:
    strict = SubjectRules(max_false_accepts=1e-9)
    among = dataclasses.replace(PEOPLE, rules={NAMES[0]: strict})
    scores = [0.0] * len(NAMES)
    enough = evidence_bound(len(NAMES), RULES.max_false_accepts) + 1
    scores[0] = enough / Linear().nats / RULES.min_good_frames
    ordinary = [crop(*scores) for _ in range(RULES.min_good_frames)]

    assert said(ordinary).outcome is Outcome.IDENTIFIED
    refused = said([crop(*scores, among=among) for _ in range(RULES.min_good_frames)], among, ended=True)
    assert refused.outcome is Outcome.UNKNOWN
    assert refused.bound == pytest.approx(evidence_bound(len(NAMES), 1e-9))
