"""FairFace: faces of strangers without names, in groups that it tells apart (Karkkainen and Joo 2021, CC BY 4.0).

The folder is the published one: `train/`, `val/`, with a label file each (`fairface_label_train.csv`: file, age, gender, race).
The training part gives faces to distil on and strangers for a cohort; the validation part is measured on, never trained on.
Pictures are cut tight: the face is looked for with room around the picture but aligned on the picture itself.
"""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, VERSION, align, similarity
from streamd.vision.analysis import FaceAnalyser
from training import progress
from training.prepare import DataError

Part = Literal["train", "val"]

_BORDER: Final = 40  # pixels around a picture of 224: else the detector overlooks faces that fill it
_GREY: Final = (114, 114, 114)
_CHUNK: Final = 500  # pictures that are kept together: what a run that is cut off loses at most, of each process
_GROUP_COLUMNS: Final = ("age", "gender", "race")


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """The good faces of a part of FairFace.

    crops: uint8 (N, 150, 150, 3) RGB. outside: float32 (N,), share of the crop that lies outside the photograph, where its
    edge is repeated. files: `train/1.jpg`. age, gender, race: N labels as the collection has them. pictures: how many there
    were; missed: those without a face or with one that the quality gates refuse.
    """

    crops: UInt8
    outside: Float32
    files: tuple[str, ...]
    age: NDArray[np.str_]
    gender: NDArray[np.str_]
    race: NDArray[np.str_]
    pictures: int

    @property
    def missed(self) -> int:
        """Pictures that gave no good face."""
        return self.pictures - len(self.files)


def strangers(folder: Path, part: Part, cache: Path, most: int | None = None, processes: int = 2) -> Strangers:
    """The good faces of a part; crops are kept in `cache`, and a run that was cut off goes on where it stopped.

    most: only so many pictures, the first ones (None: all).

    Raises DataError where the folder is not FairFace's.
    """
    labels = _labels(folder, part)[:most]
    kept = cache / f"fairface-{part}-{VERSION.replace('/', '-')}"
    kept.mkdir(parents=True, exist_ok=True)
    chunks = [labels[start : start + _CHUNK] for start in range(0, len(labels), _CHUNK)]
    missing = [number for number in range(len(chunks)) if not _place(kept, number).is_file()]
    if missing:
        jobs = [functools.partial(_make, folder, [row["file"] for row in chunks[n]], _place(kept, n)) for n in missing]
        progress.carry_out(f"FairFace {part}", jobs, _CHUNK, processes)
    return _read([_place(kept, number) for number in range(len(chunks))], labels)


def _labels(folder: Path, part: Part) -> list[dict[str, str]]:
    path = folder / f"fairface_label_{part}.csv"
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected FairFace as published, with {part}/") from error
    if not rows or not {"file", *_GROUP_COLUMNS} <= rows[0].keys():
        raise DataError(f"{path}: expected the columns file, {', '.join(_GROUP_COLUMNS)}")
    return [row for row in rows if (folder / row["file"]).is_file()]


def _place(kept: Path, number: int) -> Path:
    return kept / f"{number:04d}.npz"


def _make(folder: Path, files: Sequence[str], place: Path) -> None:
    """Crops of some pictures, written at once or not at all."""
    crops, outside, found = [], [], []
    with FaceAnalyser() as analyser:
        for name in files:
            image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
            if image is None:
                raise DataError(f"{folder / name}: is no picture")
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            padded = cv2.copyMakeBorder(rgb, *(_BORDER,) * 4, cv2.BORDER_CONSTANT, value=_GREY)
            faces = analyser.analyse(np.asarray(padded, np.uint8))
            if faces and not {reason.value for reason in faces[0].quality.reasons} - {"too_small"}:
                points = faces[0].points - np.float32(_BORDER)
                crops.append(align(rgb, points))
                outside.append(_outside(rgb.shape[:2], points))
                found.append(name)
    half = place.with_name(f".{place.name}.{os.getpid()}.npz")
    np.savez(
        half,
        crops=np.stack(crops) if crops else np.zeros((0, SIDE, SIDE, 3), np.uint8),
        outside=np.asarray(outside, np.float32),
        files=np.array(found, np.str_),
    )
    os.replace(half, place)


def _outside(shape: tuple[int, ...], points: Float32) -> float:
    inside = cv2.warpAffine(np.ones(shape, np.float32), similarity(points), (SIDE, SIDE), borderValue=0)
    return float(1 - inside.mean())


def _read(places: Sequence[Path], labels: Sequence[dict[str, str]]) -> Strangers:
    parts: list[dict[str, NDArray[Any]]] = []
    for place in places:
        with np.load(place) as stored:
            parts.append(dict(stored))
    crops, outside, files = (np.concatenate([part[name] for part in parts]) for name in ("crops", "outside", "files"))
    by_file = {row["file"]: row for row in labels}
    groups = {name: np.array([by_file[file][name] for file in files.tolist()], np.str_) for name in _GROUP_COLUMNS}
    return Strangers(crops, outside, tuple(files.tolist()), pictures=len(labels), **groups)
