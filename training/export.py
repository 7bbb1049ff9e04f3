"""Export: a network in Keras becomes the one file that streamd runs, checked against what it was made from.

Around the network goes what the daemon must not have to know: a crop of 150x150 pixels is resized to the network's side
(bilinear), and the result is brought to unit length. Where weights become int8, activations stay float32 in the file and are
quantised by LiteRT as it runs ("dynamic range"), so no calibration pictures are needed.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import (
    ComputePrecision,
    OpQuantizationConfig,
    QuantGranularity,
    TensorDataType,
    TensorQuantizationConfig,
    TFLOperationName,
)
from ai_edge_quantizer.quantizer import Quantizer
from numpy.typing import NDArray

from streamd.errors import ModelError
from streamd.recognition.embedding import golden_crop
from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE

MIN_MEDIAN_COSINE: Final = 0.9985
MIN_COSINE: Final = 0.995
"""The exported file against the float32 network, median and worst of real crops: below, the export is refused."""

_FEWEST_INT8: Final = 5000
"""Weights of an operation from which they become int8. The first and depthwise convolutions have few, which save nothing, and
theirs are the errors that grow: of SFace's templates of 300 faces the worst had 0.976 of the float32 one's direction with them.
"""

MAX_DIFFERENCE: Final = 1e-4
"""Keras against ONNX Runtime, any number of any output."""


def wrapped(network: keras.Model, side: int) -> keras.Model:
    """The network as streamd calls it: float32 (N, 150, 150, 3) RGB 0..255 in, unit vectors float32 (N, D) out.

    side: pixels of the square that the network itself takes, RGB 0..255.
    """
    crops = keras.Input((SIDE, SIDE, 3), name="crops")
    resized = keras.layers.Resizing(side, side, interpolation="bilinear")(crops)
    return keras.Model(crops, keras.layers.UnitNormalization()(network(resized, training=False)), name="embedder")


def litert(model: keras.Model, int8_layers: str | None = None, float16_layers: str | None = None) -> bytes:
    """The model as a .tflite file with a free batch dimension and float32 input and output.

    int8_layers: regular expression of the layers (`embedder_1/sface_1/...`) whose weights become int8, one scale for each
    output channel, their activations being quantised as LiteRT runs. float16_layers: of dense layers and
    convolutions whose weights are kept in half the bytes and become float32 as LiteRT starts. All others keep float32, as small
    operations always do.
    """
    with converter(model) as conversion:
        whole = bytes(conversion.convert())
    if int8_layers is None and float16_layers is None:
        return whole
    quantiser = Quantizer(whole)
    if int8_layers is not None:
        weights = TensorQuantizationConfig(num_bits=8, symmetric=True, granularity=QuantGranularity.CHANNELWISE)
        dynamic = OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=ComputePrecision.INTEGER, min_weight_elements=_FEWEST_INT8
        )
        quantiser.update_quantization_recipe(int8_layers, TFLOperationName.ALL_SUPPORTED, dynamic)
    if float16_layers is not None:
        halves = OpQuantizationConfig(
            weight_tensor_config=TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT),
            compute_precision=ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        for operation in (TFLOperationName.FULLY_CONNECTED, TFLOperationName.CONV_2D):
            quantiser.update_quantization_recipe(float16_layers, operation, halves, AlgorithmName.FLOAT_CASTING)
    return bytes(quantiser.quantize().quantized_model)


@contextlib.contextmanager
def converter(model: keras.Model) -> Iterator[tf.lite.TFLiteConverter]:
    """What makes a .tflite file of the model, with a free batch dimension."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    given = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="crops")
    # Without `training=False` the batch norms would be exported as in training and normalise by the batch they are given.
    archive.add_endpoint("serve", lambda crops: model(crops, training=False), input_signature=[given])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(f"{folder}/saved", verbose=False)
        yield tf.lite.TFLiteConverter.from_saved_model(f"{folder}/saved")


def run_litert(file: Path, threads: int = 1, at_once: int = 1) -> Callable[[UInt8], Float32]:
    """The exported file as a function of crops, uint8 (N, 150, 150, 3), run `at_once` at a time, of which N is a multiple."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file), num_threads=threads)
    given, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(given, (at_once, SIDE, SIDE, 3))
    interpreter.allocate_tensors()

    def some(crops: UInt8) -> Float32:
        interpreter.set_tensor(given, crops.astype(np.float32))
        interpreter.invoke()
        return np.array(interpreter.get_tensor(result), np.float32)

    return lambda crops: np.concatenate([some(crops[start : start + at_once]) for start in range(0, len(crops), at_once)])


@dataclass(frozen=True, slots=True)
class Parity:
    """Cosine of the exported file's templates to the float32 network's, over `crops` crops."""

    crops: int
    median: float
    first_percentile: float
    worst: float


def difference(network: keras.Model, reference: Callable[[Float32], Float32], pictures: Float32) -> float:
    """Largest difference between Keras and ONNX Runtime, of float32 (N, H, W, 3) pictures. Raises ModelError above 1e-4."""
    found = max(float(np.abs(network(batch, training=False).numpy() - reference(batch)).max()) for batch in _batches(pictures))
    if not found <= MAX_DIFFERENCE:
        raise ModelError(f"Keras and ONNX Runtime differ by {found:.2g}, expected at most {MAX_DIFFERENCE}: a node was misread")
    return found


def exact(model: keras.Model, crops: UInt8) -> Float32:
    """What the float32 model itself gives for crops, uint8 (N, 150, 150, 3)."""
    return np.concatenate([model(batch.astype(np.float32), training=False).numpy() for batch in _batches(crops)])


def parity(file: Path, model: keras.Model, crops: UInt8) -> Parity:
    """How near the exported file comes to the float32 model. Raises ModelError where it is not near enough."""
    cosines = (run_litert(file)(crops) * exact(model, crops)).sum(1)
    found = Parity(len(crops), float(np.median(cosines)), float(np.quantile(cosines, 0.01)), float(cosines.min()))
    if not (found.median >= MIN_MEDIAN_COSINE and found.worst >= MIN_COSINE):
        raise ModelError(
            f"{file}: the exported network is not the one it was made from: cosine median {found.median:.4f}, worst "
            f"{found.worst:.4f}, expected at least {MIN_MEDIAN_COSINE} and {MIN_COSINE}"
        )
    return found


def _batches(pictures: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Parts of at most 32 pictures: the activations of 500 at once do not fit the memory of a small machine."""
    yield from (pictures[start : start + 32] for start in range(0, len(pictures), 32))


def golden_vector(file: Path) -> tuple[float, ...]:
    """The template of the drawn face, for the card."""
    return tuple(round(float(number), 6) for number in run_litert(file)(golden_crop()[np.newaxis])[0])
