"""The card beside a model file: what the file is, how its scores are to be read, where it came from and how good it is.

The program reads all of it at start and refuses what does not agree; the README beside it says the same for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamd.errors import ModelError
from streamd.recognition.calibration import Calibration

_Share = Annotated[float, Field(ge=0, le=1)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Golden(_Part):
    """What the model makes of one drawn face (`embedding.golden_crop`), and how near to it a backend must come (cosine)."""

    recipe: Literal["drawn-face/1"]
    vector: tuple[float, ...]
    min_cosine: dict[Literal["litert", "tensorflow"], _Share]


class Source(_Part):
    """Weights that the model was made from: a file, with its sha256, the package that brings it (None: no package does), its
    terms, and whose photographs its makers trained it on."""

    title: str
    package: str | None = None
    file: str
    sha256: _Sha256
    licence: str
    training_data: str


class Provenance(_Part):
    """How the file was made: from what, by which command, at which commit, with which settings and versions."""

    sources: tuple[Source, ...]
    command: str
    commit: str
    recipe: dict[str, float | str]
    versions: dict[str, str]


class Figure(_Part):
    """One measured number: its name, value, 95 % interval where there is one, and the command that measures it again."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    unit: str = ""
    command: str


class ModelCard(_Part):
    """A model and what must be known to use it. dimension: of a template. alignment: version of the crops it takes."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    file: str = Field(pattern=r"^[^/\\]+\.tflite$")
    sha256: _Sha256
    dimension: int = Field(ge=1)
    alignment: str
    golden: Golden
    calibration: Calibration
    calibration_notes: tuple[str, ...]
    provenance: Provenance
    licence: str
    figures: tuple[Figure, ...]
    limits: tuple[str, ...]


def read_card(path: Path) -> ModelCard:
    """The card in a JSON file. Raises ModelError, which names the key that is wrong."""
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: the model's card cannot be read ({error.strerror}); check `model.card`") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: no card of a model: {key}: {first['msg']}") from error
