"""Ship: a model file, its card and the page about it, made and measured in one go: what streamd opens at start.

`sface` is SFace as it was published. `pair` is retail-0095 and SFace, tuned for the door, in one graph; `fast` the first of
them alone. All files are written beside their place and moved there at the end,
so that a run that fails leaves those that are there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Final, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from streamd.errors import ModelError
from streamd.recognition.card import Figure, Golden, ModelCard, Provenance, Source
from streamd.recognition.embedding import open_embedder
from streamd.values import Float32, UInt8
from streamd.vision.alignment import VERSION
from training import calibrate, evaluate, export, identification, robustness, teacher
from training.difference import with_difference
from training.distil import mixed
from training.fairface import Strangers, strangers
from training.page import page
from training.pair import RETAIL_LOOK, SFACE_LOOK, Centring, Look, joined
from training.prepare import faces
from training.scores import templates_of_crops
from training.tune import as_litert, networks, tuned_file

log = logging.getLogger(__name__)

CALIBRATE: Final = "streamd-train calibrate --data DIR --cache DIR --json"
EVALUATE: Final = "streamd-train evaluate --protocol {} --data DIR --cache DIR --json"

MIN_COSINE: Final[dict[Literal["litert", "tensorflow"], float]] = {"litert": 0.996, "tensorflow": 0.996}
"""How near each backend must come to the card's golden vector, and TensorFlow to LiteRT on every crop measured here. LiteRT's
kernels without XNNPACK, as another processor may choose them, and TensorFlow, which does not round activations, differ from
those with it; centring makes what differs larger. Colours in the wrong order or another scale give less than 0.98."""

TUNED: Final = Path(__file__).parent
"""Holds what config/training/retail.yaml and sface.yaml added to the published weights; see `difference`."""

STRANGERS: Final = 4000
"""On how many strangers of FairFace templates are centred, evenly of all its groups."""

_TEACHERS: Final = {"retail": teacher.RETAIL, "sface": teacher.SFACE}
_LOOKS: Final = {"retail": RETAIL_LOOK, "sface": SFACE_LOOK}
_MOST_OUTSIDE: Final = 0.4  # share of a stranger's crop that may lie outside the photograph
_PARITY_CROPS: Final = 300
_VERSIONS: Final = ("tensorflow", "keras", "onnx", "onnxruntime", "ai-edge-litert", "ai-edge-quantizer", "mediapipe", "numpy")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model is made of; every number was chosen on `lfw-rest.tar` and FairFace's validation part.

    shares: of each tower's cosine in a score, by name, in the order of their numbers in a template. tuned: share of the tuned
    weights in those of each tower. int8_layers, float16_layers: see `export.litert`. sharpness, centred: see `pair.Centring`.
    """

    name: str
    shares: Mapping[str, float]
    tuned: Mapping[str, float]
    sharpness: float
    centred: float
    int8_layers: str | None
    float16_layers: str | None = ".*strangers_.*"


RECIPES: Final = {
    one.name: one
    for one in (
        Recipe(
            "pair",
            {"retail": 0.35, "sface": 0.65},
            tuned={"retail": 0.6, "sface": 0.15},
            sharpness=24.0,
            centred=0.8,
            int8_layers=".*sface.*",
            float16_layers=".*(strangers_|retail).*",
        ),
        Recipe("sface", {"sface": 1.0}, tuned={}, sharpness=0.0, centred=0.0, int8_layers=".*", float16_layers=None),
        Recipe(
            "fast",
            {"retail": 1.0},
            tuned={"retail": 0.6},
            sharpness=26.0,
            centred=0.9,
            int8_layers=None,
            float16_layers=".*",
        ),
    )
}

