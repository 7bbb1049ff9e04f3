"""The words of the program: the frozen values that pass between its stages (ISO/IEC 2382-37, 19795).

    Camera ─Frame▶ Watcher ─Face▶ Tracker ─Crop▶ Embedder ─Template▶ Gallery ─Comparison▶ Visit ─Decision▶ Publisher

Times named `captured`, `started`, `decided` are seconds of the monotonic clock; `wall` is UTC and only labels. Arrays inside
a value are never written to after hand-over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from streamd.vision.picture import Picture

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of one camera; `captured` seconds (monotonic), `wall` UTC, `index` counts frames since opening."""

    camera: str
    index: int
    picture: Picture
    captured: float
    wall: datetime

    @property
    def image(self) -> UInt8:
        """The whole picture, uint8 (H, W, 3) RGB; converted on first use, so ask only for frames that are used."""
        return self.picture.rgb()


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detection in one Frame.

    box: float32 (4,), pixels x0 y0 x1 y1. keypoints: float32 (6, 2), pixels: right eye, left eye (of the person), nose tip,
    mouth centre, right ear, left ear. score: 0..1.
    """

    box: Float32
    keypoints: Float32
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The same face over frames of one camera; `id` is unique per boot, `face` is the newest detection."""

    id: int
    face: Face
    first_seen: float
    last_seen: float


class QualityReason(StrEnum):
    """Why a crop is not worth comparing."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    DARK = "dark"
    OVEREXPOSED = "overexposed"
    FLAT = "flat"
    TURNED_AWAY = "turned_away"
    TILTED = "tilted"
    CUT_OFF = "cut_off"
    NO_LANDMARKS = "no_landmarks"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a crop is worth, and why not if `reasons` is not empty.

    sharpness: share of fine detail, 0 (blurred) upwards. brightness: mean, 0..255. contrast: standard deviation, 0..127.
    yaw, pitch, roll: degrees, 0 when facing the camera. eye_distance: pixels between the eyes in the frame.
    """

    sharpness: float
    brightness: float
    contrast: float
    yaw: float
    pitch: float
    roll: float
    eye_distance: float
    reasons: tuple[QualityReason, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the crop may take part in a comparison."""
        return not self.reasons


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An aligned face: uint8 (150, 150, 3) RGB, made by the alignment that `alignment` names."""

    image: UInt8
    alignment: str
    camera: str
    track: int
    captured: float
    wall: datetime
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The embedding of one crop: float32 (D,), unit length, made by the model whose digest is `model`."""

    vector: Float32
    model: str


@dataclass(frozen=True, slots=True)
class SubjectRules:
    """What holds for one subject beside the configuration; None where nothing special does.

    max_false_accepts: share of strangers' visits that may be taken for them, 0..0.1. cameras: where they are recognised.
    valid_from, valid_until: when (UTC), the end not included.
    """

    max_false_accepts: float | None = None
    cameras: frozenset[str] | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def admits(self, camera: str, when: datetime) -> bool:
        """Whether they are to be recognised at this camera and time."""
        return (
            (self.cameras is None or camera in self.cameras)
            and (self.valid_from is None or when >= self.valid_from)
            and (self.valid_until is None or when < self.valid_until)
        )


class Nearest(Protocol):
    """What finds the templates near a vector without comparing it with each."""

    def nearest(self, vectors: Float32, count: int) -> Int64:
        """The rows that seem nearest to each vector (float32 (B, D)): int64 (B, count), -1 where there are not so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """An immutable snapshot of all templates of one model, ordered by subject.

    templates: float32 (N, D), unit rows. subjects: int32 (N,), rising, index into `names`. names: the S subjects (slugs);
    photos: the N enrolled photos, relative to the enrolment folder. generation: grows with every change. starts: int32 (S,),
    the first row of each subject. rules: of the subjects that have some of their own.
    index: None where every template is compared.
    """

    templates: Float32
    subjects: Int32
    names: tuple[str, ...]
    photos: tuple[str, ...]
    generation: int
    model: str
    starts: Int32
    rules: Mapping[str, SubjectRules] = field(default_factory=dict)
    index: Nearest | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One template against one gallery: scores float32 (S,), the best cosine per subject, in [-1, 1].

    captured: of the frame, finished: when this was computed; both monotonic seconds.
    """

    template: Template
    scores: Float32
    gallery: Gallery
    quality: Quality
    captured: float
    wall: datetime
    finished: float


class Outcome(StrEnum):
    """What is said about a visit."""

    IDENTIFIED = "identified"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class SubjectEvidence:
    """The evidence of a visit for one subject: a natural-log likelihood ratio, the best score behind it and its photo."""

    subject: str
    evidence: float
    score: float
    photo: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said about a visit, with the trace that led to it.

    evidence, second, bound and margin are natural-log likelihood ratios. `reasons` says in words of the contract why it is
    not `identified`; `frames_used` counts the good crops behind it, `effective_frames` what they count as (their errors are
    correlated).
    """

    outcome: Outcome
    best: SubjectEvidence | None
    second: SubjectEvidence | None
    bound: float
    margin: float
    frames_used: int
    effective_frames: float
    reasons: tuple[str, ...] = field(default=())

    @property
    def subject(self) -> str | None:
        """The subject that was identified, or None for every other outcome."""
        return self.best.subject if self.best is not None and self.outcome is Outcome.IDENTIFIED else None
