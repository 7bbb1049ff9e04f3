"""Losses: what a network is asked for when faces have names, one formula each, and the heads that hold a formula's weights.

A batch is float (B, D) embeddings of unit length and int (B,) subjects. How a sampler lays it out is how a head reads it:
pairs, triplets and quadruplets lie one after another. A head also says how like two faces are, by the measure that it trains.
Distillation, which needs no names, is in `distil`.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

import keras
import numpy as np
from keras import ops

from streamd.values import Float32

Mining = Literal["all", "semi-hard", "hard"]

_LEAST_SQUARE: Final = 1e-12  # under the root: its slope at nothing is infinite
_FAR: Final = 1e6  # beyond every distance: stands for "none" where a least one is looked for


def squared_distance(first: Any, second: Any) -> Any:
    """Squared Euclidean distances (B,) of the rows of two (B, D)."""
    return ops.sum(ops.square(first - second), -1)


def euclidean_distance(first: Any, second: Any) -> Any:
    """Euclidean distances (B,) of the rows of two (B, D); at most 2 where both have unit length."""
    return ops.sqrt(ops.maximum(squared_distance(first, second), _LEAST_SQUARE))


def distance_matrix(embeddings: Any) -> Any:
    """Euclidean distances (B, B) of all rows of (B, D)."""
    squares = ops.sum(ops.square(embeddings), 1)
    squared = squares[:, None] + squares[None, :] - 2 * ops.matmul(embeddings, ops.transpose(embeddings))
    return ops.sqrt(ops.maximum(squared, _LEAST_SQUARE))


def binary_cross_entropy(logits: Any, same: Any) -> Any:
    """Mean of -log p(same), p = sigmoid(logit): logits (B,), same (B,) 1 or 0 (Koch, Zemel and Salakhutdinov 2015)."""
    return ops.mean(ops.softplus(logits) - same * logits)


def mean_absolute_error(logits: Any, same: Any) -> Any:
    """Mean of |sigmoid(logit) - same|: logits (B,), same (B,) 1 or 0. Its slope dies out on confident mistakes too."""
    return ops.mean(ops.abs(ops.sigmoid(logits) - same))


def contrastive(distances: Any, same: Any, margin: float) -> Any:
    """Mean of (same d^2 + (1 - same) max(margin - d, 0)^2) / 2 (Hadsell, Chopra and LeCun 2006). distances, same: (B,)."""
    apart = ops.square(ops.relu(margin - distances))
    return ops.mean(same * ops.square(distances) + (1 - same) * apart) / 2


def triplet(anchor: Any, positive: Any, negative: Any, margin: float) -> Any:
    """Mean of max(|a - p|^2 - |a - n|^2 + margin, 0) over given triplets, (B, D) each (FaceNet: Schroff et al. 2015)."""
    return ops.mean(ops.relu(squared_distance(anchor, positive) - squared_distance(anchor, negative) + margin))


def mined_triplet(embeddings: Any, subjects: Any, margin: float, mining: Mining) -> Any:
    """Mean of max(d(a, p) - d(a, n) + margin, 0) over triplets found in the batch; d is Euclidean (Hermans et al. 2017).

    all: every triplet that still costs something. hard: for each anchor its farthest positive and nearest negative.
    semi-hard: for each anchor and positive the nearest negative that is farther than the positive, or the farthest negative
    where none is (Schroff et al. 2015). Faces without a positive or a negative in the batch are no anchors.
    """
    distances = distance_matrix(embeddings)
    same = ops.equal(subjects[:, None], subjects[None, :])
    positive = ops.logical_and(same, ops.logical_not(ops.eye(embeddings.shape[0], dtype="bool")))
    negative = ops.logical_not(same)
    if mining == "hard":
        farthest = ops.max(ops.where(positive, distances, 0), 1)
        nearest = ops.min(ops.where(negative, distances, _FAR), 1)
        return _mean_where(ops.logical_and(ops.any(positive, 1), ops.any(negative, 1)), ops.relu(farthest - nearest + margin))
    to_positive, to_negative = distances[:, :, None], distances[:, None, :]  # (anchor, positive, negative)
    if mining == "all":
        cost = ops.relu(to_positive - to_negative + margin)
        counted = ops.logical_and(positive[:, :, None], negative[:, None, :])
        return _mean_where(ops.logical_and(counted, cost > 0), cost)
    farther = ops.logical_and(negative[:, None, :], to_negative > to_positive)
    nearest = ops.min(ops.where(farther, to_negative, _FAR), 2)
    farthest = ops.max(ops.where(negative, distances, 0), 1)[:, None]
    chosen = ops.where(ops.any(farther, 2), nearest, farthest)
    return _mean_where(ops.logical_and(positive, ops.any(negative, 1)[:, None]), ops.relu(distances - chosen + margin))


def _mean_where(counted: Any, values: Any) -> Any:
    """Mean of the values that count; 0 where none does."""
    weights = ops.cast(counted, values.dtype)
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1)


def quadruplet(anchor: Any, positive: Any, negative: Any, other: Any, margin: float, far_margin: float) -> Any:
    """Mean of max(|a - p|^2 - |a - n|^2 + margin, 0) + max(|a - p|^2 - |n - o|^2 + far_margin, 0) (Chen et al. 2017).

    (B, D) each; negative and other are of two more subjects: any two strangers shall be farther apart than any two pictures
    of one person, whoever they are.
    """
    near = squared_distance(anchor, positive)
    first = ops.relu(near - squared_distance(anchor, negative) + margin)
    return ops.mean(first + ops.relu(near - squared_distance(negative, other) + far_margin))


def cosface_logits(cosines: Any, subjects: Any, scale: float, margin: float) -> Any:
    """scale (cos - margin) for a face's own subject, scale cos for the others (Wang et al. 2018). cosines: (B, subjects)."""
    own = ops.one_hot(subjects, cosines.shape[1], dtype=cosines.dtype)
    return scale * (cosines - margin * own)


