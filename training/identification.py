"""Identification: searches for people who are enrolled and for strangers, and what becomes of false matches between groups.

Words and rates are those of ISO/IEC 19795-1: FPIR is the share of strangers' searches whose best score passes the threshold,
FNIR the share of enrolled people's searches whose own score does not, or is not the best. Everything here works on a matrix of
scores, so that cosines and normalised scores are measured alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32
from training.fairface import strangers
from training.prepare import DataError, faces
from training.scores import Compare, Embed, few_of_each, templates, templates_of_crops, wilson


def cosines(probes: Float32, enrolled: Float32) -> Float32:
    """The plain scores."""
    return probes @ enrolled.T


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Searches in a gallery. own: float32 (P,), best score of an enrolled person's probe with themselves; `right`: bool (P,),
    whether no other scored higher; `probe_of`: int (P,), who it is. strangers: float32 (S,), the best score of each stranger's
    probe; `stranger_of`: int (S,)."""

    own: Float32
    right: NDArray[np.bool_]
    probe_of: NDArray[np.intp]
    strangers: Float32
    stranger_of: NDArray[np.intp]

    @property
    def rank_one(self) -> float:
        """Share of the enrolled people's probes whose best score is their own (closed set)."""
        return float(self.right.mean())

    def fnir(self, fpir: float, threshold: float | None = None) -> float:
        """Share of the enrolled people's searches that fail at the threshold that the share `fpir` of strangers passes."""
        limit = self.threshold(fpir) if threshold is None else threshold
        return float(np.mean(~(self.right & (self.own > limit))))

    def threshold(self, fpir: float) -> float:
        """The least score that at most that share of strangers exceeds."""
        passing = int(fpir * len(self.strangers) + 1e-9)
        return float(np.sort(self.strangers)[::-1][passing])


def open_set(people: Sequence[str], vectors: Float32, compare: Compare, photos: int = 3, least: int = 5) -> Search:
    """People with `least` templates or more are enrolled with their first `photos`; the others are strangers.

    people: of each of the N rows of vectors (float32 (N, D), unit). The enrolled people's other templates are their probes.
    """
    _, numbers, counts = np.unique(np.asarray(people), return_inverse=True, return_counts=True)
    place = _place_in_person(numbers)
    known = counts[numbers] >= least
    enrolled, probes, strange = known & (place < photos), known & (place >= photos), ~known
    owners = np.unique(numbers[enrolled])
    best = _best_of_each(compare(vectors[probes], vectors[enrolled]), numbers[enrolled], owners)
    column = np.searchsorted(owners, numbers[probes])
    own = best[np.arange(len(best)), column]
    best[np.arange(len(best)), column] = -np.inf
    others = best.max(1)
    passing = _best_of_each(compare(vectors[strange], vectors[enrolled]), numbers[enrolled], owners).max(1)
    return Search(own, own > others, numbers[probes], passing, numbers[strange])


def _place_in_person(numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    order = np.argsort(numbers, kind="stable")
    first = np.searchsorted(numbers[order], numbers[order])
    place = np.empty(len(numbers), np.intp)
    place[order] = np.arange(len(numbers)) - first
    return place


def _best_of_each(scores: Float32, of: NDArray[np.intp], owners: NDArray[np.intp]) -> Float32:
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], owners)
    return np.asarray(np.maximum.reduceat(scores[:, order], starts, axis=1), np.float32)


@dataclass(frozen=True, slots=True)
class GroupRates:
    """False match rates of pairs of strangers within one group each, at the threshold that `fmr` of all pairs passes.

    rates: by group, with the number of pairs and a 95 % interval by bootstrap over people. largest_over_smallest and
    largest_over_mean: of the rates; infinite where a group had no false match.
    """

    threshold: float
    rates: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    pairs: dict[str, int]

    @property
    def largest_over_smallest(self) -> float:
        """The ratio that the differential of ISO/IEC 19795-10 is built on."""
        smallest = min(self.rates.values())
        return max(self.rates.values()) / smallest if smallest else float("inf")

    @property
    def largest_over_mean(self) -> float:
        """The largest rate beside the mean of the groups."""
        return max(self.rates.values()) / (sum(self.rates.values()) / len(self.rates))


