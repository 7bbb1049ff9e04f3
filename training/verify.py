"""Verify: is the person before the camera the one in the reference pictures? As tutorials on Siamese networks have it.

Each face is compared with every reference. A reference is detected where its score passes the detection threshold; the person
is verified where the share of detected references passes the verification threshold. There is no visit, no margin to others
and no calibration in this: the daemon's own decision is another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamd.clock import Clock
from streamd.credentials import redact
from streamd.recognition.card import read_card
from streamd.values import Float32, Frame, UInt8
from streamd.vision.capture import Camera
from streamd.vision.capture import frames as camera_frames
from training.looking import Looker
from training.prepare import DataError, decoded, pictures
from training.scores import Compare, Embed, of_file

_FIGURE = "score_at_fmr_1e-03"


@dataclass(frozen=True, slots=True, eq=False)
class Verifier:
    """What compares: crops to embeddings, embeddings to scores, and the score from which a reference counts as detected."""

    embed: Embed
    compare: Compare
    detection_threshold: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One face against all references. share: of references that were detected; best: the highest score."""

    share: float
    best: float
    verified: bool


def verdict(scores: Float32, detection: float, verification: float) -> Verdict:
    """From the scores of one face, float32 (R,), against R references."""
    share = float(np.mean(scores > detection))
    return Verdict(share, float(scores.max()), share > verification)


def of_run(folder: Path) -> Verifier:
    """The best epoch of a training (`streamd-train train`), by its head's own measure; the threshold is the one that its
    validation people gave. Raises DataError where the folder holds no training that ended."""
    from training.train import RESULT, trained

    try:
        threshold = float(json.loads((folder / RESULT).read_bytes())["validation"]["threshold"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: expected the folder of a training that has ended, with {RESULT}") from error
    learner = trained(folder)
    return Verifier(learner.embed, learner.head.compare, threshold)


def of_model(path: Path, detection_threshold: float | None) -> Verifier:
    """A model file. Without a threshold of one's own a card's is taken, at an FMR of 1e-3 for faces as they were taken.

    Raises DataError for a file that has no card, and no threshold.
    """
    embed, _ = of_file(path)
    if detection_threshold is None:
        if path.suffix != ".json":
            raise DataError(f"{path}: only a card tells a threshold; say --detection-threshold")
        detection_threshold = [one.value for one in read_card(path).figures if one.name.startswith(_FIGURE)][-1]
    return Verifier(embed, lambda probes, references: probes @ references.T, detection_threshold)


def references(folder: Path, embed: Embed) -> Float32:
    """Embeddings of the largest face of each reference picture, those that can be compared. Raises DataError where none can."""
    images = [image for _, encoded in pictures(folder) if (image := decoded(encoded)) is not None]
    with Looker() as looker:
        seen = [face for image in images if (face := looker.largest(image)) is not None]
    crops = [face.crop for face in seen if face.quality.good]
    if not crops:
        raise DataError(f"{folder}: no face of {len(images)} pictures can be used; take references as photos for enrolment are")
    return embed(np.stack(crops))


def frames(source: str, clock: Clock, seconds: float | None) -> Iterator[Frame]:
    """Frames of a camera (URL, device), a video file or a folder of pictures, for so long (None: until it ends).

    Raises CameraError, also where a file ends.
    """
    until = float("inf") if seconds is None else clock.monotonic() + seconds
    address = f"/dev/video{source}" if source.isdigit() else source
    camera = Camera("verify", address, redact(address))
    yield from camera_frames(camera, clock, lambda: clock.monotonic() >= until)


def largest_faces(seen: Iterable[Frame]) -> Iterator[tuple[Frame, UInt8]]:
    """The crop of the largest face of each frame that has one good enough to be compared."""
    with Looker() as looker:
        for frame in seen:
            face = looker.largest(frame.image)
            if face is not None and face.quality.good:
                yield frame, face.crop


def verify(
    verifier: Verifier, known: Float32, crops: Iterable[tuple[Frame, UInt8]], verification: float
) -> Iterator[tuple[Frame, Verdict]]:
    """The verdict on each face. known: embeddings of the references."""
    for frame, crop in crops:
        scores = verifier.compare(verifier.embed(crop[None]), known)[0]
        yield frame, verdict(scores, verifier.detection_threshold, verification)
