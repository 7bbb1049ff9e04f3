"""Each loss is its formula, written once more number by number, and its slope is that of the formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from training import losses  # noqa: E402

SUBJECTS = np.array([0, 0, 0, 1, 1, 2, 2, 3])
SAME = np.array([1, 0, 1, 0, 0, 1, 1, 0], np.float64)


def units(count: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def plain_mined(embeddings: np.ndarray, mining: str, margin: float) -> float:
    costs = []
    everyone = range(len(embeddings))
    for anchor in everyone:
        positives = [
            apart(embeddings[anchor], embeddings[n]) for n in everyone if n != anchor and SUBJECTS[n] == SUBJECTS[anchor]
        ]
        negatives = [apart(embeddings[anchor], embeddings[n]) for n in everyone if SUBJECTS[n] != SUBJECTS[anchor]]
        if mining == "hard" and positives:
            costs.append(max(max(positives) - min(negatives) + margin, 0))
        for near in positives:
            if mining == "all":
                costs += [near - far + margin for far in negatives if near - far + margin > 0]
            if mining == "semi-hard":
                chosen = min((far for far in negatives if far > near), default=max(negatives))
                costs.append(max(near - chosen + margin, 0))
    return sum(costs) / len(costs)


def plain_quadruplet(given: np.ndarray) -> float:
    costs = []
    for a, p, n, o in zip(given[0::4], given[1::4], given[2::4], given[3::4], strict=True):
        costs.append(max(apart(a, p) ** 2 - apart(a, n) ** 2 + 1, 0) + max(apart(a, p) ** 2 - apart(n, o) ** 2 + 0.5, 0))
    return sum(costs) / len(costs)


def plain_class(cosines: np.ndarray, own: Callable[[float], float]) -> float:
    """Softmax cross-entropy at scale 4 with the own subject's cosine changed by `own`."""
    costs = []
    for row, subject in zip(cosines, SUBJECTS, strict=True):
        logits = [4 * (own(value) if n == subject else value) for n, value in enumerate(row)]
        costs.append(math.log(sum(math.exp(value) for value in logits)) - logits[subject])
    return sum(costs) / len(costs)


def plain_arcface(cosine: float) -> float:
    angle = math.acos(cosine)
    return math.cos(angle + 0.5) if angle + 0.5 < math.pi else cosine - 0.5 * math.sin(0.5)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


LOGITS = np.random.default_rng(1).normal(0, 2, 8)
DISTANCES = np.random.default_rng(2).uniform(0.2, 1.8, 8)
FACES = units(8, 5, 3)
TRIPLETS = units(12, 5, 4)
COSINES = np.concatenate([np.random.default_rng(5).uniform(-0.9, 0.9, (7, 4)), [[0.1, 0.2, 0.3, -0.95]]])

