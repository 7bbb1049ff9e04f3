"""Manifest: every picture of some data sets, the side of a training that it is on, and why it is left out where it is.

People, not pictures, are divided into training, validation and test: nobody is on two sides. Two names that may be one
person's, by their scores or by a picture that both have, are kept on one side. A copy of an earlier picture is left out. What
may be named wrongly is reported and left in: whether it is wrong is for eyes to say, and a difficult picture of the right
person is what a training needs most.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.recognition.calibration import Calibration, Float64
from streamd.recognition.card import read_card
from streamd.values import Float32, UInt8
from training.prepare import DataError, Faces, faces
from training.scores import of_card, templates

Side = Literal["train", "validation", "test"]

COPY: Final = 0.98
"""Correlation of two aligned crops, drawn small and grey, from which one is a copy of the other (see `copies`)."""

EVIDENCE: Final = 9.2
"""Log-likelihood ratio, 10,000 to 1, from which two pictures are said to show one person."""

_SMALL: Final = 24  # pixels: what compression, size and light leave alone
_ROWS: Final = 2000  # of a matrix of all scores that are held at once
_INNER: Final = np.s_[15:135, 25:125]  # the face without the background, which copies may have cut differently


class Use(StrEnum):
    """What becomes of a picture: trained or judged with, or left out for its reason."""

    USED = "used"
    NO_FACE = "no face"
    POOR = "poor"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Row:
    """A picture. source: its data set; picture: `person/file` in it; subject: who is on it, empty where nobody says.

    side: of the training, empty where the picture is left out. note: which picture it is a copy of, or whom it looks like.
    """

    source: str
    picture: str
    subject: str
    side: Side | Literal[""]
    use: Use
    note: str = ""


def side_of(seed: int, name: str, validation: float, test: float) -> Side:
    """Where a person belongs, drawn by (seed, name): nobody else's being there changes it."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8]) / 2**64
    if drawn < test:
        return "test"
    return "validation" if drawn < test + validation else "train"


def copies(crops: UInt8) -> NDArray[np.intp]:
    """For each crop (uint8 (N, 150, 150, 3)) the first of which it is a copy, itself where it is none.

    A copy is the same photograph once more, also smaller or compressed: aligned by the same eyes its face correlates by `COPY`
    and more. Among 5,500 faces of LFW twelve pairs do, all one photograph twice; the next is at 0.971, two people at most at
    0.954. Copies at 0.4 of the size and JPEG quality 40 are at 0.983 at least, much brighter ones at 0.958 (first percentile).
    """
    small = np.stack([_small(crop) for crop in crops])
    first = np.arange(len(crops))
    for start in range(0, len(crops), _ROWS):
        block = small[start : start + _ROWS] @ small[: start + _ROWS].T
        for row, column in np.argwhere(np.tril(block >= COPY, start - 1)):
            first[start + row] = min(first[start + row], first[column])
    return first


