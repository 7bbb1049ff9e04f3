"""The coach: what each photo is worth beside all the others, and what the gallery lacks. Pure: values in, values out.

A photo that passed its own judgement (`photo.judge`) is compared with the rest of the gallery, in three steps that depend on
nothing but the set of photos and their sequence numbers (seniority), never on the order or the batches they came in:

1. Duplicates. Within a subject, in order of seniority: the very same file as a senior photo, or one so near to a senior photo
   in use that it adds nothing.
2. Strays. A photo whose likeness to another subject's photo passes a bound, while most of its own subject's photos speak
   against it, lies in the wrong folder. So does one that most of its own are less like by the margin, where the other photo's
   own folder vouches for that one. A single other photo of its own has a say only if it was there before, and a photo that was
   there before the one that it is like goes only by most of two others of its own or more. Where several contradict each other
   the most junior goes first, and the rest is looked at again: once a wrong photo of Anna is out of Bob's folder, nothing of
   Bob's is like Anna any more, and Anna's own photos stay.
3. Newcomers. What is then still as like a senior photo of a more senior subject as its own (or has nothing of its own yet)
   waits, and so does what is more like a senior photo of any subject: two folders may hold one person, or relatives. Seniors
   are decided first, so that nobody waits because of somebody who waits. Evidence ends where the calibration's measurements
   end: two folders of one person are equally like there, and the junior waits; relatives who are more like themselves than
   like each other do not.

So no newcomer pushes out a photo that was accepted before: of two that contradict each other the junior waits, unless the
senior's own folder, with two photos at least, speaks against that one.

Quarantined photos are compared again with every change, so that they come into use when the reason for it goes.

Numbers. Templates are rounded to multiples of 2^-20, so that a cosine summed in double precision is exact: the same bits for
every batch size and processor. One product in single precision finds the few pairs of different subjects that are alike at
all (`ties`), and only these are computed again exactly. Of each photo the 16 strongest ties are kept, the senior first where
they are equal; those beyond are never looked at, which bounds memory where one person fills a thousand folders.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamd.recognition.calibration import Calibration
from streamd.recognition.decision import DecisionRules, evidence_bound
from streamd.values import Float32, Quality

_Rows = NDArray[np.intp]
_Float64 = NDArray[np.float64]

_GRID: Final = 2.0**20
_TIES: Final = 16
_SCREEN: Final = 1e-4  # what a cosine in single precision may be wrong by (1e-6 measured), with room
_COLUMNS: Final = 4096  # of one product: bounds the memory of a bulk
_FEWEST_SUBJECTS: Final = 2  # below two nobody can be confused
_GALLERY_BLOCK: Final = 512
_MAJORITY_OF: Final = 2  # other photos of a folder, at least, that may speak against one that was there before the other's


class CoachReason(StrEnum):
    """Why a photo that is good by itself is not used."""

    DUPLICATE = "duplicate"
    LOOKS_LIKE = "looks_like"


class CoachWarning(StrEnum):
    """What is odd about a photo that is used."""

    ODD_ONE = "odd_one"


@dataclass(frozen=True, slots=True, eq=False)
class UsablePhoto:
    """A photo that passed its own judgement.

    photo: relative to the enrolment folder, unique in a gallery. digest: SHA-256 of its bytes. vector: float32 (D,), unit
    length. glasses: None where it is not known. sequence: seniority, unique, rising with the time of arrival.
    """

    subject: str
    photo: str
    digest: str
    vector: Float32
    quality: Quality
    glasses: bool | None
    sequence: int


@dataclass(frozen=True, slots=True)
class CoachRules:
    """What the coach judges by; `duplicate` and `genuine` are measured for a model (`streamd-train attributes`).

    duplicate: the cosine from which a second photo of a subject adds nothing. genuine: rising cosines, the quantiles (equal
    steps from 0 to 1) of pairs of photos of one person. false_quarantines: share of new people whose first photo may be
    taken for somebody enrolled, 0..1. decision: the door's own rule, which says what is easily confused.
    """

    duplicate: float
    genuine: tuple[float, ...]
    false_quarantines: float = 0.01
    decision: DecisionRules = field(default_factory=DecisionRules)


@dataclass(frozen=True, slots=True)
class Likeness:
    """To whom a quarantined photo is more like: the other subject and its photo, and the evidence for it in nats.

    own: the evidence for its own subject's photos; None when it has none in use. misplaced: whether it lies in the wrong
    folder (then half of its own subject's photos are no more like it than `own`), rather than waits as a newcomer (then the
    most alike is).
    """

    subject: str
    photo: str
    evidence: float
    own: float | None
    misplaced: bool


@dataclass(frozen=True, slots=True)
class RelationalVerdict:
    """What a photo is worth beside the others.

    gain: 0 (nothing new) to 1 (the first, or unlike all that is there): the share of pairs of photos of one person that are
    more alike than this photo is to the most alike of its seniors in use. It estimates how often a probe that looks like this
    photo would have been less sure without it. leave_one_out: evidence (nats) of the most alike other photo of the subject in
    use; None without one. duplicate_of: the photo that it repeats.
    """

    subject: str
    photo: str
    reasons: tuple[CoachReason, ...]
    warnings: tuple[CoachWarning, ...]
    gain: float
    leave_one_out: float | None
    duplicate_of: str | None = None
    looks_like: Likeness | None = None

    @property
    def accepted(self) -> bool:
        """Whether the photo is used."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Confusable:
    """Two subjects whose photos are nearly as like as the door's rule demands of one person.

    evidence: what a patient visit that looks like `photos[0]` would give for the other subject, nats. bound: what the rule
    demands with this many subjects.
    """

    subjects: tuple[str, str]
    photos: tuple[str, str]
    evidence: float
    bound: float

    @property
    def could_be_taken_for(self) -> bool:
        """Whether the evidence passes the bound: then one is not identified beside the other, or is taken for them."""
        return self.evidence >= self.bound


