"""Coverings: masks, scarves, dark glasses, hats and spectacle frames painted over aligned crops, of random make.

Photographs of covered faces with a free licence are rare; the five points at which every crop is aligned say where a mask
would sit. Painted coverings only train; what is reached is measured on photographs that people looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from streamd.vision.alignment import SIDE, TEMPLATE

_EYES: Final = TEMPLATE[:2]
_NOSE: Final = TEMPLATE[2]
_MOUTH: Final = TEMPLATE[3:].mean(axis=0)
_FINE: Final = 4  # edges are painted at four times the size and averaged
_CLOTH: Final = ((240, 240, 240), (150, 200, 230), (30, 30, 35), (60, 70, 110), (180, 60, 60), (90, 120, 90), (225, 180, 190))
_DARK: Final = ((12, 12, 14), (35, 25, 20), (25, 35, 55), (60, 40, 25), (20, 40, 30))
_FRAMES: Final = ((20, 20, 20), (70, 50, 35), (150, 150, 155), (190, 160, 90), (110, 40, 40), (40, 50, 90), (230, 230, 230))

Paint = Callable[[UInt8, np.random.Generator], UInt8]


def _blank() -> UInt8:
    return np.zeros((SIDE * _FINE, SIDE * _FINE), np.uint8)


def _points(points: Float32) -> NDArray[np.int32]:
    return np.rint(np.asarray(points) * _FINE).astype(np.int32)


def _cover(crop: UInt8, shape: UInt8, colour: Float32, opacity: float, random: np.random.Generator) -> UInt8:
    """A crop with `colour` (float32 (3,) or (H, W, 3)) where the fine shape is set, lit a little like the face under it."""
    share = cv2.resize(shape, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255 * opacity
    light = cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (0, 0), 18).astype(np.float32)[..., None] / 128
    lit = np.broadcast_to(colour, crop.shape) * (0.45 + 0.55 * np.clip(light, 0.3, 1.6))
    lit = lit + random.normal(0, random.uniform(0, 6), crop.shape)
    return np.clip(crop * (1 - share) + lit * share, 0, 255).astype(np.uint8)


def _pick(colours: tuple[tuple[int, int, int], ...], random: np.random.Generator) -> Float32:
    colour = np.array(colours[random.integers(len(colours))], np.float32) + random.normal(0, 14, 3)
    return np.clip(colour, 0, 255).astype(np.float32)


def _weave(colour: Float32, random: np.random.Generator) -> Float32:
    """Cloth: folds, and stripes on some."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    angle, length = random.uniform(-0.5, 0.5), random.uniform(6, 40)
    wave = np.sin((y * np.cos(angle) + x * np.sin(angle)) / length * 6.28 + random.uniform(0, 6.28))
    depth = random.uniform(2, 45 if random.random() < 0.4 else 14)
    return (colour + depth * wave[..., None]).astype(np.float32)


def mask(crop: UInt8, random: np.random.Generator) -> UInt8:
    """A medical or cloth mask over nose and mouth."""
    bridge = _NOSE[1] - random.uniform(4, 20)
    side = _NOSE[1] + random.uniform(-8, 12)
    bottom = _MOUTH[1] + random.uniform(16, 40)
    left, right = 75 - random.uniform(36, 58), 75 + random.uniform(36, 58)
    outline = [[left, side], [75 - random.uniform(8, 20), bridge + 6], [75, bridge], [75 + random.uniform(8, 20), bridge + 6]]
    outline += [[right, side], [right - random.uniform(2, 14), bottom - 14], [75, bottom + 8], [left + 8, bottom - 14]]
    shape = _blank()
    cv2.fillPoly(shape, [_points(np.array(outline, np.float32))], 255)
    shape = cv2.GaussianBlur(shape, (0, 0), random.uniform(2, 8))
    if random.random() < 0.7:  # straps
        for x, way in ((left, -1), (right, 1)):
            end = [x + way * 40, side - random.uniform(0, 35)]
            cv2.line(shape, *map(tuple, _points(np.array([[x, side + 3], end], np.float32)).tolist()), 255, 5)
    return _cover(crop, np.asarray(shape, np.uint8), _weave(_pick(_CLOTH, random), random), 1.0, random)


