"""Scores: the cosines that a model gives to pairs of faces, of one person (genuine) and of two (impostor)."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamd.errors import ModelError
from streamd.recognition.card import read_card
from streamd.recognition.embedding import open_embedder
from streamd.values import Float32, UInt8
from training.prepare import Faces

log = logging.getLogger(__name__)

Embed = Callable[[UInt8], Float32]
"""uint8 (N, 150, 150, 3) RGB to unit vectors, float32 (N, D)."""


Compare = Callable[[Float32, Float32], Float32]
"""Scores float32 (B, N) of probes float32 (B, D) against others float32 (N, D)."""


def of_card(card: Path) -> tuple[Embed, str]:
    """The model of a card, run by LiteRT as the daemon runs it on a CPU, and the digest of its file."""
    embedder = open_embedder(card, "litert")
    return lambda crops: embedder.embed(list(crops)), read_card(card).sha256


def of_file(path: Path) -> tuple[Embed, str]:
    """Any model as a function of streamd's crops, and the digest of its file, all measured the same way.

    A card (.json, run as the daemon runs it), an exported file (.tflite), or the ONNX file of a known teacher, run by ONNX
    Runtime on what it sees of the crop. Raises ModelError for any other file.
    """
    if path.suffix == ".json":
        return of_card(path)
    if not path.is_file():
        raise ModelError(f"{path}: not found; expected a model's card (.json), a .tflite file or a teacher's .onnx file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".tflite":
        from training.export import run_litert

        return run_litert(path), digest
    from training import pair, teacher

    looks = {teacher.RETAIL.sha256: pair.RETAIL_LOOK, teacher.SFACE.sha256: pair.SFACE_LOOK}
    if digest not in looks:
        known = ", ".join(Path(one.file).name for one in (teacher.RETAIL, teacher.SFACE))
        raise ModelError(f"{path}: expected a model's card (.json), a .tflite file or one of {known}, found another file")
    run, look = teacher.runtime(teacher.load(path)), looks[digest]

    def embed(crops: UInt8) -> Float32:
        vectors = run(np.asarray(pair.looked_at(look, crops.astype(np.float32)), np.float32))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    return embed, digest


def templates(faces: Faces, embed: Embed, model: str, cache: Path | None = None) -> Float32:
    """The templates of a data set's faces, float32 (N, D); `model` names what `embed` is, for the cache."""
    kept = None
    if cache is not None:
        names = hashlib.sha256("\n".join((model, *faces.pictures, *map(str, faces.eye_distances.tolist()))).encode())
        kept = cache / f"templates-{names.hexdigest()[:16]}.npy"
        if kept.is_file():
            return np.asarray(np.load(kept), np.float32)
    parts = []
    for start in range(0, len(faces.crops), 64):
        parts.append(embed(faces.crops[start : start + 64]))
        if start % 1024 == 0:
            log.info("embedding: %d of %d faces", start, len(faces.crops))
    made = np.concatenate(parts)
    if kept is not None:
        np.save(kept, made)
    return made


def templates_of_crops(crops: UInt8, embed: Embed, name: str, cache: Path) -> Float32:
    """Templates of many crops, float32 (N, D), kept in parts: a run that was cut off goes on where it stopped.

    name: what `embed` and `crops` are.
    """
    kept = cache / f"templates-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(crops), _PART):
        place = kept / f"{start:06d}.npy"
        if not place.is_file():
            half = place.with_name(f".{place.name}.{os.getpid()}.npy")
            np.save(half, embed(crops[start : start + _PART]))
            os.replace(half, place)
            log.info("templates %s: %d of %d", name, min(start + _PART, len(crops)), len(crops))
        parts.append(np.load(place))
    return np.concatenate(parts)


_PART: Final = 1000


def few_of_each(people: Sequence[str], most: int) -> NDArray[np.intp]:
    """Indices of at most `most` faces of each person, the first ones: else one often photographed person is the statistic."""
    seen: Counter[str] = Counter()
    kept = []
    for index, person in enumerate(people):
        if seen[person] < most:
            seen[person] += 1
            kept.append(index)
    return np.asarray(kept, np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Cosines of all pairs of enrolled and probe faces: genuine float32 (G,), impostor float32 (I,); `people` who took part."""

    genuine: Float32
    impostor: Float32
    people: int


def cross(enrolled: Faces, enrolled_templates: Float32, probes: Faces, probe_templates: Float32) -> Scores:
    """Every enrolled face against every probe; a picture against itself or a copy of itself is left out."""
    people = {person: number for number, person in enumerate(sorted({*enrolled.people, *probes.people}))}
    rows = np.asarray([people[person] for person in enrolled.people])
    columns = np.asarray([people[person] for person in probes.people])
    files = {picture: number for number, picture in enumerate(probes.pictures)}
    own = np.asarray([files.get(picture, -1) for picture in enrolled.pictures])
    matrix = enrolled_templates @ probe_templates.T
    same = rows[:, None] == columns[None, :]
    other_picture = own[:, None] != np.arange(len(columns))[None, :]
    return Scores(matrix[same & other_picture], matrix[~same], len(people))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, z = hits / trials, 1.96
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