def _small(crop: UInt8) -> Float32:
    grey = cv2.cvtColor(np.ascontiguousarray(crop[_INNER]), cv2.COLOR_RGB2GRAY)
    drawn = cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    drawn -= drawn.mean()
    return np.asarray(drawn / max(float(np.linalg.norm(drawn)), 1e-6), np.float32)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Two pictures of two names that show one person by their score: indices, and the evidence (log-likelihood ratio).

    alone: the first is unlike every other picture of its own name, or is the only one: it may lie in the wrong folder. Else
    both names may be one person's.
    """

    picture: int
    other: int
    evidence: float
    alone: bool


def suspicions(vectors: Float32, people: Sequence[str], calibration: Calibration, eye_distances: Float32) -> list[Suspicion]:
    """The pictures that show whom another name names, by templates float32 (N, D); the surest first, one for each picture."""
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    found = []
    for start in range(0, len(vectors), _ROWS):
        scores = vectors[start : start + _ROWS] @ vectors.T
        own = numbers[start : start + _ROWS, None] == numbers[None, :]
        rows = np.arange(len(scores))
        of_others = np.where(own, -1.0, scores)
        others = of_others.argmax(1)
        own[rows, start + rows] = False  # not itself
        best_own = np.where(own, scores, -1.0).max(1)
        sizes = np.minimum(eye_distances[start : start + _ROWS], eye_distances[others])
        evidence = _evidence(calibration, of_others[rows, others], sizes)
        beside = _evidence(calibration, best_own, eye_distances[start : start + _ROWS])
        found += [
            Suspicion(start + int(row), int(others[row]), float(evidence[row]), bool(beside[row] < 0))
            for row in np.flatnonzero(evidence >= EVIDENCE)
        ]
    return sorted(found, key=lambda one: -one.evidence)


def _evidence(calibration: Calibration, scores: Float32, sizes: Float32) -> Float64:
    return calibration.log_likelihood_ratios_of_pairs(scores.astype(np.float32), sizes.astype(np.float32))


def rows(
    sets: Mapping[str, Faces], vectors: Float32, calibration: Calibration, seed: int, validation: float, test: float
) -> list[Row]:
    """The rows of data sets by their names; vectors: templates float32 (N, D) of all their faces, in their order."""
    sources = [source for source, one in sets.items() for _ in one.pictures]
    pictures = [picture for one in sets.values() for picture in one.pictures]
    subjects = [_subject(source, picture) for source, picture in zip(sources, pictures, strict=True)]
    # Whom nobody names is a person of their own for each picture.
    people = [one or f"{source}/{picture}" for one, source, picture in zip(subjects, sources, pictures, strict=True)]
    good = np.concatenate([one.good for one in sets.values()])
    sizes = np.concatenate([one.eye_distances for one in sets.values()])
    first = copies(np.concatenate([one.crops for one in sets.values()]))
    used = np.flatnonzero(good & (first == np.arange(len(first))))
    doubts = [
        Suspicion(int(used[one.picture]), int(used[one.other]), one.evidence, one.alone)
        for one in suspicions(vectors[used], [people[index] for index in used], calibration, sizes[used])
    ]
    joined = [(people[index], people[other]) for index, other in enumerate(first.tolist())]
    joined += [(people[one.picture], people[one.other]) for one in doubts]
    whose = _together(people, joined)
    notes = {one.picture: _doubt(one, sources, pictures) for one in doubts}
    found = []
    for index, (source, picture, subject) in enumerate(zip(sources, pictures, subjects, strict=True)):
        if not good[index]:
            found.append(Row(source, picture, subject, "", Use.POOR))
        elif first[index] != index:
            found.append(Row(source, picture, subject, "", Use.COPY, f"{sources[first[index]]}/{pictures[first[index]]}"))
        else:
            side = side_of(seed, whose[people[index]], validation, test)
            found.append(Row(source, picture, subject, side, Use.USED, notes.get(index, "")))
    for source, one in sets.items():
        found += [Row(source, picture, _subject(source, picture), "", Use.NO_FACE) for picture in one.missed]
    return sorted(found, key=lambda row: (row.source, row.picture))


def _subject(source: str, picture: str) -> str:
    """The folder of a picture, empty where it lies in that of the data set itself."""
    folder = picture.rsplit("/", 1)[0]
    return "" if folder == Path(source).stem else folder


def _doubt(one: Suspicion, sources: Sequence[str], pictures: Sequence[str]) -> str:
    what = "in the wrong folder?" if one.alone else "one person under two names?"
    return f"{what} like {sources[one.other]}/{pictures[one.other]}, evidence {one.evidence:.1f}"


def _together(people: Sequence[str], joined: Sequence[tuple[str, str]]) -> dict[str, str]:
    """For each name the first of those that it is joined with, itself included."""
    of = {person: person for person in people}

    def root(name: str) -> str:
        while of[name] != name:
            name = of[name]
        return name

    for one, other in joined:
        low, high = sorted((root(one), root(other)))
        of[high] = low
    return {person: root(person) for person in of}


_COLUMNS: Final = tuple(one.name for one in fields(Row))


def write(found: Sequence[Row], path: Path) -> None:
    """Write a manifest as a table (CSV with a heading)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        table.writerows(asdict(row) for row in found)


def read(path: Path) -> list[Row]:
    """The rows of a manifest. Raises DataError where it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != _COLUMNS:
                raise ValueError
            return [Row(**{**row, "use": Use(row["use"])}) for row in table]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected what `prepare` wrote") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: no manifest; expected the columns {', '.join(_COLUMNS)}, as `prepare` writes them") from error


def prepare(
    data: Sequence[Path], card: Path, cache: Path, out: Path, *, seed: int, validation: float, test: float
) -> dict[str, Any]:
    """Make the crops of data sets, and the manifest of their pictures at `out`; what was found, for people.

    card: of the model whose scores tell which pictures may be named wrongly.
    """
    embed, model = of_card(card)
    sets = {one.name: faces(one, cache) for one in data}
    if len(sets) < len(data):
        raise DataError("prepare: two data sets have one name; rename one, as the manifest tells them apart by it")
    vectors = np.concatenate([templates(one, embed, model, cache) for one in sets.values()])
    found = rows(sets, vectors, read_card(card).calibration, seed, validation, test)
    write(found, out)
    uses = Counter(row.use for row in found)
    used = [row for row in found if row.use is Use.USED]
    return {
        "pictures": len(found),
        **{use.value: uses[use] for use in Use},
        **{side: _counted([row for row in used if row.side == side]) for side in ("train", "validation", "test")},
        "perhaps in the wrong folder": sum(row.note.startswith("in the wrong") for row in used),
        "perhaps one person under two names": sum(row.note.startswith("one person") for row in used),
        "written": str(out),
    }


def _counted(of_side: Sequence[Row]) -> str:
    return f"{len(of_side)} pictures of {len({row.subject for row in of_side})} people"