def arcface_logits(cosines: Any, subjects: Any, scale: float, margin: float) -> Any:
    """scale cos(angle + margin) for a face's own subject, scale cos for the others (Deng et al. 2019). cosines: (B, subjects).

    margin: radians. Where angle + margin passes pi, the cosine would rise again; cos - margin sin(margin) goes on falling.
    """
    own = ops.one_hot(subjects, cosines.shape[1], dtype=cosines.dtype)
    inside = ops.clip(cosines, -1 + 1e-7, 1 - 1e-7)  # the sine's slope at the ends is infinite
    turned = inside * math.cos(margin) - ops.sqrt(1 - ops.square(inside)) * math.sin(margin)
    falling = ops.where(inside > math.cos(math.pi - margin), turned, inside - margin * math.sin(margin))
    return scale * (own * falling + (1 - own) * inside)


def cross_entropy(logits: Any, subjects: Any) -> Any:
    """Mean of -log softmax at a face's own subject: logits (B, subjects), subjects (B,)."""
    own = ops.one_hot(subjects, logits.shape[1], dtype=logits.dtype)
    return ops.mean(ops.logsumexp(logits, 1) - ops.sum(own * logits, 1))


class Head(keras.layers.Layer):
    """Embeddings float32 (B, D) and subjects int (B,) to the loss; computed in float32, whatever the network is."""

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def compare(self, first: Float32, second: Float32) -> Float32:
        """How like faces are, float32 (N, M), more is liker: all of (N, D) against all of (M, D). Here the cosine."""
        return first @ second.T