class Coach:
    """The verdicts on all photos of a gallery, kept up to date; one owner, no clock, no file.

    Adding k photos to N costs one product of k by N; removing costs the photos that had ties to those that went.
    """

    def __init__(self, calibration: Calibration, rules: CoachRules, dimension: int) -> None:
        self._calibration = calibration
        self._rules = rules
        self._dimension = dimension
        self._highest = max(row[-1] for row in calibration.ratios)
        self._patient = _effective(rules.decision.unknown_after_good_frames, calibration.correlation)
        weakest = (evidence_bound(_FEWEST_SUBJECTS, rules.decision.max_false_accepts) - rules.decision.margin) / self._patient
        self._floor = self._cosine_at(min(weakest, evidence_bound(_FEWEST_SUBJECTS, rules.false_quarantines)))
        self._photos: dict[str, int] = {}  # name to row
        self._of: dict[int, UsablePhoto] = {}  # row to photo
        self._members: dict[str, list[int]] = {}  # subject to rows, senior first
        self._repeats: dict[int, int] = {}  # row of a duplicate to that of the photo it repeats
        self._quarantine: dict[int, Likeness] = {}
        self._verdicts: dict[str, RelationalVerdict] = {}
        self._own: dict[int, Mapping[int, float]] = {}  # row to the evidence of its subject's other references
        self._evidence: dict[int, _Float64] = {}  # row to the evidence of its ties
        self._free: list[int] = []
        self._subject_numbers: dict[str, int] = {}
        self._matrix = np.zeros((0, dimension), np.float32)  # references only: photos that are no duplicates; else zeros
        self._subject = np.zeros(0, np.int64)
        self._sequence = np.zeros(0, np.int64)
        self._tie_rows = np.zeros((0, _TIES), np.int64)
        self._tie_cosines = np.zeros((0, _TIES), np.float64)

    def __len__(self) -> int:
        return len(self._photos)

    @property
    def verdicts(self) -> Mapping[str, RelationalVerdict]:
        """The verdict on every photo by its name."""
        return self._verdicts

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody who has a photo here, used or not, in order."""
        return tuple(sorted(self._members))

    def used(self, subject: str) -> tuple[UsablePhoto, ...]:
        """The photos of a subject that are in use, senior first."""
        return tuple(self._of[row] for row in self._members.get(subject, ()) if self._active(row))

    def change(self, gone: Iterable[str] = (), new: Sequence[UsablePhoto] = ()) -> frozenset[str]:
        """Take photos out, by name, and add others; the names of those whose verdict is another than before.

        Names that are not there are passed over. Raises ValueError for a photo that is there already, for a sequence number
        that is not above all others, and for numbers that are no template or no eye distance.
        """
        leaving = sorted({self._photos[name] for name in gone if name in self._photos})
        for photo in new:
            self._check(photo, leaving)
        coming = sorted(new, key=lambda photo: photo.sequence)
        staying = self._subject >= 0
        staying[leaving] = False
        highest = self._sequence[staying].max(initial=-1)
        numbers = [int(highest), *(photo.sequence for photo in coming)]
        if any(a >= b for a, b in itertools.pairwise(numbers)):
            raise ValueError("the sequence numbers of new photos must be above all others, differ and not be negative")
        if len({photo.photo for photo in coming}) < len(coming):
            raise ValueError("a photo was given twice")
        touched = {self._of[row].subject for row in leaving} | {photo.subject for photo in coming}
        before = {name: self._verdicts.pop(name) for name in (self._of[row].photo for row in leaving)}
        self._remove(leaving)
        self._add(coming)
        touched |= self._judge()
        changed = set(before)
        for subject in touched:
            for verdict in self._judge_subject(subject):
                old = before.get(verdict.photo, self._verdicts.get(verdict.photo))
                changed.discard(verdict.photo)
                if verdict != old:
                    changed.add(verdict.photo)
                self._verdicts[verdict.photo] = verdict
        return frozenset(changed)

    def confusable(self) -> tuple[Confusable, ...]:
        """The pairs of subjects that the door may confuse, the nearest to it first."""
        rules = self._rules.decision
        bound = evidence_bound(len({self._of[row].subject for row in self._of if self._active(row)}), rules.max_false_accepts)
        least = self._cosine_at((bound - rules.margin) / self._patient)
        best: dict[tuple[str, str], Confusable] = {}
        for row in np.flatnonzero(self._tie_cosines[:, 0] >= least).tolist() if len(self._matrix) else ():
            if not self._active(row):
                continue
            photo = self._of[row]
            for other, value in zip(self._tie_rows[row].tolist(), self._tie_evidence(row).tolist(), strict=True):
                evidence = self._patient * value
                if other < 0 or evidence < bound - rules.margin or not self._active(other):
                    continue
                pair = tuple(sorted((photo.subject, self._of[other].subject)))
                found = Confusable((pair[0], pair[1]), (photo.photo, self._of[other].photo), evidence, bound)
                if pair not in best or _nearer(found, best[pair[0], pair[1]]):
                    best[pair[0], pair[1]] = found
        return tuple(sorted(best.values(), key=lambda one: (-one.evidence, one.subjects)))

    def _check(self, photo: UsablePhoto, leaving: Sequence[int]) -> None:
        if photo.photo in self._photos and self._photos[photo.photo] not in leaving:
            raise ValueError(f"{photo.photo} is there already")
        length = float(np.linalg.norm(photo.vector)) if photo.vector.shape == (self._dimension,) else math.nan
        if not abs(length - 1) < 1e-3:
            raise ValueError(f"{photo.photo}: expected a unit vector of {self._dimension} numbers")
        if not math.isfinite(photo.quality.eye_distance):
            raise ValueError(f"{photo.photo}: expected a finite distance between the eyes")

    # Storage: a row for each photo, zeros where it is no reference.

    def _rows_for(self, count: int) -> list[int]:
        missing = count - len(self._free)
        if missing > 0:
            size = len(self._matrix)
            grown = max(missing, size // 2, 64)
            self._matrix = np.concatenate([self._matrix, np.zeros((grown, self._dimension), np.float32)])
            self._subject = np.concatenate([self._subject, np.full(grown, -1)])
            self._sequence = np.concatenate([self._sequence, np.zeros(grown, np.int64)])
            self._tie_rows = np.concatenate([self._tie_rows, np.full((grown, _TIES), -1)])
            self._tie_cosines = np.concatenate([self._tie_cosines, np.full((grown, _TIES), -2.0)])
            self._free = [*range(size + grown - 1, size - 1, -1), *self._free]
        return [self._free.pop() for _ in range(count)]

    def _add(self, coming: Sequence[UsablePhoto]) -> None:
        by_subject: dict[str, list[int]] = defaultdict(list)
        for row, photo in zip(self._rows_for(len(coming)), coming, strict=True):
            self._photos[photo.photo] = row
            self._of[row] = photo
            self._subject[row] = self._subject_numbers.setdefault(photo.subject, len(self._subject_numbers))
            self._sequence[row] = photo.sequence
            by_subject[photo.subject].append(row)
        references: list[int] = []
        for subject, rows in by_subject.items():
            members = self._members.setdefault(subject, [])
            references += self._find_duplicates([row for row in members if row not in self._repeats], rows, members)
            members += rows
        self._refer(references)

    def _remove(self, leaving: Sequence[int]) -> None:
        if not leaving:
            return
        by_subject: dict[str, list[int]] = defaultdict(list)
        for row in leaving:
            by_subject[self._of[row].subject].append(row)
        unreferred, referred = set(leaving), []
        repeated = set(self._repeats.values())
        for subject, rows in by_subject.items():
            members = [row for row in self._members[subject] if row not in set(rows)]
            for row in rows:
                self._repeats.pop(row, None)
            if not repeated.isdisjoint(rows):
                were = {row for row in members if row not in self._repeats}
                for row in members:
                    self._repeats.pop(row, None)
                are = self._find_duplicates([], members, [])
                unreferred |= were - set(are)
                referred += [row for row in are if row not in were]
            if members:
                self._members[subject] = members
            else:
                del self._members[subject]
        self._unrefer(sorted(unreferred))
        for row in leaving:
            del self._photos[self._of.pop(row).photo]
            self._quarantine.pop(row, None)
            self._subject[row] = -1
            self._free.append(row)
        self._refer(referred)

    # Duplicates: within a subject, by seniority.

    def _find_duplicates(self, references: Sequence[int], rows: Sequence[int], seniors: Sequence[int]) -> list[int]:
        """Of `rows` (senior first, all junior to `references`) those that repeat no senior; the others enter `_repeats`."""
        vectors = self._vectors([*references, *rows])
        kept = np.zeros(len(vectors), bool)
        kept[: len(references)] = True
        every = [*references, *rows]
        by_digest: dict[str, int] = {}
        for row in seniors:
            by_digest.setdefault(self._of[row].digest, row)
        fresh = []
        for start in range(len(references), len(every), _GALLERY_BLOCK):
            block = vectors[start : start + _GALLERY_BLOCK] @ vectors.T
            for at, cosines in enumerate(block, start):
                row = every[at]
                same = by_digest.setdefault(self._of[row].digest, row)
                near = np.flatnonzero((cosines[:at] >= self._rules.duplicate) & kept[:at])
                if same != row or len(near):
                    self._repeats[row] = same if same != row else every[near[0]]
                else:
                    kept[at] = True
                    fresh.append(row)
        return fresh

    def _vectors(self, rows: Sequence[int]) -> _Float64:
        """Templates on the grid on which double precision is exact, float64 (n, D)."""
        return np.array([np.rint(self._of[row].vector.astype(np.float64) * _GRID) / _GRID for row in rows]).reshape(
            -1, self._dimension
        )

    # Ties: the photos of other subjects that are alike at all.

    def _refer(self, rows: Sequence[int]) -> None:
        """Make rows references: one product with all references, from which both sides learn of their ties."""
        if not rows:
            return
        self._matrix[rows] = self._vectors(rows).astype(np.float32)  # exact: 20 bits
        for subject in {self._of[row].subject for row in rows}:
            self._forget_own(subject)
        mine, others, cosines = self._alike(rows)
        self._merge(mine, others, cosines)
        new = np.zeros(len(self._matrix), bool)
        new[rows] = True
        theirs = ~new[others]
        self._merge(others[theirs], mine[theirs], cosines[theirs])

    def _unrefer(self, rows: Sequence[int]) -> None:
        """Take references away; whose list of ties was full is compared anew."""
        gone = np.zeros(len(self._matrix) + 1, bool)  # the last stands for no tie (-1)
        gone[list(rows)] = True
        for subject in {self._of[row].subject for row in rows}:
            self._forget_own(subject)
        self._matrix[list(rows)] = 0
        self._tie_rows[list(rows)], self._tie_cosines[list(rows)] = -1, -2
        hit = np.flatnonzero(gone[self._tie_rows].any(axis=1))
        full = self._tie_rows[hit, -1] >= 0
        again, shorter = hit[full], hit[~full]
        left = (self._tie_rows[shorter] >= 0) & ~gone[self._tie_rows[shorter]]
        owners = np.repeat(shorter, left.sum(axis=1))
        others, cosines = self._tie_rows[shorter][left], self._tie_cosines[shorter][left]
        self._tie_rows[hit], self._tie_cosines[hit] = -1, -2
        for row in (*rows, *hit.tolist()):
            self._evidence.pop(row, None)
        self._merge(owners, others, cosines)
        if len(again):
            self._merge(*self._alike(again.tolist()))

    def _alike(self, rows: Sequence[int]) -> tuple[_Rows, _Rows, _Float64]:
        """Pairs (row, reference of another subject, exact cosine) whose cosine reaches the floor."""
        left = np.asarray(rows, np.intp)
        single, double = self._matrix[left], self._matrix[left].astype(np.float64)
        found: list[tuple[_Rows, _Rows, _Float64]] = []
        for start in range(0, len(self._matrix), _COLUMNS):
            part = self._matrix[start : start + _COLUMNS]
            columns = np.flatnonzero((single @ part.T >= self._floor - _SCREEN).any(axis=0))
            exact = double @ part[columns].astype(np.float64).T
            columns += start
            a, b = np.nonzero((exact >= self._floor) & (self._subject[left][:, None] != self._subject[columns][None, :]))
            found.append((left[a], columns[b], exact[a, b]))
        return (
            np.concatenate([one[0] for one in found]),
            np.concatenate([one[1] for one in found]),
            np.concatenate([one[2] for one in found]),
        )

    def _merge(self, owners: _Rows, others: _Rows, cosines: _Float64) -> None:
        """Put ties into their owners' lists: strongest first up to the ratios' end, seniors first where equal."""
        # A full list whose last is stronger, or as strong and senior, takes nothing: most of a bulk ends here.
        last = np.minimum(self._tie_cosines[owners, -1], self._ceiling)
        rank = np.minimum(cosines, self._ceiling)
        last_row = self._tie_rows[owners, -1]
        enters = (rank > last) | ((rank == last) & (self._sequence[others] < self._sequence[last_row])) | (last_row < 0)
        owners, others, cosines = owners[enters], others[enters], cosines[enters]
        rows = np.unique(owners)
        filled = self._tie_rows[rows] >= 0
        owners = np.concatenate([np.repeat(rows, filled.sum(axis=1)), owners])
        others = np.concatenate([self._tie_rows[rows][filled], others])
        cosines = np.concatenate([self._tie_cosines[rows][filled], cosines])
        order = np.lexsort((self._sequence[others], -np.minimum(cosines, self._ceiling), owners))
        owners, others, cosines = owners[order], others[order], cosines[order]
        place = np.arange(len(owners)) - np.searchsorted(owners, owners)
        kept = place < _TIES
        self._tie_rows[rows], self._tie_cosines[rows] = -1, -2
        self._tie_rows[owners[kept], place[kept]] = others[kept]
        self._tie_cosines[owners[kept], place[kept]] = cosines[kept]
        for row in rows.tolist():
            self._evidence.pop(row, None)

    # Strays and newcomers: over all photos with a tie that passes the bound.

    def _judge(self) -> set[str]:
        """Quarantine anew; the subjects for which something changed."""
        bound = min(evidence_bound(len(self._members), self._rules.false_quarantines), self._highest)
        rows = np.flatnonzero(self._tie_cosines[:, 0] >= self._cosine_at(bound)).tolist() if len(self._matrix) else []
        candidates = {row: self._candidate(row, bound) for row in rows if self._tie_evidence(row)[0] >= bound}
        found = quarantine(candidates, self._rules.decision.margin)
        out = {
            row: Likeness(self._of[tie.row].subject, self._of[tie.row].photo, tie.evidence, own, misplaced)
            for row, (tie, own, misplaced) in found.items()
        }
        differing = (row for row in {*out, *self._quarantine} if out.get(row) != self._quarantine.get(row))
        changed = {self._of[row].subject for row in differing}
        self._quarantine = out
        return changed

    def _candidate(self, row: int, bound: float) -> Candidate:
        ties = zip(self._tie_rows[row].tolist(), self._tie_evidence(row).tolist(), strict=True)
        strong = tuple(
            Tie(other, value, self._seniority(other), self._of[other].sequence)
            for other, value in ties
            if other >= 0 and value >= bound
        )
        photo, own = self._of[row], self._own_evidence(row)
        seniors = frozenset(mate for mate in own if self._of[mate].sequence < photo.sequence)
        return Candidate(photo.subject, photo.sequence, self._seniority(row), strong, own, seniors)

    def _seniority(self, row: int) -> int:
        """Of a photo's subject: the sequence number of its first photo."""
        return self._of[self._members[self._of[row].subject][0]].sequence

    def _active(self, row: int) -> bool:
        return row not in self._repeats and row not in self._quarantine

    def _tie_evidence(self, row: int) -> _Float64:
        if row not in self._evidence:
            self._evidence[row] = self._calibration.log_likelihood_ratios(
                self._tie_cosines[row].astype(np.float32), self._of[row].quality.eye_distance
            )
        return self._evidence[row]

    def _own_evidence(self, row: int) -> Mapping[int, float]:
        """The evidence (nats) of each other reference of a photo's subject, by row."""
        if row not in self._own:
            members = self._members[self._of[row].subject]
            others = [other for other in members if other != row and other not in self._repeats]
            evidence = self._evidence_of(row, self._vectors(others) @ self._vectors([row])[0])
            self._own[row] = dict(zip(others, evidence.tolist(), strict=True))
        return self._own[row]

    def _forget_own(self, subject: str) -> None:
        for row in self._members.get(subject, ()):
            self._own.pop(row, None)

    def _evidence_of(self, row: int, cosines: _Float64) -> _Float64:
        return self._calibration.log_likelihood_ratios(cosines.astype(np.float32), self._of[row].quality.eye_distance)

    def _cosine_at(self, evidence: float) -> float:
        """The least cosine, to 2^-16, that may give this evidence at any distance between the eyes; above 1 if none does."""
        low, high = -1.0, 1.0 + 2**-16
        distances = self._calibration.eye_distances
        while high - low > 2**-16:
            middle = (low + high) / 2
            reached = max(self._calibration.log_likelihood_ratio(middle, one) for one in distances) >= evidence
            low, high = (low, middle) if reached else (middle, high)
        return low

    @property
    def _ceiling(self) -> float:
        """The cosine from which more says nothing more."""
        return self._calibration.scores[-1]

    # What is said.

    def _judge_subject(self, subject: str) -> list[RelationalVerdict]:
        """The verdicts on a subject's photos."""
        rows = self._members.get(subject, [])
        active = [row for row in rows if self._active(row)]
        theirs = self._vectors(active)
        order = {row: place for place, row in enumerate(active)}
        verdicts = []
        for start in range(0, len(rows), _GALLERY_BLOCK):
            part = rows[start : start + _GALLERY_BLOCK]
            for row, cosines in zip(part, self._vectors(part) @ theirs.T, strict=True):
                seniors = cosines[: order[row]] if row in order else cosines
                others = np.delete(cosines, order[row]) if row in order else cosines
                verdicts.append(self._verdict(row, seniors, others))
        return verdicts

    def _verdict(self, row: int, seniors: _Float64, others: _Float64) -> RelationalVerdict:
        photo = self._of[row]
        best = float(self._evidence_of(row, others.max(keepdims=True))[0]) if len(others) else None
        if row in self._repeats:
            repeated = self._of[self._repeats[row]].photo
            return RelationalVerdict(photo.subject, photo.photo, (CoachReason.DUPLICATE,), (), 0.0, best, repeated)
        if row in self._quarantine:
            like = self._quarantine[row]
            return RelationalVerdict(photo.subject, photo.photo, (CoachReason.LOOKS_LIKE,), (), 0.0, best, None, like)
        odd = (CoachWarning.ODD_ONE,) if best is not None and best < 0 else ()
        gain = self._gain(float(seniors.max())) if len(seniors) else 1.0
        return RelationalVerdict(photo.subject, photo.photo, (), odd, gain, best)

    def _gain(self, cosine: float) -> float:
        quantiles = self._rules.genuine
        return 1 - float(np.interp(cosine, quantiles, np.linspace(0, 1, len(quantiles))))


