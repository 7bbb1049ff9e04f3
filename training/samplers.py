"""Samplers: which pictures make a batch, where a loss needs several of one subject.

The batch of step n is drawn from (seed, n) alone, so a run that goes on draws what it would have drawn. Subjects are drawn
evenly, whatever the number of their pictures: else one who was photographed 500 times would be most of what is learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.prepare import DataError

Indices = NDArray[np.intp]


class Pictures:
    """The pictures of a training's subjects. subjects: int (N,), whose each picture is, numbered from 0.

    Raises DataError where no batch can be drawn: fewer than two subjects with two pictures.
    """

    def __init__(self, subjects: Sequence[int] | NDArray[Any]) -> None:
        self.subjects = np.asarray(subjects, np.intp)
        order = np.argsort(self.subjects, kind="stable")
        bounds = np.searchsorted(self.subjects[order], np.arange(1, self.subjects.max(initial=-1) + 1))
        self.of = np.split(order, bounds)
        self.several = np.flatnonzero([len(pictures) > 1 for pictures in self.of])
        if len(self.several) < 2:
            raise DataError(
                f"training: expected two people or more with two pictures each, found {len(self.several)}; "
                "add pictures, or lower `validation` and `test`"
            )

    def two_of(self, subject: int, random: np.random.Generator) -> Indices:
        """Two different pictures of a subject that has them."""
        return random.choice(self.of[subject], 2, replace=False)

    def others(self, subject: int, count: int, random: np.random.Generator) -> list[int]:
        """One picture each of `count` more subjects, all different."""
        drawn = random.choice(len(self.of) - 1, count, replace=False)
        return [int(random.choice(self.of[other + (other >= subject)])) for other in drawn]


def pairs(pictures: Pictures, count: int, seed: int, step: int) -> Indices:
    """Pairs, int (count, 2): every second one, from the first on, is of one subject, the others of two.

    A subject's pair: a subject evenly among those with two pictures or more, two different ones of its pictures evenly.
    Strangers: two subjects evenly among all, a picture of each evenly.
    """
    random = np.random.default_rng((seed, step))
    drawn = []
    for number in range(count):
        if number % 2 == 0:
            drawn.append(pictures.two_of(int(random.choice(pictures.several)), random))
        else:
            subject = int(random.integers(len(pictures.of)))
            drawn.append(np.array([random.choice(pictures.of[subject]), *pictures.others(subject, 1, random)]))
    return np.stack(drawn)


def tuples(pictures: Pictures, count: int, strangers: int, seed: int, step: int) -> Indices:
    """Triplets (strangers 1) or quadruplets (2), int (count, 2 + strangers): anchor, positive, negatives of different subjects.

    Anchor and positive: a subject evenly among those with two pictures or more, two different ones of its pictures evenly.
    Negatives: other subjects evenly among all, a picture of each evenly.
    """
    random = np.random.default_rng((seed, step))
    anchors = random.choice(pictures.several, count).tolist()
    drawn = [[*pictures.two_of(one, random), *pictures.others(one, strangers, random)] for one in anchors]
    return np.array(drawn, np.intp)


def subjects_by_pictures(pictures: Pictures, subjects: int, each: int, seed: int, step: int) -> Indices:
    """P x K (Hermans et al. 2017): `each` pictures of each of `subjects` subjects, int (subjects, each).

    Subjects: evenly among those with two pictures or more, each once before one comes again, none twice in a batch. Pictures:
    evenly, none twice; a subject that has fewer gives all, and some of them again.
    """
    per_round = len(pictures.several) // subjects
    if not per_round:
        raise DataError(
            f"training: expected {subjects} people with two pictures or more, found {len(pictures.several)}; lower `subjects`"
        )
    turn, place = divmod(step, per_round)
    order = np.random.default_rng((seed, 0, turn)).permutation(pictures.several)
    random = np.random.default_rng((seed, 1, step))
    rows = []
    for subject in order[place * subjects : (place + 1) * subjects]:
        own = random.permutation(pictures.of[subject])
        rows.append(own[:each] if len(own) >= each else np.concatenate([own, random.choice(own, each - len(own))]))
    return np.stack(rows)
