"""Visits: what is known of each face that is or was in view, one answer for each, re-entry joined.

A `Visit` keeps the templates of its good crops, so that a change of the gallery is answered at once: every template is
compared again with the new snapshot, and never with two galleries at a time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np

from streamd.recognition.decision import Calibration, DecisionRules, decide
from streamd.recognition.gallery import FLOOR, admitted, score, search
from streamd.values import Comparison, Crop, Decision, Float32, Gallery, Outcome, Template, Track

_KEPT_COMPARISONS: Final = 24  # the newest; more add nothing once their errors are correlated
_FRESH_SECONDS: Final = 1.0  # age of the newest crop up to which a change of the gallery may decide by it
_FOREIGN_IN_A_ROW: Final = 3  # good crops unlike the visit's own before it is taken for somebody else's
_RETRY_INTERVALS: Final = {  # seconds between crops once something has been said
    Outcome.IDENTIFIED: 1.0,
    Outcome.UNKNOWN: 0.5,
    Outcome.AMBIGUOUS: 0.25,
    Outcome.UNDECIDED: 0.25,
}


@dataclass(frozen=True, slots=True)
class VisitRules:
    """Seconds, the first four from when a face was last seen: after `verdict_after` a visit without a decision gets one, soon
    enough to be told; after `left_after` it has ended; until `rejoin` whoever comes back goes on with it; until `cooldown`
    the subject who was identified is not said again at that camera, but then, if they still stand there.

    glimpse: a visit shorter than this without enough good crops is nothing to speak of, often not even a face.
    same_person: cosine above which two templates of one track, moments apart, are one person's. same_again: evidence (nats,
    of the mean cosine) from which whoever comes in goes on with the visit of somebody who went. flicker: seconds up to which
    a face that was lost and is back has never gone, so that a visit without a decision keeps its evidence.
    """

    decision: DecisionRules = field(default_factory=DecisionRules)
    max_crops_per_second: float = 8.0
    verdict_after: float = 1.0
    left_after: float = 2.0
    rejoin: float = 5.0
    cooldown: float = 10.0
    glimpse: float = 1.0
    same_person: float = 0.3
    same_again: float = 4.0
    flicker: float = 0.5


@dataclass(frozen=True, slots=True)
class Announcement:
    """A decision to publish: `visit` names it, `first_good` and `settled` are the captures (monotonic) of the first good
    frame, None where there was none, and of the one that settled it, `wall` the latter's UTC time, `started` the visit's UTC
    start. What is said because somebody has gone was settled by the last frame that showed them. `first`: nothing was decided
    of this visit before, be it told or not.
    """

    camera: str
    visit: int
    decision: Decision
    started: datetime
    wall: datetime
    first_good: float | None
    settled: float
    decided: float
    others_in_view: int
    unknown_in_view: int
    gallery_generation: int
    first: bool


@dataclass(frozen=True, slots=True)
class Departure:
    """A visit has ended: `seconds` long, with what was said last."""

    camera: str
    visit: int
    outcome: Outcome
    subject: str | None
    seconds: float
    started: datetime
    wall: datetime


@dataclass(slots=True, eq=False)
class _Visit:
    """One visit; `track` is the track that feeds it, or None after that ended.

    comparisons: what the next decision is made of. decision, told: what was settled last, and whether it was announced;
    decided: whether anything ever was, also where it was taken back since; announced: the last that was. unheard: that has
    reached nobody so far. left, before: when whoever was told had gone (seconds and UTC), and what they looked like: somebody
    is back who looks like them, and is them as soon as their own looks say so.
    """

    id: int
    camera: str
    track: int | None
    started: float
    started_wall: datetime
    last_seen: float
    last_wall: datetime
    last_crop: float = float("-inf")
    first_good: float | None = None
    comparisons: list[Comparison] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    foreign: int = 0
    decision: Decision | None = None
    decided: bool = False
    told: bool = False
    announced: Decision | None = None
    unheard: bool = False
    left: tuple[float, datetime] | None = None
    before: list[Comparison] = field(default_factory=list)


class Visits:
    """The visits of all cameras; not thread-safe. Every method takes the time and returns what there is to publish.

    `new_id` numbers visits, unique per boot.
    """

    def __init__(self, rules: VisitRules, calibration: Calibration, gallery: Gallery, new_id: Callable[[], int]) -> None:
        self._rules = rules
        self._gallery = gallery
        self._calibration = calibration
        self._new_id = new_id
        self._open: list[_Visit] = []
        self._cooling: dict[tuple[str, str], float] = {}
        self._looked_at: dict[str, float] = {}
        self.glimpses = 0
        """Visits too short for anything to be said."""

    def visit_of(self, camera: str, track: int) -> int | None:
        """The visit that a track feeds, or None."""
        visit = self._of_track(camera, track)
        return None if visit is None else visit.id

    @property
    def open(self) -> frozenset[int]:
        """The visits that have not ended."""
        return frozenset(visit.id for visit in self._open)

    def wanted(self, camera: str, track: int, now: float) -> bool:
        """Whether the visit of a track can use another crop now."""
        visit = self._of_track(camera, track)
        if visit is None:
            return True
        if visit.looks < self._rules.decision.min_good_frames:
            return True  # the first answer must not wait
        if visit.foreign:
            return True  # perhaps it is somebody else by now
        interval = 1 / self._rules.max_crops_per_second
        if visit.decision is not None and visit.left is None:
            interval = _RETRY_INTERVALS[visit.decision.outcome]
        # Half a frame early is on time: waiting for the next frame would halve the rate.
        return now - visit.last_crop >= interval - 0.034

    def seen(self, camera: str, tracks: Sequence[Track], ended: Sequence[int], now: float, wall: datetime) -> None:
        """Tracks in view and tracks that ended, of one frame."""
        self._looked_at[camera] = now
        for visit in self._open:
            if visit.camera == camera and visit.track in ended:
                visit.track = None
        for track in tracks:
            known = self._of_track(camera, track.id)
            if known is None:
                self._open.append(_Visit(self._new_id(), camera, track.id, now, wall, now, wall))
            else:
                known.last_seen, known.last_wall = now, wall

    def looked(self, crop: Crop) -> None:
        """A crop of this track was made; a bad one is remembered with its reasons, a good one goes to the embedder."""
        visit = self._of_track(crop.camera, crop.track)
        if visit is not None:
            visit.last_crop = crop.captured
            visit.looks += 1
            visit.failures.update(reason.value for reason in crop.quality.reasons)
            if crop.quality.good and visit.first_good is None:
                visit.first_good = crop.captured

    def compared(self, crop: Crop, template: Template, finished: float) -> list[Announcement]:
        """A good crop's template has come back; returns what it settles."""
        visit = self._of_track(crop.camera, crop.track)
        if visit is None or template.model != self._gallery.model:
            return []  # of a model that has just been replaced: it says nothing to the templates in force
        owner = self._owner(visit, template.vector, crop)
        if owner is None:
            return []
        visit = owner
        scores = admitted(search(template.vector[None], self._gallery)[0], self._gallery, visit.camera, crop.wall)
        visit.comparisons = _against(self._gallery, visit)
        visit.comparisons.append(Comparison(template, scores, self._gallery, crop.quality, crop.captured, crop.wall, finished))
        del visit.comparisons[:-_KEPT_COMPARISONS]
        visit.comparisons = _completed(self._gallery, visit)
        return self._judge(visit, finished)

    def unheard(self, visit: int) -> None:
        """What was said of a visit has reached nobody so far: if it ends like that, no cool-down keeps its subject silent."""
        for one in self._open:
            one.unheard |= one.id == visit

    def not_delivered(self, visit: int) -> None:
        """What was said of a visit reached nobody: it is decided anew by the next good crop, as if nothing had been said.

        Whoever is out of view keeps their decision until they come back; nothing can be told of them now.
        """
        self.unheard(visit)
        for one in self._open:
            if one.id == visit and one.track is not None:
                one.decision, one.told = None, False

    def gallery_changed(self, gallery: Gallery, now: float) -> list[Announcement]:
        """A new gallery is in force: everyone in view is compared with it at once.

        Whoever is out of view, or was last seen well too long ago to be told now, is answered for by the next good crop.
        """
        self._gallery = gallery
        self._cooling = {key: since for key, since in self._cooling.items() if key[1] in gallery.names}
        announcements: list[Announcement] = []
        for visit in self._open:
            gone = visit.decision is not None and not self._stands(visit.decision)
            if visit.track is None and gone:
                visit.comparisons, visit.before = [], []  # on return a visit of its own: nothing of the old one holds any more
            elif gone:
                visit.decision, visit.told = None, False
            if visit.track is not None and visit.comparisons:
                visit.comparisons = _against(gallery, visit)
                if now - visit.comparisons[-1].captured <= _FRESH_SECONDS:
                    announcements += self._judge(visit, now)
        return announcements

    def model_changed(self, gallery: Gallery, calibration: Calibration) -> None:
        """A gallery of another model is in force: the evidence of every visit begins anew, since no two of their templates can
        be compared. What was said stands while its subject is enrolled, until looks by the new model say somebody else.
        """
        self._gallery, self._calibration = gallery, calibration
        for visit in self._open:
            visit.comparisons, visit.before, visit.foreign = [], [], 0
            if visit.decision is not None and not self._stands(visit.decision):
                visit.decision, visit.told = None, False
            elif visit.decision is not None and visit.decision.subject is not None and visit.left is None:
                visit.left = (visit.last_seen, visit.last_wall)  # that the track went over to another would not be noticed now

    def tick(self, now: float) -> tuple[list[Announcement], list[Departure]]:
        """End what has been out of view for long enough; a visit without a decision gets one."""
        announcements: list[Announcement] = []
        departures: list[Departure] = []
        verdict_after = min(self._rules.verdict_after, self._rules.left_after)
        gone = [visit for visit in self._open if visit.track is None and now - visit.last_seen >= verdict_after]
        for visit in gone:
            if visit.decision is None and not self._is_glimpse(visit):
                announcements += self._judge(visit, now, ended=True)
            if now - visit.last_seen < self._rules.left_after:
                continue
            if visit.decision is None and visit.announced is None:
                self._open.remove(visit)
                self.glimpses += 1
            elif now - visit.last_seen >= max(self._rules.rejoin, self._rules.left_after):
                self._open.remove(visit)
                departures += [self._departed(visit)] if visit.announced is not None else []
        return announcements, departures

    def close(self) -> list[Departure]:
        """End every visit, since nobody watches any more; what was announced is taken leave of."""
        ended, self._open = self._open, []
        return [self._departed(visit) for visit in ended if visit.announced is not None]

    def _is_glimpse(self, visit: _Visit) -> bool:
        enough = len(visit.comparisons) >= self._rules.decision.min_good_frames
        return visit.decision is None and not enough and visit.last_seen - visit.started < self._rules.glimpse

    def _of_track(self, camera: str, track: int) -> _Visit | None:
        return next((visit for visit in self._open if visit.camera == camera and visit.track == track), None)

    def _departed(self, visit: _Visit) -> Departure:
        last = visit.decision or visit.announced
        outcome = last.outcome if last else Outcome.UNDECIDED
        subject = last.subject if last else None
        if subject is not None and subject not in self._gallery.names:
            outcome, subject = Outcome.UNKNOWN, None  # who was taken out, or forgotten, is named no more
        if subject is not None and not visit.unheard:
            self._cooling[visit.camera, subject] = visit.last_seen
        return Departure(
            visit.camera, visit.id, outcome, subject, visit.last_seen - visit.started, visit.started_wall, visit.last_wall
        )

    def _owner(self, visit: _Visit, vector: Float32, crop: Crop) -> _Visit | None:
        """The visit that a template belongs to: the track's own, the one it re-enters, or a new one after a mix-up.

        None while it is unlike the visit's own but not yet often enough: it then counts for nobody.
        """
        if not visit.comparisons:
            return self._rejoined(visit, vector, crop.captured, crop.quality.eye_distance)
        if _likeness(visit, vector) >= self._rules.same_person:
            visit.foreign = 0
            return visit
        visit.foreign += 1
        if visit.foreign < _FOREIGN_IN_A_ROW:
            return None
        # The tracker took another person for this one: what was gathered for the first must not count for the second.
        track, visit.track = visit.track, None
        fresh = _Visit(self._new_id(), visit.camera, track, crop.captured, crop.wall, crop.captured, crop.wall)
        fresh.last_crop = fresh.first_good = crop.captured
        fresh.looks = 1
        self._open.append(fresh)
        return self._rejoined(fresh, vector, crop.captured, crop.quality.eye_distance)

    def _rejoined(self, visit: _Visit, vector: Float32, captured: float, eye_distance: float) -> _Visit:
        """The visit that a new track's first template continues, the one most like it, or the new visit itself.

        It must not be in view in that frame, or its own track must show somebody else by now.
        """
        here = [
            one for one in self._open if one is not visit and one.camera == visit.camera and (one.comparisons or one.before)
        ]
        away = (one for one in here if one.last_seen < captured or one.foreign)
        earlier = max(away, key=lambda one: _likeness(one, vector), default=None)
        if earlier is None or self._evidence_of_likeness(_likeness(earlier, vector), eye_distance) < self._rules.same_again:
            return visit
        if earlier.decision is not None or captured - earlier.last_seen > self._rules.flicker:
            # What was said rests on looks of whoever went; anything more must rest on looks of whoever came.
            said = earlier.decision.subject if earlier.decision is not None else None
            earlier.left = (earlier.last_seen, earlier.last_wall) if said is not None else None
            earlier.before, earlier.comparisons, earlier.looks = earlier.comparisons, [], 0
        if earlier.unheard:
            earlier.decision, earlier.told, earlier.unheard, earlier.left = None, False, False, None
        earlier.track, earlier.last_seen, earlier.last_wall = visit.track, visit.last_seen, visit.last_wall
        earlier.last_crop, earlier.foreign = visit.last_crop, 0
        earlier.looks += visit.looks
        self._open.remove(visit)
        return earlier

    def _evidence_of_likeness(self, cosine: float, eye_distance: float) -> float:
        return float(self._calibration.log_likelihood_ratios(np.array([cosine], np.float32), eye_distance)[0])

    def _judge(self, visit: _Visit, now: float, ended: bool = False) -> list[Announcement]:
        failures = [reason for reason, _ in visit.failures.most_common(3)]
        visit.comparisons = _against(self._gallery, visit)
        decision = decide(
            visit.comparisons, self._gallery, self._rules.decision, self._calibration, ended=ended, failures=failures
        )
        if decision is None:
            return []
        if decision.outcome is Outcome.UNDECIDED and visit.announced is not None and self._stands(visit.announced):
            visit.decision = visit.announced  # it is more than this, and may have arrived after all
            return []
        if visit.decision is not None and _is_somebody_else(visit.decision, decision, returned=visit.left is not None):
            return self._judge(self._parted(visit), now, ended)
        if decision.subject is not None:
            visit.left = None  # it is them
        if visit.told and not _is_news(visit.decision, decision):
            return []
        if visit.decision is not None and not visit.told and decision.subject is None:
            return []  # identified, and only the cool-down keeps it from being told
        first, visit.decided = not visit.decided, True
        visit.decision = decision
        cooled = self._cooling.get((visit.camera, decision.subject or ""), float("-inf"))
        if decision.subject is not None and now - cooled < self._rules.cooldown:
            return []
        visit.told, visit.announced, visit.unheard = True, decision, False
        return [self._announcement(visit, decision, now, first, ended)]

    def _stands(self, decision: Decision) -> bool:
        """Whether whom a decision names, if anybody, is enrolled."""
        return decision.subject in (None, *self._gallery.names)

    def _parted(self, visit: _Visit) -> _Visit:
        """A visit of its own for whoever is in view, with their looks: they are not who was told."""
        first = visit.comparisons[0]
        fresh = _Visit(self._new_id(), visit.camera, visit.track, first.captured, first.wall, visit.last_seen, visit.last_wall)
        fresh.last_crop, fresh.first_good, fresh.looks = visit.last_crop, first.captured, len(visit.comparisons)
        fresh.comparisons = visit.comparisons
        visit.last_seen, visit.last_wall = visit.left or (first.captured, first.wall)
        visit.track, visit.comparisons, visit.before, visit.left = None, visit.before, [], None
        self._open.append(fresh)
        return fresh

    def _announcement(self, visit: _Visit, decision: Decision, now: float, first: bool, ended: bool) -> Announcement:
        frame = self._looked_at.get(visit.camera)
        in_view = [other for other in self._open if other.camera == visit.camera and other.last_seen == frame]
        others = [other for other in in_view if other is not visit]
        unknown = sum(not _is_known(other) for other in others)
        newest = visit.comparisons[-1] if visit.comparisons and not ended else None
        return Announcement(
            camera=visit.camera,
            visit=visit.id,
            decision=decision,
            started=visit.started_wall,
            wall=newest.wall if newest else visit.last_wall,
            first_good=visit.first_good,
            settled=newest.captured if newest else visit.last_seen,
            decided=now,
            others_in_view=len(others),
            unknown_in_view=unknown,
            gallery_generation=self._gallery.generation,
            first=first,
        )


