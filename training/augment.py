"""Augment: what a door camera makes of a face, done to an aligned crop.

Everything that the camera does happens at the camera's own resolution, between averaging the crop down and bringing it up
again: blur, noise and compression of a face of 12 pixels between the eyes are not those of a portrait. The random views teach,
the named ones measure; both are functions of a crop (uint8 (150, 150, 3) RGB) and of a NumPy generator to such a crop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, TEMPLATE
from training import coverings

EYES: Final = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))
"""Pixels between the eyes in an aligned crop."""

View = Callable[[UInt8, np.random.Generator], UInt8]


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera's look at a face. eye_distance: pixels between the eyes, at most those of the crop.

    motion: pixels of its own by which the face moves while exposed, in the direction `angle` (radians). defocus: standard
    deviation of the blur, pixels. gain: of the light, 1 as it is. noise: standard deviation, levels of 255, grows with the
    root of the light. jpeg: quality 1..100. h264: constant rate factor 0..51 of a video stream, in whose place then no JPEG
    comes; None: no video. grey: without colour, as by infrared light.
    """

    eye_distance: float = EYES
    motion: float = 0.0
    angle: float = 0.0
    defocus: float = 0.0
    gain: float = 1.0
    noise: float = 0.0
    jpeg: int = 95
    grey: bool = False
    h264: int | None = None


