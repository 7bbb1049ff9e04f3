"""Forms: each is what the network is, at every batch size, or is refused."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamd.recognition.embedding import golden_crop
from streamd.values import UInt8

if importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("keras") is None:
    pytest.skip("needs streamd[training]", allow_module_level=True)

import keras

from training.forms import BATCHES, FORMS, write

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own


def crops() -> UInt8:
    """Drawn faces, each of another brightness and colour, and noisy."""
    random = np.random.default_rng(4)
    shades = random.uniform(0.5, 1.1, (18, 1, 1, 3))
    return np.clip(golden_crop() * shades + random.normal(0, 9, (18, 150, 150, 3)), 0, 255).astype(np.uint8)


def network() -> keras.Model:
    """One convolution, one normalisation and a dense layer, with weights enough to be worth a byte each."""
    keras.utils.set_random_seed(3)
    given = keras.Input((150, 150, 3))
    seen = keras.layers.Rescaling(1 / 128, -1)(keras.layers.AveragePooling2D(10)(given))
    seen = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(16, 3)(seen)))
    return keras.Model(given, keras.layers.UnitNormalization()(keras.layers.Dense(128)(keras.layers.Flatten()(seen))))


def test_every_form_gives_what_the_network_gives_at_every_batch_size(tmp_path: Path) -> None:
    found = write(network(), crops(), tmp_path)

    assert found == json.loads((tmp_path / "forms.json").read_text())
    assert found.keys() == FORMS.keys()
    for name, form in FORMS.items():
        assert "refused" not in found[name]
        assert found[name]["batches"] == list(BATCHES)
        assert (tmp_path / form.path).exists()
    sizes = [found[f"litert_{kind}"]["bytes"] for kind in ("float32", "float16", "int8_weights")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[0] / 2


def test_a_form_that_is_too_far_from_the_network_is_refused_and_taken_away(tmp_path: Path) -> None:
    strict = {name: replace(FORMS[name], least=1.1) for name in ("saved_model", "litert_int8")}

    found = write(network(), crops(), tmp_path, strict)

    for form in found.values():
        assert "expected at least" in form["refused"]
        assert not (tmp_path / form["path"]).exists()
