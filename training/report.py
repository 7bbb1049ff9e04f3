"""Report: several models beside each other on one page, with plots, the hardest errors, and the command of every figure.

Scores are measured once, by `measure`, and written to a file for each model; everything on the page comes from these files,
so that a page can be drawn anew, or a metric added, without embedding a face.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from training import identification, robustness
from training.augment import HARD
from training.evaluate import equal_error_rate, tar_at_fmr
from training.prepare import Faces, faces
from training.scores import Embed, few_of_each, of_file, templates

mpl.use("agg")  # a machine without a screen
from matplotlib import pyplot as plt

log = logging.getLogger(__name__)

PAGE: Final = "report.md"
FALSE_MATCH_RATES: Final = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
_PHOTOGRAPHS: Final = 5  # of a person at most: else one often photographed person is the statistic
_DRAWS: Final = 200
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Every photograph with every other, once. scores: float32 (N (N - 1) / 2,), the matrix' upper triangle row by row;
    people: int (N,), who is on each photograph."""

    scores: Float32
    people: NDArray[np.int32]

    @property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The two photographs of each score."""
        return np.triu_indices(len(self.people), 1)

    @property
    def same(self) -> NDArray[np.bool_]:
        """Of each score, whether both are of one person."""
        rows, columns = self.pairs
        return np.asarray(self.people[rows] == self.people[columns])


def comparisons(people: Sequence[str], vectors: Float32) -> Comparisons:
    """vectors: float32 (N, D), unit rows, of N photographs of these people."""
    numbers = np.unique(np.asarray(people), return_inverse=True)[1].astype(np.int32)
    return Comparisons((vectors @ vectors.T)[np.triu_indices(len(numbers), 1)], numbers)


def area_under_curve(genuine: Float32, impostor: Float32) -> float:
    """The chance that a genuine score is above an impostor score, ties halved (Mann-Whitney)."""
    rising = np.sort(impostor)
    below = np.searchsorted(rising, genuine, "left").astype(np.float64)
    ties = np.searchsorted(rising, genuine, "right") - below
    return float((below + ties / 2).mean() / len(rising))


def verification(found: Comparisons, draws: int = _DRAWS) -> dict[str, Any]:
    """AUC, equal error rate, and TAR at each FMR with a 95 % interval by bootstrap over people.

    A person who is drawn n times counts n times in genuine pairs; thresholds are those of all impostor pairs, of which there
    are so many more that their own uncertainty is none beside that of the people.
    """
    same = found.same
    genuine, impostor = found.scores[same], found.scores[~same]
    owners = found.people[found.pairs[0][same]]
    random = np.random.default_rng(0)
    figures: dict[str, Any] = {
        "genuine": len(genuine),
        "impostor": len(impostor),
        "auc": area_under_curve(genuine, impostor),
        "eer": equal_error_rate(genuine, impostor),
    }
    falling = np.sort(impostor)[::-1]
    everybody, count = np.unique(owners), len(np.unique(found.people))
    for name, rate in FALSE_MATCH_RATES.items():
        hits = np.bincount(owners, genuine > falling[int(rate * len(falling))], count)
        pairs = np.bincount(owners, minlength=count)
        drawn = [random.choice(everybody, len(everybody)) for _ in range(draws)]
        spread = [hits[one].sum() / pairs[one].sum() for one in drawn]
        figures[f"tar_at_fmr_{name}"] = tar_at_fmr(genuine, impostor, rate)
        figures[f"tar_at_fmr_{name}_interval"] = [float(np.quantile(spread, q)) for q in (0.025, 0.975)]
    return figures


def measure(name: str, embed: Embed, model: str, data: Path, fairface: Path | None, cache: Path, out: Path) -> Path:
    """Score one model on `lfw-rest.tar` of `data`, and on FairFace where it is given; the file `NAME.npz` in `out`."""
    found = faces(data / "lfw-rest.tar", cache)
    kept = _kept(found)
    compared = comparisons([found.people[index] for index in kept], templates(found, embed, model, cache)[kept])
    told: dict[str, Any] = {
        "name": name,
        "model": model,
        "search": identification.lfw_open_set(data, embed, model, cache),
        "robustness": robustness.lfw_robustness(data, embed, model, cache),
    }
    if fairface is not None:
        told["groups"] = identification.fairface_groups(fairface, embed, model, cache)
    path = out / f"{name}.npz"
    np.savez(path, told=json.dumps(told), **asdict(compared))
    return path


def _kept(found: Faces) -> NDArray[np.intp]:
    good = np.flatnonzero(found.good)
    return good[few_of_each([found.people[index] for index in good], _PHOTOGRAPHS)]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a file of `measure` holds. told: its figures by kind."""

    compared: Comparisons
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's, as it was given to `measure`."""
        return str(self.told["name"])