CASES: dict[str, tuple[np.ndarray, Callable[[Any], Any], Callable[[np.ndarray], float]]] = {
    "binary cross-entropy": (
        LOGITS,
        lambda x: losses.binary_cross_entropy(x, SAME),
        lambda x: -sum(math.log(sigmoid(v) if s else 1 - sigmoid(v)) for v, s in zip(x, SAME, strict=True)) / 8,
    ),
    "mean absolute error": (
        LOGITS,
        lambda x: losses.mean_absolute_error(x, SAME),
        lambda x: sum(abs(sigmoid(v) - s) for v, s in zip(x, SAME, strict=True)) / 8,
    ),
    "contrastive": (
        DISTANCES,
        lambda x: losses.contrastive(x, SAME, 1.2),
        lambda x: sum(v**2 / 2 if s else max(1.2 - v, 0) ** 2 / 2 for v, s in zip(x, SAME, strict=True)) / 8,
    ),
    "triplet": (
        TRIPLETS,
        lambda x: losses.triplet(x[0::3], x[1::3], x[2::3], 0.5),
        lambda x: (
            sum(max(apart(a, p) ** 2 - apart(a, n) ** 2 + 0.5, 0) for a, p, n in zip(x[0::3], x[1::3], x[2::3], strict=True))
            / 4
        ),
    ),
    "quadruplet": (
        TRIPLETS,
        lambda x: losses.quadruplet(x[0::4], x[1::4], x[2::4], x[3::4], 1, 0.5),
        plain_quadruplet,
    ),
    "all triplets": (
        FACES,
        lambda x: losses.mined_triplet(x, SUBJECTS, 0.3, "all"),
        lambda x: plain_mined(x, "all", 0.3),
    ),
    "semi-hard triplets": (
        FACES,
        lambda x: losses.mined_triplet(x, SUBJECTS, 0.3, "semi-hard"),
        lambda x: plain_mined(x, "semi-hard", 0.3),
    ),
    "hard triplets": (
        FACES,
        lambda x: losses.mined_triplet(x, SUBJECTS, 0.3, "hard"),
        lambda x: plain_mined(x, "hard", 0.3),
    ),
    "CosFace": (
        COSINES,
        lambda x: losses.cross_entropy(losses.cosface_logits(x, SUBJECTS, 4, 0.35), SUBJECTS),
        lambda x: plain_class(x, lambda value: value - 0.35),
    ),
    "ArcFace": (
        COSINES,
        lambda x: losses.cross_entropy(losses.arcface_logits(x, SUBJECTS, 4, 0.5), SUBJECTS),
        lambda x: plain_class(x, plain_arcface),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_its_formula(name: str) -> None:
    given, loss, formula = CASES[name]

    assert float(loss(keras.ops.convert_to_tensor(given, "float64"))) == pytest.approx(formula(given), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_slope_of_a_loss_is_that_of_finite_differences(name: str) -> None:
    import tensorflow as tf

    given, loss, formula = CASES[name]
    variable = tf.Variable(given, dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = loss(variable)
    exact = tf.convert_to_tensor(tape.gradient(value, variable)).numpy()

    step = 1e-6
    for place in np.ndindex(given.shape):
        high, low = given.copy(), given.copy()
        high[place] += step
        low[place] -= step
        assert exact[place] == pytest.approx((formula(high) - formula(low)) / (2 * step), abs=1e-6)
    assert np.abs(exact).max() > 0.01


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard"])
def test_a_batch_without_two_of_one_subject_costs_nothing(mining: losses.Mining) -> None:
    faces = keras.ops.convert_to_tensor(units(4, 5, 6), "float32")

    assert float(losses.mined_triplet(faces, np.arange(4), 0.3, mining)) == 0


def test_two_equal_faces_have_a_slope_that_is_a_number() -> None:
    """The root's slope at nothing is infinite; times the zero behind it that would be NaN."""
    import tensorflow as tf

    faces = tf.Variable(np.tile(units(1, 5, 7), (4, 1)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = losses.mined_triplet(faces, np.array([0, 0, 1, 1]), 0.3, "hard")

    assert np.isfinite(np.asarray(tape.gradient(loss, faces))).all()


def test_the_l1_head_compares_all_pairs_by_what_it_trains() -> None:
    """With weights all alike, the loss of a pair of one subject is log(1 + e^-logit), and compare gives the logits."""
    first, second = units(3, 6, 8).astype(np.float32), units(3, 6, 9).astype(np.float32)
    head = losses.L1Head(6)
    head.weight.assign(np.linspace(-1, 0.5, 6))

    scores = head.compare(first, second)
    mixed = np.stack([first, second], 1).reshape(6, 6)

    assert scores[1, 2] == pytest.approx(2.5 + float(np.abs(first[1] - second[2]) @ np.linspace(-1, 0.5, 6)) * 6**0.5, abs=1e-5)
    assert float(head(mixed, np.zeros(6, int))) == pytest.approx(float(np.log1p(np.exp(-np.diag(scores))).mean()), abs=1e-5)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (lambda: losses.ContrastiveHead(1.2), "contrastive"),
        (lambda: losses.TripletHead(0.5, None), "triplet"),
        (lambda: losses.QuadrupletHead(1.0), "quadruplet"),
        (lambda: losses.TripletHead(0.3, "hard"), "hard triplets"),
    ],
)
def test_a_head_reads_groups_one_after_another(head: Callable[[], losses.Head], name: str) -> None:
    faces = FACES if name == "hard triplets" else TRIPLETS
    expected = CASES[name][2](faces) if name != "contrastive" else None
    subjects = SUBJECTS if name == "hard triplets" else np.array([0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 7])
    if expected is None:
        same = [1, 0, 1, 0, 1, 1]
        far = [apart(a, b) for a, b in zip(faces[0::2], faces[1::2], strict=True)]
        expected = sum(d**2 / 2 if s else max(1.2 - d, 0) ** 2 / 2 for d, s in zip(far, same, strict=True)) / 6

    assert float(head()(faces.astype(np.float32), subjects)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", ["binary-cross-entropy", "mean-absolute-error"])
def test_a_euclidean_head_costs_less_where_one_subject_is_near_and_two_are_far(loss: Any) -> None:
    near, far = units(2, 5, 10).astype(np.float32)
    head = losses.EuclideanHead(loss)

    right = float(head(np.stack([near, near, near, far]), np.array([0, 0, 0, 1])))
    wrong = float(head(np.stack([near, near, near, far]), np.array([0, 1, 0, 0])))

    assert right < wrong


@pytest.mark.parametrize("formula", ["cosface", "arcface"])
def test_a_class_head_costs_more_by_its_margin(formula: Any) -> None:
    faces = units(8, 5, 11).astype(np.float32)
    costs = [float(losses.ClassHead(5, 4, formula, 4.0, margin)(faces, SUBJECTS)) for margin in (0.0, 0.3)]

    assert costs[0] < costs[1]
