"""Distribution: one training over several GPUs of this machine, or over several machines, that gives what one would give.

Every replica takes its part of the same global batch. Gradients are averaged over all replicas first and clipped then, as one
machine would clip them, so that a loss that is a mean over pairs, triplets or faces given by the sampler ends in the same
weights; one that mines among the faces it sees, or a network that normalises by them, sees its own part alone. Workers are
told of each other by TensorFlow's environment variable TF_CONFIG, and share the folder of the run, into which the first alone
writes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

from training.run import ExperimentError

Distribute = Literal["none", "mirrored", "multi-worker"]


class Distribution:
    """How a step is spread. `replicas` take part; `chief`: whether this process writes the run's files."""

    def __init__(self, kind: Distribute, batch: int, together: int) -> None:
        """batch: pictures of a global batch, of which `together` at a time must not be parted.

        Raises ExperimentError where the batch cannot be divided, or workers are not told of each other.
        """
        self._strategy = _strategy(kind)
        self.replicas = 1 if self._strategy is None else self._strategy.num_replicas_in_sync
        self.chief = self.is_chief(kind)
        if batch % (self.replicas * together):
            raise ExperimentError(
                f"batch: expected a multiple of {self.replicas * together}, {together} pictures drawn together for each of "
                f"{self.replicas} replicas, found {batch}"
            )

    @staticmethod
    def is_chief(kind: Distribute) -> bool:
        """Whether this process is the one that writes."""
        return kind != "multi-worker" or json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0

    def scope(self) -> Any:
        """Where variables are made."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def applied(self, gradients: Sequence[Any], variables: Sequence[Any], optimiser: Any, clip_norm: float) -> Any:
        """Average, clip and apply the gradients of one replica's part; the norm before clipping. Inside `step` alone."""
        if self.replicas > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, list(gradients))
        clipped, norm = tf.clip_by_global_norm(gradients, clip_norm)
        # The optimiser adds up what replicas hand it.
        optimiser.apply_gradients(zip([one / self.replicas for one in clipped], variables, strict=True))
        return norm

    def step(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work(views, subjects, ...)` of one replica, which gives a tensor, as a function of the global batch: its mean."""
        strategy = self._strategy
        if strategy is None:
            return tf.function(work)  # type: ignore[no-any-return]

        @tf.function
        def spread(views: Any, subjects: Any, *rest: Any) -> Any:
            found = strategy.run(work, (views, subjects, *rest))
            return strategy.reduce(tf.distribute.ReduceOp.MEAN, found, axis=None)

        def call(views: Any, subjects: Any, *rest: Any) -> Any:
            part = len(views) // self.replicas

            def of(values: Any) -> Any:
                return strategy.experimental_distribute_values_from_function(
                    lambda context: values[context.replica_id_in_sync_group * part :][:part]
                )

            return spread(of(views), of(subjects), *rest)

        return call


def _strategy(kind: Distribute) -> Any:
    if kind == "none":
        return None
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy()
    try:
        workers = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]
    except (KeyError, ValueError) as error:
        raise ExperimentError(
            "distribute: multi-worker wants TF_CONFIG in the environment: "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, found none'
        ) from error
    if len(workers) < 2:
        raise ExperimentError("distribute: multi-worker wants two workers or more in TF_CONFIG, found one")
    # Workers talk to each other directly, whatever proxy stands in the environment: detection sets one that leads nowhere.
    os.environ["no_grpc_proxy"] = ",".join(worker.rpartition(":")[0] for worker in workers)  # noqa: SIM112 (gRPC's own name)
    return tf.distribute.MultiWorkerMirroredStrategy()
