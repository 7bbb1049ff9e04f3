"""A run learns what it is asked for, is a function of its experiment alone, and outlives being killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.errors import ConfigError  # noqa: E402
from streamd.vision.alignment import SIDE  # noqa: E402
from training.distil import (  # noqa: E402
    Distillation,
    Lesson,
    batch,
    chosen,
    distil,
    distillation_loss,
    learning_rate,
    mixed,
    read_experiment,
)
from training.run import CHECKPOINT, ExperimentError, stored_weights  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "config" / "training"


def units(count: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def lesson(faces: int = 12) -> Lesson:
    crops = np.random.default_rng(0).integers(0, 256, (faces, SIDE, SIDE, 3), np.uint8)
    return Lesson(crops, units(faces, 6, 1), units(faces, 10, 2), np.arange(faces) % 2)


def small_student() -> tuple[Any, Any]:
    """A network of one convolution and one dense layer, always with the same first weights."""
    keras.utils.set_random_seed(5)
    given = keras.Input((SIDE, SIDE, 3))
    small = keras.layers.Rescaling(1 / 255)(keras.layers.AveragePooling2D(10)(given))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(small))
    network = keras.Model(given, keras.layers.Dense(6)(features))
    return network, keras.Model(given, keras.layers.UnitNormalization()(network.output))


def experiment(**changes: Any) -> Distillation:
    return Distillation(**{"steps": 6, "batch": 4, "checkpoint_every": 2, "warm_up": 2, "learning_rate": 0.01, **changes})


ABOVE = -0.2  # strangers in six dimensions are seldom unlike


def plain_loss(student: np.ndarray, own: np.ndarray, teachers: np.ndarray) -> tuple[float, float, float]:
    """All three parts, number by number."""
    size = len(student)
    first = sum(1 - float(student[i] @ own[i]) for i in range(size)) / size
    pairs = [(i, j) for i in range(size) for j in range(size) if i != j]
    second = sum((float(student[i] @ student[j]) - float(teachers[i] @ teachers[j])) ** 2 for i, j in pairs) / len(pairs)
    third = sum(max(float(student[i] @ student[j]) - ABOVE, 0.0) ** 2 for i, j in pairs) / len(pairs)
    return first, second, third


def test_the_loss_is_the_plain_formula() -> None:
    student, own, teachers = units(5, 6, 3), units(5, 6, 4), units(5, 10, 5)

    found = [float(part) for part in distillation_loss(student, own, teachers, ABOVE)]

    assert found == pytest.approx(plain_loss(student, own, teachers), abs=1e-5)


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    import tensorflow as tf

    student, own, teachers = units(4, 6, 3), units(4, 6, 4), units(4, 10, 5)
    variable = tf.Variable(student.astype(np.float64))
    with tf.GradientTape() as tape:
        parts = distillation_loss(variable, tf.constant(own, tf.float64), tf.constant(teachers, tf.float64), ABOVE)
        loss = parts[0] + 5 * parts[1] + 20 * parts[2]
    exact = tape.gradient(loss, variable).numpy()

    step = 1e-6
    for place in np.ndindex(4, 6):
        moved = [student.astype(np.float64) for _ in range(2)]
        for one, way in zip(moved, (step, -step), strict=True):
            one[place] += way
        high, low = (
            sum(part * share for part, share in zip(plain_loss(one, own, teachers), (1, 5, 20), strict=True)) for one in moved
        )
        assert exact[place] == pytest.approx((high - low) / (2 * step), abs=1e-4)


def test_every_face_comes_once_before_one_comes_again() -> None:
    given = lesson(12)
    own = [batch(experiment(), given, step)[1] for step in range(3)]

    assert len({row.tobytes() for row in np.concatenate(own)}) == 12


def test_batches_of_one_group_are_as_frequent_as_asked_and_hold_nobody_twice() -> None:
    given = lesson(12)
    drawn = [chosen(experiment(one_group=0.5), given, step) for step in range(400)]

    assert all(len(set(faces.tolist())) == 4 for faces in drawn)
    alike = [len(set(given.groups[faces].tolist())) == 1 for faces in drawn]
    by_chance = 2 * (6 * 5 * 4 * 3) / (12 * 11 * 10 * 9)  # of a mixed batch of four
    assert sum(alike) / 400 == pytest.approx(0.5 + 0.5 * by_chance, abs=0.1)
    assert {int(given.groups[faces[0]]) for faces, one in zip(drawn, alike, strict=True) if one} == {0, 1}


def test_a_group_that_is_too_small_for_a_batch_gives_a_mixed_one() -> None:
    assert len(set(chosen(experiment(batch=8, one_group=1), lesson(12), 0).tolist())) == 8


def test_a_batch_is_drawn_from_seed_and_step_alone() -> None:
    given = lesson(12)

    assert all((a == b).all() for a, b in zip(batch(experiment(), given, 4), batch(experiment(), given, 4), strict=True))
    assert not (batch(experiment(), given, 4)[0] == batch(experiment(seed=2), given, 4)[0]).all()


def test_the_learning_rate_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    rates = [learning_rate(experiment(steps=100, warm_up=10), step) for step in range(101)]

    assert rates[:10] == pytest.approx(np.linspace(0.001, 0.01, 10))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_a_student_comes_nearer_to_what_it_is_taught(tmp_path: Path) -> None:
    """Own templates that depend on the faces' colour: a network of two layers can learn that."""
    tint = np.linspace(20, 230, 24)
    crops = np.stack([np.full((SIDE, SIDE, 3), (shade, 128, 255 - shade), np.uint8) for shade in tint])
    own = np.stack([np.cos(tint / 80), np.sin(tint / 80), *np.zeros((4, 24))], 1).astype(np.float32)
    network, student = small_student()
    clean = {"clean": 1, "misaligned": 0}

    before = float((np.asarray(student(crops.astype(np.float32))) * own).sum(1).mean())
    distil(
        experiment(steps=150, batch=8, checkpoint_every=150, relational=0, views=clean),
        Lesson(crops, own, own, np.zeros(24, int)),
        network,
        student,
        tmp_path,
    )
    after = float((np.asarray(student(crops.astype(np.float32))) * own).sum(1).mean())

    assert before < 0.7
    assert after > 0.97


