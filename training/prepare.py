"""Prepare: photographs of known people become aligned crops, through the very detection and alignment that the daemon uses.

A data set is a folder with one folder of pictures for each person (the layout of Labeled Faces in the Wild), or a tar file of
such a folder. Crops are kept in a cache file, since finding 5,000 faces takes minutes and embedding them seconds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.errors import StreamdError
from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, VERSION, align
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from training import progress

PICTURES: Final = (".jpg", ".jpeg", ".png")
_PADDING: Final = 0.35  # of the long side
_SIDES: Final = [1, 0, 2, 3, 5, 4]  # the detector's key points, those of right and left exchanged
_GREY: Final = (114, 114, 114)
_PART: Final = 250  # pictures that are kept together: what a run that is cut off loses at most, of each process
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
    yield from _contents(data, listed(data))


def listed(data: Path) -> list[str]:
    """The pictures of a data set by their paths in it, in order. Raises DataError if there is none."""
    if data.is_dir():
        names = sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.suffix.lower() in PICTURES)
    elif data.is_file() and tarfile.is_tarfile(data):
        with tarfile.open(data) as archive:
            names = sorted(member.name for member in archive if Path(member.name).suffix.lower() in PICTURES)
    else:
        raise DataError(f"{data}: expected a folder with a folder of pictures for each person, or a tar file of one")
    if not names:
        raise DataError(f"{data}: holds no picture ({', '.join(PICTURES)})")
    return names


def _contents(data: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Some pictures of a data set as (`person/file`, bytes)."""
    if data.is_dir():
        for name in names:
            path = data / name
            yield f"{path.parent.name}/{path.name}", path.read_bytes()
        return
    with tarfile.open(data) as archive:
        for name in names:
            member = archive.extractfile(name)
            if member is not None:
                yield "/".join(Path(name).parts[-2:]), member.read()


def decoded(encoded: bytes) -> UInt8 | None:
    """A picture file as uint8 (H, W, 3) RGB, or None where it is none."""
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def middle_face(analyser: FaceAnalyser, image: UInt8) -> AnalysedFace | None:
    """The face over the middle of a picture (uint8 (H, W, 3) RGB), with landmarks, or None: whom the picture is named after.

    Where there is none it is looked for again with room around the picture, and mirrored: the detector overlooks faces that
    fill a picture, the landmarks some that are turned to one side only, and a bystander's must not be taken instead.
    """
    for mirrored in (False, True):
        for picture in _with_room(image):
            found = _over_the_middle(analyser, np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture)
            if found is not None:
                return _mirrored_back(found, picture) if mirrored else found
    return None


def _with_room(image: UInt8) -> Iterator[UInt8]:
    """The picture, and the same with room around it, which is made for the few that need it."""
    yield image
    edge = round(_PADDING * max(image.shape[:2]))
    yield np.asarray(cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=_GREY), np.uint8)


def _mirrored_back(found: AnalysedFace, picture: UInt8) -> AnalysedFace:
    """A face that was found in the mirrored picture, as it is in the picture."""
    last = np.float32(picture.shape[1] - 1)

    def back(points: Float32) -> Float32:
        return np.stack([last - points[:, 0], points[:, 1]], axis=1)

    x0, y0, x1, y1 = found.face.box
    face = replace(
        found.face, box=np.array([last - x1, y0, last - x0, y1], np.float32), keypoints=back(found.face.keypoints)[_SIDES]
    )
    points = back(found.points)[[1, 0, 2, 4, 3]]
    quality = replace(found.quality, yaw=-found.quality.yaw, roll=-found.quality.roll)
    return AnalysedFace(face, points, quality, align(picture, points))


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


