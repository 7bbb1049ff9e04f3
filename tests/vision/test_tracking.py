"""Tracking: one id for one face, from its first frame until it is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from streamd.values import Face
from streamd.vision.tracking import Tracker

NOISE = 0.03
"""By how much of its width a detector's box shakes from frame to frame, and its size with it."""

at_door_rates = pytest.mark.parametrize("fps", [15, 5])


def face(x: float, y: float = 300.0, width: float = 80.0) -> Face:
    """A square face around a point, pixels."""
    half = width / 2
    return Face(np.array([x - half, y - half, x + half, y + half], np.float32), np.zeros((6, 2), np.float32), 0.9)


class Shaky:
    """A detector's noise: the same each time a test runs."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, x: float, y: float = 300.0, width: float = 80.0) -> Face:
        dx, dy, size = self._random.normal(0, NOISE, 3)
        return face(x + dx * width, y + dy * width, width * (1 + size))

    def shuffled(self, faces: Iterable[tuple[str, Face]]) -> list[tuple[str, Face]]:
        """The detector's order is no order."""
        listed = list(faces)
        return [listed[i] for i in self._random.permutation(len(listed))]


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(itertools.count(1).__next__)


@at_door_rates
@pytest.mark.parametrize("missed", [1, 2])
def test_an_id_survives_missed_frames(tracker: Tracker, fps: int, missed: int) -> None:
    """A walk of 150 pixels a second (nearly two faces' widths) in which every fifth and sixth frame finds nothing."""
    shaky, ids, lost = Shaky(0), set(), []
    for i in range(3 * fps):
        seen = [] if i % 6 >= 6 - missed else [shaky(100 + 150 * i / fps)]
        tracks, gone = tracker.update(seen, i / fps)
        ids |= {track.id for track in tracks}
        lost += gone

    assert ids == {1}
    assert lost == []


@at_door_rates
@pytest.mark.parametrize("hidden", [False, True], ids=["both seen", "one behind the other"])
@pytest.mark.parametrize("apart", [0, 40], ids=["same height", "half a face lower"])
@pytest.mark.parametrize("seed", range(8))
def test_two_people_who_cross_keep_their_ids(tracker: Tracker, fps: int, hidden: bool, apart: float, seed: int) -> None:
    """Each walks 150 pixels a second; while they overlap the one behind may be hidden (0.4 s)."""
    shaky, ids = Shaky(seed), {}
    for i in range(4 * fps):
        places = {"left": 200 + 150 * i / fps, "right": 800 - 150 * i / fps}
        behind = hidden and abs(places["left"] - places["right"]) < 60
        seen = shaky.shuffled(
            (who, shaky(x, 300 + apart * (who == "right"))) for who, x in places.items() if not (behind and who == "right")
        )
        tracks, _ = tracker.update([one for _, one in seen], i / fps)
        ids[i] = {who: track.id for (who, _), track in zip(seen, tracks, strict=True)}

    assert ids[0] == ids[4 * fps - 1]
    assert set(ids[0].values()) == {1, 2}


@at_door_rates
def test_a_newcomer_gets_a_new_id_and_leaves_that_of_the_other_alone(tracker: Tracker, fps: int) -> None:
    shaky = Shaky(3)
    for i in range(fps):
        tracker.update([shaky(200)], i / fps)

    tracks, _ = tracker.update([shaky(420), shaky(200)], 1.0)

    assert [track.id for track in tracks] == [2, 1]


def test_two_faces_are_never_given_one_id(tracker: Tracker) -> None:
    tracker.update([face(200)], 0.0)

    tracks, _ = tracker.update([face(195), face(205)], 0.1)

    assert len({track.id for track in tracks}) == 2


def test_one_who_is_gone_for_longer_is_lost_once_and_comes_back_as_another(tracker: Tracker) -> None:
    tracker.update([face(200)], 0.0)
    reports = [tracker.update([], t / 10)[1] for t in range(1, 20)]

    assert [lost for lost in reports if lost] == [(1,)]
    assert reports[7] == (1,)  # at 0.8 s, the first look later than 0.7 s
    assert not tracker.active
    assert tracker.update([face(200)], 2.0)[0][0].id == 2


def test_one_who_is_missed_is_still_alive_until_lost(tracker: Tracker) -> None:
    tracker.update([face(200)], 0.0)
    tracker.update([], 0.5)

    assert tracker.active


def test_somebody_far_away_from_where_a_face_was_is_somebody_else(tracker: Tracker) -> None:
    tracker.update([face(200)], 0.0)

    assert tracker.update([face(900)], 0.2)[0][0].id == 2


def test_a_large_face_in_the_place_of_a_small_one_is_somebody_else(tracker: Tracker) -> None:
    """Six times as wide from one frame to the next: a head that comes into view in front of one far off."""
    tracker.update([face(200, width=40)], 0.0)

    assert tracker.update([face(210, width=240)], 1 / 15)[0][0].id == 2


def test_tracks_come_in_the_order_of_their_faces_and_carry_their_times(tracker: Tracker) -> None:
    tracker.update([face(200), face(600)], 10.0)

    tracks, _ = tracker.update([face(601), face(201)], 10.2)

    assert [(track.id, track.first_seen, track.last_seen) for track in tracks] == [(2, 10.0, 10.2), (1, 10.0, 10.2)]
    assert [float(track.face.box[0]) for track in tracks] == [561.0, 161.0]


def test_when_the_picture_is_gone_every_track_ends(tracker: Tracker) -> None:
    tracker.update([face(200), face(600)], 0.0)
    tracker.update([face(200)], 0.1)

    assert set(tracker.drop_all()) == {1, 2}
    assert tracker.drop_all() == ()
    assert not tracker.active


@pytest.mark.parametrize(("seconds", "same"), [(1 / 15, False), (0.5, True)])
def test_a_face_may_have_gone_farther_the_longer_it_was_not_seen(tracker: Tracker, seconds: float, same: bool) -> None:
    """One and a half widths aside, for no reason: within half a second a head can do that, from frame to frame it cannot."""
    tracker.update([face(200)], 0.0)

    tracks, _ = tracker.update([face(200 + 1.5 * 80)], seconds)

    assert (tracks[0].id == 1) is same
