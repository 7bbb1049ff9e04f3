"""Group: how well strangers' visits are put together, on photographs that the calibration was not fitted on.

The photographs of each person in View 2 of Labeled Faces in the Wild are dealt into visits of three to five looks, which is
harder than a door: they were taken on different days, while the looks of one visit are seconds apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamd.enrolment.grouping import Looks, Neighbours, Visitors, link_bound
from streamd.enrolment.unknown import UnknownRules
from streamd.recognition.calibration import Calibration
from streamd.values import Float32
from training.prepare import Faces, faces
from training.scores import Embed, templates

_START = datetime(2026, 1, 1, tzinfo=UTC)


def deal(people: tuple[str, ...], good: NDArray[np.bool_], random: np.random.Generator) -> list[NDArray[np.intp]]:
    """Indices of the looks of each visit: three to five good photographs of one person; what is left over goes unused."""
    several = {person for person, count in Counter(np.array(people)[good]).items() if count >= 3}
    visits = []
    for person in sorted(several):
        left = random.permutation(np.flatnonzero((np.array(people) == person) & good))
        while len(left) >= 3:
            size = int(random.integers(3, 6))
            visits.append(left[:size])
            left = left[size:]
    order = random.permutation(len(visits))
    return [visits[place] for place in order]


def b_cubed(found: list[str], truth: list[str]) -> tuple[float, float]:
    """B-cubed precision and recall (Bagga and Baldwin 1998): of a visit's group the share that is its person's, and of its
    person's visits the share that is in its group, averaged over the visits.
    """
    groups, people, both = Counter(found), Counter(truth), Counter(zip(found, truth, strict=True))
    pairs = list(zip(found, truth, strict=True))
    return (
        float(np.mean([both[group, person] / groups[group] for group, person in pairs])),
        float(np.mean([both[group, person] / people[person] for group, person in pairs])),
    )


def lfw_view2(data: Path, embed: Embed, model: str, calibration: Calibration, cache: Path | None) -> dict[str, float]:
    """The figures; `data` holds `lfw-view2.tar`."""
    every = faces(data / "lfw-view2.tar", cache)
    vectors = templates(every, embed, model, cache)
    rules = UnknownRules()
    bound = link_bound(rules.max_visits, rules.max_false_links)
    visits = deal(every.people, every.good, np.random.default_rng(14))
    near, visitors = Neighbours(calibration, vectors.shape[1]), Visitors()
    for number, visit in enumerate(visits):
        looks = _looks(every, vectors, visit)
        name, began = str(number), _START + timedelta(minutes=number)
        visitors.take(name, visitors.place(name, began, near.linked(looks, bound)))
        near.add({name: looks})
    truth = [every.people[visit[0]] for visit in visits]
    precision, recall = b_cubed([visitors.of(str(number)) for number in range(len(visits))], truth)
    several = sum(count > 1 for count in Counter(truth).values())
    missed, wrong = _forgotten(every, vectors, visits, near, rules.forget_bound)
    return {
        "visits": len(visits),
        "people": len(set(truth)),
        "people_with_several_visits": several,
        "link_bound_nats": round(bound, 2),
        "visitors": len(list(visitors)),
        "b_cubed_precision": round(precision, 4),
        "b_cubed_recall": round(recall, 4),
        "forget_bound_nats": rules.forget_bound,
        "forget_missed_by_one_photo": round(missed, 4),
        "forget_strangers_visits_per_photo": round(wrong, 5),
    }


def _looks(every: Faces, vectors: Float32, indices: NDArray[np.intp]) -> Looks:
    """Looks of equal weight: the pose of the photographs is not kept."""
    return Looks(vectors[indices], every.eye_distances[indices], np.ones(len(indices), np.float32))


def _forgotten(
    every: Faces, vectors: Float32, visits: list[NDArray[np.intp]], near: Neighbours, bound: float
) -> tuple[float, float]:
    """Of the visits of people with a good photograph in no visit, the share that it does not find; of all others, the share
    that it takes for theirs.
    """
    used = {int(index) for visit in visits for index in visit}
    own: dict[str, set[str]] = {}
    for number, visit in enumerate(visits):
        own.setdefault(every.people[visit[0]], set()).add(str(number))
    missed, wrong = [], []
    for index in _unused(every, used, own):
        found = near.linked(_looks(every, vectors, np.array([index])), bound).keys()
        mine = own[every.people[index]]
        missed += [visit not in found for visit in mine]
        wrong.append(len(found - mine) / (len(visits) - len(mine)))
    return float(np.mean(missed)), float(np.mean(wrong))


def _unused(every: Faces, used: set[int], people: dict[str, set[str]]) -> Iterator[int]:
    for index in np.flatnonzero(every.good):
        if int(index) not in used and every.people[index] in people:
            yield int(index)