def faces(
    data: Path,
    cache: Path | None = None,
    eye_distance: float | None = None,
    processes: int = 2,
    analyser: type[FaceAnalyser] = FaceAnalyser,
) -> Faces:
    """The faces of a data set, read from `cache` (a folder) where they were made before; a run that was cut off goes on there.

    eye_distance: pixels between the eyes to which every picture is reduced before its face is looked for; None: as taken.
    analyser: what finds and aligns faces.
    """
    size = "as-taken" if eye_distance is None else f"{eye_distance:g}px"
    with contextlib.ExitStack() as stack:
        folder = cache if cache is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        how = "" if analyser is FaceAnalyser else f" {analyser.__name__}"
        key = hashlib.sha256(f"{data.resolve()} {VERSION} {size}{how}".encode()).hexdigest()[:8]
        kept = folder / f"faces-{data.stem}-{size}-{key}.npz"
        if not kept.is_file():
            _make_all(data, eye_distance, kept, processes, analyser)
        return _read(kept)


def _make_all(data: Path, eye_distance: float | None, kept: Path, processes: int, analyser: type[FaceAnalyser]) -> None:
    """Make the faces of a data set in parts, which are put together at the end."""
    names = listed(data)
    parts = kept.with_suffix("")
    parts.mkdir(parents=True, exist_ok=True)
    places = [parts / f"{start:06d}.npz" for start in range(0, len(names), _PART)]
    jobs = [
        functools.partial(_make, data, names[start : start + _PART], eye_distance, place, analyser)
        for start, place in zip(range(0, len(names), _PART), places, strict=True)
        if not place.is_file()
    ]
    title = f"{data.name}, {eye_distance:g} pixels between the eyes" if eye_distance is not None else data.name
    progress.carry_out(title, jobs, _PART, processes)
    made = [_read(place) for place in places]
    missed = tuple(name for one in made for name in one.missed)
    if not any(one.pictures for one in made):
        raise DataError(f"{data}: no face was found in {len(missed)} pictures; expected one over the middle of each")
    whole = Faces(
        np.concatenate([one.crops for one in made]),
        np.concatenate([one.eye_distances for one in made]),
        np.concatenate([one.good for one in made]),
        tuple(name for one in made for name in one.pictures),
        missed,
    )
    _write(kept, whole)
    shutil.rmtree(parts)


def _read(kept: Path) -> Faces:
    with np.load(kept) as stored:
        return Faces(
            stored["crops"],
            stored["eye_distances"],
            stored["good"],
            tuple(map(str, stored["pictures"])),
            tuple(map(str, stored["missed"])),
        )


def _write(kept: Path, made: Faces) -> None:
    """At once or not at all."""
    half = kept.with_name(f".{kept.name}.{os.getpid()}.npz")
    np.savez(
        half,
        crops=made.crops,
        eye_distances=made.eye_distances,
        good=made.good,
        pictures=np.array(made.pictures, np.str_),
        missed=np.array(made.missed, np.str_),
    )
    os.replace(half, kept)


def _face(analyser: FaceAnalyser, image: UInt8, eye_distance: float | None) -> AnalysedFace | None:
    face = middle_face(analyser, image)
    if face is None or eye_distance is None:
        return face
    factor = eye_distance / face.quality.eye_distance
    return middle_face(analyser, reduced(image, factor)) if factor < 1 else None


def _make(data: Path, names: Sequence[str], eye_distance: float | None, place: Path, analyser: type[FaceAnalyser]) -> None:
    """The faces of some pictures of a data set."""
    found: list[AnalysedFace] = []
    pictures_found: list[str] = []
    missed: list[str] = []
    with analyser() as looking:
        for name, encoded in _contents(data, names):
            image = decoded(encoded)
            if image is None:
                raise DataError(f"{data}: {name} is no picture")
            face = _face(looking, image, eye_distance)
            if face is None:
                missed.append(name)
            else:
                found.append(face)
                pictures_found.append(name)
    made = Faces(
        np.stack([face.crop for face in found]) if found else np.zeros((0, SIDE, SIDE, 3), np.uint8),
        np.array([face.quality.eye_distance for face in found], np.float32),
        np.array([not {reason.value for reason in face.quality.reasons} - {"too_small"} for face in found], np.bool_),
        tuple(pictures_found),
        tuple(missed),
    )
    _write(place, made)
