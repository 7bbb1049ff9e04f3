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
from streamd.recognition.embedding import open_embedder
from streamd.vision.alignment import SIDE

TITLE: Final = "embedding: milliseconds a face by backend, batch and threads"
SECONDS: Final = 2.0
_BATCHES: Final = (1, 2, 4, 8, 16)


def measure(seconds: float) -> dict[str, Any]:
    """Each backend that is installed; `seconds` for each batch size."""
    crops = [np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for i in range(max(_BATCHES))]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        for threads in range(1, min(2, os.cpu_count() or 1) + 1):
            found[f"litert_threads_{threads}"] = _backend("litert", threads, Path(cache), crops, seconds)
        call = bare_embedding(assembly.SHIPPED_CARD)
        samples, cpu = timed(call, seconds)
        found["bare_litert_threads_1"] = {"1": {"p50_ms": round(quantile(samples, 0.5), 2), "cpu_ms": round(cpu, 2)}}
        if importlib.util.find_spec("tensorflow") is not None:
            found["tensorflow"] = _backend("tensorflow", 1, Path(cache), crops, seconds)
    return found


def _backend(name: Any, threads: int, cache: Path, crops: list[Any], seconds: float) -> dict[str, Any]:
    embedder = open_embedder(assembly.SHIPPED_CARD, name, threads=threads, batch_sizes=_BATCHES, cache=cache)
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
