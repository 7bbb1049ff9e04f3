"""Embedding: aligned crops become templates, by LiteRT on a CPU or by TensorFlow on a GPU, from one and the same file.

The model file (.tflite) takes float32 (N, 150, 150, 3) RGB 0..255 and gives unit vectors, float32 (N, D): resizing, scaling and
normalising are inside, so that another network takes its place by changing the file. TensorFlow's graph is built from that
file at first start and kept. Neither library is imported unless it serves.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np

from streamd.errors import ModelError
from streamd.native_log import native_log_to_debug
from streamd.recognition.card import Golden, ModelCard, read_card
from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, TEMPLATE, VERSION

log = logging.getLogger(__name__)

Backend = Literal["auto", "litert", "tensorflow"]

# On one thread of a CPU batches gain nothing (17.0, 16.6, 17.5 ms a face for 1, 4, 8; `streamd bench embedding`), and the first
# face would wait for the last.
LITERT_BATCH_SIZES: Final = (1,)
TENSORFLOW_BATCH_SIZES: Final = (1, 2, 4, 8, 16)


class Embedder(Protocol):
    """Turns crops into templates. Not thread-safe: one thread owns it."""

    @property
    def model(self) -> str:
        """What made a template: name and digest of the file, and the backend; templates of two models are never compared."""

    @property
    def dimension(self) -> int:
        """D, the length of a template."""

    @property
    def alignment(self) -> str:
        """The version of the alignment that crops must come from."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """How many crops one run takes, rising; any other number is split and filled up."""

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """Templates of uint8 (150, 150, 3) RGB crops: float32 (n, D), each row of unit length or all NaN.

        A row of NaN means that the network gave no direction (a zero, an infinity, a NaN): the caller makes no comparison of
        it. A row does not depend on the others. Raises ValueError for a crop of another shape or type.
        """


def golden_crop() -> UInt8:
    """A drawn face, uint8 (150, 150, 3) RGB, the same on every machine: what a backend is checked with at start."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    shade = 96 + 40 * (columns / SIDE) - 30 * (rows / SIDE)
    inside = ((columns - 74.5) / 46) ** 2 + ((rows - 82.0) / 62) ** 2 < 1
    shade = np.where(inside, shade + 70.0, shade)
    for (x, y), (wide, high), depth in zip(TEMPLATE.tolist(), _FEATURES, _DEPTHS, strict=True):
        shade -= depth / (1 + ((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2) ** 2
    colours = np.stack([shade, 0.82 * shade, 0.72 * shade], -1)
    return np.asarray(np.clip(colours.round(), 0, 255), np.uint8)


# Half widths and heights of eyes, nose and mouth corners, and how dark they are drawn.
_FEATURES: Final = ((9.0, 5.0), (9.0, 5.0), (7.0, 9.0), (13.0, 5.0), (13.0, 5.0))
_DEPTHS: Final = (120.0, 120.0, 35.0, 60.0, 60.0)


class StubEmbedder:
    """A stand-in for tests: crops of one mean colour have one template, and colours that differ have others."""

    model = "stub"
    dimension = 8
    alignment = VERSION

    def __init__(self, batch_sizes: Sequence[int] = (1, 2, 4, 8)) -> None:
        self.batch_sizes = tuple(batch_sizes)

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """See Embedder; a black crop gives no direction."""
        means = _stacked(crops).mean((1, 2))  # (n, 3)
        angles = means * (np.pi / 255)
        return _unit_or_nan(
            np.concatenate([means - 127.5, 127.5 * np.cos(angles), 64 * np.sin(2 * angles[:, :2])], 1).astype(np.float32)
            * (means.max(1, keepdims=True) > 0)
        )


class LiteRTEmbedder:
    """The model file on a CPU through XNNPACK; see Embedder. One interpreter for each batch size, as each is laid out once.

    threads: of one inference; more than one rarely helps a network of this size.
    """

    def __init__(self, file: Path, card: ModelCard, threads: int, batch_sizes: Sequence[int] = LITERT_BATCH_SIZES) -> None:
        self.model = f"{card.name}:{card.sha256[:16]}/litert"
        self.dimension = card.dimension
        self.alignment = card.alignment
        self.batch_sizes = tuple(batch_sizes)
        self._runs = {size: _litert_run(file, size, threads, card.dimension) for size in self.batch_sizes}

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """See Embedder."""
        return _in_batches(crops, self.batch_sizes, self.dimension, lambda batch: self._runs[len(batch)](batch))


def _litert_run(file: Path, size: int, threads: int, dimension: int) -> Callable[[UInt8], Float32]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with native_log_to_debug(log):
            interpreter = Interpreter(model_path=str(file), num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{file}: LiteRT cannot read it ({error}); the model file must be one that streamd-train made"
        ) from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{file}: expected one input and one output, found {len(inputs)} and {len(outputs)}")
    (given,), (result,) = inputs, outputs
    _check_shapes(file, given["dtype"], given["shape"], result["shape"], dimension)
    interpreter.resize_tensor_input(given["index"], (size, SIDE, SIDE, 3))
    with native_log_to_debug(log):
        interpreter.allocate_tensors()

    def run(batch: UInt8) -> Float32:
        interpreter.set_tensor(given["index"], batch.astype(np.float32))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result["index"]), np.float32)

    return run