@dataclass(frozen=True, slots=True)
class Tie:
    """A likeness to a photo of another subject: its row, the evidence in nats, the seniority of its subject and its own."""

    row: int
    evidence: float
    seniority: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photo with a tie that passes the bound: ties strongest first; `own` is the evidence of its subject's others by row,
    `seniors` those of them that were there before it.
    """

    subject: str
    sequence: int
    seniority: int
    ties: tuple[Tie, ...]
    own: Mapping[int, float]
    seniors: frozenset[int]


_Case = tuple[Tie, float | None, bool]
Quarantine = dict[int, _Case]
"""Who is quarantined, by row: for which tie, against which evidence of its own subject, and whether it is misplaced."""


def quarantine(candidates: Mapping[int, Candidate], margin: float) -> Quarantine:
    """The strays and newcomers among photos that have a tie, by row (see the module's steps 2 and 3)."""
    by_subject: dict[str, list[int]] = defaultdict(list)
    for row in sorted(candidates, key=lambda row: candidates[row].sequence):
        by_subject[candidates[row].subject].append(row)
    strays: Quarantine = {}
    waiting = [(-one.sequence, row) for row, one in candidates.items()]
    heapq.heapify(waiting)
    while waiting:
        _, row = heapq.heappop(waiting)
        found = None if row in strays else _stray(row, candidates, strays, margin)
        if found is not None:
            strays[row] = found
            # Its subject's other photos have lost one of their own: they are looked at again.
            for mate in by_subject[candidates[row].subject]:
                heapq.heappush(waiting, (-candidates[mate].sequence, mate))
    by_seniority = sorted(by_subject.values(), key=lambda rows: candidates[rows[0]].seniority)
    decided = strays
    while True:
        out = dict(decided)
        for rows in by_seniority:
            settled = False
            while not settled:
                new = {row: tie for row in rows if row not in out and (tie := _newcomer(candidates[row], out)) is not None}
                out.update(new)
                settled = not new
        # Of a senior subject, and more like a photo of a junior one that was there before: it goes, and whoever waits because
        # of it is looked at again.
        late: Quarantine = {}
        for row in sorted(candidates.keys() - out.keys(), key=lambda row: candidates[row].sequence):
            if (found := _latecomer(candidates[row], {**out, **late})) is not None:
                late[row] = found
        if not late:
            return out
        decided = {**decided, **late}


def _stray(row: int, candidates: Mapping[int, Candidate], out: Quarantine, margin: float) -> _Case | None:
    """The tie for which a photo lies in the wrong folder, with the evidence that most of its own do not pass."""
    one = candidates[row]
    own = sorted(one.own[mate] for mate in one.own if mate not in out)
    many = len(own) >= _MAJORITY_OF
    if not many and one.seniors.issubset(out):
        return None  # nobody whose word counts
    middle = own[len(own) // 2]
    ties = [tie for tie in one.ties if tie.row not in out]
    senior = next((tie for tie in ties if tie.sequence < one.sequence), None)
    junior = next((tie for tie in ties if tie.sequence > one.sequence), None) if many else None
    for tie in (senior, junior):
        if tie is None:
            continue
        other = candidates.get(tie.row)
        vouching = max((other.own[mate] for mate in other.own if mate not in out), default=-math.inf) if other else -math.inf
        # A photo that nobody vouches for takes away none that its own folder speaks for, however little.
        if middle < 0 or (middle + margin <= tie.evidence and vouching >= middle + margin):
            return tie, middle, True
    return None


def _newcomer(one: Candidate, out: Quarantine) -> _Case | None:
    """The tie to a senior photo of a senior subject that is as strong as all that the photo's own subject has."""
    senior = (tie for tie in one.ties if tie.seniority < one.seniority and tie.sequence < one.sequence)
    tie = next((tie for tie in senior if tie.row not in out), None)
    own = _own(one, out)
    return (tie, own, False) if tie is not None and (own is None or own <= tie.evidence) else None


def _latecomer(one: Candidate, out: Quarantine) -> _Case | None:
    """The tie to a senior photo of any subject that is stronger than all that the photo's own subject has."""
    tie = next((tie for tie in one.ties if tie.sequence < one.sequence and tie.row not in out), None)
    own = _own(one, out)
    return (tie, own, False) if tie is not None and (own is None or own < tie.evidence) else None


def _own(one: Candidate, out: Quarantine) -> float | None:
    return max((one.own[mate] for mate in one.own if mate not in out), default=None)


def _effective(count: int, correlation: float) -> float:
    return count / (1 + (count - 1) * correlation)


def _nearer(a: Confusable, b: Confusable) -> bool:
    return (-a.evidence, a.photos) < (-b.evidence, b.photos)
