"""The Watcher: what one camera's frames show, with no more work than the visits can use.

Nothing is detected while nothing moves and nobody is there; a face is looked at closely only while its visit wants crops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamd.values import Crop, Frame, Track
from streamd.vision.alignment import VERSION
from streamd.vision.analysis import FaceAnalyser
from streamd.vision.motion import CELLS, MotionGate, MotionRules
from streamd.vision.tracking import Tracker

_CALM_INTERVAL_SECONDS: Final = 0.2  # between looks while every visit in view has what it needs


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one frame showed: tracks in view, tracks that ended, crops for comparison, and how many faces are present.

    present: tracks that were seen at least twice and not long ago, so that neither a missed frame nor a flicker changes it.

    `skipped` says why nothing was detected: "still" (nothing moves, nobody is there) or "calm" (nobody needs a look yet).
    """

    camera: str
    captured: float
    tracks: tuple[Track, ...] = ()
    ended: tuple[int, ...] = ()
    crops: tuple[Crop, ...] = ()
    present: int = 0
    skipped: str | None = None


class Watcher:
    """Turns the frames of one camera into sightings; one owner thread, that of its `analyser`.

    `wanted(track, now)` tells whether the visit of a track can use another crop now (pure of the caller's state).
    """

    def __init__(
        self,
        analyser: FaceAnalyser,
        new_id: Callable[[], int],
        wanted: Callable[[int, float], bool],
        motion: MotionRules | None = None,
    ) -> None:
        self._analyser = analyser
        self._tracker = Tracker(new_id)
        self._wanted = wanted
        self._gate = MotionGate(motion) if motion is not None else None
        self._visible: tuple[Track, ...] = ()
        self._detected_at = float("-inf")
        self.skips: Counter[str] = Counter()

    def watch(self, frame: Frame) -> Sighting:
        """What `frame` shows. Frames come in the order of their capture."""
        now = frame.captured
        moving = self._gate is None or self._gate.moving(frame.picture.grey(CELLS), now)
        if not moving and not self._tracker.active:
            return self._skip(frame, "still")
        calm = self._visible and not any(self._wanted(track.id, now) for track in self._visible)
        if calm and now - self._detected_at < _CALM_INTERVAL_SECONDS:
            return self._skip(frame, "calm")
        self._detected_at = now
        self._visible, ended = self._tracker.update(self._analyser.faces(frame.picture), now)
        crops = tuple(self._crop(frame, track) for track in self._visible if self._wanted(track.id, now))
        return Sighting(frame.camera, now, self._visible, ended, crops, self._tracker.steady)

    def blind(self, camera: str, now: float) -> Sighting:
        """The camera gives no picture any more: every track has ended."""
        self._visible = ()
        return Sighting(camera, now, ended=self._tracker.drop_all())

    def _skip(self, frame: Frame, why: str) -> Sighting:
        self.skips[why] += 1
        return Sighting(frame.camera, frame.captured, self._visible, skipped=why)

    def _crop(self, frame: Frame, track: Track) -> Crop:
        seen = self._analyser.look(frame.picture, track.face)
        return Crop(seen.crop, VERSION, frame.camera, track.id, frame.captured, frame.wall, seen.quality)