def scarf(crop: UInt8, random: np.random.Generator) -> UInt8:
    """A scarf or collar up to the nose or over it."""
    top = _NOSE[1] + random.uniform(-14, 16)
    x = np.linspace(-5, SIDE + 5, 9)
    y = top + random.normal(0, 4, 9) + random.uniform(-10, 10) * ((x - 75) / 75) ** 2
    outline = np.concatenate([np.stack([x, y], 1), [[SIDE + 5, SIDE + 5], [-5, SIDE + 5]]])
    shape = _blank()
    cv2.fillPoly(shape, [_points(outline)], 255)
    return _cover(crop, shape, _weave(_pick(_CLOTH, random), random), 1.0, random)


def _lenses(random: np.random.Generator, least: float, most: float) -> tuple[list[NDArray[np.int32]], float]:
    """The outlines of two lenses (fine pixels) around the eyes, and their half width."""
    half = random.uniform(least, most)
    height, power = half * random.uniform(0.6, 0.95), random.choice([2.0, 2.5, 3.5, 6.0])
    angle = np.linspace(0, 2 * np.pi, 48)
    shift = random.normal(0, 2, 2) + np.array([0, random.uniform(-1, 5)])
    tilt = random.normal(0, 0.04)
    outlines = []
    for eye, way in zip(_EYES, (-1, 1), strict=True):
        x = half * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power)
        y = height * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power)
        centre = eye + shift + [way * random.uniform(-1, 2), way * tilt * 24]
        outlines.append(_points(np.stack([x + centre[0], y + centre[1]], 1)))
    return outlines, half


def _frame(outlines: list[NDArray[np.int32]], half: float, thick: int, random: np.random.Generator, rims: bool) -> UInt8:
    shape = _blank()
    if rims:
        cv2.polylines(shape, outlines, True, 255, thick)
    left, right = (outline.mean(axis=0) for outline in outlines)
    lift = np.array([0, random.uniform(0, 4) * _FINE])
    reach = np.array([half * _FINE, 0])
    for a, b in (
        (left + reach - lift, right - reach - lift),
        (left - reach - lift, np.array([-20, left[1] - random.uniform(-4, 10) * _FINE])),
        (right + reach - lift, np.array([SIDE * _FINE + 20, right[1] - random.uniform(-4, 10) * _FINE])),
    ):
        (x0, y0), (x1, y1) = (np.rint(one).astype(int).tolist() for one in (a, b))
        cv2.line(shape, (x0, y0), (x1, y1), 255, max(thick, 4))
    return shape


def sunglasses(crop: UInt8, random: np.random.Generator) -> UInt8:
    """Dark glasses."""
    outlines, half = _lenses(random, 17, 25)
    shape = _blank()
    cv2.fillPoly(shape, outlines, 255)
    y = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    dark = _pick(_DARK, random) + random.uniform(0, 90) * (y if random.random() < 0.5 else 1 - y) * (random.random() < 0.5)
    worn = _cover(crop, shape, dark.astype(np.float32), random.uniform(0.82, 1.0), random)
    return _cover(worn, _frame(outlines, half, int(random.integers(4, 16)), random, True), _pick(_FRAMES, random), 1.0, random)


def glasses(crop: UInt8, random: np.random.Generator) -> UInt8:
    """Clear glasses: a frame, thin to thick, rimless at times, and perhaps a reflection."""
    outlines, half = _lenses(random, 15, 23)
    worn = crop
    if random.random() < 0.3:
        shape = _blank()
        cv2.fillPoly(shape, outlines, 255)
        worn = _cover(worn, shape, np.full(3, random.uniform(60, 255), np.float32), random.uniform(0.05, 0.25), random)
    frame = _frame(outlines, half, int(random.integers(4, 17)), random, random.random() < 0.85)
    return _cover(worn, frame, _pick(_FRAMES, random), random.uniform(0.6, 1.0), random)


def hat(crop: UInt8, random: np.random.Generator) -> UInt8:
    """A hat or headscarf that leaves the face free, which must not count as covered."""
    bottom = _EYES[0, 1] - random.uniform(18, 40)
    x = np.linspace(-5, SIDE + 5, 9)
    y = bottom + random.uniform(-6, 20) * ((x - 75) / 75) ** 2
    shape = _blank()
    cv2.fillPoly(shape, [_points(np.concatenate([np.stack([x, y], 1), [[SIDE + 5, -5], [-5, -5]]]))], 255)
    return _cover(crop, shape, _weave(_pick(_CLOTH + _DARK, random), random), 1.0, random)
