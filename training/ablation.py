"""Ablation: what each part of the shipped model's recipe is worth, by leaving it out; and what the landmarks are worth.

Every variant is measured in float32 by the protocols of the card, so what separates the last row from the card is quantisation
alone. A table in Markdown is written; a variant whose figures lie there is not measured again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.values import Face, Float32
from streamd.vision.alignment import align
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from streamd.vision.picture import Picture
from training import identification, robustness
from training.evaluate import tar_at_fmr
from training.fairface import strangers
from training.pair import joined
from training.prepare import Faces, faces
from training.scores import Embed, few_of_each, templates
from training.ship import RECIPES, STRANGERS, Places, Recipe, centring, some_strangers, tuned
from training.tune import as_litert

log = logging.getLogger(__name__)

_PAIR, _FAST = RECIPES["pair"], RECIPES["fast"]
_PLAIN: Final = {"centred": 0.0, "sharpness": 0.0}
_SFACE: Final = replace(_PAIR, name="sface-alone", shares={"sface": 1.0}, **_PLAIN)

VARIANTS: Final[dict[str, Recipe]] = {
    "retail-0095 as published": replace(_FAST, tuned={}, **_PLAIN),
    "retail-0095 tuned": replace(_FAST, tuned={"retail": 1.0}, **_PLAIN),
    "retail-0095 tuned, mixed": replace(_FAST, **_PLAIN),
    "the same, centred on strangers: `fast`": _FAST,
    "SFace as published": replace(_SFACE, tuned={}),
    "SFace tuned": replace(_SFACE, tuned={"sface": 1.0}),
    "SFace tuned, mixed": replace(_SFACE, tuned={"sface": _PAIR.tuned["sface"]}),
    "both as published": replace(_PAIR, tuned={}, **_PLAIN),
    "both tuned": replace(_PAIR, tuned={"retail": 1.0, "sface": 1.0}, **_PLAIN),
    "both tuned, mixed": replace(_PAIR, **_PLAIN),
    "both as published, centred on strangers": replace(_PAIR, tuned={}),
    "both tuned, mixed, centred on strangers: `pair`": _PAIR,
}
"""The variants by what they are, simplest first. Mixed: the tuned weights with those they started from, as in the recipe."""


def measure(places: Places, out: Path, names: Sequence[str] = tuple(VARIANTS)) -> dict[str, Any]:
    """The figures of each variant, written to `ablation.json` and `ablation.md` in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "ablation.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in names:
        key = repr(VARIANTS[name])
        if found.get(name, {}).get("recipe") != key:
            found[name] = {"recipe": key, **_figures(VARIANTS[name], places)}
            kept.write_text(json.dumps(found, indent=1) + "\n")
    found["alignment"] = alignments(places)
    kept.write_text(json.dumps(found, indent=1) + "\n")
    (out / "ablation.md").write_text(table({name: found[name] for name in names}, found["alignment"]))
    return {"written": str(out / "ablation.md")}


def _embedder(recipe: Recipe, places: Places) -> tuple[Embed, str]:
    towers, shares = tuned(recipe, places), tuple(recipe.shares.values())
    model = joined(towers, shares)
    weights = hashlib.sha256(b"".join(one.tobytes() for one in model.get_weights()) + repr(recipe).encode()).hexdigest()[:16]
    if recipe.centred:
        others = some_strangers(strangers(places.fairface, "train", places.cache), STRANGERS)
        model = joined(towers, shares, centring(recipe, model, others, places.cache))
    return as_litert(model, places.cache, f"ablation-{weights}"), weights


def _figures(recipe: Recipe, places: Places) -> dict[str, float]:
    embed, digest = _embedder(recipe, places)
    searches = identification.lfw_open_set(places.data, embed, digest, places.cache)
    hard = robustness.lfw_robustness(places.data, embed, digest, places.cache)
    groups = identification.fairface_groups(places.fairface, embed, digest, places.cache)
    found = {
        f"fnir_{photos}_photos_{rate:g}": searches[f"enrolled_with_{photos}"][f"fnir_at_fpir_{rate:g}"]
        for photos in (1, 3)
        for rate in identification.FALSE_POSITIVE_RATES
    }
    found["as_taken"] = hard["tar_at_fmr_1e-3"][robustness.AS_TAKEN]
    found["hard"] = hard["mean_of_hard_views"]
    found["race"] = groups["race"]["largest_over_smallest"]
    found["race_and_sex"] = groups["race_and_sex"]["largest_over_smallest"]
    log.info("%s: %s", recipe, found)
    return found


