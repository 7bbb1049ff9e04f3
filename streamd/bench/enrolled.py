"""A gallery of invented people for the benchmarks: files that stand for photos, with templates drawn at random."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

import numpy as np

from streamd import assembly
from streamd.clock import SystemClock
from streamd.config import load
from streamd.enrolment.images import OpenedPhoto
from streamd.enrolment.photo import PhotoVerdict
from streamd.enrolment.rows import Traits
from streamd.values import Float32

_PHOTOS_EACH: Final = 2
_LIKENESS: Final = 0.8  # the noise that leaves two photos of one person a cosine of about 0.6
LOOKS: Final = Traits(0.3, 120.0, 40.0, 0.0, 0.0, 0.0, 60.0)
"""How the face of an invented photo looks."""


def template(person: str, photo: bytes, dimension: int) -> Float32:
    """A template (float32 (dimension,), unit length) near those of the same person's other photos."""
    rows = []
    for seed in (person.encode(), photo):
        row = np.random.default_rng(list(hashlib.sha256(seed).digest())).normal(size=dimension)
        rows.append(row / np.linalg.norm(row))
    mixed = rows[0] + _LIKENESS * rows[1]
    return np.asarray(mixed / np.linalg.norm(mixed), np.float32)


def enrol(config_file: Path, photos: int) -> None:
    """Fill the gallery of a configuration with so many photos, as a daemon that judged them would have left it."""
    config = load(config_file)
    embedder, card = assembly.open_model(config)
    gallery = config.gallery_folder
    for index in range(photos):
        folder = gallery / f"somebody-{index // _PHOTOS_EACH:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index % _PHOTOS_EACH}.jpg").write_text(f"{folder.name} {index}")

    def look(photo: OpenedPhoto) -> PhotoVerdict:
        data = os.pread(photo.descriptor, 100, 0)
        person = data.partition(b" ")[0].decode(errors="replace")
        return PhotoVerdict((), template(person, data, embedder.dimension), LOOKS)

    model = assembly.Model(embedder, card.calibration, assembly.attribute_rules(config))
    enrolment = assembly.open_enrolment(config, model, look, SystemClock().utc)
    enrolment.refresh(time.time_ns(), 0, lambda: False)
