"""Prepare: photographs of known people become aligned crops, through the very detection and alignment that the daemon uses.

A data set is a folder with one folder of pictures for each person (the layout of Labeled Faces in the Wild), or a tar file of
such a folder. Crops are kept in a cache file, since finding 5,000 faces takes minutes and embedding them seconds.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.errors import StreamdError
from streamd.values import Float32, UInt8
from streamd.vision.alignment import VERSION
from streamd.vision.analysis import AnalysedFace, FaceAnalyser

log = logging.getLogger(__name__)

PICTURES: Final = (".jpg", ".jpeg", ".png")
_PADDING: Final = 0.35  # of the long side
_GREY: Final = (114, 114, 114)
_JPEG_QUALITY: Final = 80  # a reduced copy is compressed again, as a camera's stream would be


class DataError(StreamdError):
    """A data set is missing or has another layout than expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The faces of a data set, one for each picture in which one was found.

    crops: uint8 (N, 150, 150, 3) RGB. eye_distances: float32 (N,), pixels in the picture. good: bool (N,), whether the
    quality gates pass it, the one on size aside. pictures: N paths `person/file`. missed: pictures without a face.
    """

    crops: UInt8
    eye_distances: Float32
    good: NDArray[np.bool_]
    pictures: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Who is on each of the N pictures."""
        return tuple(picture.rsplit("/", 1)[0] for picture in self.pictures)


def pictures(data: Path) -> Iterator[tuple[str, bytes]]:
    """Every picture of a data set as (`person/file`, bytes), in the order of their names. Raises DataError if there is none."""
    if data.is_dir():
        files = sorted(path for path in data.rglob("*") if path.suffix.lower() in PICTURES)
        found: Iterator[tuple[str, bytes]] = ((f"{path.parent.name}/{path.name}", path.read_bytes()) for path in files)
        count = len(files)
    elif data.is_file() and tarfile.is_tarfile(data):
        with tarfile.open(data) as archive:
            names = sorted(member.name for member in archive if Path(member.name).suffix.lower() in PICTURES)
        found = _from_tar(data, names)
        count = len(names)
    else:
        raise DataError(f"{data}: expected a folder with a folder of pictures for each person, or a tar file of one")
    if not count:
        raise DataError(f"{data}: holds no picture ({', '.join(PICTURES)})")
    yield from found


def decoded(encoded: bytes) -> UInt8 | None:
    """A picture file as uint8 (H, W, 3) RGB, or None where it is none."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _from_tar(data: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(data) as archive:
        for name in names:
            member = archive.extractfile(name)
            if member is not None:
                yield "/".join(Path(name).parts[-2:]), member.read()


def middle_face(analyser: FaceAnalyser, image: UInt8) -> AnalysedFace | None:
    """The face over the middle of a picture (uint8 (H, W, 3) RGB), with landmarks, or None: whom the picture is named after.

    Where there is none it is looked for again with room around the picture: the detector overlooks faces that fill it, and a
    bystander's must not be taken instead.
    """
    found = _over_the_middle(analyser, image)
    if found is None:
        edge = round(_PADDING * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=_GREY)
        found = _over_the_middle(analyser, np.asarray(padded, np.uint8))
    return found


def _over_the_middle(analyser: FaceAnalyser, image: UInt8) -> AnalysedFace | None:
    middle = np.array([image.shape[1], image.shape[0]], np.float32) / 2

    def covers(face: AnalysedFace) -> bool:
        return bool(face.points.any() and (face.face.box[:2] < middle).all() and (middle < face.face.box[2:]).all())

    faces = [face for face in analyser.analyse(image) if covers(face)]
    return min(faces, key=lambda face: float(np.linalg.norm(face.points.mean(0) - middle)), default=None)


def reduced(image: UInt8, factor: float) -> UInt8:
    """A picture as a camera further away gives it: averaged down by `factor` (0..1) and compressed as JPEG."""
    size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    written = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED), np.uint8)


def faces(data: Path, cache: Path | None = None, eye_distance: float | None = None) -> Faces:
    """The faces of a data set, read from `cache` (a folder) where they were made before.

    eye_distance: pixels between the eyes to which every picture is reduced before its face is looked for; None: as taken.
    """
    size = "as-taken" if eye_distance is None else f"{eye_distance:g}px"
    kept = None
    if cache is not None:
        key = hashlib.sha256(f"{data.resolve()} {VERSION} {size}".encode()).hexdigest()[:8]
        kept = cache / f"faces-{data.stem}-{size}-{key}.npz"
        if kept.is_file():
            return _read(kept)
    made = _make(data, eye_distance)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            crops=made.crops,
            eye_distances=made.eye_distances,
            good=made.good,
            pictures=np.array(made.pictures),
            missed=np.array(made.missed, np.str_),
        )
    return made


def _read(kept: Path) -> Faces:
    with np.load(kept) as stored:
        return Faces(
            stored["crops"],
            stored["eye_distances"],
            stored["good"],
            tuple(map(str, stored["pictures"])),
            tuple(map(str, stored["missed"])),
        )


def _face(analyser: FaceAnalyser, image: UInt8, eye_distance: float | None) -> AnalysedFace | None:
    face = middle_face(analyser, image)
    if face is None or eye_distance is None:
        return face
    factor = eye_distance / face.quality.eye_distance
    return middle_face(analyser, reduced(image, factor)) if factor < 1 else None


def _make(data: Path, eye_distance: float | None) -> Faces:
    crops: list[UInt8] = []
    distances: list[float] = []
    good: list[bool] = []
    found: list[str] = []
    missed: list[str] = []
    with FaceAnalyser() as analyser:
        for name, encoded in pictures(data):
            image = decoded(encoded)
            if image is None:
                raise DataError(f"{data}: {name} is no picture")
            face = _face(analyser, image, eye_distance)
            if face is None:
                missed.append(name)
                continue
            crops.append(face.crop)
            distances.append(face.quality.eye_distance)
            good.append(not {reason.value for reason in face.quality.reasons} - {"too_small"})
            found.append(name)
            if len(found) % 1000 == 0:
                log.info("%s: %d faces", data.name, len(found))
    if not found:
        raise DataError(f"{data}: no face was found in {len(missed)} pictures; expected one over the middle of each")
    return Faces(np.stack(crops), np.asarray(distances, np.float32), np.asarray(good), tuple(found), tuple(missed))