class TensorFlowEmbedder:
    """The model file in TensorFlow, on a GPU where there is one; see Embedder.

    The graph is built from the file's own numbers and kept as a SavedModel under `cache` (None: not kept). Every batch size
    is run once here, so that no frame waits for a kernel to be chosen.
    """

    def __init__(
        self, file: Path, card: ModelCard, cache: Path | None, batch_sizes: Sequence[int] = TENSORFLOW_BATCH_SIZES
    ) -> None:
        self.model = f"{card.name}:{card.sha256[:16]}/tensorflow"
        self.dimension = card.dimension
        self.alignment = card.alignment
        self.batch_sizes = tuple(batch_sizes)
        self._tensorflow = tensorflow = _tensorflow()
        for gpu in tensorflow.config.list_physical_devices("GPU"):
            tensorflow.config.experimental.set_memory_growth(gpu, True)  # leave room for others on the card
        # Templates must not depend on the generation of the card: TF32 rounds products to 10 bits.
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        self._module = _saved(tensorflow, file, card, cache)
        for size in self.batch_sizes:
            self._run(np.zeros((size, SIDE, SIDE, 3), np.uint8))

    @property
    def traces(self) -> int:
        """How often the graph was traced since it was loaded; it must not grow while the daemon runs."""
        return int(self._module.embed.experimental_get_tracing_count())

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """See Embedder."""
        return _in_batches(crops, self.batch_sizes, self.dimension, self._run)

    def _run(self, batch: UInt8) -> Float32:
        return np.asarray(self._module.embed(self._tensorflow.constant(batch)).numpy(), np.float32)


def _tensorflow() -> Any:
    if importlib.util.find_spec("tensorflow") is None:
        raise ModelError("`model.backend` is tensorflow, which is not installed: pip install 'streamd[gpu]', or choose litert")
    if "tensorflow" not in sys.modules:  # later it changes nothing here, only children, which would compute otherwise
        # oneDNN writes code at run time, which the service's MemoryDenyWriteExecute forbids: TensorFlow aborts.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    tensorflow.get_logger().setLevel(logging.WARNING)
    return tensorflow


def _saved(tensorflow: Any, file: Path, card: ModelCard, cache: Path | None) -> Any:
    """The model as a TensorFlow module, from the cache if it was built there by these versions before."""
    if cache is None:
        return _built(tensorflow, file, card.dimension)
    place = cache / f"{card.file.removesuffix('.tflite')}-{card.sha256[:16]}-{_GRAPH_VERSION}-tf{tensorflow.__version__}"
    if not place.is_dir():
        log.info("building TensorFlow's graph of %s; this is done once", file)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # Written beside and renamed, so that a start that is cut off leaves no half of a model behind.
            with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as half:
                tensorflow.saved_model.save(_built(tensorflow, file, card.dimension), f"{half}/graph")
                os.rename(f"{half}/graph", place)
        except OSError as error:
            if not place.is_dir():  # another process may have been quicker
                raise ModelError(f"{cache}: TensorFlow's graph cannot be kept there ({error.strerror}); see `state`") from error
    try:
        return tensorflow.saved_model.load(str(place))
    except (OSError, ValueError, tensorflow.errors.OpError) as error:
        raise ModelError(f"{place}: cannot be loaded ({error}); remove this folder, it is built again") from error


_GRAPH_VERSION: Final = 2  # changes with `_OPERATIONS`, so that a graph built by an older streamd is not taken for this one