class L1Head(Head):
    """Pairs: sigmoid(offset + sum of weight |a - b|), under binary cross-entropy (Koch et al. 2015)."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        # A unit vector's numbers are of the order of the root of 1/D: by its root |a - b| comes to the order of 1. With these
        # first weights two strangers' random templates start at -2, and two equal ones at 2.5.
        self.scale = float(dimension) ** 0.5
        self.weight = self.add_weight((dimension,), keras.initializers.Constant(-4 / dimension), name="weight")
        self.offset = self.add_weight((), keras.initializers.Constant(2.5), name="offset")

    def call(self, embeddings: Any, subjects: Any) -> Any:
        """The loss of a batch of pairs."""
        first, second, same = _pairs(embeddings, subjects)
        logits = self.offset + ops.sum(ops.abs(first - second) * self.scale * self.weight, 1)
        return binary_cross_entropy(logits, same)

    def compare(self, first: Float32, second: Float32) -> Float32:
        """The logits of all pairs, float32 (N, M)."""
        weight = np.asarray(self.weight, np.float32) * np.float32(self.scale)
        rows = [np.abs(one - second) @ weight for one in first]
        return np.stack(rows) + np.float32(self.offset)


class EuclideanHead(Head):
    """Pairs: sigmoid(slope (limit - d)), d Euclidean, under binary cross-entropy or mean absolute error; both learnt."""

    def __init__(self, loss: Literal["binary-cross-entropy", "mean-absolute-error"]) -> None:
        super().__init__()
        self.formula = {"binary-cross-entropy": binary_cross_entropy, "mean-absolute-error": mean_absolute_error}[loss]
        self.slope = self.add_weight((), keras.initializers.Constant(5.0), name="slope")
        self.limit = self.add_weight((), keras.initializers.Constant(1.0), name="limit")

    def call(self, embeddings: Any, subjects: Any) -> Any:
        """The loss of a batch of pairs."""
        first, second, same = _pairs(embeddings, subjects)
        return self.formula(self.slope * (self.limit - euclidean_distance(first, second)), same)


class ContrastiveHead(Head):
    """Pairs: contrastive loss on their Euclidean distance."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def call(self, embeddings: Any, subjects: Any) -> Any:
        """The loss of a batch of pairs."""
        first, second, same = _pairs(embeddings, subjects)
        return contrastive(euclidean_distance(first, second), same, self.margin)


class TripletHead(Head):
    """Triplets: as given (None), or mined among all faces of the batch."""

    def __init__(self, margin: float, mining: Mining | None) -> None:
        super().__init__()
        self.margin, self.mining = margin, mining

    def call(self, embeddings: Any, subjects: Any) -> Any:
        """The loss of a batch of triplets, or of any batch where they are mined."""
        if self.mining is None:
            return triplet(embeddings[0::3], embeddings[1::3], embeddings[2::3], self.margin)
        return mined_triplet(embeddings, subjects, self.margin, self.mining)


class QuadrupletHead(Head):
    """Quadruplets; the second margin is half of the first, as in the paper."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def call(self, embeddings: Any, subjects: Any) -> Any:  # noqa: ARG002 (every head is called alike)
        """The loss of a batch of quadruplets."""
        return quadruplet(*(embeddings[place::4] for place in range(4)), self.margin, self.margin / 2)


class ClassHead(Head):
    """Any batch: a centre of unit length for each of the training's subjects, under CosFace or ArcFace."""

    def __init__(
        self, dimension: int, subjects: int, formula: Literal["cosface", "arcface"], scale: float, margin: float
    ) -> None:
        super().__init__()
        self.logits = {"cosface": cosface_logits, "arcface": arcface_logits}[formula]
        self.scale, self.margin = scale, margin
        self.centres = self.add_weight((dimension, subjects), keras.initializers.GlorotNormal(seed=0), name="centres")

    def call(self, embeddings: Any, subjects: Any) -> Any:
        """The loss of a batch."""
        cosines = ops.matmul(embeddings, ops.normalize(self.centres, axis=0))
        return cross_entropy(self.logits(cosines, subjects, self.scale, self.margin), subjects)


def _pairs(embeddings: Any, subjects: Any) -> tuple[Any, Any, Any]:
    """First and second faces, (B / 2, D), and whether they are of one subject, 1 or 0."""
    same = ops.cast(ops.equal(subjects[0::2], subjects[1::2]), embeddings.dtype)
    return embeddings[0::2], embeddings[1::2], same
