"""Visits: the crops of one face over a stretch of video, and how alike their scores are.

Errors of crops of one visit are not independent: it is the same light, pose and haircut. The intraclass correlation of their
scores (Shrout and Fleiss 1979, ICC(1)) says how much of a score belongs to the visit and how much to the crop.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.values import Float32, UInt8
from streamd.vision.analysis import FaceAnalyser
from streamd.vision.picture import RgbPicture
from streamd.vision.tracking import Tracker
from training.prepare import DataError

CROPS_PER_SECOND: Final = 7.5  # about what a visit takes in the daemon
MIN_CROPS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class VideoCrops:
    """The good crops of a video: uint8 (n, 150, 150, 3) RGB; of which frame, int (n,), and which track, int (n,).

    middles: float32 (n, 2), pixels, the middle of the face's box.
    """

    crops: UInt8
    frames: NDArray[np.intp]
    tracks: NDArray[np.intp]
    middles: Float32


def _frames(clip: Path) -> Iterator[tuple[int, float, UInt8]]:
    video = cv2.VideoCapture(str(clip))
    rate = video.get(cv2.CAP_PROP_FPS)
    if not video.isOpened() or rate <= 0:
        raise DataError(f"{clip}: expected a video file")
    for index in itertools.count():
        read, image = video.read()
        if not read:
            return
        yield index, index / rate, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def video_crops(clip: Path) -> VideoCrops:
    """Every good crop of a video, as the daemon's own detection, tracking and quality see it, at the rate of a visit."""
    taken: list[tuple[UInt8, int, int, Float32]] = []
    last: dict[int, float] = {}
    tracker = Tracker(itertools.count(1).__next__)
    with FaceAnalyser() as analyser:
        for index, time, image in _frames(clip):
            picture = RgbPicture(image)
            tracks, _ = tracker.update(analyser.faces(picture), time)
            for track in tracks:
                if time - last.get(track.id, -1.0) < 0.99 / CROPS_PER_SECOND:
                    continue
                seen = analyser.look(picture, track.face)
                if seen.quality.good:
                    taken.append((seen.crop, index, track.id, track.face.box.reshape(2, 2).mean(0)))
                    last[track.id] = time
    if not taken:
        raise DataError(f"{clip}: no face passes the quality gates")
    crops, frames, ids, middles = zip(*taken, strict=True)
    return VideoCrops(np.stack(crops), np.array(frames), np.array(ids), np.stack(middles))


def by_track(video: VideoCrops) -> dict[str, NDArray[np.intp]]:
    """Indices of the crops of each track that has at least five."""
    found = {f"track {track}": np.flatnonzero(video.tracks == track) for track in np.unique(video.tracks)}
    return {name: indices for name, indices in found.items() if len(indices) >= MIN_CROPS}


def by_person(video: VideoCrops, truth: Path) -> tuple[dict[str, NDArray[np.intp]], set[str]]:
    """Indices of the crops of each person while alone in view, by the clip's truth; and the photographs that it shows.

    truth: JSON with `frames`, each with `people`, each with `name`, `photo`, `box` (pixels x0 y0 x1 y1) and `blending` (one
    photograph fades into the next).
    """
    frames = json.loads(truth.read_text())["frames"]
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, (frame, middle) in enumerate(zip(video.frames, video.middles, strict=True)):
        people = frames[frame]["people"]
        if len(people) != 1 or people[0]["blending"]:
            continue  # half of one photograph and half of another is nobody's face
        x0, y0, x1, y1 = people[0]["box"]
        # The photographs are centred on their faces; bystanders in them are not the person.
        if float(np.linalg.norm(middle - np.array([x0 + x1, y0 + y1]) / 2)) <= (x1 - x0) / 4:
            found[people[0]["name"]].append(index)
    shown = {person["photo"] for frame in frames for person in frame["people"]}
    return {name: np.array(indices) for name, indices in found.items() if len(indices) >= MIN_CROPS}, shown


def intraclass_correlation(groups: Sequence[Float32]) -> float:
    """Share of the variance of scores that lies between groups, 0..1 (one-way ANOVA, groups of any size above one)."""
    sizes = np.array([len(group) for group in groups], np.float64)
    means = np.array([np.mean(group, dtype=np.float64) for group in groups])
    total = float(sizes.sum())
    grand = float(sizes @ means) / total
    between = float(sizes @ (means - grand) ** 2) / (len(groups) - 1)
    within = sum(float(np.var(group, dtype=np.float64)) * len(group) for group in groups) / (total - len(groups))
    typical = (total - float(sizes @ sizes) / total) / (len(groups) - 1)
    return float(np.clip((between - within) / (between + (typical - 1) * within), 0, 1))