def _built(tensorflow: Any, file: Path, dimension: int) -> Any:
    """The operations of a .tflite file as one TensorFlow function of uint8 (N, 150, 150, 3), traced once for every N."""
    from ai_edge_litert import schema_py_generated as schema

    content = file.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [names[max(code.deprecatedBuiltinCode, code.builtinCode)] for code in model.operatorCodes]
    unknown = sorted({codes[one.opcodeIndex] for one in graph.operators} - set(_OPERATIONS))
    if unknown or len(model.subgraphs) > 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"{file}: TensorFlow cannot run it: {', '.join(unknown) or 'expected one input, one output and one graph'}; "
            "set `model.backend: litert`"
        )
    types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16, schema.TensorType.INT32: np.int32}
    types |= {schema.TensorType.INT8: np.int8, schema.TensorType.INT64: np.int64}
    first, last = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    _check_shapes(file, types.get(first.type), first.shape, last.shape, dimension)
    stored = [_stored(content, buffer) for buffer in model.buffers]
    constants = {
        index: _constant(tensor, data, types)
        for index, tensor in enumerate(graph.tensors)
        if (data := stored[tensor.buffer]) is not None
    }

    def embed(crops: Any) -> Any:
        tensors = {**constants, graph.inputs[0]: tensorflow.cast(crops, tensorflow.float32)}
        for one in graph.operators:
            given = [tensors[index] for index in one.inputs if index >= 0]
            result = _OPERATIONS[codes[one.opcodeIndex]](tensorflow, given, one.builtinOptions)
            tensors[one.outputs[0]] = _activated(tensorflow, result, one.builtinOptions)
        return tensors[graph.outputs[0]]

    module = tensorflow.Module()
    crops = tensorflow.TensorSpec((None, SIDE, SIDE, 3), tensorflow.uint8, name="crops")
    module.embed = tensorflow.function(embed, input_signature=[crops])
    return module


def _stored(content: bytes, buffer: Any) -> bytes | None:
    """The bytes of a buffer: inside the schema's table, or behind it; None where it is filled as the model runs."""
    if buffer.data is not None:
        return bytes(buffer.data)
    return content[buffer.offset : buffer.offset + buffer.size] if buffer.size else None


def _constant(tensor: Any, data: bytes, types: Mapping[int, type]) -> np.ndarray[Any, Any]:
    """A tensor that is stored in the file; integers that stand for real numbers become float32."""
    if tensor.type not in types:
        raise ModelError(f"{tensor.name.decode()}: a tensor of type {tensor.type} cannot be read; set `model.backend: litert`")
    values = np.frombuffer(data, types[tensor.type]).reshape(tensor.shape)
    quantised = tensor.quantization
    if quantised is None or quantised.scale is None or not len(quantised.scale):
        return values.astype(np.float32) if values.dtype == np.float16 else values
    shape = [1] * values.ndim
    if len(quantised.scale) > 1:
        shape[quantised.quantizedDimension] = -1
    zero = np.asarray(quantised.zeroPoint, np.float32).reshape(shape)
    return ((values.astype(np.float32) - zero) * np.asarray(quantised.scale, np.float32).reshape(shape)).astype(np.float32)


def _activated(tensorflow: Any, result: Any, options: Any) -> Any:
    """What an operation does to its result in passing (schema: ActivationFunctionType)."""
    kind = getattr(options, "fusedActivationFunction", 0)
    if kind not in (0, 1, 3):
        raise ModelError(f"activation {kind} of the model file is not known; set `model.backend: litert`")
    return (result, tensorflow.nn.relu(result), None, tensorflow.nn.relu6(result))[kind] if kind else result


def _padding(options: Any) -> str:
    return "VALID" if options.padding == 1 else "SAME"


def _strides(options: Any) -> list[int]:
    return [1, options.strideH, options.strideW, 1]


def _convolution(tf: Any, given: Sequence[Any], options: Any) -> Any:
    data, kernel, *bias = given
    dilations = [1, options.dilationHFactor, options.dilationWFactor, 1]
    result = tf.nn.conv2d(data, tf.transpose(kernel, (1, 2, 3, 0)), _strides(options), _padding(options), dilations=dilations)
    return result + bias[0] if bias else result


