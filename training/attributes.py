"""Attributes: the rules for glasses and coverings, and what the coach must know of a model's scores; fitted and measured.

Glasses are learnt from photographs that people looked at (`attributes.csv`) and from painted frames; coverings from painted
ones and from photographs. Both are measured on photographs alone, and never on a person that the rule was fitted on: five
parts, each judged by a rule fitted on the other four. The rule that ships is fitted on all of them.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.enrolment.attributes import AttributeModel, LinearRule, features
from streamd.recognition.card import Figure, read_card
from streamd.values import Float32, UInt8
from streamd.vision.alignment import VERSION, align
from streamd.vision.analysis import FaceAnalyser
from training import coverings
from training.coverings import Paint
from training.prepare import DataError, Faces, faces
from training.scores import Embed, few_of_each, of_card, templates, wilson

log = logging.getLogger(__name__)

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Covering = Literal["no", "dark_glasses", "mask", "other"]

LABELS: Final = Path(__file__).with_name("attributes.csv")
COMMAND: Final = "streamd-train attributes --data DIR --cache DIR"
FALSE_ALARMS: Final = 0.02
"""Share of bare faces that the rule for glasses may call bespectacled: it only labels."""
FALSE_REFUSALS: Final = 0.0025
"""Share of bare faces that each rule for coverings may refuse: a false refusal annoys more than a missed scarf."""

_BORDER: Final = 40  # FairFace's pictures are cut too tight for the detector
_GREY: Final = (114, 114, 114)
_PARTS: Final = 5
_PAINTED: Final = 400  # faces for each covering; three times as many for frames, and as many hats, which cover nothing
_PAINT_WEIGHT: Final = 0.3  # of a painted face beside a photograph that somebody looked at
_REAL_WEIGHT: Final = 3.0  # of a photographed covering: there are few
_UNSEEN_WEIGHT: Final = 0.3  # of a photograph that nobody looked at, taken for a bare face: one in fifty is not
_UNSEEN: Final = 2500
_RIDGE: Final = 30.0
_QUANTILES: Final = 21
_PHOTOGRAPHS: Final = 5
_COPIES: Final = 300


def fairface(data: Path, cache: Path | None) -> tuple[UInt8, tuple[str, ...]]:
    """The good faces of `fairface-10k.tar`: uint8 (N, 150, 150, 3) RGB, and the files' names.

    Looked for with room around the picture, but aligned on the picture itself: else the rules would see the border.
    """
    archive = data / "fairface-10k.tar"
    kept = cache / f"fairface-{VERSION.replace('/', '-')}.npz" if cache is not None else None
    if kept is not None and kept.is_file():
        with np.load(kept) as stored:
            return stored["crops"], tuple(map(str, stored["files"]))
    if not archive.is_file():
        raise DataError(f"{archive}: not found; it holds photographs of FairFace")
    crops, files = [], []
    with tarfile.open(archive) as opened, FaceAnalyser() as analyser:
        for member in sorted((one for one in opened if one.name.endswith(".jpg")), key=lambda one: one.name):
            file = opened.extractfile(member)
            image = cv2.imdecode(np.frombuffer(file.read() if file else b"", np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise DataError(f"{archive}: {member.name} is no picture")
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            padded = cv2.copyMakeBorder(rgb, *(_BORDER,) * 4, cv2.BORDER_CONSTANT, value=_GREY)
            found = analyser.analyse(np.asarray(padded, np.uint8))
            if found and not {reason.value for reason in found[0].quality.reasons} - {"too_small"}:
                crops.append(align(rgb, found[0].points - np.float32(_BORDER)))
                files.append(Path(member.name).name)
                if len(files) % 1000 == 0:
                    log.info("fairface: %d faces", len(files))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, crops=np.stack(crops), files=np.array(files))
    return np.stack(crops), tuple(files)


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody saw on a photograph. by_lot: drawn by lot, so that it may be measured by; others were sought out.

    glasses: None where it was not looked for. covered: `no`, or by what.
    """

    by_lot: bool
    glasses: bool | None
    covered: Covering


