"""The gallery: an immutable snapshot of the enrolled templates, and exact search in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from streamd.values import Float32, Gallery, SubjectRules


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
    """The snapshot of these photos; the order they come in does not matter. rules: of subjects that have some of their own."""
    rows = sorted(enrolled, key=lambda row: (row.subject, row.photo))
    names = tuple(sorted({row.subject for row in rows}))
    index = {name: position for position, name in enumerate(names)}
    templates = np.array([row.vector for row in rows], np.float32).reshape(-1, dimension)
    templates.setflags(write=False)
    subjects = np.array([index[row.subject] for row in rows], np.int32)
    return Gallery(templates, subjects, names, tuple(row.photo for row in rows), generation, model, dict(rules or {}))


def search(vectors: Float32, gallery: Gallery) -> Float32:
    """Exact search by one matrix product: for B vectors (float32 (B, D), unit rows) and S subjects the best score of each.

    Returns float32 (B, S), cosines in [-1, 1].
    """
    if not gallery.names:
        return np.zeros((len(vectors), 0), np.float32)
    cosines = np.clip(vectors @ gallery.templates.T, -1.0, 1.0)
    starts = np.searchsorted(gallery.subjects, np.arange(len(gallery.names)))
    return np.maximum.reduceat(cosines, starts, axis=1).astype(np.float32)


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
