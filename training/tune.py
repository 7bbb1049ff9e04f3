"""Tune: one of the pair's networks taught to see through door cameras.

What `distil` needs is gathered here: the faces, the two networks, and their templates of the clean crops.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import keras
import numpy as np

from streamd.values import Float32, UInt8
from training import export, teacher
from training.difference import save_difference
from training.distil import Distillation, Lesson, distil
from training.fairface import strangers
from training.pair import RETAIL_LOOK, SFACE_LOOK, tower
from training.scores import templates_of_crops

log = logging.getLogger(__name__)

_THREADS: Final = 2


def networks(teachers: Path) -> tuple[keras.Model, keras.Model]:
    """retail-0095 (from its file in `teachers`) and SFace (from its package), as their makers published them."""
    named = (("retail", teacher.RETAIL), ("sface", teacher.SFACE))
    retail, sface = (teacher.read(teacher.load(teacher.locate(one, teachers)), name) for name, one in named)
    return retail, sface


def lesson(experiment: Distillation, fairface: Path, teachers: Path, cache: Path) -> Lesson:
    """What the experiment learns from: FairFace's training part, and the networks' templates of it, kept in `cache`."""
    faces = strangers(fairface, "train", cache, experiment.pictures)
    log.info("FairFace: %d good faces of %d pictures", len(faces.files), faces.pictures)
    retail, sface = networks(teachers)
    retail_templates = templates_of_crops(
        faces.crops, as_litert(tower(retail, RETAIL_LOOK), cache, "retail"), f"fairface-{len(faces.files)}-retail", cache
    )
    sface_templates = templates_of_crops(
        faces.crops, as_litert(tower(sface, SFACE_LOOK), cache, "sface"), f"fairface-{len(faces.files)}-sface", cache
    )
    kept = np.flatnonzero(faces.outside <= experiment.most_outside)
    both = np.concatenate([retail_templates, sface_templates], 1)[kept] * np.float32(0.5**0.5)
    own = retail_templates if experiment.network == "retail" else sface_templates
    groups = np.unique(np.char.add(faces.race, faces.gender), return_inverse=True)[1]
    return Lesson(faces.crops[kept], own[kept], both, groups[kept])


def as_litert(model: keras.Model, cache: Path, name: str) -> Callable[[UInt8], Float32]:
    """A model in float32, run by LiteRT, which is three times as fast as Keras on a CPU."""
    file = cache / f"{name}-float32.tflite"
    cache.mkdir(parents=True, exist_ok=True)
    file.write_bytes(export.litert(model))
    return export.run_litert(file, _THREADS)


def tuned_file(network: str) -> str:
    """The name of the file with what tuning added to a network's published weights; see `difference`."""
    return f"{network}_tuned.npz"


def tune(experiment: Distillation, fairface: Path, teachers: Path, cache: Path, run: Path) -> int:
    """Carry the experiment to its end, or on from where it was; the steps that are done. Leaves `tuned_file` in `run`."""
    given = lesson(experiment, fairface, teachers, cache)
    retail, sface = networks(teachers)
    network, look = (retail, RETAIL_LOOK) if experiment.network == "retail" else (sface, SFACE_LOOK)
    start = network.get_weights()
    done = distil(experiment, given, network, tower(network, look), run)
    save_difference(run / tuned_file(experiment.network), start, network.get_weights())
    return done
