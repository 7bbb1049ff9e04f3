"""What the demonstration's camera sees: a room, a visit of the enrolled person by other photos, a visit of a stranger."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from streamd.demo.portraits import SPEAKING, STANDING, STRANGER, Portrait
from streamd.values import Float32, UInt8

WIDTH: Final = 1280
HEIGHT: Final = 720
FPS: Final = 15
_NOISES: Final = 5
_NOISE: Final = 2.5  # standard deviation of the sensor's noise, grey levels


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who comes, stands before the camera and goes, shown by photos in turn; seconds; face width in pixels.

    walks: False for one who stands there from the start to the end.
    """

    portraits: tuple[Portrait, ...]
    start: float
    end: float
    face_width: int = 150
    walks: bool = True


STORY: Final = (Visit((SPEAKING, STANDING), 1.5, 7.5), Visit((STRANGER,), 10.5, 15.5))
STORY_SECONDS: Final = 21.5


@dataclass(frozen=True, slots=True, eq=False)
class _Cutout:
    """A person cut out of a photo: float32 (h, w, 3) with a soft mask (h, w, 1), and the face's middle in it."""

    image: Float32
    mask: Float32
    middle: tuple[float, float]


def pictures(folder: Path, visits: Sequence[Visit], seconds: float, seed: int = 7) -> Iterator[UInt8]:
    """The pictures of a story, uint8 (720, 1280, 3) RGB, 15 a second; the same for the same seed."""
    rng = np.random.default_rng(seed)
    room = _room(rng)
    cutouts = {portrait: _cutout(folder, portrait, visit.face_width) for visit in visits for portrait in visit.portraits}
    noises = [rng.normal(0, _NOISE, room.shape).astype(np.float32) for _ in range(_NOISES)]
    for index in range(round(seconds * FPS)):
        now = index / FPS
        picture = room.copy()
        for visit in visits:
            if visit.start <= now < visit.end:
                _place(picture, visit, cutouts, now)
        # A few noises, each shifted anew: drawing fresh ones would take most of the time.
        picture += np.roll(noises[index % _NOISES], int(rng.integers(HEIGHT)), axis=0)
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _place(picture: Float32, visit: Visit, cutouts: dict[Portrait, _Cutout], now: float) -> None:
    """Draw a visitor: in from the left, a stand before the camera with some sway, out to the right."""
    share = (now - visit.start) / (visit.end - visit.start)
    cutout = cutouts[visit.portraits[min(int(share * len(visit.portraits)), len(visit.portraits) - 1)]]
    way = np.interp(share, [0, 0.2, 0.8, 1], [-0.1, 0.5, 0.5, 1.1]) if visit.walks else 0.5
    x = way * WIDTH + 6 * math.sin(2 * math.pi * 0.7 * now) - cutout.middle[0]
    y = 0.42 * HEIGHT + 8 * math.sin(2 * math.pi * 1.3 * now) - cutout.middle[1]
    height, width = cutout.image.shape[:2]
    # Shifted by parts of a pixel: whole steps would jump.
    shift = np.array([[1, 0, x - math.floor(x)], [0, 1, y - math.floor(y)]], np.float32)
    image, mask = (cv2.warpAffine(part, shift, (width, height)) for part in (cutout.image, cutout.mask))
    left, top = math.floor(x), math.floor(y)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, WIDTH), min(top + height, HEIGHT)
    if x1 <= x0 or y1 <= y0:
        return
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = mask.reshape(height, width, 1)[part]
    picture[y0:y1, x0:x1] = alpha * image[part] + (1 - alpha) * picture[y0:y1, x0:x1]


def _cutout(folder: Path, portrait: Portrait, face_width: int) -> _Cutout:
    photo = np.asarray(cv2.imread(str(folder / portrait.file), cv2.IMREAD_COLOR))
    x0, y0, x1, y1 = portrait.face
    scale = face_width / (x1 - x0)
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:, :, ::-1]
    middle_x, middle_y, size = scale * (x0 + x1) / 2, scale * (y0 + y1) / 2, face_width
    left, right = max(0, int(middle_x - 1.3 * size)), min(photo.shape[1], int(middle_x + 1.3 * size))
    top, bottom = max(0, int(middle_y - 1.2 * size)), min(photo.shape[0], int(middle_y + 2.2 * size))
    image = photo[top:bottom, left:right].astype(np.float32)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    away_x, away_y = columns - (middle_x - left), rows - (middle_y - top)
    head = np.hypot(away_x / (0.85 * size), away_y / (1.05 * size))
    shoulders = np.hypot(away_x / (1.25 * size), (away_y - 1.9 * size) / (1.1 * size))
    mask = np.clip((1 - np.minimum(head, shoulders)) / 0.12, 0, 1)
    edge = np.minimum.reduce([columns, image.shape[1] - 1 - columns, rows]) / (0.1 * size)
    return _Cutout(image, (mask * np.clip(edge, 0, 1)).astype(np.float32), (middle_x - left, middle_y - top))


def _room(rng: np.random.Generator) -> Float32:
    """A wall, a door and a floor, float32 (720, 1280, 3)."""
    light = np.linspace(1.0, 0.78, WIDTH, dtype=np.float32)[None, :, None]
    room = np.full((HEIGHT, WIDTH, 3), (176, 172, 162), np.float32) * light
    room[int(0.84 * HEIGHT) :] = np.array((112, 92, 74), np.float32) * light
    cv2.rectangle(room, (930, 120), (1160, int(0.84 * HEIGHT)), (122, 96, 70), -1)
    cv2.rectangle(room, (930, 120), (1160, int(0.84 * HEIGHT)), (84, 66, 48), 6)
    cv2.circle(room, (955, 390), 9, (200, 190, 150), -1)
    texture = cv2.GaussianBlur(rng.normal(0, 20, room.shape[:2]).astype(np.float32), (0, 0), 5)
    return room + texture[:, :, None]