def test_a_run_that_was_cut_off_ends_bit_for_bit_where_it_would_have_ended(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    distil(experiment(), lesson(), *small_student(), whole)

    assert distil(experiment(), lesson(), *small_student(), cut, stop=lambda done: done >= 3) == 3
    assert distil(experiment(), lesson(), *small_student(), cut) == 6

    ends = (stored_weights(run / CHECKPOINT) for run in (whole, cut))
    assert all((a == b).all() for a, b in zip(*ends, strict=True))


def _long_run(run: Path) -> None:
    distil(experiment(steps=100_000), lesson(), *small_student(), run)


def test_a_kill_costs_no_more_than_one_interval_between_checkpoints(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_long_run, args=(tmp_path,))
    process.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint.npz").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with np.load(tmp_path / "checkpoint.npz") as stored:
        kept = int(json.loads(str(stored["head"]))["done"])

    done = distil(experiment(steps=100_000), lesson(), *small_student(), tmp_path, stop=lambda step: step > kept)

    assert kept >= 2
    assert kept % 2 == 0
    assert done == kept + 1


def test_a_folder_of_another_experiment_is_refused(tmp_path: Path) -> None:
    distil(experiment(steps=2), lesson(), *small_student(), tmp_path)

    with pytest.raises(ExperimentError, match="another experiment"):
        distil(experiment(steps=2, seed=9), lesson(), *small_student(), tmp_path)


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_checkpoint(tmp_path: Path) -> None:
    broken = lesson()
    broken.own[:] = np.nan

    with pytest.raises(ExperimentError, match="lower `learning_rate`"):
        distil(experiment(), broken, *small_student(), tmp_path)

    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_mix_lies_on_the_straight_line_between_start_and_tuned() -> None:
    start, tuned = [np.zeros(3, np.float32)], [np.array([1, 2, 3], np.float32)]

    assert mixed(start, tuned, 0.25)[0].tolist() == [0.25, 0.5, 0.75]


def test_the_shipped_experiment_can_be_read() -> None:
    assert read_experiment(SHIPPED / "retail.yaml").steps > 0


def test_a_mistake_in_an_experiment_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("steps: 10\nlearning_rat: 0.1\n")

    with pytest.raises(ConfigError, match=r"experiment.yaml:2: learning_rat: unknown key; did you mean 'learning_rate'"):
        read_experiment(path)
