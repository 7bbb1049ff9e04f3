"""The Watcher: no more work for a frame than the visits can use."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest

from streamd.values import Face, Frame, Quality
from streamd.vision.alignment import SIDE, VERSION
from streamd.vision.analysis import AnalysedFace
from streamd.vision.motion import MotionRules
from streamd.vision.picture import Picture, RgbPicture
from streamd.vision.watching import Sighting, Watcher

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD = Quality(0.3, 120, 40, 0, 0, 0, 60)


class FakeAnalyser:
    """Sees the faces that a test puts in front of it, and counts how often it looked."""

    def __init__(self) -> None:
        self.in_view: list[Face] = []
        self.detections = 0
        self.looked_at: list[float] = []

    def faces(self, picture: Picture) -> list[Face]:
        assert picture.width == 160
        self.detections += 1
        return list(self.in_view)

    def look(self, picture: Picture, face: Face) -> AnalysedFace:
        self.looked_at.append(float(face.box[0]))
        return AnalysedFace(face, np.zeros((5, 2), np.float32), GOOD, np.full((SIDE, SIDE, 3), int(face.box[0]), np.uint8))


class Door:
    """One camera's watcher with what is in front of it; `wanting` holds the tracks whose visits want crops."""

    def __init__(self, gated: bool = True) -> None:
        self.analyser = FakeAnalyser()
        self.wanting: set[int] = set()
        rules = MotionRules(hold_seconds=1.0) if gated else None
        self.watcher = Watcher(self.analyser, itertools.count(1).__next__, lambda track, _: track in self.wanting, rules)  # type: ignore[arg-type]
        self._index = itertools.count()

    def shows(self, now: float, *, moving: bool = False) -> Sighting:
        """One frame at `now`; `moving` puts something bright into a corner of it."""
        image = np.full((90, 160, 3), 80, np.uint8)
        if moving:
            image[60:80, 10:40] = 200
        return self.watcher.watch(Frame("door", next(self._index), RgbPicture(image), now, NOON))

    def falls_still(self) -> float:
        """Let the first seconds pass, in which everything counts as motion; the time then."""
        for i in range(30):
            self.shows(i / 10)
        return 3.0


@pytest.fixture
def door() -> Door:
    return Door()


def face(x: float) -> Face:
    return Face(np.array([x, 20, x + 30, 50], np.float32), np.zeros((6, 2), np.float32), 0.9)


def test_nothing_is_detected_while_nothing_moves_and_nobody_is_there(door: Door) -> None:
    now = door.falls_still()
    before = door.analyser.detections

    sightings = [door.shows(now + i / 10) for i in range(50)]

    assert door.analyser.detections == before
    assert {sighting.skipped for sighting in sightings} == {"still"}
    assert door.watcher.skips["still"] >= 50


def test_what_moves_is_looked_at_in_the_same_frame(door: Door) -> None:
    now = door.falls_still()
    door.analyser.in_view = [face(10)]

    sighting = door.shows(now, moving=True)

    assert [track.id for track in sighting.tracks] == [1]
    assert sighting.skipped is None


def test_somebody_who_stands_still_is_still_watched(door: Door) -> None:
    """The gate closes after a second; whoever was found stays found, and is found to have gone."""
    now = door.falls_still()
    door.analyser.in_view = [face(10)]
    door.shows(now, moving=True)

    staying = [door.shows(now + i / 10) for i in range(1, 60)]
    door.analyser.in_view = []
    leaving = [door.shows(now + 6 + i / 10) for i in range(20)]

    assert all([track.id for track in sighting.tracks] == [1] for sighting in staying)
    assert [sighting.ended for sighting in leaving if sighting.ended] == [(1,)]
    assert leaving[-1].skipped == "still"


def test_while_no_visit_wants_a_look_it_looks_at_most_five_times_a_second(door: Door) -> None:
    """30 frames in two seconds, a look each 0.2 s: 10, and 7 if every one falls a frame (1/15 s) late."""
    now = door.falls_still()
    door.analyser.in_view = [face(10)]
    door.shows(now, moving=True)
    before = door.analyser.detections

    sightings = [door.shows(now + i / 15) for i in range(1, 31)]

    assert 7 <= door.analyser.detections - before <= 10
    assert {sighting.skipped for sighting in sightings} == {"calm", None}
    # A frame that was passed over still tells who is in view.
    assert all([track.id for track in sighting.tracks] == [1] for sighting in sightings)


def test_as_soon_as_one_visit_wants_a_look_every_frame_is_used(door: Door) -> None:
    now = door.falls_still()
    door.analyser.in_view = [face(10), face(100)]
    door.shows(now, moving=True)
    before = door.analyser.detections
    door.wanting = {2}

    for i in range(1, 16):
        door.shows(now + i / 15)

    assert door.analyser.detections - before == 15


def test_crops_are_made_only_of_those_who_are_wanted(door: Door) -> None:
    now = door.falls_still()
    door.analyser.in_view = [face(10), face(100)]
    door.shows(now, moving=True)
    assert door.analyser.looked_at == []
    door.wanting = {2}

    sighting = door.shows(now + 0.1)

    assert [track.id for track in sighting.tracks] == [1, 2]
    assert [crop.track for crop in sighting.crops] == [2]
    assert door.analyser.looked_at == [100.0]


def test_a_crop_carries_where_and_when_it_was_seen(door: Door) -> None:
    door.analyser.in_view = [face(10)]
    door.wanting = {1}

    crop = door.shows(7.5).crops[0]

    assert (crop.camera, crop.track, crop.captured, crop.wall, crop.alignment) == ("door", 1, 7.5, NOON, VERSION)
    assert crop.quality is GOOD
    assert crop.image[0, 0, 0] == 10


def test_when_the_camera_is_blind_every_track_ends_and_nobody_is_remembered(door: Door) -> None:
    door.analyser.in_view = [face(10)]
    door.shows(0.0)

    sighting = door.watcher.blind("door", 0.5)

    assert (sighting.ended, sighting.tracks) == ((1,), ())
    assert [track.id for track in door.shows(0.6).tracks] == [2]


def test_without_a_gate_every_frame_is_looked_at() -> None:
    door = Door(gated=False)

    assert {door.shows(i / 10).skipped for i in range(50)} == {None}
    assert door.analyser.detections == 50
