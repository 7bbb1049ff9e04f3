"""Which visits of strangers are one visitor's: density clustering by evidence, visit by visit, with ids that stay.

Two visits of n and m good looks are compared by the n x m cosines of their templates. The calibration turns each into a
natural-log likelihood ratio, at the smaller of the two eye distances. Looks of one visit are correlated, from either side by
the same rho, so the pairs count as n_eff x m_eff with n_eff = n / (1 + (n - 1) rho): the mean over a product of two such
correlations has exactly that variance. The evidence is this number times the quality-weighted mean, as in
`recognition.decision`.

Visits are linked where their evidence reaches `link_bound`, and a visitor is what hangs together by links: DBSCAN (Ester et
al. 1996) with a density of two visits in reach of each other, which is single linkage cut at the bound. A denser core would
leave a visitor's second visit alone, and on Labeled Faces in the Wild cores of four and five visits gave the same groups at
every bound from 4 nats upwards. As no visit lies on a border, who is together does not depend on the order in which they came.
Only ids do: a visitor's is that of their first visit, and stays when visits are added or expire; where two visitors turn out
to be one, the older id survives and the other becomes an alias of it. Who was once together stays so when the visit between
them expires, or an id that a person has read would change its meaning.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from streamd.recognition.calibration import Calibration
from streamd.recognition.decision import weight
from streamd.values import Float32, Quality


def link_bound(max_visits: int, max_false_links: float) -> float:
    """The evidence (nats) that two visits need to be one visitor's.

    A stranger's evidence exceeds t with probability at most e^-t, so of the visits that are compared with `max_visits`
    others at most the share `max_false_links` is linked with a stranger's, as far as the calibration is true. The number is the
    most that is ever kept, not that of the moment: a bound that moves would part visits that were together.
    """
    return math.log(max_visits / max_false_links)


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What a visit is compared by: vectors float32 (N, D), unit rows; eye_distances float32 (N,), pixels; weights float32
    (N,), above 0, at most 1.
    """

    vectors: Float32
    eye_distances: Float32
    weights: Float32

    @classmethod
    def of(cls, vectors: Sequence[Float32] | Float32, qualities: Sequence[Quality]) -> Looks:
        """The looks with these templates and qualities."""
        return cls(
            np.asarray(vectors, np.float32),
            np.array([one.eye_distance for one in qualities], np.float32),
            np.array([weight(one) for one in qualities], np.float32),
        )