def read(path: Path) -> Measured:
    """A file of `measure`."""
    with np.load(path) as stored:
        compared = Comparisons(**{name: stored[name] for name in stored.files if name != "told"})
        return Measured(compared, json.loads(str(stored["told"])))


def of_models(paths: Sequence[Path], data: Path, fairface: Path | None, cache: Path, out: Path) -> Path:
    """The page about these model files, of which those are measured whose scores do not lie in `out` yet; the first one's
    errors are shown. Raises ModelError and DataError."""
    out.mkdir(parents=True, exist_ok=True)
    measured = []
    for path in paths:
        embed, model = of_file(path)
        kept = out / f"{path.stem}.npz"
        if not (kept.is_file() and read(kept).told["model"] == model):
            measure(path.stem, embed, model, data, fairface, cache, out)
        measured.append(read(kept))
    found = faces(data / "lfw-rest.tar", cache)
    kept_rows = _kept(found)
    return report(measured, found.crops[kept_rows], [found.pictures[row] for row in kept_rows], out)


def report(models: Sequence[Measured], crops: UInt8, pictures: Sequence[str], out: Path) -> Path:
    """Write the page and its pictures into `out`. crops, pictures: of the photographs that were compared, in their order."""
    by_name = {one.name: verification(one.compared) for one in models}
    for name, draw in (("det.png", _det), ("robustness.png", _robustness), ("groups.png", _groups)):
        figure, axes = plt.subplots(figsize=(7, 4.5), constrained_layout=True)
        draw(axes, models)
        figure.savefig(out / name, dpi=110)
        plt.close(figure)
    low, high = hardest(models[0].compared)
    for name, pairs in (("one-person.png", low), ("two-people.png", high)):
        cv2.imwrite(str(out / name), _drawn(pairs, crops)[..., ::-1])
    page = out / PAGE
    page.write_text(_page(models, by_name, _named(low, pictures), _named(high, pictures)))
    return page


def _det(axes: Any, models: Sequence[Measured]) -> None:
    """Detection error trade-off, on logarithmic axes."""
    rates = np.logspace(-5, -1, 60)
    for one in models:
        same = one.compared.same
        falling, rising = np.sort(one.compared.scores[~same])[::-1], np.sort(one.compared.scores[same])
        limits = falling[(rates * len(falling)).astype(int)]
        missed = np.searchsorted(rising, limits, "right") / len(rising)
        axes.plot(rates, np.maximum(missed, 1e-5), label=one.name)
    axes.set(xscale="log", yscale="log", xlabel="false match rate", ylabel="false non-match rate")
    axes.set_title("Different photographs of one person, and of two")
    _finish(axes)


def _robustness(axes: Any, models: Sequence[Measured]) -> None:
    for one in models:
        rates = one.told["robustness"]["tar_at_fmr_1e-3"]
        axes.plot(list(rates), list(rates.values()), marker="o", label=one.name)
    axes.set(ylabel="accepted at FMR 1e-3", ylim=(None, 1.005))
    axes.set_title("A good photograph against what a door camera sees")
    axes.tick_params(axis="x", rotation=20)
    _finish(axes)


def _groups(axes: Any, models: Sequence[Measured]) -> None:
    measured = [one for one in models if "groups" in one.told]
    for number, one in enumerate(measured):
        found = one.told["groups"]["race"]
        names, rates = list(found["fmr"]), np.array(list(found["fmr"].values()))
        low, high = np.array([found["fmr_interval"][name] for name in names]).T
        spread = np.abs(np.stack([rates - low, high - rates]))
        axes.errorbar(np.arange(len(names)) + 0.1 * number, rates, spread, fmt="o", capsize=3, label=one.name)
        axes.set_xticks(range(len(names)), names, rotation=20)
    axes.set(yscale="log" if measured else "linear", ylabel="false match rate within the group")
    axes.set_title("Strangers of one group, one threshold (FMR 1e-3 over all)")
    _finish(axes)


def _finish(axes: Any) -> None:
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


@dataclass(frozen=True, slots=True)
class Hard:
    """A pair that a model has most trouble with: the rows of its photographs, and the score."""

    first: int
    second: int
    score: float


