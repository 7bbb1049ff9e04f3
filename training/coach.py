"""Coach: how true the verdicts of `streamd.enrolment.coach` are, on photographs of Labeled Faces in the Wild.

Gain: one photograph is enrolled and a second one added; how many of the person's other photographs are then still missed, for
seconds of more and of less gain. Quarantine: everybody is enrolled as the collection has it, and whoever is quarantined is
named, to be looked at; then photographs are dropped into wrong folders, and enrolled people into folders of another name.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd.enrolment.attributes import AttributeModel, read_attributes
from streamd.enrolment.coach import Coach, CoachRules, UsablePhoto
from streamd.recognition.calibration import Calibration
from streamd.recognition.card import read_card
from streamd.values import Float32, Quality
from training.prepare import Faces, faces
from training.scores import of_card, templates

BANDS: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of gain."""

_MISS_RATES: Final = (1e-4, 1e-5)
_STRANGERS: Final = 3000  # photographs between which a false match rate is measured
_PROBES: Final = 9
_FEWEST: Final = 6
_GALLERIES: Final = 200
_SUBJECTS: Final = 20
_PHOTOGRAPHS: Final = 5
_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Good photographs by person: indices into templates float32 (N, D) and their faces."""

    data: Faces
    vectors: Float32
    of: dict[str, list[int]]

    def photo(self, index: int, subject: str, sequence: int) -> UsablePhoto:
        """A photograph as one in a subject's folder."""
        picture = self.data.pictures[index]
        quality = Quality(1.0, 128.0, 64.0, 0.0, 0.0, 0.0, float(self.data.eye_distances[index]))
        name = f"{subject}/{sequence}-{picture.rsplit('/', 1)[1]}"
        return UsablePhoto(subject, name, f"{sequence}", self.vectors[index], quality, None, sequence)


def people(data: Path, card: Path, cache: Path | None) -> People:
    """The people of `lfw-rest.tar`."""
    embed, model = of_card(card)
    found = faces(data / "lfw-rest.tar", cache)
    by_person: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(found.good).tolist():
        by_person[found.people[index]].append(index)
    return People(found, templates(found, embed, model, cache), dict(by_person))


def misses_by_gain(found: People, measured: AttributeModel) -> dict[str, str]:
    """For each band of the second photograph's gain, the share of probes missed with one photograph and with both."""
    random = np.random.default_rng(14)
    good = np.array(sorted(index for indices in found.of.values() for index in indices))
    strangers = random.choice(good, min(_STRANGERS, len(good)), replace=False)
    names = np.array([found.data.people[index] for index in strangers])
    falling = np.sort((found.vectors[strangers] @ found.vectors[strangers].T)[names[:, None] != names[None, :]])[::-1]
    told = {}
    for rate in _MISS_RATES:
        threshold = falling[int(rate * len(falling))]
        rows: list[tuple[float, float, float]] = []
        for indices in (one for one in found.of.values() if len(one) >= _FEWEST):
            for _ in range(_ROUNDS):
                first, second, *probes = random.permutation(indices)[: 2 + _PROBES]
                scores = found.vectors[probes] @ found.vectors[[first, second]].T
                cosine = float(found.vectors[first] @ found.vectors[second])
                gain = 1 - float(np.interp(cosine, measured.genuine, np.linspace(0, 1, len(measured.genuine))))
                rows.append((gain, float(np.mean(scores[:, 0] < threshold)), float(np.mean(scores.max(1) < threshold))))
        table = np.array(rows)
        for low, high in itertools.pairwise(BANDS):
            inside = table[(table[:, 0] >= low) & (table[:, 0] < high + (high == BANDS[-1]))]
            one, both = inside[:, 1].mean(), inside[:, 2].mean()
            told[f"fmr_{rate:g}_gain_{low:g}_to_{high:g}"] = f"{one:.4f} missed with one, {both:.4f} with both, n={len(inside)}"
    return told


def quarantines(found: People, calibration: Calibration, rules: CoachRules) -> dict[str, Any]:
    """Who is quarantined when everybody is enrolled, and how often wrong folders and second folders are noticed."""
    random = np.random.default_rng(14)
    dimension = found.vectors.shape[1]
    every = Coach(calibration, rules, dimension)
    listed = [(index, person) for person, indices in found.of.items() for index in indices[:_PHOTOGRAPHS]]
    every.change(new=[found.photo(index, person, number) for number, (index, person) in enumerate(listed)])
    out = [verdict for verdict in every.verdicts.values() if verdict.looks_like is not None]
    names = sorted(person for person, indices in found.of.items() if len(indices) >= _FEWEST)
    noticed = second = harmed = 0
    for _ in range(_GALLERIES):
        chosen = random.choice(names, _SUBJECTS, replace=False).tolist()
        shown = {person: random.permutation(found.of[person]).tolist() for person in chosen}
        coach = Coach(calibration, rules, dimension)
        coach.change(
            new=[found.photo(shown[one][at], one, 3 * place + at) for place, one in enumerate(chosen) for at in range(3)]
        )
        whose, folder = chosen[:2]
        wrong = found.photo(shown[whose][3], folder, 10_000)
        coach.change(new=[wrong])
        like = coach.verdicts[wrong.photo].looks_like
        noticed += like is not None and like.subject == whose
        harmed += sum(one.looks_like is not None for one in coach.verdicts.values()) - (like is not None)
        other = found.photo(shown[whose][4], "another name", 10_001)
        coach.change(gone=[wrong.photo], new=[other])
        second += coach.verdicts[other.photo].looks_like is not None
    return {
        "photos": len(listed),
        "subjects": len(found.of),
        "quarantined": "; ".join(f"{one.photo} like {one.looks_like.photo}" for one in out if one.looks_like is not None),
        "duplicates": sum(one.duplicate_of is not None for one in every.verdicts.values()),
        "wrong_folder_noticed": f"{noticed} of {_GALLERIES}",
        "second_folder_of_a_person_noticed": f"{second} of {_GALLERIES}",
        "right_photos_quarantined": f"{harmed} of {_GALLERIES * _SUBJECTS * 3}",
    }


def measure(data: Path, card_path: Path, cache: Path | None) -> dict[str, Any]:
    """All of it, for the model of a card; `data` holds `lfw-rest.tar`."""
    card = read_card(card_path)
    measured = read_attributes(card_path.with_name(f"{card_path.stem}.attributes.json"), card.sha256)
    found = people(data, card_path, cache)
    rules = CoachRules(measured.duplicate, measured.genuine)
    return {**misses_by_gain(found, measured), **quarantines(found, card.calibration, rules)}
