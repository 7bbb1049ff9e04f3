"""Robustness: how much of a face a model still knows when the camera is far, the face moves or the light is poor.

Enrolled is one photograph of each person, as taken; probes are other photographs of the same people, each seen as a door camera
would see it (`augment.NAMED`). The rate is the share of genuine pairs accepted at the score that one in a thousand of all
impostor pairs of the same kind passes: a threshold of its own for each view, as the calibration by size of face has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from training.augment import HARD, NAMED, named_view
from training.evaluate import tar_at_fmr
from training.identification import cosines
from training.prepare import Faces, faces
from training.scores import Compare, Embed, few_of_each, templates_of_crops

FMR: Final = 1e-3
_PROBES: Final = 3  # of a person at most
AS_TAKEN: Final = "as_taken"


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """enrolled: int (E,), rows of the faces; probes: int (P,), other rows; same: bool (P, E), whether of one person."""

    enrolled: NDArray[np.intp]
    probes: NDArray[np.intp]
    same: NDArray[np.bool_]


def trials(faces: Faces) -> Trials:
    """Of good faces: the first photograph of everybody who has several, and up to three others of theirs."""
    good = np.flatnonzero(faces.good)
    people = np.array([faces.people[index] for index in good])
    chosen = few_of_each(people.tolist(), 1 + _PROBES)
    first = few_of_each(people.tolist(), 1)
    others = np.setdiff1d(chosen, first)
    enrolled = first[np.isin(people[first], people[others])]
    return Trials(good[enrolled], good[others], people[others][:, None] == people[enrolled][None, :])


def views(crops: UInt8, name: str) -> UInt8:
    """The crops as that view (a key of NAMED) shows them, the same at every call."""
    view = named_view(name)
    return np.stack([view(crop, np.random.default_rng((15, number))) for number, crop in enumerate(crops)])


def templates(
    faces: Faces, given: Trials, embed: Embed, model: str, cache: Path, names: Sequence[str] = tuple(NAMED)
) -> tuple[Float32, dict[str, Float32]]:
    """Of the enrolled photographs as taken, float32 (E, D), and of the probes in each view, float32 (P, D)."""
    pictures = hashlib.sha256("\n".join((*faces.pictures, *map(str, given.probes.tolist()))).encode()).hexdigest()[:8]
    crops = faces.crops[given.probes]
    enrolled = templates_of_crops(faces.crops[given.enrolled], embed, f"{model}-{pictures}-enrolled", cache)
    probes = {AS_TAKEN: templates_of_crops(crops, embed, f"{model}-{pictures}-{AS_TAKEN}", cache)}
    for name in names:
        kind = hashlib.sha256(repr(NAMED[name]).encode()).hexdigest()[:6]
        probes[name] = templates_of_crops(views(crops, name), embed, f"{model}-{pictures}-{name}-{kind}", cache)
    return enrolled, probes


def rates(given: Trials, enrolled: Float32, probes: dict[str, Float32], compare: Compare, fmr: float = FMR) -> dict[str, float]:
    """The share of genuine pairs accepted, by view."""
    found = {}
    for name, vectors in probes.items():
        scores = compare(vectors, enrolled)
        found[name] = tar_at_fmr(scores[given.same], scores[~given.same], fmr)
    return found


def lfw_robustness(data: Path, embed: Embed, model: str, cache: Path) -> dict[str, Any]:
    """The curves on `lfw-rest.tar`, with the mean over the hard views."""
    found = faces(data / "lfw-rest.tar", cache)
    given = trials(found)
    measured = rates(given, *templates(found, given, embed, model[:16], cache), cosines)
    return {
        "people": len(given.enrolled),
        "probes": len(given.probes),
        "tar_at_fmr_1e-3": measured,
        "mean_of_hard_views": float(np.mean([measured[name] for name in HARD])),
    }