def group_rates(
    scores: Float32, groups: Sequence[str], fmr: float, left_out: NDArray[np.bool_] | None = None, draws: int = 200
) -> GroupRates:
    """From the scores of all pairs of N strangers, float32 (N, N), and the group of each; left_out: bool (N, N), pairs that
    are likely one person and do not count."""
    labels = np.asarray(groups)
    counted = np.triu(np.ones(scores.shape, bool), 1)
    if left_out is not None:
        counted &= ~left_out
    every = scores[counted]
    threshold = float(np.partition(every, len(every) - 1 - int(fmr * len(every)))[len(every) - 1 - int(fmr * len(every))])
    random = np.random.default_rng(0)
    rates, intervals, pairs = {}, {}, {}
    for group in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == group)
        inside = counted[np.ix_(rows, rows)]
        passing = (scores[np.ix_(rows, rows)] > threshold) & inside
        pairs[group] = int(inside.sum())
        rates[group] = float(passing.sum() / max(pairs[group], 1))
        both, hits = inside + inside.T, (passing + passing.T).astype(np.float32)
        drawn = []
        for _ in range(draws):
            times = np.bincount(random.integers(0, len(rows), len(rows)), minlength=len(rows)).astype(np.float32)
            drawn.append(float(times @ hits @ times) / max(float(times @ both.astype(np.float32) @ times), 1.0))
        intervals[group] = (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975)))
    return GroupRates(threshold, rates, intervals, pairs)


def fnir_interval(search: Search, fpir: float, draws: int = 200) -> tuple[float, float]:
    """95 % interval of the FNIR: people, enrolled ones and strangers, are drawn anew with all of their probes (bootstrap)."""
    random = np.random.default_rng(0)
    own = np.where(search.right, search.own, -np.inf)
    probes = [np.flatnonzero(search.probe_of == person) for person in np.unique(search.probe_of)]
    passers = [np.flatnonzero(search.stranger_of == person) for person in np.unique(search.stranger_of)]
    found = []
    for _ in range(draws):
        chosen = np.concatenate([probes[n] for n in random.integers(0, len(probes), len(probes))])
        others = np.concatenate([passers[n] for n in random.integers(0, len(passers), len(passers))])
        limit = np.sort(search.strangers[others])[::-1][int(fpir * len(others) + 1e-9)]
        found.append(float(np.mean(own[chosen] <= limit)))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def lfw_open_set(data: Path, embed: Embed, model: str, cache: Path | None) -> dict[str, Any]:
    """Open-set figures on `lfw-rest.tar`: people with five good photographs or more are enrolled with 1, 3 and 5 of them.

    At most ten probes of a person count: else one often photographed person is the statistic.
    """
    archive = data / "lfw-rest.tar"
    found = faces(archive, cache)
    vectors = templates(found, embed, model, cache)
    good = np.flatnonzero(found.good)
    figures: dict[str, Any] = {}
    for photos in (1, 3, 5):
        kept = good[few_of_each([found.people[index] for index in good], photos + _PROBES)]
        search = open_set([found.people[index] for index in kept], vectors[kept], cosines, photos, least=photos + 2)
        figures[f"enrolled_with_{photos}"] = {
            "people": len(np.unique(search.probe_of)),
            "probes": len(search.own),
            "strangers": len(np.unique(search.stranger_of)),
            "rank_one": search.rank_one,
            **{f"fnir_at_fpir_{rate:g}": search.fnir(rate) for rate in FALSE_POSITIVE_RATES},
            **{f"fnir_at_fpir_{rate:g}_interval": fnir_interval(search, rate) for rate in FALSE_POSITIVE_RATES},
        }
    return figures