def _is_known(visit: _Visit) -> bool:
    """Whether it is known who stands there now: not by whom the visit was before, if others may have come in its place."""
    return visit.decision is not None and visit.decision.subject is not None and visit.left is None and not visit.foreign


def _is_news(before: Decision | None, now: Decision) -> bool:
    """Whether a decision is said: the first, and a stronger one than `unknown`, `ambiguous` or `undecided`."""
    if before is None:
        return True
    rank = (Outcome.UNDECIDED, Outcome.UNKNOWN, Outcome.AMBIGUOUS, Outcome.IDENTIFIED)
    return rank.index(now.outcome) > rank.index(before.outcome)


def _is_somebody_else(before: Decision, now: Decision, returned: bool) -> bool:
    """Whether a decision about somebody who has `returned` is about another person than the one before they went.

    A new name is, and so is the lack of any evidence for the old one. Of somebody who has stood there all the time it is a
    look aside, or somebody who looks like two people: an identification is not taken back.
    """
    if before.subject is None or now.outcome is Outcome.UNDECIDED or not returned:
        return False
    if now.subject is not None:
        return now.subject != before.subject
    nearest = [one.subject for one in (now.best, now.second) if one is not None and one.evidence > 0]
    return before.subject not in nearest


def _likeness(visit: _Visit, vector: Float32) -> float:
    """The mean cosine of a template with those of a visit."""
    return float(np.mean([one.template.vector @ vector for one in visit.comparisons or visit.before]))


