"""Each network is the one that its paper or its maker draws, and gives unit vectors of streamd's crop."""

from __future__ import annotations

import logging

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.vision.alignment import SIDE  # noqa: E402
from training import backbones  # noqa: E402
from training.backbones import backbone  # noqa: E402


def crops(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.float32)


def trainable(network: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def kinds(network: keras.Model, kind: type) -> int:
    return sum(isinstance(layer, kind) for layer in network.layers)


@pytest.mark.parametrize("name", backbones.NAMES)
def test_a_crop_becomes_a_vector_of_unit_length_in_float32(name: backbones.Backbone) -> None:
    vectors = np.asarray(backbone(name, 256)(crops(), training=False))

    assert vectors.shape == (2, 256)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-6)


def test_the_residual_network_is_dlibs() -> None:
    """29 convolutions; its file holds 5,614,592 numbers, two for each channel of a normalisation among them."""
    network = backbone("dlib", 128)

    assert kinds(network, keras.layers.Conv2D) == 29
    assert trainable(network) == 5_614_592


def test_the_residual_networks_pictures_have_dlibs_sizes() -> None:
    """After each stage 35, 17, 8, 4 and 2 pixels: the last two only where the shortcut, not the convolution, says the size."""
    added = [layer.output.shape[1] for layer in backbone("dlib", 128).layers if isinstance(layer, keras.layers.Add)]

    assert added == [35] * 3 + [17] * 4 + [8] * 3 + [4] * 3 + [2]


def test_mobilefacenet_has_the_papers_size() -> None:
    """0.99 million parameters in the paper, of which PReLU's slopes are 7 thousand, and its last layer is 128 wide."""
    assert trainable(backbone("mobilefacenet", 128)) == pytest.approx(0.99e6, rel=0.02)


def test_bfloat16_is_in_the_middle_only_and_left_behind_by_nobody() -> None:
    network = backbone("small-residual", 128, "mixed_bfloat16")

    assert str(network.get_layer("unit").compute_dtype) == "float32"
    assert {layer.compute_dtype for layer in network.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    assert np.asarray(network(crops(), training=False)).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


def test_weights_that_cannot_be_had_are_said_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build, module = backbones._APPLICATIONS["vgg16"]

    def without_a_network(weights: str | None, **options: object) -> keras.Model:
        if weights is not None:
            raise Exception("URL fetch failure")
        return build(weights=None, **options)

    monkeypatch.setitem(backbones._APPLICATIONS, "vgg16", (without_a_network, module))
    with caplog.at_level(logging.WARNING):
        network = backbone("vgg16", 128, pretrained=True)

    assert network.output_shape == (None, 128)
    assert "vgg16: its ImageNet weights cannot be had (URL fetch failure); it begins at random" in caplog.text
