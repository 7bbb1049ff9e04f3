"""Attributes of an aligned face: does it wear glasses, is part of it covered; and what the coach must know of a model's scores.

Three linear rules on the template (what the embedding network made of the face) beside a coarse drawing of the crop: gradient
directions in 8x8 cells (Dalal and Triggs 2005) and the cells' colours against the face's mean. Neither alone does. The numbers
lie in `<model>.attributes.json` beside the model whose templates they were fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamd.errors import ModelError
from streamd.recognition.card import Figure
from streamd.values import Float32, UInt8

_SIDE: Final = 96  # of the crop when drawn
_CELL: Final = 8
_CELLS: Final = _SIDE // _CELL
_DIRECTIONS: Final = 8
_FACE: Final = np.s_[3:11, 2:10]  # the cells from the brows to the chin
DRAWING: Final = 8 * 8 * (_DIRECTIONS + 3)
"""How many numbers a drawing has."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LinearRule(_Part):
    """weights: for the template, then the drawing. A face has the attribute when its score is above `threshold`."""

    weights: tuple[float, ...]
    bias: float
    threshold: float


class AttributeModel(_Part):
    """model: SHA-256 of the embedding model's file. duplicate: the cosine from which a second photo adds nothing. genuine:
    rising cosines, the quantiles (equal steps, 0 to 1) of pairs of photos of one person. figures: how good it is, measured.
    """

    model: str = Field(pattern=r"^[0-9a-f]{64}$")
    dimension: int = Field(ge=1)
    alignment: str
    glasses: LinearRule
    dark_glasses: LinearRule
    mask: LinearRule
    duplicate: float = Field(gt=0, le=1)
    genuine: tuple[_Finite, ...] = Field(min_length=2)
    command: str
    training_data: str
    figures: tuple[Figure, ...]
    limits: tuple[str, ...]

    @model_validator(mode="after")
    def _fits(self) -> AttributeModel:
        for rule in (self.glasses, self.dark_glasses, self.mask):
            if len(rule.weights) != self.dimension + DRAWING:
                raise ValueError(f"a rule must have {self.dimension + DRAWING} weights, has {len(rule.weights)}")
        if any(a > b for a, b in zip(self.genuine, self.genuine[1:], strict=False)):
            raise ValueError("genuine must not fall")
        return self


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is on a face. covered: dark glasses, or a mask or scarf over nose and mouth, said only where it is sure.

    A hand, a cap drawn over the eyes or a cup before the mouth are not told apart from a bare face (measured).
    """

    glasses: bool
    covered: bool


def drawing(crop: UInt8) -> Float32:
    """A coarse drawing of an aligned crop (uint8 (150, 150, 3) RGB): float32 (DRAWING,), about 0..1 each.

    Gradients of each cell in 8 directions, as a share of the face's own, then its colour (CIE L*a*b*) against the mean.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(small, cv2.CV_32F, 0, 1, ksize=1)
    strength = np.hypot(across, down)
    direction = np.floor(np.mod(np.arctan2(down, across), np.pi) / np.pi * _DIRECTIONS).astype(np.int32) % _DIRECTIONS
    cells = np.stack([np.where(direction == one, strength, 0) for one in range(_DIRECTIONS)], axis=-1)
    cells = cells.reshape(_CELLS, _CELL, _CELLS, _CELL, _DIRECTIONS).sum(axis=(1, 3))[_FACE]
    edges = np.sqrt(cells / (cells.sum() + 1e-6)) * 8
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    colours = cv2.resize(lab, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).astype(np.float32)[_FACE]
    colours = (colours - colours.mean(axis=(0, 1))) / 40
    return np.concatenate([edges.ravel(), colours.ravel()]).astype(np.float32)


def features(vector: Float32, crop: UInt8) -> Float32:
    """What the rules see of a face: its template (float32 (D,), unit length) scaled to numbers of about 1, then its drawing."""
    return np.concatenate([vector * np.float32(np.sqrt(len(vector))), drawing(crop)])


def score(rule: LinearRule, seen: Float32) -> float:
    """The rule's score for a face's `features`."""
    return float(np.asarray(rule.weights) @ seen.astype(np.float64)) + rule.bias


def judge(model: AttributeModel, vector: Float32, crop: UInt8) -> Attributes:
    """What is on the face with this template (float32 (D,)) and aligned crop (uint8 (150, 150, 3) RGB)."""
    seen = features(vector, crop)
    glasses, dark, mask = (score(rule, seen) > rule.threshold for rule in (model.glasses, model.dark_glasses, model.mask))
    return Attributes(glasses or dark, dark or mask)


def read_attributes(path: Path, model: str) -> AttributeModel:
    """The rules in a JSON file, which must belong to the embedding model with the SHA-256 `model`. Raises ModelError."""
    try:
        found = AttributeModel.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: the rules for glasses and coverings cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: no rules for glasses and coverings: {key}: {first['msg']}") from error
    if found.model != model:
        raise ModelError(
            f"{path}: made for the model {found.model[:12]}, found {model[:12]}; make it anew with `streamd-train attributes`"
        )
    return found
