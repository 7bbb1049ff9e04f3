"""Export: a network becomes the file that streamd runs, or is refused."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.errors import ModelError
from streamd.recognition.card import read_card
from streamd.recognition.embedding import LiteRTEmbedder, TensorFlowEmbedder, golden_crop
from streamd.values import UInt8

if importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("keras") is None:
    pytest.skip("needs streamd[training]", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own


@pytest.fixture(scope="module")
def crops() -> UInt8:
    random = np.random.default_rng(2)
    noise = random.normal(0, 25, (9, 150, 150, 3))
    return np.clip(golden_crop() + noise, 0, 255).astype(np.uint8)


def small_network(seed: int) -> Any:
    """One convolution and a batch norm whose statistics are not those of any batch: 32 pixels in, 16 numbers out."""
    import keras

    keras.utils.set_random_seed(seed)
    given = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 128, -1)(given)
    features = keras.layers.Conv2D(24, 3, strides=2)(scaled)
    norm = keras.layers.BatchNormalization()
    features = norm(features)
    norm.set_weights([np.random.default_rng(seed).uniform(0.5, 1.5, 24) for _ in range(4)])
    dense = keras.layers.Dense(16)(keras.layers.Flatten()(keras.layers.ReLU()(features)))
    return keras.Model(given, dense)


def two_networks() -> Any:
    """Two small networks that see different parts of one crop, joined: the operations that such pairs are made of."""
    import keras

    keras.utils.set_random_seed(1)
    crops = keras.Input((150, 150, 3))
    part = keras.ops.flip(crops[:, 6:147, 5:146, :], axis=-1)
    first = small_network(2)(keras.layers.Resizing(32, 32)(crops), training=False)
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu6")(keras.layers.Resizing(32, 32)(part / 255))
    features = keras.layers.DepthwiseConv2D(3, padding="same")(features)
    features = keras.layers.LeakyReLU(negative_slope=0.2)(features)
    features = keras.layers.AveragePooling2D(2)(features)
    gate = keras.ops.sigmoid(keras.layers.Conv2D(8, 1)(keras.ops.mean(features, axis=(1, 2), keepdims=True)))
    second = keras.layers.Dense(8)(keras.layers.Flatten()(features * gate))
    unit = keras.layers.UnitNormalization()
    return keras.Model(crops, keras.layers.Concatenate()([unit(first), unit(second)]) * 0.5**0.5)


def exported(model: Any, folder: Path, int8_layers: str | None = ".*") -> Path:
    from training import export

    file = folder / "model.tflite"
    file.write_bytes(export.litert(model, int8_layers))
    return file


def tensors(file: Path, dtype: type) -> list[str]:
    from ai_edge_litert.interpreter import Interpreter

    return [one["name"] for one in Interpreter(str(file)).get_tensor_details() if one["dtype"] is dtype]


def int8_tensors(file: Path) -> list[str]:
    return tensors(file, np.int8)


def test_the_exported_file_gives_what_the_network_gives(tmp_path: Path, crops: UInt8) -> None:
    from training import export

    model = export.wrapped(small_network(0), 32)

    found = export.parity(exported(model, tmp_path), model, crops)

    assert found.crops == len(crops)
    assert found.worst > 0.999


def test_weights_become_int8_in_the_layers_that_are_named_and_nowhere_else(tmp_path: Path, crops: UInt8) -> None:
    """One tower of a pair bears it, the other would be ruined by it."""
    from training import export, pair

    first, second = small_network(0), small_network(1)
    first.name, second.name = "robust", "delicate"
    model = pair.joined([(first, pair.Look(0, 0, 150, 32)), (second, pair.Look(0, 0, 150, 32))], (0.5, 0.5))

    assert int8_tensors(exported(model, tmp_path, None)) == []
    file = exported(model, tmp_path, ".*robust.*")

    assert int8_tensors(file)
    assert all("robust" in name for name in int8_tensors(file))
    exact = model(crops.astype(np.float32), training=False).numpy()
    assert np.abs(export.run_litert(file)(crops)[:, 16:] - exact[:, 16:]).max() < 1e-5  # the delicate half
    assert (export.run_litert(file)(crops) * exact).sum(1).min() > 0.999


def test_strangers_on_whom_templates_are_centred_take_half_the_bytes_and_both_backends_run_them(
    tmp_path: Path, crops: UInt8
) -> None:
    from training import export, pair

    strangers = np.random.default_rng(7).normal(size=(500, 16)).astype(np.float32)
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    model = pair.tower(small_network(0), pair.Look(0, 0, 150, 32), pair.Centring(strangers, 10.0, 0.8))
    file = tmp_path / "model.tflite"
    file.write_bytes(export.litert(model, float16_layers=".*strangers_.*"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = read_card(SHIPPED_CARD).model_copy(update={"file": file.name, "sha256": digest, "dimension": 16})

    assert len(tensors(file, np.float16)) == 2
    assert len(file.read_bytes()) < len(export.litert(model)) - 500 * 16 * 2 * 2 + 2000
    exact = model(crops.astype(np.float32), training=False).numpy()
    for embedder in (LiteRTEmbedder(file, card, threads=1), TensorFlowEmbedder(file, card, None, (4,))):
        assert (embedder.embed(list(crops)) * exact).sum(1).min() > 0.9999


def test_a_file_of_another_network_is_refused(tmp_path: Path, crops: UInt8) -> None:
    from training import export

    file = exported(export.wrapped(small_network(0), 32), tmp_path)

    with pytest.raises(ModelError, match="not the one it was made from"):
        export.parity(file, export.wrapped(small_network(9), 32), crops)


def test_a_network_that_was_misread_is_refused(crops: UInt8) -> None:
    from training import export

    network = small_network(0)
    pictures = crops[:, :32, :32].astype(np.float32)

    with pytest.raises(ModelError, match="Keras and ONNX Runtime differ"):
        export.difference(network, lambda batch: network(batch[:, :, ::-1], training=False).numpy(), pictures)


def test_a_pair_of_networks_takes_the_place_of_one_by_changing_the_file(tmp_path: Path, crops: UInt8) -> None:
    """Both backends run it, and give what Keras gives."""
    model = two_networks()
    file = exported(model, tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = read_card(SHIPPED_CARD).model_copy(update={"file": file.name, "sha256": digest, "dimension": 24})

    one = LiteRTEmbedder(file, card, threads=1).embed(list(crops))
    other = TensorFlowEmbedder(file, card, None, (4,)).embed(list(crops))

    expected = model(crops.astype(np.float32), training=False).numpy()
    assert (one * expected).sum(1).min() > 0.999
    assert (other * expected).sum(1).min() > 0.999
