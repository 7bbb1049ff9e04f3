"""Difference: tuned weights, kept as what was added to the published ones: small, and nothing without them.

A kernel's difference has eight bits and a scale for each output channel; vectors have sixteen. Tuning moves weights by a few
hundredths of their size, so that the rounding of the difference is far below that of eight-bit weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32

_LEVELS: Final = 127


def save_difference(path: Path, start: Sequence[Float32], tuned: Sequence[Float32]) -> None:
    """Write the file. start, tuned: weights of one network in the order of `get_weights()`."""
    stored: dict[str, NDArray[Any]] = {}
    for number, (one, other) in enumerate(zip(start, tuned, strict=True)):
        added = np.asarray(other, np.float32) - one
        if _is_vector(added):
            stored[f"added{number}"] = added.astype(np.float16)
            continue
        largest = np.abs(added).max(_all_but_channels(added), keepdims=True)
        scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
        stored[f"added{number}"] = np.rint(added / scale).astype(np.int8)
        stored[f"scale{number}"] = scale
    with path.open("wb") as file:
        np.savez_compressed(file, **stored)  # type: ignore[arg-type]


def with_difference(path: Path, start: Sequence[Float32]) -> list[Float32]:
    """The tuned weights. start: the published ones from which the file was made."""
    with np.load(path) as stored:
        scales = [stored.get(f"scale{number}", np.float32(1)) for number in range(len(start))]
        added = [stored[f"added{number}"].astype(np.float32) * scale for number, scale in enumerate(scales)]
    return [np.asarray(one + other, np.float32) for one, other in zip(start, added, strict=True)]


def _is_vector(weight: NDArray[Any]) -> bool:
    return sum(length > 1 for length in weight.shape) < 2


def _all_but_channels(kernel: NDArray[Any]) -> tuple[int, ...]:
    """The last axis has the output channels, but for depthwise kernels, whose last axis has length 1."""
    channels = kernel.ndim - (2 if kernel.shape[-1] == 1 else 1)
    return tuple(axis for axis in range(kernel.ndim) if axis != channels)
