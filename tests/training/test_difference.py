"""Tuned weights come back from their difference to the published ones, but for eight bits' rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.difference import save_difference, with_difference


def weights(seed: int, size: float) -> list[np.ndarray]:
    """A convolution, a depthwise one, slopes and a bias."""
    random = np.random.default_rng(seed)
    shapes = ((3, 3, 8, 16), (3, 3, 16, 1), (1, 1, 16), (16,))
    return [random.normal(0, size, shape).astype(np.float32) for shape in shapes]


def test_what_comes_back_is_nearer_than_half_a_level_of_its_channel(tmp_path: Path) -> None:
    start, added = weights(1, 1.0), weights(2, 0.02)
    added[0][..., 3] *= 50  # one channel moved much farther; the others keep their own scale
    tuned = [one + other for one, other in zip(start, added, strict=True)]
    save_difference(tmp_path / "tuned.npz", start, tuned)

    back = with_difference(tmp_path / "tuned.npz", start)

    half_a_level = np.abs(added[0]).max((0, 1, 2)) / 127 / 2
    assert (np.abs(back[0] - tuned[0]).max((0, 1, 2)) <= half_a_level * 1.01 + 1e-6).all()
    depthwise = np.abs(added[1]).max((0, 1, 3)) / 127 / 2
    assert (np.abs(back[1] - tuned[1]).max((0, 1, 3)) <= depthwise * 1.01 + 1e-6).all()
    for one, other in zip(back[2:], tuned[2:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_weights_that_did_not_move_come_back_as_they_were(tmp_path: Path) -> None:
    start = weights(1, 1.0)
    save_difference(tmp_path / "tuned.npz", start, start)

    assert all((one == other).all() for one, other in zip(with_difference(tmp_path / "tuned.npz", start), start, strict=True))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    start = weights(1, 1.0)
    save_difference(tmp_path / "tuned.npz", start, start)

    with pytest.raises(ValueError, match="broadcast"):
        with_difference(tmp_path / "tuned.npz", [one[..., :2] for one in start[:1]] + [np.zeros((5, 7), np.float32)])
