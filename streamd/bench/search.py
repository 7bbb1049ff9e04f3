"""Search: one probe against galleries of ten thousand to a million templates, beside the bare matrix product.

The templates are people's: a random unit centre for each, and five photos around it, so that two of one person, and the probe
with each of them, have a cosine of about 0.6, and two people's about 0. The recall is the share of probes for which the best
subject is the one that comparing with every template finds. `uniform` is the same without people, templates and probes
anywhere: no door sees such faces, and no index can be wrong more often.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd.bench.statistics import quantile, timed
from streamd.enrolment.rows import Row, Traits
from streamd.enrolment.seal import Seal
from streamd.enrolment.vault import Vault
from streamd.recognition.gallery import EXACT_NUMBERS, Enrolled, build, indexed, search, wants_index
from streamd.values import Float32, Gallery, Int64

TITLE: Final = "search: milliseconds a probe and recall, ten thousand to a million templates"
SECONDS: Final = 3.0
_SIZES: Final = (10_000, 100_000, 1_000_000)
_DIMENSION: Final = 128  # of the model that ships
_LARGE_DIMENSION: Final = 384  # of two networks in one
_PHOTOS: Final = 5
_GENUINE: Final = 0.6
_PROBES: Final = 1000
_BLOCK: Final = 50_000


def measure(seconds: float) -> dict[str, Any]:
    """Each size for so many seconds; `sizes_384` has the larger templates, without the million where memory is short."""
    large = [size for size in _SIZES if 4 * size * _LARGE_DIMENSION * 4 < _free_bytes()]
    return {
        "dimension": _DIMENSION,
        "sizes": [figures(size, _DIMENSION, seconds) for size in _SIZES],
        "sizes_384": [figures(size, _LARGE_DIMENSION, seconds) for size in large],
        "uniform": figures(_SIZES[-1], _DIMENSION, seconds, people=False),
        "start": start_figures(_SIZES[1], _LARGE_DIMENSION),
    }


def start_figures(templates: int, dimension: int) -> dict[str, Any]:
    """From the vault's file to a gallery that can be searched, and the way back: a commit."""
    rng = np.random.default_rng(templates)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    traits = Traits(0.5, 120.0, 30.0, 1.0, 2.0, 3.0, 60.0)
    rows = [
        Row(
            subject=f"s{i // _PHOTOS:07}",
            name=f"Person {i // _PHOTOS}",
            photo=f"s{i // _PHOTOS:07}/{i % _PHOTOS}.jpg",
            digest=hashlib.sha256(str(i).encode()).hexdigest(),
            size=i,
            changed_ns=i,
            reasons=(),
            template=vector,
            traits=traits,
            sequence=i,
            enrolled=now,
        )
        for i, vector in enumerate(_unit(rng, templates, dimension))
    ]
    with tempfile.TemporaryDirectory() as folder:
        seal = Seal(bytes(32))
        committed = _seconds(lambda: Vault(Path(folder), seal).commit(rows, "bench", dimension))
        loaded = _seconds(lambda: Vault(Path(folder), seal).load("bench", dimension))
        ready = _seconds(lambda: _gallery(Vault(Path(folder), seal), dimension))
        size = max(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "templates": templates,
        "dimension": dimension,
        "load_s": round(loaded, 2),
        "load_and_build_s": round(ready, 2),
        "commit_s": round(committed, 2),
        "file_mb": round(size / 1e6, 1),
    }


def _gallery(vault: Vault, dimension: int) -> Gallery:
    found = vault.load("bench", dimension).in_force
    rows = found.rows if found is not None else ()
    enrolled = (Enrolled(row.subject, row.photo, row.template) for row in rows if row.template is not None)
    return build(enrolled, 1, "bench", dimension)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def figures(
    templates: int, dimension: int, seconds: float, *, people: bool = True, exact_numbers: int = EXACT_NUMBERS
) -> dict[str, Any]:
    """One size: the time of a search, of the bare product, and of the build, and the recall."""
    rng = np.random.default_rng(templates)
    vectors, probes = (
        _faces(templates, dimension, rng) if people else (_unit(rng, templates, dimension), _unit(rng, _PROBES, dimension))
    )
    rows = [Enrolled(f"s{i // _PHOTOS:07}", str(i % _PHOTOS), vector) for i, vector in enumerate(vectors)]
    started = time.perf_counter()
    gallery = build(rows, 1, "bench", dimension)
    if wants_index(gallery, exact_numbers):
        gallery = indexed(gallery)
    build_seconds = time.perf_counter() - started
    del rows, vectors
    turn = iter(range(1 << 40))
    samples, _ = timed(lambda: search(probes[next(turn) % len(probes)][None], gallery), seconds)
    product, _ = timed(lambda: gallery.templates @ probes[next(turn) % len(probes)], seconds / 2)
    return {
        "templates": templates,
        "median_ms": round(quantile(samples, 0.5), 3),
        "p99_ms": round(quantile(samples, 0.99), 3),
        "recall_at_1": _recall(probes, gallery),
        "method": "product" if gallery.index is None else "code scan, then exact",
        "bare_product_median_ms": round(quantile(product, 0.5), 3),
        "build_s": round(build_seconds, 1),
    }


def _recall(probes: Float32, gallery: Gallery) -> float:
    found = np.array([search(probe[None], gallery)[0].argmax() for probe in probes])
    return float(np.mean(found == _nearest_subjects(probes, gallery)))


def _nearest_subjects(probes: Float32, gallery: Gallery) -> Int64:
    best = np.full(len(probes), -np.inf, np.float32)
    rows = np.zeros(len(probes), np.int64)
    for start in range(0, len(gallery.templates), _BLOCK):
        cosines = probes @ gallery.templates[start : start + _BLOCK].T
        nearest = cosines.argmax(axis=1)
        value = cosines[np.arange(len(probes)), nearest]
        rows = np.where(value > best, start + nearest, rows)
        best = np.maximum(value, best)
    return gallery.subjects[rows].astype(np.int64)


def _faces(templates: int, dimension: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Templates of people, `_PHOTOS` each, one after the other, and probes of some of them."""
    centres = _unit(rng, -(-templates // _PHOTOS), dimension)
    near = np.float32(np.sqrt(_GENUINE))
    noise = np.float32(np.sqrt(1 - _GENUINE))

    def photos(of: Float32) -> Float32:
        vectors = near * of + noise * _unit(rng, len(of), dimension)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    return photos(np.repeat(centres, _PHOTOS, axis=0)[:templates]), photos(centres[rng.integers(0, len(centres), _PROBES)])


def _unit(rng: np.random.Generator, count: int, dimension: int) -> Float32:
    vectors = rng.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
