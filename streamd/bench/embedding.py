"""Embedding: milliseconds a face for each batch size, beside the bare interpreter on the same model file."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd import assembly
from streamd.bench.kernels import bare_embedding
from streamd.bench.statistics import quantile, timed
from streamd.recognition.embedding import Backend, open_embedder
from streamd.values import UInt8
from streamd.vision.alignment import SIDE

TITLE: Final = "embedding: milliseconds a face by model, backend, batch and threads"
SECONDS: Final = 2.0
_BATCHES: Final = (1, 2, 4, 8, 16)


def measure(seconds: float) -> dict[str, Any]:
    """Each shipped model with each backend that is installed; `seconds` for each batch size."""
    crops = [np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for i in range(max(_BATCHES))]
    with tempfile.TemporaryDirectory() as cache:
        return {name: _model(assembly.MODELS / f"{name}.json", Path(cache), crops, seconds) for name in assembly.PROFILES}


def _model(card: Path, cache: Path, crops: list[UInt8], seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for threads in range(1, min(2, os.cpu_count() or 1) + 1):
        found[f"litert_threads_{threads}"] = _backend(card, "litert", threads, cache, crops, seconds)
    samples, cpu = timed(bare_embedding(card), seconds)
    found["bare_litert_threads_1"] = {"1": {"p50_ms": round(quantile(samples, 0.5), 2), "cpu_ms": round(cpu, 2)}}
    if importlib.util.find_spec("tensorflow") is not None:
        found["tensorflow"] = _backend(card, "tensorflow", 1, cache, crops, seconds)
    return found


def _backend(
    card: Path, name: Backend, threads: int, cache: Path, crops: list[UInt8], seconds: float
) -> dict[str, dict[str, float]]:
    embedder = open_embedder(card, name, threads=threads, batch_sizes=_BATCHES, cache=cache)
    rows = {}
    for size in _BATCHES:
        batch = crops[:size]
        samples, cpu = timed(lambda batch=batch: embedder.embed(batch), seconds)  # type: ignore[misc]
        rows[str(size)] = {
            "p50_ms_per_face": round(quantile(samples, 0.5) / size, 2),
            "p99_ms_per_face": round(quantile(samples, 0.99) / size, 2),
            "cpu_ms_per_face": round(cpu / size, 2),
        }
    return rows