def _depthwise(tf: Any, given: Sequence[Any], options: Any) -> Any:
    data, kernel, *bias = given
    shape = (*kernel.shape[1:3], -1, options.depthMultiplier)
    dilations = [options.dilationHFactor, options.dilationWFactor]
    result = tf.nn.depthwise_conv2d(data, tf.reshape(kernel, shape), _strides(options), _padding(options), dilations=dilations)
    return result + bias[0] if bias else result


def _dense(tf: Any, given: Sequence[Any], _: Any) -> Any:
    data, kernel, *bias = given
    result = tf.matmul(tf.reshape(data, (-1, kernel.shape[1])), kernel, transpose_b=True)
    return result + bias[0] if bias else result


def _strided_slice(tf: Any, given: Sequence[Any], options: Any) -> Any:
    masks = {"begin_mask": options.beginMask, "end_mask": options.endMask, "ellipsis_mask": options.ellipsisMask}
    masks |= {"new_axis_mask": options.newAxisMask, "shrink_axis_mask": options.shrinkAxisMask}
    return tf.strided_slice(*given, **masks)


# What the operations of LiteRT's schema mean in TensorFlow: those of the pair, and those that networks like it are made of.
_OPERATIONS: Final[dict[str, Callable[[Any, Sequence[Any], Any], Any]]] = {
    "ADD": lambda tf, given, _: tf.add(*given),
    "AVERAGE_POOL_2D": lambda tf, given, options: tf.nn.avg_pool2d(
        given[0], [options.filterHeight, options.filterWidth], [options.strideH, options.strideW], _padding(options)
    ),
    "CONCATENATION": lambda tf, given, options: tf.concat(given, options.axis),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": lambda tf, given, _: tf.cast(given[0], tf.float32),
    "FULLY_CONNECTED": _dense,
    "LEAKY_RELU": lambda tf, given, options: tf.nn.leaky_relu(given[0], options.alpha),
    "LOGISTIC": lambda tf, given, _: tf.sigmoid(given[0]),
    "MAXIMUM": lambda tf, given, _: tf.maximum(*given),
    "MEAN": lambda tf, given, options: tf.reduce_mean(*given, keepdims=options.keepDims),
    "MINIMUM": lambda tf, given, _: tf.minimum(*given),
    "MUL": lambda tf, given, _: tf.multiply(*given),
    "PACK": lambda tf, given, options: tf.stack(given, options.axis),
    "PAD": lambda tf, given, _: tf.pad(*given),
    "PRELU": lambda tf, given, _: tf.nn.relu(given[0]) - given[1] * tf.nn.relu(-given[0]),
    "RELU": lambda tf, given, _: tf.nn.relu(given[0]),
    "RELU6": lambda tf, given, _: tf.nn.relu6(given[0]),
    "RESHAPE": lambda tf, given, _: tf.reshape(*given),
    "RESIZE_BILINEAR": lambda tf, given, options: tf.raw_ops.ResizeBilinear(
        images=given[0], size=given[1], align_corners=options.alignCorners, half_pixel_centers=options.halfPixelCenters
    ),
    "REVERSE_V2": lambda tf, given, _: tf.reverse(*given),
    "RSQRT": lambda tf, given, _: tf.math.rsqrt(given[0]),
    "SHAPE": lambda tf, given, _: tf.shape(given[0]),
    "SOFTMAX": lambda tf, given, options: tf.nn.softmax(given[0] * options.beta),
    "SQUARE": lambda tf, given, _: tf.square(given[0]),
    "STRIDED_SLICE": _strided_slice,
    "SUB": lambda tf, given, _: tf.subtract(*given),
    "SUM": lambda tf, given, options: tf.reduce_sum(*given, keepdims=options.keepDims),
    "TRANSPOSE": lambda tf, given, _: tf.transpose(*given),
}


def open_embedder(
    card_path: Path,
    backend: Backend = "auto",
    threads: int = 1,
    cache: Path | None = None,
    batch_sizes: Sequence[int] | None = None,
) -> Embedder:
    """The embedder of the model that a card describes, checked: file, shapes, alignment, and its result for a drawn face.

    backend: `auto` takes TensorFlow only where it is installed and shows a GPU. threads: of one LiteRT inference. cache: a
    folder where TensorFlow's graph may be kept. batch_sizes: rising; None: what suits the backend. Raises ModelError.
    """
    card = read_card(card_path)
    file = card_path.parent / card.file
    if card.alignment != VERSION:
        raise ModelError(
            f"{card_path}: the model takes crops of alignment {card.alignment!r}, this streamd makes {VERSION!r}; "
            "use the model that came with this version, or train one for it"
        )
    _check_digest(file, card)
    chosen = _chosen(backend)
    embedder: Embedder
    if chosen == "tensorflow":
        embedder = TensorFlowEmbedder(file, card, cache, batch_sizes or TENSORFLOW_BATCH_SIZES)
    else:
        embedder = LiteRTEmbedder(file, card, threads, batch_sizes or LITERT_BATCH_SIZES)
    _check_golden(embedder, file, card.golden, chosen)
    log.info("model %s, templates of %d numbers", embedder.model, embedder.dimension)
    return embedder


