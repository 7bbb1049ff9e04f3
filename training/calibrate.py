"""Calibrate: what a score is worth as evidence, measured on photographs of people that the model is not judged by.

Enrolled are photographs as taken; probes are other photographs, as taken and reduced as a camera further away would give them.
For each size the ratio of the two densities of scores is the monotone one that fits best (pool adjacent violators; Brümmer
and du Preez 2006). It is cut where the trials end: of n trials without an event, the event may still have the rate 3 / n
(rule of three), and one pair of people, or one person, counts as one trial however many photographs there are.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamd.recognition.calibration import Calibration
from streamd.recognition.card import Figure
from streamd.values import Float32
from training.prepare import DataError, Faces, faces
from training.scores import Embed, Scores, cross, few_of_each, templates
from training.visits import by_person, by_track, intraclass_correlation, video_crops

log = logging.getLogger(__name__)

EYE_DISTANCES: Final = (12.0, 18.0, 25.0)
"""Pixels between the eyes to which probes are reduced; besides them they are used as taken."""

KNOTS: Final = tuple(round(-0.1 + 0.025 * step, 3) for step in range(33))
"""Cosines at which the table has a column: -0.1 to 0.7; all genuine and impostor densities meet inside."""

FALSE_MATCH_RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5)

_BIN: Final = 0.02  # of the histogram: a tenth of either density's width
_PHOTOGRAPHS: Final = 5  # of a person at most: the most photographed has hundreds
_STRANGERS: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Scores of probes with one eye distance (pixels, the median), and how many trials they count as.

    missed: share of the pictures in which no face was found at that size.
    """

    eye_distance: float
    scores: Scores
    genuine_trials: int
    impostor_trials: int
    missed: float


def pooled(ratios: Float32, weights: Float32) -> Float32:
    """The non-decreasing sequence nearest to `ratios` in weighted least squares (pool adjacent violators)."""
    blocks: list[list[float]] = []  # mean, weight, length
    for ratio, weight in zip(ratios.tolist(), weights.tolist(), strict=True):
        blocks.append([ratio, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, mass, length = blocks.pop()
            total = blocks[-1][1] + mass
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * mass) / total, total, blocks[-1][2] + length]
    return np.repeat(np.array([mean for mean, _, _ in blocks], np.float32), [int(length) for _, _, length in blocks])


def ratio_row(trials: Trials, knots: tuple[float, ...] = KNOTS) -> tuple[float, ...]:
    """Natural-log likelihood ratios at the knots, non-decreasing, cut where the trials end."""
    edges = np.arange(-1 - _BIN / 2, 1 + _BIN, _BIN)
    genuine, impostor = (
        np.histogram(one, edges)[0].astype(np.float64) for one in (trials.scores.genuine, trials.scores.impostor)
    )
    seen = genuine + impostor > 0
    centres = (edges[:-1] + edges[1:])[seen] / 2
    genuine, impostor = genuine[seen] / genuine.sum(), impostor[seen] / impostor.sum()
    # Share of genuine in genuine + impostor at equal priors, pooled until it rises.
    share = pooled((genuine / (genuine + impostor)).astype(np.float32), (genuine + impostor).astype(np.float32)).astype(
        np.float64
    )
    highest, lowest = math.log(trials.impostor_trials / 3), -math.log(trials.genuine_trials / 3)
    with np.errstate(divide="ignore"):
        ratios = np.clip(np.log(share) - np.log1p(-share), lowest, highest)
    return tuple(round(float(ratio), 3) for ratio in np.interp(knots, centres, ratios))


