"""dlib's face network (D. King, CC0) read from its `.dat` file into Keras, layer by layer, with outputs equal to dlib's own.

What the file holds was found in dlib's serialisation code and by trial: layers stand in the order in which they compute, each
after its name; a tensor is its four dimensions and raw float32. An `affine` layer is a batch norm that stands still. The
network is that of `backbones`, which names the traps of its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np

from streamd.errors import ModelError
from streamd.values import Float32
from training.backbones import DLIB_STAGES, residual

SIDE: Final = 150
"""Pixels of the square chip that the network takes, RGB 0..255, cut as `dlib.get_face_chip(image, points, 150, 0.25)` does."""

_MEANS: Final = (122.782, 117.001, 104.298)
_SCALE: Final = 256.0
_CONVOLUTIONS: Final = 29


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """One with the affine layer after it. kernel: float32 (rows, columns, inputs, outputs); bias, gamma, beta: float32
    (outputs,)."""

    kernel: Float32
    bias: Float32
    gamma: Float32
    beta: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The network's: its convolutions in the order in which they compute, and the last layer, float32 (256, 128)."""

    convolutions: tuple[Convolution, ...]
    dense: Float32


class _Reader:
    """dlib's serialised values, one after the other, from a place in the file on."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def integer(self) -> int:
        """One byte with the number of bytes that follow and the sign, then these, the lowest first."""
        head = self._data[self._at]
        count = head & 0x0F
        value = int.from_bytes(self._data[self._at + 1 : self._at + 1 + count], "little")
        self._at += 1 + count
        return -value if head & 0x80 else value

    def tensor(self) -> Float32:
        """float32 (n,): the version, four dimensions, and the numbers."""
        if self.integer() != 2:
            raise ValueError("a tensor of another version")
        count = int(np.prod([self.integer() for _ in range(4)]))
        values = np.frombuffer(self._data, "<f4", count, self._at)
        self._at += 4 * count
        return values


def read_weights(path: Path) -> Weights:
    """The weights in `dlib_face_recognition_resnet_model_v1.dat`. Raises ModelError for a file of anything else."""
    data = path.read_bytes()
    try:
        return _weights(data)
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path}: expected dlib's face network ({error})") from error


def _weights(data: bytes) -> Weights:
    convolutions = [_convolution(reader) for reader in _layers(data, "con_4")]
    affines = [reader.tensor() for reader in _layers(data, "affine_")]
    last = list(_layers(data, "fc_2"))
    if not len(convolutions) == len(affines) == _CONVOLUTIONS or len(last) != 1:
        raise ValueError(f"found {len(convolutions)} convolutions, {len(affines)} affine layers and {len(last)} dense ones")
    outputs, inputs = last[0].integer(), last[0].integer()
    read, channels = [], 3
    for (flat, filters, rows, columns), affine in zip(convolutions, affines, strict=True):
        kernel = flat[:-filters].reshape(filters, channels, rows, columns).transpose(2, 3, 1, 0)
        read.append(Convolution(kernel, flat[-filters:], affine[:filters], affine[filters:]))
        channels = filters
    return Weights(tuple(read), last[0].tensor().reshape(inputs, outputs))


def _layers(data: bytes, kind: str) -> Iterator[_Reader]:
    """A reader behind each layer's name, which is written as its length and its letters."""
    name = kind.encode()
    for found in re.finditer(re.escape(bytes([1, len(name)]) + name), data):
        yield _Reader(data, found.end())


def _convolution(reader: _Reader) -> tuple[Float32, int, int, int]:
    """Kernel and bias in one, then how many filters of which size; strides and padding follow and are the network's own."""
    flat = reader.tensor()
    return flat, reader.integer(), reader.integer(), reader.integer()


def network(weights: Weights) -> keras.Model:
    """Chips float32 (N, 150, 150, 3) RGB 0..255 to descriptors float32 (N, 128), not of unit length, compared by distance."""
    chips = keras.Input((SIDE, SIDE, 3), name="chips")
    features = residual((chips - np.asarray(_MEANS, np.float32)) / _SCALE, DLIB_STAGES)
    made = keras.Model(chips, keras.layers.Dense(weights.dense.shape[1], use_bias=False)(features), name="dlib")
    convolutions = [layer for layer in made.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in made.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for convolution, norm, given in zip(convolutions, norms, weights.convolutions, strict=True):
        convolution.set_weights([given.kernel, given.bias])
        still = np.zeros_like(given.beta), np.full_like(given.gamma, 1 - norm.epsilon)  # mean 0, deviation 1
        norm.set_weights([given.gamma, given.beta, *still])
    made.layers[-1].set_weights([weights.dense])
    return made
