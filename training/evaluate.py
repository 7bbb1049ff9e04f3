"""Evaluate: how well a model tells people apart, by the protocol of Labeled Faces in the Wild, View 2.

6,000 pairs in ten folds; for each fold the threshold is picked on the other nine (Huang et al. 2007). A pair with a picture in
which no face was found is a failed comparison: it is never accepted, so a genuine one counts as an error.
"""

from __future__ import annotations

import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32
from training.prepare import DataError, Faces, faces
from training.scores import Embed, templates

FAILED: Final = -1.0  # the score of a pair that could not be compared: below every other


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of pictures: N times two `person/file`; `same`: bool (N,), one person; `fold`: int (N,)."""

    pictures: tuple[tuple[str, str], ...]
    same: NDArray[np.bool_]
    fold: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Verification:
    """Figures of a set of pairs, all shares of 1. accuracy_interval: mean of the folds ± 1.96 standard errors.

    tar_at_fmr: share of genuine pairs accepted at the score that lets that share of impostor pairs pass.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    eer: float
    tar_at_fmr: dict[str, float]


def read_pairs(text: str) -> Pairs:
    """LFW's `pairs.txt`: folds and pairs of a fold, then `name i j` for one person and `name i name j` for two."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    try:
        folds, size = int(lines[0][0]), int(lines[0][1])
        rows = lines[1:]
        if len(rows) != 2 * folds * size:
            raise DataError(f"pairs.txt: expected {2 * folds * size} pairs, found {len(rows)}")
        pictures = tuple(
            (_picture(row[0], row[1]), _picture(row[0], row[2]))
            if len(row) == 3
            else (_picture(row[0], row[1]), _picture(row[2], row[3]))
            for row in rows
        )
    except (IndexError, ValueError) as error:
        raise DataError(f"pairs.txt: expected `name i j` or `name i name j` in each line ({error})") from error
    return Pairs(pictures, np.array([len(row) == 3 for row in rows]), np.arange(len(rows)) // (2 * size))


def _picture(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def pair_scores(pairs: Pairs, data: Faces, vectors: Float32) -> Float32:
    """The cosine of each pair, float32 (N,); FAILED where a picture has no face."""
    index = {picture: number for number, picture in enumerate(data.pictures)}
    found = [(index.get(a), index.get(b)) for a, b in pairs.pictures]
    return np.array([FAILED if a is None or b is None else vectors[a] @ vectors[b] for a, b in found], np.float32)


def verify(scores: Float32, pairs: Pairs) -> Verification:
    """The figures of a set of pairs from their scores."""
    accuracies = []
    for fold in np.unique(pairs.fold):
        inside = pairs.fold == fold
        threshold = _best_threshold(scores[~inside], pairs.same[~inside])
        accuracies.append(float(np.mean((scores[inside] >= threshold) == pairs.same[inside])))
    mean = float(np.mean(accuracies))
    error = 1.96 * float(np.std(accuracies, ddof=1)) / len(accuracies) ** 0.5
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    rates = {name: tar_at_fmr(genuine, impostor, float(name)) for name in ("1e-2", "1e-3")}
    return Verification(mean, (mean - error, min(1.0, mean + error)), equal_error_rate(genuine, impostor), rates)


def _best_threshold(scores: Float32, same: NDArray[np.bool_]) -> float:
    """The score that divides the pairs with the fewest errors, half way between its neighbours."""
    order = np.argsort(scores)
    rising, truth = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(~truth)]) + truth.sum() - np.concatenate([[0], np.cumsum(truth)])
    best = int(np.argmax(right))
    low = rising[best - 1] if best else rising[0] - 1
    return float((low + (rising[best] if best < len(rising) else low + 2)) / 2)


def tar_at_fmr(genuine: Float32, impostor: Float32, fmr: float) -> float:
    """Share of genuine scores above the score that the share `fmr` of impostor scores passes."""
    passing = int(fmr * len(impostor) + 1e-9)
    return float(np.mean(genuine > np.sort(impostor)[::-1][passing]))


def equal_error_rate(genuine: Float32, impostor: Float32) -> float:
    """The rate at which as large a share of impostors passes as of genuine scores is refused."""
    thresholds = np.sort(np.concatenate([genuine, impostor]))
    refused = np.searchsorted(np.sort(genuine), thresholds, "left") / len(genuine)
    passed = 1 - np.searchsorted(np.sort(impostor), thresholds, "left") / len(impostor)
    at = int(np.argmin(np.abs(refused - passed)))
    return float((refused[at] + passed[at]) / 2)


def lfw_view2(data: Path, embed: Embed, model: str, cache: Path | None) -> dict[str, Any]:
    """The figures of View 2; `data` holds `lfw-view2.tar`, pictures and `pairs.txt` in a folder `lfw`."""
    archive = data / "lfw-view2.tar"
    if not archive.is_file():
        raise DataError(f"{archive}: not found; it holds the pictures that View 2 names and lfw/pairs.txt")
    with tarfile.open(archive) as opened:
        listed = opened.extractfile("lfw/pairs.txt")
        assert listed is not None  # a plain file
        pairs = read_pairs(listed.read().decode())
    found = faces(archive, cache)
    scores = pair_scores(pairs, found, templates(found, embed, model, cache))
    figures = asdict(verify(scores, pairs))
    rates = figures.pop("tar_at_fmr")
    return {
        **figures,
        **{f"tar_at_fmr_{name}": rate for name, rate in rates.items()},
        "fta": len(found.missed) / (len(found.missed) + len(found.pictures)),
        "pairs": len(scores),
        "failed_comparisons": int((scores == FAILED).sum()),
    }
