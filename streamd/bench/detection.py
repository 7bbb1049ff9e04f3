"""How small a face may be: a portrait pasted at six places of a 1280x720 picture, ever smaller, whole picture and tiles.

`detected`: the detector finds it at all six places. `recognised`: at all six, one crop passes the default bounds on quality,
and three such frames pass the decision's bound with one subject enrolled from another photo.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from streamd import assembly
from streamd.bench.statistics import quantile, timed
from streamd.demo import portraits, story
from streamd.recognition.card import read_card
from streamd.recognition.decision import DecisionRules, decide
from streamd.recognition.embedding import open_embedder
from streamd.recognition.gallery import Enrolled, build, search
from streamd.values import Comparison, Outcome, Template, UInt8
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from streamd.vision.detection import DetectionRules
from streamd.vision.picture import RgbPicture
from streamd.vision.quality import QualityRules

TITLE: Final = "detection: the smallest face detected and recognised, milliseconds"
SECONDS: Final = 2.0
_EYE_DISTANCES: Final = (48, 40, 36, 32, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8)
_PLACES: Final = tuple((x, y) for y in (0.12, 0.88) for x in (0.1, 0.5, 0.9))


def measure(seconds: float, eye_distances: Sequence[int] = _EYE_DISTANCES) -> dict[str, Any]:
    """Sizes, of those given in pixels, for the whole picture and for three tiles, and the time of each."""
    with ThreadPoolExecutor(1, "detection") as pool:  # MediaPipe's thread may open no socket
        whole = pool.submit(_measure, 1, seconds, eye_distances).result()
        tiles = pool.submit(_measure, 3, seconds, eye_distances).result()
    return {**whole, "tiles_3": tiles}


def _measure(tiles: int, seconds: float, eye_distances: Sequence[int]) -> dict[str, Any]:
    folder = portraits.folder()
    card = read_card(assembly.SHIPPED_CARD)
    with (
        FaceAnalyser(DetectionRules(tiles=tiles), QualityRules()) as analyser,
        tempfile.TemporaryDirectory() as cache,
    ):
        embedder = open_embedder(assembly.SHIPPED_CARD, "litert", threads=1, batch_sizes=(1,), cache=Path(cache))
        enrolled = analyser.analyse(_photo(folder, portraits.OFFICIAL))[0]
        vector = embedder.embed([enrolled.crop])[0]
        gallery = build([Enrolled("person", "photo", vector)], 1, embedder.model, embedder.dimension)
        smallest = {"detected": float("nan"), "recognised": float("nan")}
        open_ends = set(smallest)
        for distance in eye_distances:
            pictures = [
                _pasted(folder, portrait, distance, place)
                for portrait in (portraits.SPEAKING, portraits.STANDING)
                for place in _PLACES
            ]
            faces = [_nearest(analyser, picture) for picture in pictures]
            hits = {"detected": all(face is not None for face in faces)}
            hits["recognised"] = hits["detected"] and all(
                _recognised(face, embedder.embed([face.crop])[0], gallery, card.calibration)
                for face in faces
                if face is not None
            )
            open_ends &= {name for name, hit in hits.items() if hit}
            smallest |= dict.fromkeys(open_ends, float(distance))
        picture = RgbPicture(_pasted(folder, portraits.STANDING, 48, (0.5, 0.5)))
        samples, cpu = timed(lambda: analyser.faces(picture), seconds)
    return {
        "smallest_eye_distance_px": smallest,
        "ms": {"p50": round(quantile(samples, 0.5), 2), "p99": round(quantile(samples, 0.99), 2), "cpu": round(cpu, 2)},
    }


def _recognised(face: AnalysedFace, vector: Any, gallery: Any, calibration: Any) -> bool:
    """Whether three frames like this one would be compared, and identify the person."""
    if not face.quality.good:
        return False
    scores = search(vector[None], gallery)[0]
    now = datetime.now(UTC)
    one = Comparison(Template(vector, gallery.model), scores, gallery, face.quality, 0.0, now, 0.0)
    decision = decide([one] * 3, gallery, DecisionRules(), calibration)
    return decision is not None and decision.outcome is Outcome.IDENTIFIED


def _nearest(analyser: FaceAnalyser, picture: UInt8) -> AnalysedFace | None:
    found = analyser.analyse(picture)
    return found[0] if found and found[0].points.any() else None


def _photo(folder: Path, portrait: portraits.Portrait) -> UInt8:
    return np.ascontiguousarray(np.asarray(cv2.imread(str(folder / portrait.file), cv2.IMREAD_COLOR))[:, :, ::-1])


def _pasted(folder: Path, portrait: portraits.Portrait, eye_distance: float, place: tuple[float, float]) -> UInt8:
    """A grey, noisy 1280x720 picture with the portrait in it, so small that the eyes are that many pixels apart."""
    photo = _photo(folder, portrait)
    # The eyes of a face that looks into the camera are 0.37 of the detector's box apart (measured on the portraits).
    scale = eye_distance / (0.37 * (portrait.face[2] - portrait.face[0]))
    photo = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    rng = np.random.default_rng(3)
    canvas = np.clip(120 + rng.normal(0, 3, (story.HEIGHT, story.WIDTH, 3)), 0, 255).astype(np.uint8)
    height, width = min(photo.shape[0], story.HEIGHT), min(photo.shape[1], story.WIDTH)
    left, top = round(place[0] * (story.WIDTH - width)), round(place[1] * (story.HEIGHT - height))
    canvas[top : top + height, left : left + width] = photo[:height, :width]
    return canvas
