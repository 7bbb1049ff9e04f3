"""Tracking: the same face over the frames of one camera, through a missed frame and two people who cross."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.values import Face, Float32, Track

_REACH: Final = 1.2  # how far a face may be from where it was expected, in widths of its box
_SIZE_WEIGHT: Final = 0.5  # what a doubling in size costs, in widths
_REACH_GROWTH: Final = 1.5  # widths a second added to the reach while a face is not seen
_VELOCITY_MEMORY_SECONDS: Final = 0.3  # smoothing of the motion that predicts the next place


@dataclass(slots=True)
class _Moving:
    """A track with the motion of its middle, pixels a second."""

    track: Track
    velocity: Float32

    def expected(self, now: float) -> Float32:
        """Where its middle should be now; the guess is not stretched over more than half a second."""
        return _middle(self.track.face) + self.velocity * min(now - self.track.last_seen, 0.5)


class Tracker:
    """Gives the faces of one camera their ids; one owner thread."""

    def __init__(self, new_id: Callable[[], int], lost_after_seconds: float = 0.7) -> None:
        self._new_id = new_id
        self._lost_after = lost_after_seconds
        self._moving: list[_Moving] = []

    @property
    def active(self) -> bool:
        """Whether any track is alive, seen in the last frame or not."""
        return bool(self._moving)

    @property
    def steady(self) -> int:
        """How many tracks are alive that were seen at least twice."""
        return sum(moving.track.last_seen > moving.track.first_seen for moving in self._moving)

    def update(self, faces: Sequence[Face], now: float) -> tuple[tuple[Track, ...], tuple[int, ...]]:
        """The tracks seen in this frame, in the order of `faces`, and the ids of those that are lost for good."""
        pairs = _match([moving.expected(now) for moving in self._moving], self._moving, faces, now)
        seen: dict[int, _Moving] = {}
        for track_index, face_index in pairs:
            seen[face_index] = _advanced(self._moving[track_index], faces[face_index], now)
        matched = {track_index for track_index, _ in pairs}
        missing = [moving for index, moving in enumerate(self._moving) if index not in matched]
        kept = [moving for moving in missing if now - moving.track.last_seen <= self._lost_after]
        lost = tuple(moving.track.id for moving in missing if moving not in kept)
        for index, face in enumerate(faces):
            if index not in seen:
                seen[index] = _Moving(Track(self._new_id(), face, now, now), np.zeros(2, np.float32))
        visible = [seen[index] for index in range(len(faces))]
        self._moving = visible + kept
        return tuple(moving.track for moving in visible), lost

    def drop_all(self) -> tuple[int, ...]:
        """End every track, as when the camera's picture is gone; their ids."""
        lost = tuple(moving.track.id for moving in self._moving)
        self._moving = []
        return lost


def _match(expected: Sequence[Float32], moving: Sequence[_Moving], faces: Sequence[Face], now: float) -> list[tuple[int, int]]:
    """Pairs (track, face) of least cost, cheapest first, each used once; none beyond its reach."""
    candidates = []
    for track_index, place in enumerate(expected):
        track = moving[track_index].track
        size = _width(track.face)
        reach = _REACH + _REACH_GROWTH * (now - track.last_seen)
        for face_index, face in enumerate(faces):
            distance = float(np.linalg.norm(_middle(face) - place)) / max(size, 1.0)
            cost = distance + _SIZE_WEIGHT * abs(float(np.log2(_width(face) / max(size, 1.0))))
            if cost <= reach:
                candidates.append((cost, track_index, face_index))
    pairs: list[tuple[int, int]] = []
    for _, track_index, face_index in sorted(candidates):
        if all(track_index != used and face_index != taken for used, taken in pairs):
            pairs.append((track_index, face_index))
    return pairs


def _advanced(moving: _Moving, face: Face, now: float) -> _Moving:
    track = moving.track
    seconds = max(now - track.last_seen, 1e-3)
    measured = (_middle(face) - _middle(track.face)) / seconds
    share = min(1.0, seconds / _VELOCITY_MEMORY_SECONDS)
    velocity = (moving.velocity + share * (measured - moving.velocity)).astype(np.float32)
    return _Moving(Track(track.id, face, track.first_seen, now), velocity)


def _middle(face: Face) -> Float32:
    return np.array([(face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2], np.float32)


def _width(face: Face) -> float:
    return max(float(face.box[2] - face.box[0]), 1.0)