class Neighbours:
    """The looks of all visits in one piece of memory, to find those that a new one is linked with; keys name visits."""

    def __init__(self, calibration: Calibration, dimension: int) -> None:
        self._calibration = calibration
        self._count = 0
        self._vectors = np.empty((0, dimension), np.float32)
        self._details = np.empty((2, 0), np.float32)  # eye distance, weight
        self._owners = np.empty(0, np.int64)  # rising: every visit's rows lie side by side
        self._keys: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._dead = 0  # rows of visits that are gone
        self._next = 0
        # The most evidence that one pair of that score can give, whatever the size of the faces.
        self._most = np.max(np.array(calibration.ratios), axis=0)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, visits: Mapping[str, Looks]) -> None:
        """Take up visits that are not there yet."""
        if not visits:
            return
        lengths = [len(looks.vectors) for looks in visits.values()]
        end = self._count + sum(lengths)
        self._make_room(end)
        new = np.s_[self._count : end]
        self._vectors[new] = np.concatenate([looks.vectors for looks in visits.values()])
        self._details[0, new] = np.concatenate([looks.eye_distances for looks in visits.values()])
        self._details[1, new] = np.concatenate([looks.weights for looks in visits.values()])
        numbers = range(self._next, self._next + len(visits))
        self._owners[new] = np.repeat(np.array(numbers), lengths)
        self._keys.update(zip(numbers, visits, strict=True))
        self._numbers.update(zip(visits, numbers, strict=True))
        self._next += len(visits)
        self._count = end

    def remove(self, visits: Iterable[str]) -> None:
        """Let go of visits; their templates are overwritten at once, and their room is used again later."""
        owners = self._owners[: self._count]
        for visit in visits:
            number = self._numbers.pop(visit, None)
            if number is not None:
                start, end = np.searchsorted(owners, [number, number + 1])
                self._vectors[start:end] = 0
                self._dead += int(end - start)
                del self._keys[number]
        if self._dead > self._count // 4:
            self._close_gaps()

    def linked(self, looks: Looks, bound: float) -> dict[str, float]:
        """The visits whose evidence for being one person's with these looks reaches the bound (nats, above 0)."""
        effective = self._effective(np.array([len(looks.vectors)]))[0]
        # A row for each look of few, so that the largest of each column is found many columns at a time.
        cosines = looks.vectors @ self._vectors[: self._count].T
        # No mean exceeds its largest part: whoever has no pair above this score has not the evidence either.
        enough = bound / (effective / max(self._calibration.correlation, 1e-3))
        reach = np.flatnonzero(self._most >= enough)
        if not self._count or not len(reach):
            return {}
        floor = self._calibration.scores[int(reach[0]) - 1] if reach[0] else -1.0
        numbers = np.unique(self._owners[: self._count][cosines.max(axis=0) >= floor])
        numbers = np.array([number for number in numbers if int(number) in self._keys], np.int64)
        rows = np.flatnonzero(np.isin(self._owners[: self._count], numbers))
        if not len(rows):
            return {}
        eyes = np.minimum(self._details[0, rows][:, None], looks.eye_distances)
        weights = self._details[1, rows][:, None] * looks.weights
        ratios = self._calibration.log_likelihood_ratios_of_pairs(np.clip(cosines[:, rows].T, -1, 1), eyes)
        starts = np.flatnonzero(np.diff(self._owners[rows], prepend=-1))
        means = np.add.reduceat((weights * ratios).sum(axis=1), starts) / np.add.reduceat(weights.sum(axis=1), starts)
        evidence = effective * self._effective(np.diff(np.append(starts, len(rows)))) * means
        return {self._keys[int(n)]: float(e) for n, e in zip(numbers, evidence, strict=True) if e >= bound}

    def _effective(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return counts / (1 + (counts - 1) * self._calibration.correlation)

    def _close_gaps(self) -> None:
        stay = np.isin(self._owners[: self._count], np.fromiter(self._keys, np.int64, len(self._keys)))
        count = int(stay.sum())
        self._vectors[:count] = self._vectors[: self._count][stay]
        self._details[:, :count] = self._details[:, : self._count][:, stay]
        self._owners[:count] = self._owners[: self._count][stay]
        self._vectors[count : self._count] = 0
        self._count, self._dead = count, 0

    def _make_room(self, rows: int) -> None:
        if rows > len(self._vectors):
            more = max(rows, 2 * len(self._vectors)) - len(self._vectors)
            self._vectors = np.concatenate([self._vectors, np.zeros((more, self._vectors.shape[1]), np.float32)])
            self._details = np.concatenate([self._details, np.zeros((2, more), np.float32)], axis=1)
            self._owners = np.concatenate([self._owners, np.zeros(more, np.int64)])


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a visit belongs: the visitor's id, since when there is that id, and the ids that this visit makes aliases of it."""

    visitor: str
    born: datetime
    merged: tuple[str, ...] = ()


class Visitors:
    """Who is who: the visits of each visitor, their ids, and what these were called before."""

    def __init__(self) -> None:
        self._visits: dict[str, set[str]] = {}
        self._born: dict[str, datetime] = {}
        self._aliases: dict[str, str] = {}
        self._of: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._visits))

    def of(self, visit: str) -> str:
        """The visitor of a visit. Raises KeyError."""
        return self._of[visit]

    def visits(self, visitor: str) -> frozenset[str]:
        """The visits of a visitor, by id or alias; none of an unknown one."""
        return frozenset(self._visits.get(self.resolve(visitor), ()))

    def resolve(self, visitor: str) -> str:
        """The id that an alias stands for; any other stays as it is."""
        return self._aliases.get(visitor, visitor)

    def born(self, visitor: str) -> datetime:
        """When the first visit of a visitor began. Raises KeyError."""
        return self._born[visitor]

    def aliases(self, visitor: str) -> tuple[str, ...]:
        """What else a visitor was called, sorted."""
        return tuple(sorted(alias for alias, name in self._aliases.items() if name == visitor))

    def place(self, visit: str, began: datetime, linked: Iterable[str], taken: Iterable[str] = ()) -> Placed:
        """Where a new visit belongs: to the visitors of the visits that it is linked with, or to a new one whose id is not
        `taken`. Nothing changes before `take`.
        """
        visitors = sorted({self._of[other] for other in linked}, key=lambda one: (self._born[one], one))
        if not visitors:
            return Placed(_new_id(visit, {*self._born, *self._aliases, *taken}), began)
        return Placed(visitors[0], self._born[visitors[0]], tuple(visitors[1:]))

    def take(self, visit: str, placed: Placed) -> None:
        """Put a visit where it belongs."""
        self.restore(visit, placed.visitor, placed.born)
        self.unite((placed.visitor, *placed.merged))

    def restore(self, visit: str, visitor: str, born: datetime) -> None:
        """Put a visit where it was before a restart."""
        visitor = self.resolve(visitor)
        self.name(visitor, born)
        self._visits[visitor].add(visit)
        self._of[visit] = visitor

    def name(self, visitor: str, born: datetime) -> None:
        """Let there be an id, born then; `settle` ends those without visits."""
        self._visits.setdefault(visitor, set())
        self._born[visitor] = min(born, self._born.get(visitor, born))

    def unite(self, visitors: Iterable[str]) -> None:
        """Make one of several visitors: the oldest id stays, the others are aliases of it from now on."""
        known = {self.resolve(visitor) for visitor in visitors}
        first = min(known & self._born.keys(), key=lambda one: (self._born[one], one))
        for other in known - {first}:
            for visit in self._visits.pop(other, ()):
                self._of[visit] = first
                self._visits[first].add(visit)
            self._born.pop(other, None)
            self._aliases = {alias: first if name == other else name for alias, name in self._aliases.items()}
            self._aliases[other] = first

    def remove(self, visits: Iterable[str]) -> None:
        """Take visits away; a visitor without any is gone, with every name."""
        for visit in visits:
            visitor = self._of.pop(visit, None)
            if visitor is not None:
                self._visits[visitor].discard(visit)
        self.settle()

    def settle(self) -> None:
        """Forget the ids that have no visits, and their aliases."""
        for visitor in [visitor for visitor, visits in self._visits.items() if not visits]:
            del self._visits[visitor], self._born[visitor]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name in self._visits}


def _new_id(visit: str, taken: set[str]) -> str:
    """A short id that follows from the first visit's name alone, unless another visitor has it."""
    digest = hashlib.sha256(visit.encode()).hexdigest()
    return next(name for length in range(6, 65) if (name := f"visitor-{digest[:length]}") not in taken)
