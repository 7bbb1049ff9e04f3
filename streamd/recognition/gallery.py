"""The gallery: an immutable snapshot of the enrolled templates, and search in it.

While all templates fit into a processor's caches the search is exact, one matrix product: what it costs is to read them, so
the bound is one of numbers (`EXACT_NUMBERS`). Above, an index (`index.py`) names the templates that seem nearest, and their
subjects are then scored exactly, each by all of its templates; every other subject has the score `FLOOR`. So a score is either
exact or that of somebody of whom no template was near.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from streamd.recognition.index import CodeScan, can_index
from streamd.values import Float32, Gallery, Int32, Int64, SubjectRules

log = logging.getLogger(__name__)

EXACT_NUMBERS: Final = 2_500_000
"""The most numbers (templates times their length) that are searched by the product alone: 10 MB, 19,500 templates of 128 or
6,500 of 384.

Medians of a search with the product and with the index, in milliseconds, on two busy cores (AMD EPYC):

    templates            10,000        30,000        100,000
    of 128 numbers     0.25  0.28     2.0   0.37     6.2   0.68
    of 384 numbers     1.7   0.36     4.0   0.39    14.5   0.58

BLAS on one thread is faster within the caches (0.10 against 0.21 for the first) and no faster beyond; its threads cannot be
limited for one call, and on two busy cores two of them took up to 12. An index takes 0.4 s to make for 10,000 templates and
1.4 s for 100,000; a change of the gallery is in force before it.
"""

_SLOW_NUMBERS: Final = 10 * EXACT_NUMBERS  # without an index some 10 ms

FLOOR: Final = -1.0
"""The score of a subject that an index did not find near: no cosine is less."""

_CANDIDATES: Final = 128  # templates that are compared exactly; many more than one person has photos


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """One photo's template: `vector` float32 (D,), unit length; `photo` relative to the enrolment folder."""

    subject: str
    photo: str
    vector: Float32


def build(
    enrolled: Iterable[Enrolled],
    generation: int,
    model: str,
    dimension: int,
    rules: Mapping[str, SubjectRules] | None = None,
) -> Gallery:
    """The snapshot of these photos; the order they come in does not matter. rules: of subjects that have some of their own.

    It has no index yet: making one takes a second, and nobody is to wait for that.
    """
    rows = sorted(enrolled, key=lambda row: (row.subject, row.photo))
    names = tuple(sorted({row.subject for row in rows}))
    index = {name: position for position, name in enumerate(names)}
    templates = np.concatenate([row.vector for row in rows] or [np.zeros(0, np.float32)]).reshape(-1, dimension)
    templates = templates.astype(np.float32, copy=False)
    templates.setflags(write=False)
    subjects = np.array([index[row.subject] for row in rows], np.int32)
    starts = np.searchsorted(subjects, np.arange(len(names))).astype(np.int32)
    if templates.size > _SLOW_NUMBERS and not can_index():
        log.warning("%d templates are searched without an index, which is slow; install streamd[large]", len(rows))
    photos = tuple(row.photo for row in rows)
    return Gallery(templates, subjects, names, photos, generation, model, starts, dict(rules or {}))


def wants_index(gallery: Gallery, exact_numbers: int = EXACT_NUMBERS) -> bool:
    """Whether it would be searched faster by an index than by the product, and has none."""
    return gallery.index is None and gallery.templates.size > exact_numbers and can_index()


def indexed(gallery: Gallery) -> Gallery:
    """The same gallery with an index: every score that it finds is the one that the product gives."""
    return dataclasses.replace(gallery, index=CodeScan(gallery.templates))


def search(vectors: Float32, gallery: Gallery) -> Float32:
    """For B vectors (float32 (B, D), unit rows) and S subjects the best score of each.

    Returns float32 (B, S), cosines in [-1, 1]. With an index a subject is scored for all B vectors or for none: whoever is
    near one of them. The best two of every vector are then exact, as far as the index found them.
    """
    if not gallery.names:
        return np.zeros((len(vectors), 0), np.float32)
    if gallery.index is not None:
        return score(vectors, _near(vectors, gallery, gallery.index.nearest), gallery)
    # One vector row by row: BLAS would share so small a work among threads that wait for each other for milliseconds
    # where the cores are taken, as a door's are while somebody stands there.
    one = len(vectors) == 1
    cosines = np.vecdot(gallery.templates, vectors[0])[None] if one else vectors @ gallery.templates.T
    return np.clip(np.maximum.reduceat(cosines, gallery.starts, axis=1), -1.0, 1.0).astype(np.float32, copy=False)


def score(vectors: Float32, subjects: Int32, gallery: Gallery) -> Float32:
    """As `search`, of these subjects (int32, indices into `gallery.names`, rising) alone; the others have `FLOOR`."""
    scores = np.full((len(vectors), len(gallery.names)), FLOOR, np.float32)
    if not len(subjects):
        return scores
    starts = gallery.starts[subjects]
    counts = np.append(gallery.starts, np.int32(len(gallery.templates)))[subjects + 1] - starts
    edges = np.cumsum(counts) - counts
    rows = np.arange(counts.sum()) + np.repeat(starts - edges, counts)
    cosines = vectors @ gallery.templates[rows].T
    scores[:, subjects] = np.clip(np.maximum.reduceat(cosines, edges, axis=1), -1.0, 1.0)
    return scores


def admitted(scores: Float32, gallery: Gallery, camera: str, when: datetime) -> Float32:
    """The scores of one crop (float32 (S,)) with those of subjects set to -1 who are not to be recognised there and then."""
    refused = [name for name, rules in gallery.rules.items() if not rules.admits(camera, when)]
    if refused:
        scores = scores.copy()
        scores[np.isin(gallery.names, refused)] = -1.0
    return scores


def best_photo(vector: Float32, gallery: Gallery, subject: int) -> str:
    """The photo of a subject (index into `gallery.names`) that is most like a template (float32 (D,))."""
    start, end = (int(edge) for edge in np.searchsorted(gallery.subjects, [subject, subject + 1]))
    return gallery.photos[start + int((gallery.templates[start:end] @ vector).argmax())]


def _near(vectors: Float32, gallery: Gallery, nearest: Callable[[Float32, int], Int64]) -> Int32:
    """The subjects with a template near one of the vectors, at least two where there are two: the rule needs the second too."""
    count = _CANDIDATES
    while True:
        rows = nearest(vectors, min(count, len(gallery.templates)))
        near = [np.unique(gallery.subjects[one[one >= 0]]) for one in rows]
        if count >= len(gallery.templates) or all(len(one) > 1 for one in near):
            return np.unique(np.concatenate(near)).astype(np.int32)
        count *= 8
