"""A training spread over workers gives what one machine gives."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.demo.broker import free_port  # noqa: E402
from streamd.vision.alignment import SIDE  # noqa: E402
from training import train as module  # noqa: E402
from training.distribution import Distribution  # noqa: E402
from training.run import CHECKPOINT, ExperimentError, stored_weights  # noqa: E402
from training.train import Experiment, Named, lesson, train  # noqa: E402

TOLERANCE = 1e-5
"""Between the weights of two workers and of one: sums are rounded in another order. The weights are of the order of 0.1."""


def plain(*_: Any) -> Any:
    """Without a normalisation over the batch, of which each worker would see a half."""
    given = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 128, -1)(keras.layers.AveragePooling2D(25)(given))
    x = keras.layers.Dense(128)(keras.layers.Flatten()(x))
    return keras.Model(given, keras.layers.UnitNormalization()(x))


def experiment(**changes: Any) -> Experiment:
    common = {"batch": 8, "epochs": 2, "steps_per_epoch": 4, "checkpoint_every": 4, "warm_up": 2, "learning_rate": 0.01}
    views = {"clean": 1, "misaligned": 0}
    return Experiment(
        **{"loss": {"name": "contrastive"}, "validation": 0.3, "clip_norm": 0.05, "views": views, **common, **changes}
    )


def people() -> Named:
    colours = np.random.default_rng(0).integers(40, 216, (30 * 3, 1, 1, 3))
    return Named(np.broadcast_to(colours, (90, SIDE, SIDE, 3)).astype(np.uint8), tuple(f"person-{n // 3}" for n in range(90)))


def worker(index: int, ports: tuple[int, int], folder: Path) -> None:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    os.environ["https_proxy"] = "http://127.0.0.1:9"  # as detection sets it
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    module.backbone = plain
    asked = experiment(distribute="multi-worker")
    train(asked, lesson(asked, people()), folder)


def test_two_workers_end_with_the_weights_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients are clipped in every step here, so they must have been averaged before."""
    ports, shared, alone = (free_port(), free_port()), tmp_path / "shared", tmp_path / "alone"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=worker, args=(index, ports, shared)) for index in range(2)]
    for one in workers:
        one.start()
    monkeypatch.setattr(module, "backbone", plain)
    train(experiment(), lesson(experiment(), people()), alone)
    for one in workers:
        one.join(180)

    assert [one.exitcode for one in workers] == [0, 0]
    assert sorted(path.name for path in shared.iterdir()) == ["best.npz", "checkpoint.npz", "experiment.json", "tensorboard"]
    pairs = list(zip(stored_weights(shared / CHECKPOINT), stored_weights(alone / CHECKPOINT), strict=True))
    assert max(float(np.abs(one - other).max()) for one, other in pairs) < TOLERANCE
    start = module.Learner(experiment(), 1).network.weights
    assert (
        max(float(np.abs(np.asarray(one) - other[1]).max()) for one, other in zip(start, pairs, strict=False)) > 100 * TOLERANCE
    )


def test_workers_must_be_told_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)

    with pytest.raises(ExperimentError, match="wants TF_CONFIG in the environment"):
        Distribution("multi-worker", 8, 2)


def test_a_single_gpu_or_processor_may_be_mirrored_too() -> None:
    assert Distribution("mirrored", 8, 2).replicas == 1


def test_what_is_drawn_together_is_not_parted() -> None:
    with pytest.raises(ExperimentError, match="expected a multiple of 4"):
        Distribution("none", 6, 4)