def labels(text: str) -> dict[tuple[str, str], Label]:
    """What people saw, by set and picture."""
    told = {"yes": True, "no": False, "": None}
    rows = csv.DictReader(text.splitlines())
    return {
        (row["set"], row["picture"]): Label(row["chosen"] == "lot", told[row["glasses"]], _covering(row["covered"]))
        for row in rows
    }


def _covering(text: str) -> Covering:
    if text not in get_args(Covering):
        raise DataError(f"{LABELS}: covered is {text!r}, expected one of {', '.join(get_args(Covering))}")
    return cast(Covering, text)


def fit(seen: Float32, truth: Bools, weights: Float64, ridge: float = _RIDGE) -> tuple[Float64, float]:
    """Weights (F,) and bias of the logistic regression with that ridge, by Newton's method; seen: float32 (N, F)."""
    x = np.c_[seen, np.ones(len(seen))].astype(np.float64)
    penalty = np.full(x.shape[1], ridge)
    penalty[-1] = 1e-6
    found = np.zeros(x.shape[1])
    for _ in range(15):
        share = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (weights * (share - truth)) + penalty * found
        curve = (x * (weights * share * (1 - share) + 1e-9)[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found -= step
        if float(np.abs(step).max()) < 1e-6:
            break
    return found[:-1], float(found[-1])


def threshold_at(negative: Float64, share: float) -> float:
    """The least score that at most that share of the negative scores passes, half way to the next."""
    falling = np.sort(negative)[::-1]
    passing = int(share * len(falling))
    return float((falling[passing] + (falling[passing - 1] if passing else falling[0] + 1)) / 2)


def interval(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share, as a figure has it."""
    low, high = wilson(hits, of)
    return round(low, 4), round(high, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Faces to learn from: seen float32 (N, F); truth bool (N,); weights float64 (N,); part int (N,), which of the five."""

    seen: Float32
    truth: Bools
    weights: Float64
    part: NDArray[np.intp]


def joined(parts: Iterable[Examples]) -> Examples:
    """All of them."""
    found = list(parts)
    return Examples(*(np.concatenate([getattr(one, key) for one in found]) for key in ("seen", "truth", "weights", "part")))


def part_of(names: Iterable[str]) -> NDArray[np.intp]:
    """The part of the five that each person (LFW: the folder, FairFace: the picture) belongs to, by a digest of the name."""
    return np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % _PARTS for name in names], np.intp)


def held_out_scores(judged: Examples, also: Examples | None = None) -> Float64:
    """The score of each judged face by a rule fitted on the other four parts, of both."""
    scores = np.zeros(len(judged.truth))
    every = judged if also is None else joined((judged, also))
    for part in range(_PARTS):
        others = every.part != part
        weights, bias = fit(every.seen[others], every.truth[others], every.weights[others])
        here = judged.part == part
        scores[here] = judged.seen[here] @ weights + bias
    return scores


class Sight:
    """What the rules see of faces: their templates and drawings, kept in the cache."""

    def __init__(self, embed: Embed, model: str, cache: Path | None) -> None:
        self._embed = embed
        self._model = model
        self._cache = cache

    def of(self, crops: UInt8) -> Float32:
        """float32 (N, F) of uint8 (N, 150, 150, 3) RGB."""
        key = hashlib.sha256(self._model.encode() + crops.tobytes()).hexdigest()[:16]
        kept = self._cache / f"seen-{key}.npy" if self._cache is not None else None
        if kept is not None and kept.is_file():
            vectors = np.asarray(np.load(kept), np.float32)
        else:
            vectors = np.concatenate([self._embed(crops[start : start + 64]) for start in range(0, len(crops), 64)])
            if kept is not None:
                np.save(kept, vectors)
        return self.with_templates(vectors, crops)

    def with_templates(self, vectors: Float32, crops: UInt8) -> Float32:
        """The same, of faces whose templates are known."""
        return np.stack([features(vector, crop) for vector, crop in zip(vectors, crops, strict=True)])


def painted(crops: UInt8, names: Sequence[str], paints: Sequence[tuple[Paint, int, bool]], sight: Sight, seed: int) -> Examples:
    """Faces with things painted on them: for each paint so many, and whether that is what the rule looks for."""
    random = np.random.default_rng(seed)
    made = []
    for paint, count, truth in paints:
        chosen = random.choice(len(crops), count, replace=False)
        seen = sight.of(np.stack([paint(crops[one], random) for one in chosen]))
        parts = part_of(names[one] for one in chosen)
        made.append(Examples(seen, np.full(count, truth), np.full(count, _PAINT_WEIGHT), parts))
        log.info("painted: %s", paint.__name__)
    return joined(made)


def coach_scores(data: Faces, vectors: Float32, embed: Embed) -> tuple[tuple[float, ...], float]:
    """Quantiles of the cosines of pairs of photographs of one person, and the cosine from which one repeats the other.

    That lies half way between what 99 % of pairs of different photographs stay below and what 95 % of mere copies reach. A copy
    is the same shot saved again: a tenth smaller, a little brighter, compressed as JPEG 75.
    """
    good = np.flatnonzero(data.good)
    people = [data.people[index] for index in good]
    kept = good[few_of_each(people, _PHOTOGRAPHS)]
    names = np.array([data.people[index] for index in kept])
    cosines = vectors[kept] @ vectors[kept].T
    genuine = cosines[np.triu(names[:, None] == names[None, :], 1)]
    quantiles = tuple(round(float(one), 4) for one in np.quantile(genuine, np.linspace(0, 1, _QUANTILES)))
    chosen = np.random.default_rng(14).choice(good, _COPIES, replace=False)
    copies = embed(np.stack([_copy(data.crops[one]) for one in chosen]))
    copied = float(np.quantile((copies * vectors[chosen]).sum(axis=1), 0.05))
    return quantiles, round((copied + float(np.quantile(genuine, 0.99))) / 2, 3)


def _copy(crop: UInt8) -> UInt8:
    small = cv2.resize(crop, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    brighter = np.clip(small.astype(np.float32) * 1.05 + 5, 0, 255).astype(np.uint8)
    written = cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    again = np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED), np.uint8)
    return np.asarray(cv2.resize(again, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Photographs that somebody looked at: seen float32 (N, F), their labels, and the part of the five of each."""

    seen: Float32
    labels: tuple[Label, ...]
    part: NDArray[np.intp]

    def examples(self, truth: Sequence[bool | None], weight: float, *, by_lot: bool) -> Examples:
        """Those drawn by lot, or sought out, whose truth is known; `weight` is that of a true one."""
        kept = np.array(
            [one is not None and label.by_lot == by_lot for one, label in zip(truth, self.labels, strict=True)], bool
        )
        yes = np.array([bool(one) for one in truth], bool)[kept]
        return Examples(self.seen[kept], yes, np.where(yes, weight, 1.0), self.part[kept])


def attributes(data: Path, card_path: Path, cache: Path | None) -> AttributeModel:
    """Fit and measure the rules for the model of a card; `data` holds `lfw-rest.tar` and `fairface-10k.tar`."""
    embed, model = of_card(card_path)
    card = read_card(card_path)
    sight = Sight(embed, card.sha256, cache)
    told = labels(LABELS.read_text())
    lfw = faces(data / "lfw-rest.tar", cache)
    vectors = templates(lfw, embed, model, cache)
    crops, files = fairface(data, cache)

    at = {("lfw-rest", picture): index for index, picture in enumerate(lfw.pictures)}
    rows = [at[key] for key in told if key in at]
    file_at = {("fairface", file): index for index, file in enumerate(files)}
    pictures = [key for key in told if key in file_at]
    looked = Looked(
        np.concatenate(
            [sight.with_templates(vectors[rows], lfw.crops[rows]), sight.of(crops[[file_at[key] for key in pictures]])]
        ),
        tuple(told[key] for key in (*(key for key in told if key in at), *pictures)),
        np.concatenate([part_of(lfw.people[row] for row in rows), part_of(file for _, file in pictures)]),
    )
    rest = [index for index, file in enumerate(files) if ("fairface", file) not in told][: 5 * _PAINTED]
    bare, names = crops[rest], [files[index] for index in rest]
    plain = _unlabelled(sight.of(bare), names)
    unseen = [index for index in np.flatnonzero(lfw.good) if ("lfw-rest", lfw.pictures[index]) not in told][:_UNSEEN]
    others = _unlabelled(sight.with_templates(vectors[unseen], lfw.crops[unseen]), [lfw.people[index] for index in unseen])

    figures: list[Figure] = []
    glasses = _glasses(looked, plain, bare, names, sight, figures)
    paints: dict[Paint, Examples] = {}
    for seed, (paint, hides) in enumerate(_PAINTS.items()):
        paints[paint] = painted(bare, names, [(paint, _PAINTED, hides)], sight, seed)
    dark = _covering_rule("dark_glasses", (coverings.sunglasses,), looked, paints, (plain, others), figures)
    mask = _covering_rule("mask", (coverings.mask, coverings.scarf), looked, paints, (plain, others), figures)
    genuine, duplicate = coach_scores(lfw, vectors, embed)
    return AttributeModel(
        model=card.sha256,
        dimension=card.dimension,
        alignment=VERSION,
        glasses=glasses,
        dark_glasses=dark,
        mask=mask,
        duplicate=duplicate,
        genuine=genuine,
        command=COMMAND,
        training_data=TRAINING_DATA,
        figures=tuple(figures),
        limits=LIMITS,
    )


_PAINTS: Final[dict[Paint, bool]] = {
    coverings.sunglasses: True,
    coverings.mask: True,
    coverings.scarf: True,
    coverings.hat: False,
    coverings.glasses: False,
}
"""What is painted, and whether it hides a part of the face that recognition needs."""

TRAINING_DATA: Final = (
    "Labels: training/attributes.csv, photographs of LFW (one of a person) and FairFace, drawn by lot and looked at crop by "
    "crop; some more were sought out with a first rule, and are learnt from but not measured by. Painted: FairFace "
    "(Karkkainen and Joo, CC BY 4.0) with the coverings of training/coverings.py."
)
LIMITS: Final = (
    "One pair of eyes looked at the photographs, at 110 pixels a crop; what could not be told was left out.",
    "Masks and scarves are known from paintings: three photographs show one. What is said of them holds for paintings.",
    "Hands before the face, caps drawn over the eyes, cups and microphones are not told from a bare face: rules for them, "
    "learnt from paintings and photographs, found one in eight at 0.5 % false refusals, and were left out.",
    "Whoever is covered so far that no face or no landmarks are found is refused before.",
)


def _unlabelled(seen: Float32, names: Sequence[str]) -> Examples:
    return Examples(seen, np.zeros(len(seen), bool), np.full(len(seen), _UNSEEN_WEIGHT), part_of(names))


def _some(examples: Examples, kept: Bools) -> Examples:
    return Examples(examples.seen[kept], examples.truth[kept], examples.weights[kept], examples.part[kept])


def _glasses(
    looked: Looked, plain: Examples, bare: UInt8, names: Sequence[str], sight: Sight, figures: list[Figure]
) -> LinearRule:
    truth = [label.glasses for label in looked.labels]
    judged, sought = (looked.examples(truth, 1.0, by_lot=by_lot) for by_lot in (True, False))
    # A fifth of FairFace wears glasses, unlabelled: frames are painted on, and held against, those who surely do not.
    weights, bias = fit(judged.seen, judged.truth, judged.weights)
    clear = plain.seen @ weights + bias < -1
    clear_names = [name for name, is_clear in zip(names, clear, strict=True) if is_clear]
    count = min(3 * _PAINTED, len(clear_names))
    frames = painted(bare[clear], clear_names, [(coverings.glasses, count, True)], sight, 1)
    also = joined((sought, frames, _some(plain, clear)))
    scores = held_out_scores(judged, also)
    positive, negative = scores[judged.truth], scores[~judged.truth]
    threshold = threshold_at(negative, FALSE_ALARMS)
    figures.append(_figure("glasses_recall", int((positive > threshold).sum()), len(positive)))
    figures.append(_figure("glasses_false_alarms", int((negative > threshold).sum()), len(negative)))
    return _shipped(joined((judged, also)), threshold)


def _covering_rule(
    name: str,
    hiding: tuple[Paint, ...],
    looked: Looked,
    paints: dict[Paint, Examples],
    bare: tuple[Examples, ...],
    figures: list[Figure],
) -> LinearRule:
    """The rule for one kind of covering; photographs of other kinds are neither right nor wrong."""
    truth = [None if label.covered not in ("no", name) else label.covered == name for label in looked.labels]
    judged, sought = (looked.examples(truth, _REAL_WEIGHT, by_lot=by_lot) for by_lot in (True, False))
    free = [paints[paint] for paint in (coverings.hat, coverings.glasses)]
    also = joined((sought, *(paints[paint] for paint in hiding), *free, *bare))
    every = joined((judged, also))
    scores = held_out_scores(every)
    drawn = np.arange(len(scores)) < len(judged.truth)
    positive, negative = scores[drawn & every.truth], scores[drawn & ~every.truth]
    for share in (FALSE_REFUSALS, FALSE_ALARMS):
        threshold = threshold_at(negative, share)
        found = int((positive > threshold).sum())
        figures.append(_figure(f"{name}_recall_at_{share:g}_false_refusals", found, len(positive)))
    threshold = threshold_at(negative, FALSE_REFUSALS)
    figures.append(_figure(f"{name}_false_refusals", int((negative > threshold).sum()), len(negative)))
    on_paint = scores[~drawn & every.truth & (every.weights == _PAINT_WEIGHT)]
    figures.append(_figure(f"{name}_painted_recall", int((on_paint > threshold).sum()), len(on_paint)))
    return _shipped(every, threshold)


def _shipped(everything: Examples, threshold: float) -> LinearRule:
    """The rule fitted on all faces, with the threshold from rules that had not seen the faces they judged."""
    weights, bias = fit(everything.seen, everything.truth, everything.weights)
    return LinearRule(
        weights=tuple(round(float(one), 5) for one in weights), bias=round(bias, 5), threshold=round(threshold, 4)
    )


def _figure(name: str, hits: int, of: int) -> Figure:
    return Figure(name=name, value=round(hits / of, 4), interval=interval(hits, of), unit=f"of {of}", command=COMMAND)


def ship(data: Path, card_path: Path, cache: Path | None) -> tuple[Path, AttributeModel]:
    """Write `<model>.attributes.json` beside the card."""
    made = attributes(data, card_path, cache)
    path = card_path.with_name(f"{card_path.stem}.attributes.json")
    part = path.with_suffix(".part")
    part.write_text(made.model_dump_json(indent=1) + "\n")
    part.replace(path)
    return path, made


def summary(path: Path, made: AttributeModel) -> dict[str, Any]:
    """What the command prints."""
    told: dict[str, Any] = {"file": str(path), "duplicate": made.duplicate}
    for figure in made.figures:
        told[figure.name] = f"{figure.value} {figure.interval} {figure.unit}"
    return told