FALSE_POSITIVE_RATES: Final = (0.01, 0.003)
_PROBES: Final = 10  # of a person at most


@dataclass(frozen=True, slots=True)
class OneShot:
    """Accuracy of choosing, for one picture, the only picture of the same person among those of `ways` people.

    interval: of 95 %, by the trials alone (Wilson 1927); by chance the accuracy is 1 / ways.
    """

    accuracy: float
    interval: tuple[float, float]
    ways: int
    trials: int


def one_shot(
    compare: Compare, vectors: Float32, people: Sequence[str], ways: int, trials: int = 2000, seed: int = 0
) -> OneShot:
    """N-way one-shot accuracy (Koch et al. 2015) of embeddings float32 (N, D) and whose each is.

    Each trial draws a person with two pictures, one of
    them as the probe and the other as support beside one picture each of `ways` - 1 others; the own must score above all.
    Raises DataError where there are not so many people, or none with two pictures.
    """
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    of = [np.flatnonzero(numbers == person) for person in range(numbers.max() + 1)]
    several = [person for person, pictures in enumerate(of) if len(pictures) > 1]
    if len(of) < ways or not several:
        raise DataError(f"one-shot: expected {ways} people or more, found {len(of)}, {len(several)} with two pictures")
    random = np.random.default_rng(seed)
    right = 0
    for _ in range(trials):
        person = several[random.integers(len(several))]
        probe, own = random.choice(of[person], 2, replace=False)
        others = random.choice(len(of) - 1, ways - 1, replace=False)
        support = [own, *(random.choice(of[other + (other >= person)]) for other in others)]
        scores = compare(vectors[[probe]], vectors[support])[0]
        right += bool(scores[0] > scores[1:].max())
    return OneShot(right / trials, wilson(right, trials), ways, trials)


def lfw_one_shot(data: Path, embed: Embed, model: str, cache: Path | None, ways: int) -> dict[str, Any]:
    """One-shot accuracy on the good faces of `lfw-rest.tar`."""
    found = faces(data / "lfw-rest.tar", cache)
    vectors = templates(found, embed, model, cache)
    good = np.flatnonzero(found.good)
    people = [found.people[index] for index in good]
    return asdict(one_shot(cosines, vectors[good], people, ways))


def fairface_groups(fairface: Path, embed: Embed, model: str, cache: Path, compare: Compare = cosines) -> dict[str, Any]:
    """False match rates among the groups of FairFace's validation part, at the threshold of an FMR of 1e-3 over all pairs.

    Pairs that are likely one person twice are left out: the collection has no names, so by score.
    """
    found = strangers(fairface, "val", cache)
    kept = np.flatnonzero(found.outside <= _MOST_OUTSIDE)
    vectors = templates_of_crops(found.crops, embed, f"fairface-val-{model[:16]}", cache)[kept]
    scores = compare(vectors, vectors)
    twice = vectors @ vectors.T > _ONE_PERSON
    figures: dict[str, Any] = {"faces": len(kept), "pairs_left_out": int(np.triu(twice, 1).sum())}
    sex, race = found.gender[kept], found.race[kept]
    both = [f"{one}, {other}" for one, other in zip(race, sex, strict=True)]
    for name, groups in (("race", race.tolist()), ("sex", sex.tolist()), ("race_and_sex", both)):
        rates = group_rates(scores, groups, 1e-3, twice)
        figures["threshold"] = rates.threshold
        figures[name] = {
            "largest_over_smallest": rates.largest_over_smallest,
            "largest_over_mean": rates.largest_over_mean,
            "fmr": rates.rates,
            "fmr_interval": rates.intervals,
        }
    return figures


_MOST_OUTSIDE: Final = 0.4  # share of a crop that lies outside the photograph
_ONE_PERSON: Final = 0.6  # cosine that next to no two people reach
