"""Distil: a network learns to see through a door camera what it, and its teachers, see on the clean photograph.

No names are needed, but many faces. The student is given a random view of a face (`augment.door_view`) and asked for three
things: its own template of the clean crop, as it was before (so tuned and untuned weights stay near enough to mix, and
what made it differ from the other tower stays); between the faces of a batch the scores that the teachers, joined, give to
the clean crops (relational distillation, Park et al. 2019); and that no two faces of a batch, who are two people, are more
alike than strangers should be, most of all when both are of one group of people, whom networks confuse most. Teachers'
templates are computed once and kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field

from streamd.document import read
from streamd.values import Float32, UInt8
from training import run as runs
from training.augment import DoorViews, door_view
from training.run import CHECKPOINT, ExperimentError, Section

log = logging.getLogger(__name__)

_Share = Annotated[float, Field(ge=0, le=1)]


class Views(Section):
    """How often a view is what; see `augment.DoorViews`."""

    clean: _Share = 0.25
    eye_distance: tuple[Annotated[float, Field(ge=4, le=47)], Annotated[float, Field(ge=4, le=47)]] = (5.0, 30.0)
    small: _Share = 0.75
    motion: _Share = 0.3
    defocus: _Share = 0.3
    dark: _Share = 0.25
    noise: _Share = 0.5
    grey: _Share = 0.1
    misaligned: _Share = 0.5
    h264: _Share = 0.0
    covered: _Share = 0.0


class Distillation(Section):
    """One experiment. steps: batches in all. warm_up: steps to the highest learning rate, which falls by a cosine to nothing.

    network: which of the pair is tuned. own: weight of 1 - cosine to the start's own clean template. relational: weight of the
    squared error of pairwise scores. strangers: weight of the squared excess of pairwise scores over `strangers_above`.
    one_group: share of the batches whose faces are all of one group. pictures: of the collection, the first ones.
    most_outside: share of a crop that may lie outside the photograph. checkpoint_every: steps that a kill may cost.
    """

    network: Literal["retail", "sface"] = "retail"
    seed: int = 1
    steps: int = Field(ge=1)
    batch: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0)
    warm_up: int = Field(default=50, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    own: float = Field(default=1.0, ge=0)
    relational: float = Field(default=5.0, ge=0)
    strangers: float = Field(default=0.0, ge=0)
    strangers_above: float = Field(default=0.1, ge=-1, le=1)
    one_group: _Share = 0.0
    pictures: int | None = Field(default=None, ge=1)
    most_outside: _Share = 0.4
    checkpoint_every: int = Field(default=50, ge=1)
    views: Views = Views()


def read_experiment(path: Path) -> Distillation:
    """The experiment in a YAML file. Raises ConfigError with file, line and key of every mistake."""
    return read(path.read_bytes(), str(path), Distillation)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What there is to learn: crops uint8 (N, 150, 150, 3) RGB of N people; own float32 (N, D), teachers float32 (N, E), unit
    rows, both of the clean crops; groups: the number of each face's group, int (N,)."""

    crops: UInt8
    own: Float32
    teachers: Float32
    groups: NDArray[np.int64]


Batch = tuple[UInt8, Float32, Float32]


def chosen(experiment: Distillation, lesson: Lesson, step: int) -> NDArray[np.int64]:
    """The faces of one step. Of mixed batches every face comes once before one comes again; a batch of one group is drawn from
    it without replacement, each group as often as it is large, and is mixed where the group is too small for it."""
    random = np.random.default_rng((experiment.seed, 2, step))
    if random.random() < experiment.one_group:
        members = np.flatnonzero(lesson.groups == random.choice(lesson.groups))
        if len(members) >= experiment.batch:
            return np.asarray(random.choice(members, experiment.batch, replace=False))
    per_epoch = len(lesson.crops) // experiment.batch
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((experiment.seed, 0, epoch)).permutation(len(lesson.crops))
    return order[place * experiment.batch : (place + 1) * experiment.batch]


def batch(experiment: Distillation, lesson: Lesson, step: int) -> Batch:
    """Views, own and teachers' templates of one step."""
    faces = chosen(experiment, lesson, step)
    random = np.random.default_rng((experiment.seed, 1, step))
    rules = DoorViews(**experiment.views.model_dump())
    views = np.stack([door_view(rules, lesson.crops[face], random) for face in faces])
    return views, lesson.own[faces], lesson.teachers[faces]