def hardest(found: Comparisons, count: int = _SHOWN) -> tuple[list[Hard], list[Hard]]:
    """The genuine pairs of the lowest scores, and the impostor pairs of the highest, worst first."""
    same, (rows, columns) = found.same, found.pairs
    chosen = []
    for badness, inside in ((found.scores, same), (-found.scores, ~same)):
        places = np.flatnonzero(inside)
        worst = places[np.argsort(badness[places], kind="stable")[:count]]
        chosen.append([Hard(int(rows[n]), int(columns[n]), float(found.scores[n])) for n in worst])
    return chosen[0], chosen[1]


def _drawn(pairs: Sequence[Hard], crops: UInt8) -> UInt8:
    """The pairs side by side, the photographs of each above each other."""
    return np.concatenate([np.concatenate([crops[one.first], crops[one.second]]) for one in pairs], 1)


def _named(pairs: Sequence[Hard], pictures: Sequence[str]) -> str:
    return "\n".join(f"- {one.score:.3f}: {pictures[one.first]}, {pictures[one.second]}" for one in pairs)


_COMMAND: Final = "streamd-train evaluate --protocol {} --data DIR --cache DIR --model FILE --json"


def _page(models: Sequence[Measured], verified: Mapping[str, Mapping[str, Any]], low: str, high: str) -> str:
    parts = [
        "# How well the models tell people apart",
        "On the photographs of Labeled Faces in the Wild that View 2 does not name, found and aligned by streamd; intervals "
        "are of 95 %, by bootstrap over people.",
        "## Verification",
        "All photographs against each other, at most five of a person (`streamd-train report`).",
        _table("model", {name: _verified(figures) for name, figures in verified.items()}),
        "![error trade-off](det.png)",
        "## Searches",
        f"People who are enrolled, and strangers (`{_COMMAND.format('open-set')}`). FNIR at FPIR 0.01 and 0.003.",
        _table("model", {one.name: _searched(one.told["search"]) for one in models}),
        "## What a door camera sees",
        f"TAR at FMR 1e-3 (`{_COMMAND.format('robustness')}`); the last column is the mean of {', '.join(HARD)}.",
        _table("model", {one.name: _seen(one.told["robustness"]) for one in models}),
        "![robustness](robustness.png)",
    ]
    grouped = {one.name: _apart(one.told["groups"]) for one in models if "groups" in one.told}
    if grouped:
        parts += [
            "## Groups",
            f"Largest over smallest false match rate within a group (`{_COMMAND.format('groups --fairface DIR')}`).",
            _table("model", grouped),
            "![groups](groups.png)",
        ]
    parts += [
        f"## The hardest errors of {models[0].name}",
        "Two photographs of one person with the lowest scores (some are errors of the collection):",
        "![one person](one-person.png)",
        low,
        "Photographs of two people with the highest scores:",
        "![two people](two-people.png)",
        high,
    ]
    return "\n\n".join(parts) + "\n"


def _verified(figures: Mapping[str, Any]) -> dict[str, str]:
    told = {"AUC": f"{figures['auc']:.5f}", "EER": f"{figures['eer']:.4f}"}
    for rate in FALSE_MATCH_RATES:
        low, high = figures[f"tar_at_fmr_{rate}_interval"]
        told[f"TAR at FMR {rate}"] = f"{figures[f'tar_at_fmr_{rate}']:.4f} ({low:.4f} to {high:.4f})"
    return told


def _searched(search: Mapping[str, Any]) -> dict[str, str]:
    told = {}
    for kind, found in search.items():
        photos = kind.rsplit("_", 1)[1]
        told[f"{photos} enrolled"] = f"{found['fnir_at_fpir_0.01']:.4f}, {found['fnir_at_fpir_0.003']:.4f}"
        told[f"{photos}: rank 1"] = f"{found['rank_one']:.4f}"
    return told


def _seen(found: Mapping[str, Any]) -> dict[str, str]:
    rates = {name.replace("_", " "): f"{rate:.4f}" for name, rate in found["tar_at_fmr_1e-3"].items()}
    return {**rates, "hard views": f"{found['mean_of_hard_views']:.4f}"}


def _apart(found: Mapping[str, Any]) -> dict[str, str]:
    return {kind.replace("_", " "): f"{found[kind]['largest_over_smallest']:.2f}" for kind in ("race", "sex", "race_and_sex")}


def _table(first: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    heads = [first, *next(iter(rows.values()))]
    lines = [heads, ["---"] * len(heads), *([name, *row.values()] for name, row in rows.items())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