def trials(data: Path, embed: Embed, model: str, cache: Path | None) -> list[Trials]:
    """Scores for each eye distance, smallest first; `data` holds `lfw-rest.tar` (people's photographs, a folder each)."""
    archive = data / "lfw-rest.tar"
    enrolled, enrolled_templates = _usable(archive, embed, model, cache, None)[:2]
    found = []
    for distance in (*EYE_DISTANCES, None):
        probes, probe_templates, missed = _usable(archive, embed, model, cache, distance)
        scores = cross(enrolled, enrolled_templates, probes, probe_templates)
        people = len({*enrolled.people, *probes.people})
        several = sum(count > 1 for count in Counter(enrolled.people).values())
        median = float(np.median(probes.eye_distances))
        found.append(Trials(round(median, 1), scores, several, people * (people - 1) // 2, missed))
    return found


def _usable(
    archive: Path, embed: Embed, model: str, cache: Path | None, distance: float | None
) -> tuple[Faces, Float32, float]:
    """The good faces of at most five photographs of each person, their templates, and the share of pictures without a face."""
    if not archive.is_file():
        raise DataError(f"{archive}: not found; it holds photographs of people, a folder for each")
    every = faces(archive, cache, distance)
    vectors = templates(every, embed, model, cache)
    good = np.flatnonzero(every.good)
    kept = good[few_of_each([every.people[index] for index in good], _PHOTOGRAPHS)]
    return _part(every, kept), vectors[kept], len(every.missed) / (len(every.missed) + len(every.pictures))


def _part(every: Faces, kept: NDArray[np.intp]) -> Faces:
    pictures = tuple(every.pictures[index] for index in kept)
    return Faces(every.crops[kept], every.eye_distances[kept], every.good[kept], pictures, every.missed)


@dataclass(frozen=True, slots=True)
class Correlations:
    """Intraclass correlation of the scores of one visit's crops with one enrolled photograph.

    genuine, impostor: passages of people composed of several photographs each, with their own and with strangers' photographs.
    video: real video, with strangers' photographs.
    """

    genuine: float
    impostor: float
    video: float

    @property
    def largest(self) -> float:
        """The one that the rule must reckon with."""
        return max(self.genuine, self.impostor, self.video)


def correlations(data: Path, embed: Embed, model: str, cache: Path | None) -> Correlations:
    """Measured on `clips/five-people-1080p.mp4` (with its truth) and `clips/hamilton.mp4` of `data`."""
    every = faces(data / "lfw-rest.tar", cache)
    vectors = templates(every, embed, model, cache)
    people = np.array(every.people)
    random = np.random.default_rng(13)
    clip = data / "clips" / "five-people-1080p.mp4"
    video = video_crops(clip)
    passages, shown = by_person(video, clip.with_suffix(".json"))
    seen = embed(video.crops)
    genuine, impostor = [], []
    for person, indices in passages.items():
        own = [i for i in np.flatnonzero((people == person) & every.good) if every.pictures[i] not in shown]
        genuine += [seen[indices] @ vectors[i] for i in own[: 2 * _PHOTOGRAPHS]]
        others = random.choice(np.flatnonzero((people != person) & every.good), _STRANGERS, replace=False)
        impostor += [seen[indices] @ vectors[i] for i in others]
    video = video_crops(data / "clips" / "hamilton.mp4")
    seen = embed(video.crops)
    strangers = random.choice(np.flatnonzero(every.good), _STRANGERS, replace=False)
    real = [seen[indices] @ vectors[i] for indices in by_track(video).values() for i in strangers]
    return Correlations(*(round(intraclass_correlation(groups), 3) for groups in (genuine, impostor, real)))


def calibration(found: list[Trials], correlation: float) -> Calibration:
    """The table for the card."""
    rows = [ratio_row(one) for one in found]
    return Calibration(
        scores=KNOTS,
        eye_distances=tuple(one.eye_distance for one in found),
        ratios=tuple(rows),
        correlation=correlation,
    )


def figures(found: list[Trials], measured: Correlations, command: str) -> list[Figure]:
    """FMR and FNMR at a few thresholds for each size, the failures to acquire, and the correlations, each with its command."""
    made = []
    for one in found:
        size = f"{one.eye_distance:g}px"
        falling = np.sort(one.scores.impostor)[::-1]
        for rate in FALSE_MATCH_RATES:
            threshold = float(falling[int(rate * len(falling))])
            missed = float(np.mean(one.scores.genuine <= threshold))
            made.append(Figure(name=f"score_at_fmr_{rate:.0e}_{size}", value=round(threshold, 4), command=command))
            made.append(Figure(name=f"fnmr_at_fmr_{rate:.0e}_{size}", value=round(missed, 5), command=command))
        made.append(Figure(name=f"no_face_found_{size}", value=round(one.missed, 5), command=command))
    by_kind = {"genuine": measured.genuine, "impostor": measured.impostor, "video": measured.video}
    made.extend(Figure(name=f"correlation_{kind}", value=value, command=command) for kind, value in by_kind.items())
    return made