NOTES: Final = (
    "Fitted on lfw-rest.tar: photographs of Labeled Faces in the Wild that View 2 does not name, at most five of a person, "
    "found and aligned by streamd itself. Enrolled: as taken. Probes: other photographs, as taken and reduced to 12, 18 and 25 "
    "pixels between the eyes (area averaging, JPEG 80). Impostors: all pairs of different names.",
    "Ends: rule of three, one trial for each pair of people (impostor) and for each person with several photographs (genuine). "
    "Pairs of names that are one person (errors of the collection, such as Carlos_Ruckauf_0001) and twins were left in: they "
    "keep the upper end lower than it would be.",
    "Correlation: the largest of three intraclass correlations (ICC(1)) of scores of crops of one visit: passages of five "
    "people composed of eight photographs each (alone in view, no photograph fading into the next), against their own and "
    "against strangers' photographs, and real video against strangers' photographs. A passage shows more change than most "
    "visits of a few seconds, and less motion.",
)

LIMITS: Final = (
    "One score is calibrated, but a subject's score is the best over its photos: with many photos of each subject a stranger's "
    "best score is higher than the table reckons with.",
    "False matches are not equally frequent for all groups of people: the figures of fairface_* say by how much, at one "
    "threshold for all. The strangers on whom templates are centred were drawn from FairFace's training part, the groups "
    "measured on its validation part.",
    "View 2 was measured twice. The first time 11 comparisons failed for a face that was not found (accuracy and TAR at FMR "
    "1e-3 of pair 0.9933 and 0.9897, of fast 0.9923 and 0.9827); then faces were looked for in the mirrored picture too, as "
    "lfw-rest.tar had asked for. Neither network nor calibration was chosen by it.",
    "No name of Labeled Faces in the Wild was trained on: FairFace has no identities. Some of its photographs show people of "
    "that collection all the same: they were looked for by score, and the nearest were the same politicians and an actor.",
    "No liveness: a photograph held before the camera is a face.",
    "Faces turned by more than 45 degrees and children were not measured: the photographs show adults, most facing the camera.",
    "A template depends on file and backend; templates of two are never compared.",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are. data: lfw-rest.tar, lfw-view2.tar, clips/. fairface: as published. teachers: retail-0095's file.
    tuned: what runs of `distil` made, `NAME_tuned.npz`. cache: crops and templates for the next run.
    """

    data: Path
    fairface: Path
    teachers: Path
    tuned: Path
    cache: Path


def ship(recipe: Recipe, places: Places, out: Path, view2: bool) -> ModelCard:
    """Make `NAME.tflite`, `NAME.json` and `NAME.md` in `out`. view2: whether View 2 is looked at: once, for the final figure.

    Raises ModelError where the file is further from the network it was made from than `export` allows.
    """
    command = f"streamd-train ship {recipe.name} --data DIR --fairface DIR --teachers DIR --cache DIR"
    towers = tuned(recipe, places)
    model = plain = joined(towers, tuple(recipe.shares.values()))
    if recipe.centred:
        others = some_strangers(strangers(places.fairface, "train", places.cache), STRANGERS)
        model = joined(towers, tuple(recipe.shares.values()), centring(recipe, plain, others, places.cache))
    every = faces(places.data / "lfw-rest.tar", places.cache)
    crops = every.crops[:: max(1, len(every.crops) // _PARITY_CROPS)][:_PARITY_CROPS]

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".shipping-") as folder:
        file = Path(folder) / f"{recipe.name}.tflite"
        file.write_bytes(export.litert(model, recipe.int8_layers, recipe.float16_layers))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        parity = export.parity(file, model, crops)
        log.info("exported %s, %d bytes, cosine to float32: median %.5f", digest[:16], file.stat().st_size, parity.median)
        embed = export.run_litert(file)
        trials = calibrate.trials(places.data, embed, digest, places.cache)
        correlations = calibrate.correlations(places.data, embed, digest, places.cache)
        exported = {
            "cosine_to_float32_median": parity.median,
            "cosine_to_float32_first_percentile": parity.first_percentile,
            "cosine_to_float32_worst": parity.worst,
        }
        figures = [Figure(name=name, value=float(f"{value:.6g}"), command=command) for name, value in exported.items()]
        if view2:
            figures += view2_figures(evaluate.lfw_view2(places.data, embed, digest, places.cache))
        figures += open_set_figures(identification.lfw_open_set(places.data, embed, digest, places.cache))
        figures += robustness_figures(robustness.lfw_robustness(places.data, embed, digest, places.cache))
        figures += group_figures(identification.fairface_groups(places.fairface, embed, digest, places.cache))
        card = ModelCard(
            name=recipe.name,
            file=file.name,
            sha256=digest,
            dimension=int(model.output_shape[1]),
            alignment=VERSION,
            golden=Golden(recipe="drawn-face/1", vector=export.golden_vector(file), min_cosine=MIN_COSINE),
            calibration=calibrate.calibration(trials, correlations.largest),
            calibration_notes=NOTES,
            provenance=Provenance(
                sources=tuple(_source(_TEACHERS[name]) for name in recipe.shares),
                command=command,
                commit=_commit(),
                recipe=_told(recipe),
                versions={name: version(_distribution(name)) for name in _VERSIONS},
            ),
            licence="Apache-2.0",
            figures=(*figures, *calibrate.figures(trials, correlations, CALIBRATE)),
            limits=LIMITS,
        )
        written = Path(folder) / f"{recipe.name}.json"
        _write(card, written)
        card = card.model_copy(update={"figures": (*_agreement(written, crops, command), *card.figures)})
        _write(card, written)
        text = Path(folder) / f"{recipe.name}.md"
        text.write_text(page(card))
        for made in (file, written, text):
            os.replace(made, out / made.name)
    return card


def tuned(recipe: Recipe, places: Places) -> list[tuple[keras.Model, Look]]:
    """The towers of a recipe with their weights; each network, as published, was held against ONNX Runtime before."""
    by_name = dict(zip(("retail", "sface"), networks(places.teachers), strict=True))
    every = faces(places.data / "lfw-rest.tar", places.cache).crops[:: _PARITY_CROPS // 2][: _PARITY_CROPS // 10]
    for name in recipe.shares:
        graph = teacher.load(teacher.locate(_TEACHERS[name], places.teachers))
        side = _TEACHERS[name].side
        pictures = keras.ops.convert_to_numpy(keras.ops.image.resize(every.astype(np.float32), (side, side)))
        export.difference(by_name[name], teacher.runtime(graph), pictures)
    for name, share in recipe.tuned.items():
        start = by_name[name].get_weights()
        by_name[name].set_weights(mixed(start, with_difference(places.tuned / tuned_file(name), start), share))
    return [(by_name[name], _LOOKS[name]) for name in recipe.shares]


def some_strangers(found: Strangers, count: int, seed: int = 0) -> UInt8:
    """Crops of `count` strangers, as many of each race and sex as FairFace names them, as far as there are so many.

    uint8 (count, 150, 150, 3); faces of which too much lies outside the photograph are left out.
    """
    groups = np.unique(np.char.add(found.race, found.gender), return_inverse=True)[1]
    whole = np.random.default_rng(seed).permutation(np.flatnonzero(found.outside <= _MOST_OUTSIDE))
    return found.crops[np.sort(_evenly(whole, groups[whole], count))]


def _evenly(rows: NDArray[np.intp], groups: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """`count` of the rows, in turn one of each group that has any left."""
    rank = np.empty(len(rows), np.intp)
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        rank[inside] = np.arange(len(inside))
    return rows[np.argsort(rank, kind="stable")[:count]]


def centring(recipe: Recipe, plain: keras.Model, others: UInt8, cache: Path) -> Centring:
    """The strangers' templates by the towers alone, and how the recipe centres on them."""
    weights = hashlib.sha256(b"".join(weight.tobytes() for weight in plain.get_weights()) + repr(recipe.shares).encode())
    name = f"{recipe.name}-{weights.hexdigest()[:16]}"
    embed = as_litert(plain, cache, name)
    return Centring(
        templates_of_crops(others, embed, f"strangers-{len(others)}-{name}", cache), recipe.sharpness, recipe.centred
    )


def view2_figures(measured: Mapping[str, Any]) -> list[Figure]:
    """The figures of View 2 as the card has them."""
    interval = measured["accuracy_interval"]
    rounded = round(interval[0], 5), round(interval[1], 5)
    return [
        Figure(
            name=f"lfw_view2_{name}",
            value=round(float(value), 5),
            interval=rounded if name == "accuracy" else None,
            command=EVALUATE.format("lfw-view2"),
        )
        for name, value in measured.items()
        if not isinstance(value, tuple)
    ]


def open_set_figures(measured: Mapping[str, Any]) -> list[Figure]:
    """Searches with 1, 3 and 5 photographs enrolled."""
    made = []
    for kind, found in measured.items():
        for name in ("rank_one", *(f"fnir_at_fpir_{rate:g}" for rate in identification.FALSE_POSITIVE_RATES)):
            interval = found.get(f"{name}_interval")
            made.append(
                Figure(
                    name=f"lfw_rest_{kind}_{name}",
                    value=round(found[name], 5),
                    interval=None if interval is None else (round(interval[0], 5), round(interval[1], 5)),
                    command=EVALUATE.format("open-set"),
                )
            )
    return made


def robustness_figures(measured: Mapping[str, Any]) -> list[Figure]:
    """TAR at FMR 1e-3 by view, and the mean of the hard ones."""
    rates = {**measured["tar_at_fmr_1e-3"], "mean_of_hard_views": measured["mean_of_hard_views"]}
    command = EVALUATE.format("robustness")
    return [Figure(name=f"lfw_rest_tar_{name}", value=round(rate, 5), command=command) for name, rate in rates.items()]


def group_figures(measured: Mapping[str, Any]) -> list[Figure]:
    """False match rates by group, at one threshold for all, and how far apart they are."""
    command = EVALUATE.format("groups --fairface DIR")
    made = []
    for kind in ("race", "sex", "race_and_sex"):
        found = measured[kind]
        ratio = round(found["largest_over_smallest"], 3)
        made.append(Figure(name=f"fairface_{kind}_largest_over_smallest", value=ratio, command=command))
        for group, rate in found["fmr"].items():
            low, high = found["fmr_interval"][group]
            made.append(
                Figure(
                    name=f"fairface_fmr_{group.replace(', ', '_').replace(' ', '_').lower()}",
                    value=float(f"{rate:.4g}"),
                    interval=(float(f"{low:.4g}"), float(f"{high:.4g}")),
                    command=command,
                )
            )
    return made


def _agreement(card: Path, crops: UInt8, command: str) -> list[Figure]:
    """How near TensorFlow comes to LiteRT on the same crops. Raises ModelError where it is not near enough."""
    one, other = (open_embedder(card, backend).embed(list(crops)) for backend in ("litert", "tensorflow"))
    cosines: Float32 = (one * other).sum(1)
    worst = float(cosines.min())
    if not worst >= MIN_COSINE["tensorflow"]:
        raise ModelError(f"{card}: LiteRT and TensorFlow disagree (cosine {worst:.4f}, expected {MIN_COSINE['tensorflow']})")
    values = {"backends_cosine_median": float(np.median(cosines)), "backends_cosine_worst": worst}
    return [Figure(name=name, value=round(value, 6), command=command) for name, value in values.items()]


def _source(one: teacher.Teacher) -> Source:
    return Source(
        title=one.title,
        package=one.package,
        file=one.file,
        sha256=one.sha256,
        licence=one.licence,
        training_data=one.training_data,
    )


def _told(recipe: Recipe) -> dict[str, float | str]:
    shares = {f"share_of_{name}": share for name, share in recipe.shares.items()}
    return {
        **shares,
        **{f"tuned_share_of_{name}": share for name, share in recipe.tuned.items()},
        "strangers": STRANGERS if recipe.centred else 0,
        "sharpness": recipe.sharpness,
        "centred": recipe.centred,
        "int8_layers": recipe.int8_layers or "none",
        "float16_layers": recipe.float16_layers or "none",
    }


def _commit() -> str:
    """The state of the project that made the file; `unknown` outside of a checkout."""
    here = Path(__file__).parent
    found: Sequence[str] = ("git", "-C", str(here), "rev-parse", "--short=12", "HEAD")
    try:
        return subprocess.run(found, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _write(card: ModelCard, path: Path) -> None:
    path.write_text(card.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def _distribution(name: str) -> str:
    """TensorFlow is also distributed without GPU code, under another name."""
    return packages_distributions()["tensorflow"][0] if name == "tensorflow" else name