# Alignment: by the landmarks of the mesh, as everywhere, or by the detector's key points


_MOUTH_OVER_EYES: Final = 0.83  # widths, in ArcFace's five points


class KeyPointAnalyser(FaceAnalyser):
    """Crops aligned by the detector's own points, which cost nothing: eyes, nose tip, and corners beside the mouth's centre.

    In crops aligned by landmarks they lie within 3 pixels of ArcFace's five points in the mean of 394 faces, the nose tip with
    a standard deviation of 6.
    """

    def look(self, picture: Picture, face: Face) -> AnalysedFace:
        """See FaceAnalyser."""
        found = super().look(picture, face)
        right, left, nose, mouth = face.keypoints[:4]  # as seen in a picture that is not mirrored: left, right
        half = _MOUTH_OVER_EYES / 2 * (left - right)
        points = np.stack([right, left, nose, mouth - half, mouth + half]).astype(np.float32)
        return replace(found, crop=align(picture.crop(0, 0, picture.width, picture.height), points))


_ANALYSERS: Final[dict[str, type[FaceAnalyser]]] = {"landmarks": FaceAnalyser, "key points": KeyPointAnalyser}
_SMALL: Final = 12.0  # pixels between the eyes to which probes are reduced
_EACH: Final = 5  # photographs of a person at most


def alignments(places: Places) -> dict[str, dict[str, float]]:
    """TAR at FMR 1e-3 on `lfw-rest.tar` by the shipped pair, by what crops were aligned with, as taken and at 12 pixels.

    All pairs of the good faces that both ways have, at most five of a person.
    """
    embed, digest = _embedder(_PAIR, places)
    data = places.data / "lfw-rest.tar"
    taken = {kind: faces(data, places.cache, analyser=one) for kind, one in _ANALYSERS.items()}
    small = {kind: faces(data, places.cache, _SMALL, analyser=one) for kind, one in _ANALYSERS.items()}
    every = [*taken.values(), *small.values()]
    common = set.intersection(*({p for p, good in zip(one.pictures, one.good, strict=True) if good} for one in every))
    names = sorted(common)
    names = [names[row] for row in few_of_each([name.rsplit("/", 1)[0] for name in names], _EACH)]
    people = np.array([name.rsplit("/", 1)[0] for name in names])
    same = people[:, None] == people[None, :]
    other = ~np.eye(len(names), dtype=bool)
    found = {}
    for kind in _ANALYSERS:
        enrolled, probes = (
            templates(one[kind], embed, f"{digest}-{kind}", places.cache)[_rows(one[kind], names)] for one in (taken, small)
        )
        found[kind] = {
            "as_taken": _accepted(enrolled @ enrolled.T, same, other),
            "at_12_pixels": _accepted(enrolled @ probes.T, same, other),
            "faces": len(names),
        }
    return found


def _rows(one: Faces, names: Sequence[str]) -> list[int]:
    places = {picture: row for row, picture in enumerate(one.pictures)}
    return [places[name] for name in names]


def _accepted(scores: Float32, same: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return tar_at_fmr(scores[same & other], scores[~same], robustness.FMR)


_COLUMNS: Final = {
    "hard": "hard views, TAR",
    "as_taken": "as taken, TAR",
    "fnir_1_photos_0.01": "FNIR, 1 photo, FPIR 0.01",
    "fnir_1_photos_0.003": "0.003",
    "fnir_3_photos_0.01": "3 photos, 0.01",
    "fnir_3_photos_0.003": "0.003",
    "race": "FMR by group, largest over smallest",
    "race_and_sex": "by group and sex",
}


def table(found: Mapping[str, Mapping[str, Any]], aligned: Mapping[str, Mapping[str, float]]) -> str:
    """The figures as two tables in Markdown."""
    lines = [("network", *_COLUMNS.values()), ("---",) * (len(_COLUMNS) + 1)]
    lines += [(name, *(_shown(key, one[key]) for key in _COLUMNS)) for name, one in found.items()]
    second = [("crops aligned by", "as taken, TAR", "12 pixels between the eyes"), ("---",) * 3]
    second += [(kind, f"{one['as_taken']:.4f}", f"{one['at_12_pixels']:.4f}") for kind, one in aligned.items()]
    return "\n\n".join("\n".join("| " + " | ".join(line) + " |" for line in part) for part in (lines, second)) + "\n"


def _shown(key: str, value: float) -> str:
    return f"{value:.1f}" if key.startswith("race") else f"{value:.4f}"
