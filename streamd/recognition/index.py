"""An index for galleries too large for a matrix product: which templates are near, to be compared exactly afterwards.

Every template is coded in 32 bytes, 64 sub-quantisers of 4 bits (Jégou et al. 2011), and all codes are scanned for every
probe by table look-ups in registers (André et al. 2017): a sixteenth of the bytes that the product reads at dimension 128. It
prunes nothing, unlike a graph or an inverted file, so that a face where nobody else is cannot be looked for in the wrong place.

The library is faiss (MIT, wheels for x86-64 and arm64). usearch (Apache-2.0, the same wheels) has graphs alone: for 100,000
templates of dimension 128 its graph took 82 s to build, 85 MB, and found the best in 0.55 ms for 0.993 of the probes, or in
8.3 ms for all of them; the codes took 1.1 s, 3 MB, and 0.48 ms for all of them, the exact comparison included.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streamd.values import Float32, Int64

if TYPE_CHECKING:
    pass

_SUBQUANTISERS: Final = 64
# Templates that the codes are fitted on. 65,536 found no more (recall 1.0, 10,000 to a million of people's templates) and took
# twice as long, at every change of the gallery.
_TRAINING: Final = 2048


def can_index() -> bool:
    """Whether faiss is installed (`pip install streamd[large]`)."""
    return importlib.util.find_spec("faiss") is not None


class CodeScan:
    """All templates by their codes; not changed after it is built, so that any thread may search."""

    def __init__(self, templates: Float32) -> None:
        import faiss

        count, dimension = templates.shape
        faiss.omp_set_num_threads(1)  # the other cores have cameras to look at
        parts = next(parts for parts in range(min(_SUBQUANTISERS, dimension), 0, -1) if dimension % parts == 0)
        self._index: Any = faiss.index_factory(dimension, f"PQ{parts}x4fs", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(count, min(count, _TRAINING), replace=False)
        self._index.train(templates[np.sort(sample)])
        self._index.add(templates)

    def nearest(self, vectors: Float32, count: int) -> Int64:
        """The rows of the templates that seem nearest to each vector (float32 (B, D)): int64 (B, count), -1 where there are
        not so many. Their order is that of the codes, not of the cosines.
        """
        rows: Int64 = self._index.search(np.ascontiguousarray(vectors, np.float32), count)[1]
        return rows