def seen_by(camera: Camera, crop: UInt8, random: np.random.Generator) -> UInt8:
    """The crop as this camera would give it, aligned again."""
    side = max(round(SIDE * min(camera.eye_distance / EYES, 1.0)), 8)
    image = crop if side == SIDE else cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    light = image.astype(np.float32)
    if camera.motion > 1:
        light = cv2.filter2D(light, -1, _line(camera.motion, camera.angle), borderType=cv2.BORDER_REPLICATE)
    if camera.defocus > 0:
        light = cv2.GaussianBlur(light, (0, 0), camera.defocus, borderType=cv2.BORDER_REPLICATE)
    if camera.grey:
        light = np.repeat(light @ _LUMA, 3).reshape(light.shape)
    light = light * np.float32(camera.gain)
    if camera.noise > 0:
        strength = np.float32(camera.noise) * np.sqrt(0.25 + 0.75 * np.clip(light, 0, 255) / 255)
        light = light + strength * random.standard_normal(light.shape, np.float32)
    small = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    small = _jpeg(small, camera.jpeg) if camera.h264 is None else _h264(small, camera.h264)
    return np.ascontiguousarray(small if side == SIDE else cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def _jpeg(image: UInt8, quality: int) -> UInt8:
    written = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def _h264(image: UInt8, rate_factor: int) -> UInt8:
    """As the first picture of a stream, on a canvas that the encoder's blocks fill."""
    side = image.shape[0]
    whole = -(-side // _BLOCK) * _BLOCK
    canvas = cv2.copyMakeBorder(image, 0, whole - side, 0, whole - side, cv2.BORDER_REPLICATE)
    options = {"crf": str(rate_factor), "preset": "veryfast", "tune": "zerolatency"}
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = whole
    encoder.pix_fmt, encoder.time_base, encoder.options = "yuv420p", Fraction(1, 15), options
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return np.ascontiguousarray(frames[0].to_ndarray(format="rgb24")[:side, :side])


_BLOCK: Final = 16  # pixels of a macroblock
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def _line(length: float, angle: float) -> Float32:
    """A kernel that smears over `length` pixels in a direction, sums to 1."""
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 8 * half + 1):
        x, y = half + step * np.cos(angle), half + step * np.sin(angle)
        column, row = int(x), int(y)
        right, below = x - column, y - row
        for r, c, share in (
            (0, 0, (1 - right) * (1 - below)),
            (0, 1, right * (1 - below)),
            (1, 0, (1 - right) * below),
            (1, 1, right * below),
        ):
            if share > 0:
                kernel[min(row + r, 2 * half), min(column + c, 2 * half)] += share
    return kernel / kernel.sum()


NAMED: Final[Mapping[str, Camera]] = {
    "25px": Camera(25, jpeg=100),
    "12px": Camera(12, jpeg=100),
    "9px": Camera(9, jpeg=100),
    "6px": Camera(6, jpeg=100),
    "motion_blur": Camera(25, motion=8, jpeg=80),
    "low_light": Camera(25, gain=0.05, noise=1.0, jpeg=80),
}
"""The views that models are measured by; the direction of motion is drawn anew for each face."""

HARD: Final = ("12px", "9px", "6px", "motion_blur", "low_light")


def named_view(name: str) -> View:
    """The view of that name (a key of NAMED)."""
    camera = NAMED[name]

    def view(crop: UInt8, random: np.random.Generator) -> UInt8:
        angle = float(random.uniform(0, np.pi))
        return seen_by(replace(camera, angle=angle), crop, random)

    return view


@dataclass(frozen=True, slots=True)
class DoorViews:
    """How random views are drawn; each share is a probability. eye_distance: least and most pixels, drawn evenly by ratio."""

    clean: float = 0.25
    eye_distance: tuple[float, float] = (5.0, 30.0)
    small: float = 0.75
    motion: float = 0.3
    defocus: float = 0.3
    dark: float = 0.25
    noise: float = 0.5
    grey: float = 0.1
    misaligned: float = 0.5
    h264: float = 0.0
    covered: float = 0.0


def door_view(rules: DoorViews, crop: UInt8, random: np.random.Generator) -> UInt8:
    """One random view of a crop: partly covered, turned, zoomed and shifted a little, lit otherwise, as some camera sees it."""
    if rules.covered and random.random() < rules.covered:
        crop = _COVERINGS[random.integers(len(_COVERINGS))](crop, random)
    if random.random() < rules.misaligned:
        crop = _moved(crop, random)
    if random.random() < rules.clean:
        return crop
    crop = _lit(crop, random)
    low, high = np.log(rules.eye_distance)
    eyes = float(np.exp(random.uniform(low, high))) if random.random() < rules.small else EYES
    motion = float(random.uniform(0.1, 0.4)) * min(eyes, 30) if random.random() < rules.motion else 0.0
    camera = Camera(
        eye_distance=eyes,
        motion=motion,
        angle=float(random.uniform(0, np.pi)),
        defocus=float(random.uniform(0.3, 1.2)) * min(eyes, 30) / 20 if random.random() < rules.defocus else 0.0,
        gain=float(np.exp(random.uniform(np.log(0.04), np.log(0.5)))) if random.random() < rules.dark else 1.0,
        noise=float(random.uniform(0.5, 6.0)) if random.random() < rules.noise else 0.0,
        jpeg=int(random.integers(45, 96)),
        grey=bool(random.random() < rules.grey),
        h264=int(random.integers(23, 40)) if rules.h264 and random.random() < rules.h264 else None,
    )
    return seen_by(camera, crop, random)


_COVERINGS: Final = (coverings.mask, coverings.scarf, coverings.glasses, coverings.sunglasses, coverings.hat)


def _moved(crop: UInt8, random: np.random.Generator) -> UInt8:
    """As landmarks that are a little off would have aligned it."""
    turn, scale = random.normal(0, np.radians(2)), np.exp(random.normal(0, 0.025))
    x, y = random.normal(0, 1.5, 2)
    cos, sin, middle = scale * np.cos(turn), scale * np.sin(turn), (SIDE - 1) / 2
    shift = middle - cos * middle + sin * middle + x, middle - sin * middle - cos * middle + y
    matrix = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
    moved = cv2.warpAffine(crop, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _lit(crop: UInt8, random: np.random.Generator) -> UInt8:
    """Another exposure, contrast and white balance."""
    light: NDArray[np.float64] = (crop / 255.0) ** np.exp(random.normal(0, 0.2))
    light = (light - 0.5) * np.exp(random.normal(0, 0.15)) + 0.5 + random.normal(0, 0.05)
    light = light * np.exp(random.normal(0, 0.06, 3))
    return np.clip(np.rint(light * 255), 0, 255).astype(np.uint8)


def contact_sheet(crops: UInt8, columns: int = 12, seed: int = 1) -> UInt8:
    """A picture of what each augmentation does, a row for each face: uint8 (height, width, 3) RGB.

    First the named views, then each part of the random ones at its full share, the coverings, and whole random views; bands
    of so many columns below each other, each under a row of words.
    """
    kinds, random = _sheet_kinds(), np.random.default_rng(seed)
    bands = []
    for start in range(0, len(kinds), columns):
        band = kinds[start : start + columns]
        sheet = np.full((_WORDS + SIDE * len(crops), SIDE * columns, 3), 255, np.uint8)
        for column, (name, view) in enumerate(band):
            left = SIDE * column
            cv2.putText(sheet, name, (left + 4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
            sheet[_WORDS:, left : left + SIDE] = np.concatenate([view(crop, random) for crop in crops])
        bands.append(sheet)
    return np.concatenate(bands)


def _sheet_kinds() -> list[tuple[str, View]]:
    nothing = DoorViews(clean=0, small=0, motion=0, defocus=0, dark=0, noise=0, grey=0, misaligned=0)
    parts = ("misaligned", "small", "motion", "defocus", "dark", "noise", "grey", "h264")
    return [
        ("as taken", lambda crop, _: crop),
        *((name, named_view(name)) for name in NAMED),
        *((name, functools.partial(door_view, replace(nothing, **{name: 1.0}))) for name in parts),
        *((paint.__name__, paint) for paint in _COVERINGS),
        *((f"random {number}", functools.partial(door_view, DoorViews(clean=0, h264=0.3))) for number in range(1, 5)),
    ]


_WORDS: Final = 26  # pixels of the row of words
