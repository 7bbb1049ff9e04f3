"""Photos from disk: decoded upright, or refused with the reason."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from streamd.values import UInt8

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_MAX_BYTES: Final = 40_000_000


class PhotoReason(StrEnum):
    """Why a photo is refused before or besides its quality (values.QualityReason)."""

    NOT_A_PICTURE = "not_a_picture"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    NO_TEMPLATE = "no_template"
    NAME_TAKEN = "name_taken"


def read(path: Path) -> bytes | PhotoReason:
    """The bytes of a photo, or why they are not to be had."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return PhotoReason.TOO_LARGE
        return path.read_bytes()
    except OSError:
        return PhotoReason.UNREADABLE


def decode(data: bytes) -> UInt8 | PhotoReason:
    """The picture, uint8 (H, W, 3) RGB, turned as its EXIF orientation says, or why there is none."""
    if not data:
        return PhotoReason.NOT_A_PICTURE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a picture whose header claims more pixels than OpenCV takes
        return PhotoReason.TOO_LARGE
    if image is None:
        return PhotoReason.NOT_A_PICTURE
    return np.ascontiguousarray(image[:, :, ::-1])
