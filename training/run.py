"""Run: what every training run has: a frozen experiment, a learning rate for each step, and a checkpoint that outlives a kill.

A run is a function of its experiment alone: batch n is drawn from (seed, n), a checkpoint holds everything else that
a step changes. One that was killed goes on from its last checkpoint, and ends bit for bit where it would have ended.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from streamd.errors import StreamdError
from streamd.values import Float32

CHECKPOINT: Final = "checkpoint.npz"


class ExperimentError(StreamdError):
    """A run cannot go on: what is kept of it belongs to another experiment, or its numbers are none."""


class Section(BaseModel):
    """A part of an experiment's YAML file: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """Names the experiment: a checkpoint of another one is not taken for its own."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def learning_rate(highest: float, warm_up: int, steps: int, step: int) -> float:
    """Of one step: rises evenly over the warm-up, then falls by a cosine to nothing (Loshchilov and Hutter 2017)."""
    if step < warm_up:
        return highest * (step + 1) / warm_up
    share = (step - warm_up) / max(steps - warm_up, 1)
    return highest * 0.5 * (1 + float(np.cos(np.pi * share)))


@dataclass(frozen=True, slots=True)
class Plateau:
    """The learning rate falls where the judgement has stopped to improve. patience: epochs without a better one that are borne;
    factor: of the learning rate then; lowest: where it ends."""

    patience: int
    factor: float
    lowest: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What the judgements of a run have come to. factor: of the highest learning rate; waited: epochs without a better
    judgement since the learning rate fell; without: since the best epoch."""

    factor: float = 1.0
    waited: int = 0
    without: int = 0

    def after(self, better: bool, plateau: Plateau | None) -> Pace:
        """The pace after one more epoch, better than all before or not; plateau: None where judgements move no rate."""
        if better:
            return Pace(self.factor)
        waited, without = self.waited + 1, self.without + 1
        if plateau is None or waited < plateau.patience:
            return Pace(self.factor, waited, without)
        return Pace(self.factor * plateau.factor, 0, without)


def plateau_rate(highest: float, warm_up: int, plateau: Plateau, pace: Pace, step: int) -> float:
    """Of one step: rises evenly over the warm-up, then stays but for what the judgements took from it."""
    if step < warm_up:
        return highest * (step + 1) / warm_up
    return max(highest * pace.factor, min(plateau.lowest, highest))


def save(path: Path, head: Mapping[str, Any], variables: Mapping[str, Sequence[Any]]) -> None:
    """Variables by kind, and a head of JSON values. Written beside and renamed: a kill leaves the old file or the new one."""
    half = path.with_name(f".{path.name}.{os.getpid()}.npz")
    state = {f"{kind}{n}": np.asarray(one) for kind, several in variables.items() for n, one in enumerate(several)}
    np.savez(half, head=json.dumps(dict(head)), **state)
    os.replace(half, path)


def restore(path: Path, experiment: str, variables: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """Gives the variables the values of a file that `save` wrote, and its head; None where there is no file.

    experiment: what the head's `experiment` must be; raises ExperimentError where it is another.
    """
    if not path.is_file():
        return None
    with np.load(path) as stored:
        head: dict[str, Any] = json.loads(str(stored["head"]))
        if head["experiment"] != experiment:
            raise ExperimentError(f"{path.parent}: holds a run of another experiment; name another folder, or remove this one")
        for kind, several in variables.items():
            for number, variable in enumerate(several):
                variable.assign(stored[f"{kind}{number}"])
    return head


def stored_weights(path: Path) -> list[Float32]:
    """The weights of a file that `save` wrote, in the order in which they were given."""
    with np.load(path) as stored:
        count = sum(name.startswith("weight") for name in stored.files)
        return [np.asarray(stored[f"weight{n}"], np.float32) for n in range(count)]