def _chosen(backend: Backend) -> Literal["litert", "tensorflow"]:
    if backend != "auto":
        return backend
    # Importing TensorFlow takes seconds and 500 MB, so look first for what it would need.
    if not any(Path("/dev").glob("nvidia[0-9]*")) or importlib.util.find_spec("tensorflow") is None:
        return "litert"
    if _tensorflow().config.list_physical_devices("GPU"):
        return "tensorflow"
    log.warning("there is a GPU, but TensorFlow does not see it (pip install 'streamd[gpu]'); LiteRT serves on the CPU")
    return "litert"


def _check_digest(file: Path, card: ModelCard) -> None:
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"{file}: the model file cannot be read ({error.strerror}); reinstall streamd or mend `model.card`"
        ) from error
    if found != card.sha256:
        raise ModelError(
            f"{file}: the file is not the one that its card describes: expected sha256 {card.sha256}, found {found}; "
            "reinstall streamd, or make file and card again together"
        )


def _check_shapes(file: Path, dtype: object, given: Sequence[int], result: Sequence[int], dimension: int) -> None:
    if dtype is not np.float32 or tuple(given[1:]) != (SIDE, SIDE, 3):
        shape = ", ".join(map(str, given[1:]))
        raise ModelError(f"{file}: expected an input of float32 (N, {SIDE}, {SIDE}, 3), found {dtype} (N, {shape})")
    if tuple(result[1:]) != (dimension,):
        raise ModelError(
            f"{file}: its card says {dimension} numbers in a template, the file gives {tuple(map(int, result[1:]))}"
        )


def _check_golden(embedder: Embedder, file: Path, golden: Golden, backend: Literal["litert", "tensorflow"]) -> None:
    expected = np.asarray(golden.vector, np.float32)
    if expected.shape != (embedder.dimension,) or backend not in golden.min_cosine:
        raise ModelError(f"{file}: its card has no golden vector of {embedder.dimension} numbers for {backend}; make it again")
    cosine = float(embedder.embed([golden_crop()])[0] @ expected)
    if not cosine >= golden.min_cosine[backend]:
        raise ModelError(
            f"{file}: on this machine {backend} gives another template for the drawn face than its card has (cosine "
            f"{cosine:.4f}, expected at least {golden.min_cosine[backend]}), so its scores would mean nothing; "
            "try another `model.backend`"
        )


def _in_batches(crops: Sequence[UInt8], sizes: Sequence[int], dimension: int, run: Callable[[UInt8], Float32]) -> Float32:
    """Runs of fixed sizes, the last one filled up with black."""
    stacked = _stacked(crops)
    results = np.empty((len(stacked), dimension), np.float32)
    done = 0
    while done < len(stacked):
        part = stacked[done : done + sizes[-1]]
        size = next(size for size in sizes if size >= len(part))
        filled = np.zeros((size, SIDE, SIDE, 3), np.uint8)
        filled[: len(part)] = part
        results[done : done + len(part)] = run(filled)[: len(part)]
        done += len(part)
    return _unit_or_nan(results)


def _stacked(crops: Sequence[UInt8]) -> UInt8:
    for crop in crops:
        if crop.shape != (SIDE, SIDE, 3) or crop.dtype != np.uint8:
            raise ValueError(f"expected crops of uint8 ({SIDE}, {SIDE}, 3), found {crop.dtype} {crop.shape}")
    return np.stack(crops) if len(crops) else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def _unit_or_nan(vectors: Float32) -> Float32:
    """Rows brought to unit length exactly; a row without a direction becomes NaN as a whole."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = vectors / lengths
    return np.where(np.isfinite(lengths) & (lengths > _SHORTEST), units, np.float32(np.nan)).astype(np.float32)


_SHORTEST: Final = 1e-6