def batches(experiment: Distillation, lesson: Lesson, first: int) -> tf.data.Dataset:
    """The batches from step `first` on, made on other threads while the network computes."""
    widths = lesson.own.shape[1], lesson.teachers.shape[1]

    def made(step: Any) -> Any:
        views, own, teachers = tf.numpy_function(
            lambda number: batch(experiment, lesson, int(number)), [step], (tf.uint8, tf.float32, tf.float32)
        )
        views.set_shape((experiment.batch, *lesson.crops.shape[1:]))
        own.set_shape((experiment.batch, widths[0]))
        teachers.set_shape((experiment.batch, widths[1]))
        return views, own, teachers

    return tf.data.Dataset.range(first, experiment.steps).map(made, num_parallel_calls=2, deterministic=True).prefetch(4)


def distillation_loss(student: Any, own: Any, teachers: Any, above: float) -> tuple[Any, Any, Any]:
    """The three parts, scalars: mean of 1 - cosine to the own template; mean squared error of pairwise scores to the teachers';
    mean squared excess of pairwise scores over `above`.

    student, own: (B, D), teachers: (B, E), unit rows. The B scores of a face with itself are left out.
    """
    ops = keras.ops
    own_part = 1 - ops.mean(ops.sum(student * own, 1))
    size = student.shape[0]
    scores = ops.matmul(student, ops.transpose(student))
    difference = scores - ops.matmul(teachers, ops.transpose(teachers))
    excess = ops.relu(scores - above)
    others = (1 - ops.eye(size, dtype=student.dtype)) / (size * (size - 1))
    return own_part, ops.sum(ops.square(difference) * others), ops.sum(ops.square(excess) * others)


def learning_rate(experiment: Distillation, step: int) -> float:
    """Of one step; see `run.learning_rate`."""
    return runs.learning_rate(experiment.learning_rate, experiment.warm_up, experiment.steps, step)


def distil(
    experiment: Distillation,
    lesson: Lesson,
    network: keras.Model,
    student: keras.Model,
    run: Path,
    stop: Callable[[int], bool] = lambda _: False,
) -> int:
    """Tune `network`, whose templates `student` gives, until the experiment ends or `stop(step)`; the steps that are done.

    run: the folder of checkpoints and the log. Weights are left in `network`. Raises ExperimentError where the folder belongs
    to another experiment, or the loss is no number.
    """
    run.mkdir(parents=True, exist_ok=True)
    optimiser = keras.optimizers.Adam(experiment.learning_rate, clipnorm=None, global_clipnorm=experiment.clip_norm)
    optimiser.build(network.trainable_variables)
    variables = {"weight": network.weights, "optimiser": optimiser.variables}
    head = runs.restore(run / CHECKPOINT, experiment.digest, variables)
    done = head["done"] if head is not None else 0
    if done:
        log.info("%s: goes on from step %d", run, done)
    writer = tf.summary.create_file_writer(str(run / "tensorboard"))

    @tf.function
    def step(views: Any, own: Any, teachers: Any) -> Any:
        with tf.GradientTape() as tape:
            templates = student(tf.cast(views, tf.float32), training=False)
            parts = distillation_loss(templates, own, teachers, experiment.strangers_above)
            loss = experiment.own * parts[0] + experiment.relational * parts[1] + experiment.strangers * parts[2]
        optimiser.apply_gradients(
            zip(tape.gradient(loss, network.trainable_variables), network.trainable_variables, strict=True)
        )
        return tf.stack([loss, *parts])

    began, since = time.monotonic(), done
    losses: list[Float32] = []
    for given in batches(experiment, lesson, done):
        optimiser.learning_rate.assign(learning_rate(experiment, done))
        losses.append(step(*given).numpy())
        done += 1
        if done % experiment.checkpoint_every == 0 or done == experiment.steps or stop(done):
            mean = np.mean(losses, 0)
            if not np.isfinite(mean).all():
                raise ExperimentError(f"{run}: the loss became {mean[0]} at step {done}; lower `learning_rate`")
            runs.save(run / CHECKPOINT, {"experiment": experiment.digest, "done": done}, variables)
            rate = (done - since) * experiment.batch / (time.monotonic() - began)
            log.info(
                "step %d of %d: own %.4f, relational %.5f, strangers %.5f, %.1f faces/s",
                done,
                experiment.steps,
                *mean[1:],
                rate,
            )
            with writer.as_default(done):
                for name, value in zip(("loss", "own", "relational", "strangers"), mean, strict=True):
                    tf.summary.scalar(name, value)
            losses.clear()
            if stop(done):
                break
    return done


def mixed(start: list[Float32], tuned: list[Float32], share: float) -> list[Float32]:
    """Weights between the start's (share 0) and the tuned ones (share 1), on the straight line (Wortsman et al. 2022)."""
    return [(1 - share) * one + share * other for one, other in zip(start, tuned, strict=True)]
