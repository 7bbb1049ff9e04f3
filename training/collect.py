"""Collect: pictures of one person from a camera or a video, for a training: anchors, positives, and others' as negatives.

Anchors and positives are the same kind of picture and alternate, so that both have every pose. A picture is taken where the
face is alone, good enough to be compared, in a pose that is still missing, and not of the moment before. What `prepare` reads
is written: a folder for each person.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from streamd.values import Float32, Frame, Quality, QualityReason, UInt8
from training.looking import Looker
from training.prepare import DataError, pictures

Pose = Literal["straight", "left", "right"]

PAUSE: Final = 0.5  # seconds between two pictures: those of one moment teach the same
_TURNED: Final = 12.0  # degrees of yaw from which a face is turned
_ROOM: Final = 1.0  # of the face's box, on every side: detection wants more than the face
_QUALITY: Final = 95

_WORDS: Final[dict[QualityReason, str]] = {
    QualityReason.TOO_SMALL: "come nearer",
    QualityReason.BLURRED: "hold still",
    QualityReason.DARK: "more light, please",
    QualityReason.OVEREXPOSED: "less light, please",
    QualityReason.FLAT: "more light from the side, please",
    QualityReason.TURNED_AWAY: "turn less",
    QualityReason.TILTED: "hold your head upright",
    QualityReason.CUT_OFF: "move into the middle of the picture",
    QualityReason.NO_LANDMARKS: "show your whole face",
}
_ASKED: Final[dict[Pose, str]] = {
    "straight": "look into the camera",
    "left": "turn a little to your left",
    "right": "turn a little to your right",
}


def pose(quality: Quality) -> Pose:
    """Which pose a face is in; left and right are the person's own."""
    if abs(quality.yaw) < _TURNED:
        return "straight"
    return "left" if quality.yaw > 0 else "right"


def wanted(count: int) -> dict[Pose, int]:
    """How many pictures of each pose make `count`: half of them straight."""
    return {"straight": count - 2 * (count // 4), "left": count // 4, "right": count // 4}


@dataclass(slots=True)
class Collection:
    """What has been taken so far, and what is still to come; no picture in here. count: of all pictures."""

    count: int
    taken: Counter[Pose] = field(default_factory=Counter)
    last: float = float("-inf")

    @property
    def missing(self) -> dict[Pose, int]:
        """Pictures that are still to come, by pose."""
        return {one: number - self.taken[one] for one, number in wanted(self.count).items() if number > self.taken[one]}

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def look(self, now: float, faces: Sequence[Quality]) -> str | None:
        """What keeps the faces of a frame from being taken, said to the person; None where the one there is to be taken."""
        if not faces:
            return "step before the camera"
        if len(faces) > 1:
            return "one person only, please"
        if faces[0].reasons:
            return _WORDS[faces[0].reasons[0]]
        if pose(faces[0]) not in self.missing:
            one, number = next(iter(self.missing.items()))
            return f"{_ASKED[one]} ({number} more)"
        if now - self.last < PAUSE:
            return "good, go on moving a little"
        return None

    def take(self, now: float, quality: Quality) -> str:
        """Count the face of a frame; the name of its file."""
        kind = "anchor" if self.taken.total() % 2 == 0 else "positive"
        self.taken[pose(quality)] += 1
        self.last = now
        return f"{kind}-{self.taken.total():04d}.jpg"


def with_room(image: UInt8, box: Float32) -> UInt8:
    """The part of a picture (uint8 (H, W, 3)) around a face's box (left, top, right, bottom), with room for detection."""
    left, top, right, bottom = box.tolist()
    x, y = _ROOM * (right - left), _ROOM * (bottom - top)
    rows = slice(max(round(top - y), 0), round(bottom + y))
    return np.ascontiguousarray(image[rows, max(round(left - x), 0) : round(right + x)])


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One frame: what is said, and the file that it became, if any. image: uint8 (H, W, 3) RGB."""

    image: UInt8
    said: str
    file: Path | None


def collect(frames: Iterable[Frame], collection: Collection, folder: Path) -> Iterator[Step]:
    """Take pictures out of frames into a person's folder until none is missing; what was said of each frame."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError(f"{folder}: is not empty; name another person or folder, so that nothing there is written over")
    with Looker() as looker:
        for frame in frames:
            seen = looker.faces(frame.image)
            said = collection.look(frame.captured, [one.quality for one in seen])
            file = None
            if said is None:
                file = folder / collection.take(frame.captured, seen[0].quality)
                part = with_room(frame.image, seen[0].face.box)
                cv2.imwrite(str(file), part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                said = f"taken: {collection.taken.total()} of {collection.count}"
            yield Step(frame.image, said, file)
            if collection.complete:
                return


def negatives(source: Path, count: int, out: Path) -> int:
    """Copy `count` pictures of others from a folder or tar file, as if by lot but always the same; how many there were.

    A picture that lies in a folder of its own name's keeps that; those that lie in `source` itself are each of another person.
    """
    found = sorted(pictures(source), key=lambda one: hashlib.sha256(one[0].encode()).digest())[:count]
    for number, (name, encoded) in enumerate(found, 1):
        person, file = name.rsplit("/", 1)
        alone = source.is_dir() and person == source.name
        place = out / (f"negative-{number:05d}" if alone else person)
        place.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(encoded)
    return len(found)


def annotated(step: Step, collection: Collection) -> UInt8:
    """What the window shows: the frame as in a mirror, what is said, and what is missing."""
    image = np.ascontiguousarray(step.image[:, ::-1])
    lines = [step.said, ", ".join(f"{number} {one}" for one, number in collection.missing.items()) or "complete"]
    for row, line in enumerate(lines, 1):
        for colour, thick in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.putText(image, line, (16, 40 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, thick, cv2.LINE_AA)
    return np.asarray(image, np.uint8)
