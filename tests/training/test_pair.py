"""Each tower of a pair sees its own part of one crop, and the template is both of their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.recognition.embedding import golden_crop  # noqa: E402
from streamd.vision.alignment import SIDE, TEMPLATE  # noqa: E402
from training.pair import RETAIL_LOOK, SFACE_LOOK, Centring, Look, centred, joined, looked_at, tower  # noqa: E402

NOISE = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3))
CROPS = np.stack([golden_crop(), golden_crop()[:, ::-1], NOISE]).astype(np.float32)

# Where retail-0095's makers put eyes, nose tip and mouth corners, fractions of the side (Open Model Zoo).
RETAIL_POINTS = np.array([(0.31557, 0.46157), (0.68262, 0.46157), (0.50026, 0.64051), (0.34947, 0.82469), (0.65344, 0.82469)])
ARCFACE_112 = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])


def network(side: int, dimension: int, seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    given = keras.Input((side, side, 3))
    features = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(given))
    return keras.Model(given, keras.layers.Dense(dimension)(features))


def seen(look: Look, points: np.ndarray) -> np.ndarray:
    """Where points of the crop (pixel centres) come to lie in what a tower sees."""
    return (points - (look.left, look.top) + 0.5) * look.side / look.size - 0.5


def test_the_points_of_a_face_lie_where_each_network_was_trained_to_have_them() -> None:
    """retail-0095's template is wider than ArcFace's: no similarity brings all five points together, only their middle."""
    assert np.abs(seen(SFACE_LOOK, TEMPLATE) - ARCFACE_112).max() < 0.01
    off = seen(RETAIL_LOOK, TEMPLATE) - RETAIL_POINTS * RETAIL_LOOK.side
    assert np.abs(off).max() < 2.5
    assert np.abs(off.mean(0)).max() < 0.5


def test_a_look_cuts_its_window_and_turns_the_channels() -> None:
    crop = np.zeros((1, SIDE, SIDE, 3), np.float32)
    crop[0, 40, 30] = 1, 2, 3
    look = Look(10, 20, 100, 100, bgr=True)

    found = np.asarray(looked_at(look, crop))

    assert found.shape == (1, 100, 100, 3)
    assert found[0, 20, 20].tolist() == [3, 2, 1]
    assert found.sum() == 6


def test_the_cosine_of_two_templates_is_that_of_the_towers_by_their_shares() -> None:
    towers = [(network(112, 8, 1), SFACE_LOOK), (network(128, 16, 2), RETAIL_LOOK)]

    pair = np.asarray(joined(towers, (0.75, 0.25))(CROPS))
    alone = [np.asarray(tower(*one)(CROPS)) for one in towers]

    assert pair.shape == (3, 24)
    assert np.linalg.norm(pair, axis=1) == pytest.approx(1, abs=1e-6)
    assert pair @ pair.T == pytest.approx(0.75 * alone[0] @ alone[0].T + 0.25 * alone[1] @ alone[1].T, abs=1e-5)


def test_a_template_moves_away_from_the_strangers_who_are_like_it() -> None:
    """The plain formula, number by number."""
    random = np.random.default_rng(3)
    strangers, templates = (random.normal(size=(count, 8)).astype(np.float32) for count in (20, 5))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)

    found = np.asarray(centred(Centring(strangers, 10.0, 0.8), templates))

    for template, result in zip(templates, found, strict=True):
        weights = [np.exp(10.0 * float(template @ stranger)) for stranger in strangers]
        mean = sum(weight * stranger for weight, stranger in zip(weights, strangers, strict=True)) / sum(weights)
        expected = template - 0.8 * mean
        assert result == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_a_pair_is_centred_as_a_whole() -> None:
    towers = [(network(112, 8, 1), SFACE_LOOK), (network(128, 16, 2), RETAIL_LOOK)]
    plain = np.asarray(joined(towers, (0.5, 0.5))(CROPS))
    centring = Centring(plain[:2], 25.0, 0.8)

    assert np.asarray(joined(towers, (0.5, 0.5), centring)(CROPS)) == pytest.approx(
        np.asarray(centred(centring, plain)), abs=1e-5
    )
