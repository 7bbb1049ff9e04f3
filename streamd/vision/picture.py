"""Pictures as cameras give them, converted to RGB only where and when a stage looks at them.

Converting a whole 1280x720 picture costs as much as decoding it. So a picture keeps the decoder's planes, turns and trims
them as views, and hands out RGB by region or reduced; the motion gate reads luma alone and converts nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from streamd.values import UInt8

_JPEG_QUALITY: Final = 95

Region = tuple[float, float, float, float]
"""Fractions x0, y0, x1, y1 of a picture, each 0..1."""


def jpeg(image: UInt8) -> bytes:
    """A picture (uint8 (H, W, 3) RGB) as JPEG, of the quality (95) that a photo to be enrolled deserves."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise ValueError(f"no JPEG can be made of a picture of shape {image.shape}")
    return bytes(data)


class Picture(ABC):
    """One picture, not yet converted; `height` and `width` in pixels."""

    height: int
    width: int

    @abstractmethod
    def grey(self, cells: int) -> UInt8:
        """Luma averaged over square cells, about `cells` of them along the long side, uint8 (rows, columns).

        Cells are whole pixels wide, which is five times as fast as any other size; what does not fill one is left out.
        """

    @abstractmethod
    def crop(self, x0: int, y0: int, x1: int, y1: int) -> UInt8:
        """The pixels of a rectangle inside the picture, uint8 (y1 - y0, x1 - x0, 3) RGB, contiguous."""

    @abstractmethod
    def reduced(self, width: int, height: int) -> UInt8:
        """The whole picture brought down to a size by area averaging, uint8 (height, width, 3) RGB, contiguous."""

    @abstractmethod
    def rotated(self, degrees: int) -> Picture:
        """The picture turned clockwise by 0, 90, 180 or 270 degrees; a view."""

    @abstractmethod
    def trimmed(self, region: Region) -> Picture:
        """The part of the picture inside `region`, to even pixels; a view."""

    def rgb(self) -> UInt8:
        """The whole picture, uint8 (H, W, 3) RGB, contiguous."""
        return self.crop(0, 0, self.width, self.height)


def _pixels(region: Region, width: int, height: int) -> tuple[int, int, int, int]:
    """A region of fractions as even pixels x0, y0, x1, y1, at least two wide and high."""
    # The grain of a float must not cost two pixels: 996 / 3156 * 3156 is a little under 996.
    x0, x1 = (int(fraction * width + 1e-6) // 2 * 2 for fraction in region[::2])
    y0, y1 = (int(fraction * height + 1e-6) // 2 * 2 for fraction in region[1::2])
    return x0, y0, max(x1, x0 + 2), max(y1, y0 + 2)


def _turned(plane: UInt8, degrees: int) -> UInt8:
    """A plane turned clockwise by a multiple of 90 degrees; a view."""
    return np.rot90(plane, -degrees // 90 % 4)


@dataclass(frozen=True, slots=True, eq=False)
class RgbPicture(Picture):
    """A picture that is RGB already: uint8 (H, W, 3)."""

    pixels: UInt8

    @property
    def height(self) -> int:  # type: ignore[override]
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:  # type: ignore[override]
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    def grey(self, cells: int) -> UInt8:
        """See Picture; green stands for luma, it carries most of it."""
        return _in_cells(self.pixels[:, :, 1], cells)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> UInt8:
        """See Picture."""
        return np.ascontiguousarray(self.pixels[y0:y1, x0:x1])

    def reduced(self, width: int, height: int) -> UInt8:
        """See Picture."""
        return _averaged(self.pixels, width, height)

    def rotated(self, degrees: int) -> RgbPicture:
        """See Picture."""
        return RgbPicture(_turned(self.pixels, degrees))

    def trimmed(self, region: Region) -> RgbPicture:
        """See Picture."""
        x0, y0, x1, y1 = _pixels(region, self.width, self.height)
        return RgbPicture(self.pixels[y0:y1, x0:x1])


@dataclass(frozen=True, slots=True, eq=False)
class YuvPicture(Picture):
    """A picture as H.264, H.265 and MJPEG decoders give it: planar 4:2:0 (ITU-R BT.601), uint8.

    y: (H, W), H and W even. u, v: (H / 2, W / 2). full_range: 0..255 as JPEG has it (most cameras), else 16..235.
    """

    y: UInt8
    u: UInt8
    v: UInt8
    full_range: bool

    @property
    def height(self) -> int:  # type: ignore[override]
        """Pixels from top to bottom."""
        return int(self.y.shape[0])

    @property
    def width(self) -> int:  # type: ignore[override]
        """Pixels from left to right."""
        return int(self.y.shape[1])

    def grey(self, cells: int) -> UInt8:
        """See Picture."""
        return _in_cells(self.y, cells)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> UInt8:
        """See Picture; chroma is shared by pairs of pixels, so the cut is made on even ones and trimmed afterwards."""
        left, top = x0 // 2 * 2, y0 // 2 * 2
        right, bottom = (x1 + 1) // 2 * 2, (y1 + 1) // 2 * 2
        half = np.s_[top // 2 : bottom // 2, left // 2 : right // 2]
        rgb = _to_rgb(self.y[top:bottom, left:right], self.u[half], self.v[half], self.full_range)
        return np.ascontiguousarray(rgb[y0 - top : y1 - top, x0 - left : x1 - left])

    def reduced(self, width: int, height: int) -> UInt8:
        """See Picture; the planes are reduced first, so that the conversion is small."""
        even = (width + 1) // 2 * 2, (height + 1) // 2 * 2
        half = even[0] // 2, even[1] // 2
        rgb = _to_rgb(_averaged(self.y, *even), _averaged(self.u, *half), _averaged(self.v, *half), self.full_range)
        return np.ascontiguousarray(rgb[:height, :width])

    def rotated(self, degrees: int) -> YuvPicture:
        """See Picture."""
        return YuvPicture(_turned(self.y, degrees), _turned(self.u, degrees), _turned(self.v, degrees), self.full_range)

    def trimmed(self, region: Region) -> YuvPicture:
        """See Picture."""
        x0, y0, x1, y1 = _pixels(region, self.width, self.height)
        half = np.s_[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        return YuvPicture(self.y[y0:y1, x0:x1], self.u[half], self.v[half], self.full_range)


def _in_cells(plane: UInt8, cells: int) -> UInt8:
    side = max(1, max(plane.shape) // cells)
    rows, columns = max(1, plane.shape[0] // side), max(1, plane.shape[1] // side)
    return _averaged(plane[: rows * side, : columns * side], columns, rows)


def _averaged(plane: UInt8, width: int, height: int) -> UInt8:
    """A plane or picture brought to a size by area averaging."""
    return np.asarray(cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _to_rgb(y: UInt8, u: UInt8, v: UInt8, full_range: bool) -> UInt8:
    """Planes of 4:2:0 to RGB; OpenCV's paths are ten times as fast as the scaler that decoders bring."""
    height, width = y.shape
    if full_range:
        size = (width, height)
        red, blue = (cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_LINEAR) for plane in (v, u))
        return np.asarray(cv2.cvtColor(cv2.merge((np.ascontiguousarray(y), red, blue)), cv2.COLOR_YCrCb2RGB), np.uint8)
    packed = np.empty((height * 3 // 2, width), np.uint8)
    packed[:height] = y
    chroma = packed[height:].reshape(2, height // 2, width // 2)
    chroma[0], chroma[1] = u, v
    return np.asarray(cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420), np.uint8)