def _completed(gallery: Gallery, visit: _Visit) -> list[Comparison]:
    """The comparisons with every subject scored in all that an index found near in one, so that evidence is like for like.

    Evidence is a mean over the crops. Somebody near in one crop and not looked at in another would be short of evidence: as
    the second, that makes the lead of the best too large, and somebody is identified who should be ambiguous.
    """
    comparisons = visit.comparisons
    if gallery.index is None or len(comparisons) == 1:
        return comparisons
    near = np.flatnonzero(np.max([one.scores for one in comparisons], axis=0) > FLOOR).astype(np.int32)
    return _scored(visit, score(np.stack([one.template.vector for one in comparisons]), near, gallery), gallery)


def _against(gallery: Gallery, visit: _Visit) -> list[Comparison]:
    """The comparisons of a visit made anew where they were against an older gallery."""
    comparisons = visit.comparisons
    if not comparisons or comparisons[-1].gallery is gallery:
        return comparisons
    return _scored(visit, search(np.stack([one.template.vector for one in comparisons]), gallery), gallery)


def _scored(visit: _Visit, scores: Float32, gallery: Gallery) -> list[Comparison]:
    """The comparisons of a visit with these scores, float32 (B, S), of that gallery."""
    return [
        dataclasses.replace(one, scores=admitted(row, gallery, visit.camera, one.wall), gallery=gallery)
        for one, row in zip(visit.comparisons, scores, strict=True)
    ]
