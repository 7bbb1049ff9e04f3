"""The trials of the robustness curves: other photographs of the same people, one threshold for each view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamd.recognition.embedding import StubEmbedder
from training import robustness
from training.identification import cosines
from training.prepare import Faces


def faces() -> Faces:
    """Ann five times, bob twice of which one is not good, eve three times."""
    names = ["ann"] * 5 + ["bob"] * 2 + ["eve"] * 3
    good = np.ones(10, bool)
    good[6] = False
    shade = np.random.default_rng(0).integers(0, 255, (10, 1, 1, 3))
    crops = (np.zeros((10, 150, 150, 3)) + shade).astype(np.uint8)
    pictures = tuple(f"{name}/{number}.jpg" for number, name in enumerate(names))
    return Faces(crops, np.full(10, 40, np.float32), good, pictures, ())


def test_people_with_one_good_photograph_take_no_part() -> None:
    given = robustness.trials(faces())

    assert given.enrolled.tolist() == [0, 7]
    assert given.probes.tolist() == [1, 2, 3, 8, 9]  # at most three of a person
    assert given.same.tolist() == [[True, False]] * 3 + [[False, True]] * 2


def test_the_rate_is_the_share_of_genuine_pairs_above_the_worst_impostor() -> None:
    given = robustness.trials(faces())
    enrolled = np.eye(2, dtype=np.float32)
    probes = {"a": np.array([[1, 0], [0.9, 0.1], [0.2, 0.8], [0, 1], [0.3, 0.9]], np.float32)}

    assert robustness.rates(given, enrolled, probes, cosines) == {"a": pytest.approx(4 / 5)}


def test_every_view_is_embedded_once_and_kept(tmp_path: Path) -> None:
    embedder = StubEmbedder()
    calls: list[int] = []

    def embed(crops: np.ndarray) -> np.ndarray:
        calls.append(len(crops))
        return embedder.embed(list(crops))

    given = robustness.trials(faces())
    enrolled, probes = robustness.templates(faces(), given, embed, "stub", tmp_path, ("25px", "low_light"))
    again = robustness.templates(faces(), given, embed, "stub", tmp_path, ("25px", "low_light"))

    assert calls == [2, 5, 5, 5]
    assert enrolled.shape == (2, 8)
    assert list(probes) == ["as_taken", "25px", "low_light"]
    assert (again[1]["low_light"] == probes["low_light"]).all()
    assert not np.allclose(probes["low_light"], probes["as_taken"])
