"""Forms: what a training made, in every form in which other programs run networks, each held against the network itself.

All take crops, float32 (N, 150, 150, 3) RGB 0..255, and give unit vectors, float32 (N, D). streamd itself runs one file, which
`ship` makes and describes on a card.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from streamd.values import Float32, UInt8
from training import export

BATCHES: Final = (1, 2, 4, 8, 16)
"""Crops at once: SavedModel has a signature for each, a .tflite file is set to one by whoever runs it."""

RESULT: Final = "forms.json"

_REPRESENTATIVE: Final = 100  # crops by which the range of each activation is found

_Run = Callable[[UInt8], Float32]


@dataclass(frozen=True, slots=True)
class Form:
    """make: writes it to a path. run: what is at the path, as a function of as many crops at once as is said.

    least_median, least: cosine to the network of real crops, in the median and at worst, that it must have.
    """

    path: str
    make: Callable[[keras.Model, UInt8, Path], None]
    run: Callable[[Path, int], _Run]
    least_median: float
    least: float


def write(model: keras.Model, crops: UInt8, out: Path, forms: Mapping[str, Form] | None = None) -> dict[str, Any]:
    """Write every form (those of FORMS) to the folder `out`, and to `forms.json` what each came to; that.

    crops: uint8 (N, 150, 150, 3), at least 16 real ones, on which each form is compared with the network, at every batch size,
    and the ranges of int8 activations are found. A form that is further from the network than it may be is refused: taken away,
    with a sentence that says so.
    """
    out.mkdir(parents=True, exist_ok=True)
    exact = export.exact(model, crops)
    found = {name: _held(form, model, crops, exact, out / form.path) for name, form in (forms or FORMS).items()}
    (out / RESULT).write_text(json.dumps(found, indent=1) + "\n")
    return found


def _held(form: Form, model: keras.Model, crops: UInt8, exact: Float32, place: Path) -> dict[str, Any]:
    form.make(model, crops, place)
    cosines = np.concatenate([_cosines(form.run(place, size), size, crops, exact) for size in BATCHES])
    found: dict[str, Any] = {
        "path": place.name,
        "batches": list(BATCHES),
        "crops": len(crops),
        "cosine_median": round(float(np.median(cosines)), 6),
        "cosine_worst": round(float(cosines.min()), 6),
    }
    if found["cosine_median"] < form.least_median or found["cosine_worst"] < form.least:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        return {
            **found,
            "refused": f"cosine to the network: median {found['cosine_median']:.4f}, worst {found['cosine_worst']:.4f}, "
            f"expected at least {form.least_median} and {form.least}",
        }
    if place.is_file():
        found |= {"bytes": place.stat().st_size, "sha256": hashlib.sha256(place.read_bytes()).hexdigest()}
    return found


def _cosines(run: _Run, size: int, crops: UInt8, exact: Float32) -> Float32:
    whole = len(crops) // size * size
    vectors = np.concatenate([run(crops[start : start + size]) for start in range(0, whole, size)])
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact[:whole], axis=1)
    return np.asarray((vectors * exact[:whole]).sum(1) / lengths, np.float32)


def _save_keras(model: keras.Model, _: UInt8, place: Path) -> None:
    model.save(place)


def _run_keras(place: Path, _: int) -> _Run:
    network = keras.models.load_model(place)
    return lambda crops: np.asarray(network(crops.astype(np.float32), training=False))


def _save_saved_model(model: keras.Model, _: UInt8, place: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    for size in BATCHES:
        given = tf.TensorSpec((size, *model.input_shape[1:]), tf.float32, name="crops")
        archive.add_endpoint(f"batch_{size}", lambda crops: model(crops, training=False), input_signature=[given])
    archive.write_out(str(place), verbose=False)


def _run_saved_model(place: Path, size: int) -> _Run:
    loaded = tf.saved_model.load(str(place))
    return lambda crops: np.asarray(getattr(loaded, f"batch_{size}")(tf.constant(crops, tf.float32)))


def _litert(**layers: str) -> Callable[[keras.Model, UInt8, Path], None]:
    def save(model: keras.Model, _: UInt8, place: Path) -> None:
        place.write_bytes(export.litert(model, **layers))

    return save


def _save_int8(model: keras.Model, crops: UInt8, place: Path) -> None:
    """Weights int8, one scale for each output channel, activations int8 by the ranges that real crops give; ends float32."""
    with export.converter(model) as conversion:
        conversion.optimizations = [tf.lite.Optimize.DEFAULT]
        conversion.representative_dataset = lambda: ([crop[np.newaxis].astype(np.float32)] for crop in crops[:_REPRESENTATIVE])
        place.write_bytes(conversion.convert())


def _run_litert(place: Path, size: int) -> _Run:
    return export.run_litert(place, at_once=size)


FORMS: Final[Mapping[str, Form]] = {
    "keras": Form("model.keras", _save_keras, _run_keras, 0.99999, 0.9999),
    "saved_model": Form("saved_model", _save_saved_model, _run_saved_model, 0.99999, 0.9999),
    "litert_float32": Form("float32.tflite", _litert(), _run_litert, 0.99999, 0.9999),
    "litert_float16": Form("float16.tflite", _litert(float16_layers=".*"), _run_litert, 0.9999, 0.999),
    "litert_int8_weights": Form(
        "int8-weights.tflite", _litert(int8_layers=".*"), _run_litert, export.MIN_MEDIAN_COSINE, export.MIN_COSINE
    ),
    "litert_int8": Form("int8.tflite", _save_int8, _run_litert, 0.99, 0.95),
}
"""By name. Static int8 rounds every activation too: how much a network bears of that is its own."""
