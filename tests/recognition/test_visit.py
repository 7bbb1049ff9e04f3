"""Visits: one answer for each person who comes, the right one, and nothing that was gathered for somebody else.

A person is a direction in a space of 16 dimensions, a crop of theirs a vector near it (cosine 0.8 and more between two of
them); strangers to each other are at right angles. A score s is worth 10 (s - 0.2) nats and crops are independent, so anna's
three first crops at 0.9 are worth 21 nats, over the bound of ln(2 / 0.001) = 7.6.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from streamd.recognition.decision import DecisionRules, Reason
from streamd.recognition.gallery import Enrolled, build
from streamd.recognition.visit import Announcement, Departure, VisitRules, Visits
from streamd.values import Crop, Face, Float32, Gallery, Int64, Outcome, Quality, QualityReason, SubjectRules, Template, Track

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD = Quality(0.3, 120, 40, 0, 0, 0, 60)
BLURRED = Quality(0.01, 120, 40, 0, 0, 0, 60, (QualityReason.BLURRED,))
BLURRED_AND_SMALL = Quality(0.01, 120, 40, 0, 0, 0, 10, (QualityReason.TOO_SMALL, QualityReason.BLURRED))
FPS = 10
RULES = VisitRules(left_after=2.0, rejoin=5.0, cooldown=10.0, glimpse=1.0, max_crops_per_second=100.0)
"""A look at every frame until something is said, so that tests can count crops."""

PEOPLE = {name: np.eye(16, dtype=np.float32)[i] for i, name in enumerate(("anna", "ben", "stranger", "other stranger"))}


class Shifted:
    correlation = 0.0

    def log_likelihood_ratios(self, scores: Float32, eye_distance: float) -> NDArray[np.float64]:
        assert eye_distance > 0
        return 10 * (scores.astype(np.float64) - 0.2)


def gallery(*names: str, generation: int = 1) -> Gallery:
    return build([Enrolled(name, f"{name}/1.jpg", PEOPLE[name]) for name in names], generation, "model", 16)


@dataclass
class Door:
    """What happens in front of a camera, frame by frame, and what is said about it."""

    enrolled: Gallery = field(default_factory=lambda: gallery("anna", "ben"))
    rules: VisitRules = RULES
    said: list[Announcement] = field(default_factory=list)
    left: list[Departure] = field(default_factory=list)
    now: float = 0.0
    crops: int = 0
    quality: Quality = GOOD
    model: str = "model"

    def __post_init__(self) -> None:
        self.visits = Visits(self.rules, Shifted(), self.enrolled, itertools.count(1).__next__)
        self._random = np.random.default_rng(0)
        self._tracks: dict[str, set[int]] = {}

    def frame(self, people: Mapping[int, str | Float32], camera: str = "door") -> None:
        """One frame in which each track shows a person, by name, or a certain template."""
        before, tracks = self._tracks.get(camera, set()), set(people)
        self._tracks[camera] = tracks
        wall = NOON + timedelta(seconds=self.now)
        face = Face(np.array([0, 0, 80, 80], np.float32), np.zeros((6, 2), np.float32), 0.9)
        seen = [Track(track, face, self.now, self.now) for track in people]
        self.visits.seen(camera, seen, tuple(before - tracks), self.now, wall)
        for track, who in people.items():
            if self.visits.wanted(camera, track, self.now):
                crop = Crop(np.zeros((150, 150, 3), np.uint8), "alignment", camera, track, self.now, wall, self.quality)
                self.visits.looked(crop)
                self.crops += 1
                if self.quality.good:
                    self.said += self.visits.compared(crop, Template(self._looks(who), self.model), self.now + 0.02)
        self.tick()
        self.now = round(self.now + 1 / FPS, 6)

    def shows(self, seconds: float, people: Mapping[int, str | Float32], camera: str = "door") -> Door:
        for _ in range(round(seconds * FPS)):
            self.frame(people, camera)
        return self

    def empty(self, seconds: float) -> Door:
        return self.shows(seconds, {})

    def tick(self) -> None:
        announcements, departures = self.visits.tick(self.now)
        self.said += announcements
        self.left += departures

    def change(self, enrolled: Gallery) -> None:
        self.said += self.visits.gallery_changed(enrolled, self.now)

    def outcomes(self) -> list[tuple[int, str]]:
        """What was said: the visit, and the subject or else the outcome."""
        return [(one.visit, one.decision.subject or one.decision.outcome.value) for one in self.said]

    def _looks(self, who: str | Float32) -> Float32:
        if not isinstance(who, str):
            return who
        noise = np.zeros(16)
        noise[8:] = self._random.standard_normal(8)
        vector = PEOPLE[who] + 0.45 * noise / np.linalg.norm(noise)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def door() -> Door:
    return Door()


def mixed(score: float) -> Float32:
    """The stranger's look with so much of anna in it that her photo's score is `score`."""
    return (score * PEOPLE["anna"] + np.sqrt(1 - score**2) * PEOPLE["stranger"]).astype(np.float32)


# One answer for each visit


def test_somebody_enrolled_is_announced_once_however_long_they_stay(door: Door) -> None:
    door.shows(20, {1: "anna"})

    assert door.outcomes() == [(1, "anna")]


def test_the_answer_comes_with_the_third_good_crop_and_tells_its_times(door: Door) -> None:
    """Crops at 0.0, 0.1 and 0.2 s; the third was compared 0.02 s after its capture."""
    door.shows(1, {1: "anna"})
    (announcement,) = door.said

    assert announcement.decision.frames_used == 3
    assert (announcement.first_good, announcement.settled, announcement.decided) == pytest.approx((0.0, 0.2, 0.22))
    assert announcement.started == NOON
    assert announcement.wall == NOON + timedelta(seconds=0.2)
    assert announcement.gallery_generation == 1
    assert announcement.decision.best is not None
    assert announcement.decision.best.photo == "anna/1.jpg"


def test_a_stranger_is_said_to_be_unknown_once_and_only_after_eight_good_crops(door: Door) -> None:
    door.shows(20, {1: "stranger"})

    assert door.outcomes() == [(1, "unknown")]
    assert door.said[0].decision.frames_used == 8


def test_unknown_is_replaced_when_the_evidence_suffices_after_all(door: Door) -> None:
    """Eight looks aside, at 0.2 and worth nothing; then looks into the camera at 0.9, worth 7 each."""
    door.shows(1.5, {1: mixed(0.2)})
    door.shows(4, {1: mixed(0.9)})

    assert door.outcomes() == [(1, "unknown"), (1, "anna")]


def test_an_identification_is_never_taken_back_by_later_looks() -> None:
    """Later crops at -0.4 are worth -6 each and bring the evidence far below the bound: that is no news."""
    aside = (0.5 * PEOPLE["stranger"] - 0.4 * PEOPLE["anna"] + np.sqrt(1 - 0.41) * PEOPLE["other stranger"]).astype(np.float32)
    door = Door(rules=VisitRules(same_person=-1.0))
    door.shows(1, {1: mixed(0.9)}).shows(20, {1: aside})

    assert door.outcomes() == [(1, "anna")]


def test_two_people_at_once_get_an_answer_each(door: Door) -> None:
    door.shows(3, {1: "anna", 2: "stranger", 3: "ben"})

    assert sorted(door.outcomes()) == [(1, "anna"), (2, "unknown"), (3, "ben")]


def test_every_answer_tells_who_else_is_in_view_and_how_many_of_them_are_not_known(door: Door) -> None:
    """Anna is alone; then a stranger comes, unknown after 0.8 s, and then ben, while anna is known and the stranger is not."""
    door.shows(1, {1: "anna"})
    door.shows(2, {1: "anna", 2: "stranger"})
    door.shows(1, {1: "anna", 2: "stranger", 3: "ben"})
    door.shows(1, {3: "ben", 4: "other stranger"})

    views = {one.decision.subject or f"visit {one.visit}": (one.others_in_view, one.unknown_in_view) for one in door.said}
    assert views == {"anna": (0, 0), "visit 2": (1, 0), "ben": (2, 1), "visit 4": (1, 0)}


def test_the_same_track_number_at_two_cameras_is_two_visits(door: Door) -> None:
    for _ in range(20):
        door.frame({1: "anna"}, "door")
        door.frame({1: "stranger"}, "garden")

    assert sorted((one.camera, one.decision.subject) for one in door.said) == [("door", "anna"), ("garden", None)]
    assert {one.others_in_view for one in door.said} == {0}


# Coming and going


def test_a_visit_ends_after_its_face_was_gone_for_the_rejoin_time_and_says_how_long_it_was(door: Door) -> None:
    door.shows(3, {1: "anna"}).empty(4.8)
    assert door.left == []

    door.empty(0.5)

    assert [(one.visit, one.outcome, one.subject) for one in door.left] == [(1, Outcome.IDENTIFIED, "anna")]
    assert door.left[0].seconds == pytest.approx(2.9)
    assert (door.left[0].started, door.left[0].wall) == (NOON, NOON + timedelta(seconds=2.9))


def test_a_stop_ends_every_visit_that_was_told_and_no_other(door: Door) -> None:
    """Whoever is in view, whoever may come back; but nobody hears of the end of a visit that they never heard of."""
    door.shows(1, {1: "anna"}).shows(0.9, {2: "stranger"}, camera="yard")
    door.empty(1).shows(0.1, {3: "ben"})

    left = door.visits.close()

    assert [(one.camera, one.visit, one.subject) for one in left] == [("door", 1, "anna"), ("yard", 2, None)]
    assert left[0].seconds == pytest.approx(0.9)
    door.empty(10)
    assert door.left == []
    assert door.visits.close() == []


def test_somebody_who_comes_back_soon_goes_on_with_their_visit(door: Door) -> None:
    """Away for 3 s and found under another track: no second answer, and one end for the whole of it."""
    door.shows(2, {1: "anna"}).empty(3).shows(2, {2: "anna"}).empty(6)

    assert door.outcomes() == [(1, "anna")]
    assert [(one.visit, one.seconds) for one in door.left] == [(1, pytest.approx(6.9))]


def test_somebody_else_who_comes_at_once_is_another_visit(door: Door) -> None:
    door.shows(2, {1: "anna"}).shows(2, {2: "ben"}).empty(6)

    assert door.outcomes() == [(1, "anna"), (2, "ben")]
    assert {one.subject for one in door.left} == {"anna", "ben"}


def test_two_who_are_in_view_at_once_are_never_joined_even_if_they_look_alike(door: Door) -> None:
    """Twins: the templates of both tracks are one person's, but one person is in one place."""
    door.shows(2, {1: "anna", 2: "anna"})

    assert door.outcomes() == [(1, "anna"), (2, "anna")]


def test_after_an_identification_the_same_person_is_not_said_again_before_the_cool_down_is_over(door: Door) -> None:
    """Last seen at 1.9 s; back at 8 s in a visit of their own, which is not spoken of, its end neither; back at 25 s, said."""
    door.shows(2, {1: "anna"}).empty(6).shows(2, {2: "anna"}).empty(15).shows(1, {3: "anna"})

    assert door.outcomes() == [(1, "anna"), (3, "anna")]
    assert [one.visit for one in door.left] == [1]


def test_who_comes_back_within_the_cool_down_and_stays_is_said_when_it_is_over(door: Door) -> None:
    """Last seen at 1.9 s, back at 8 s and waiting at the door: said by the first look after 11.9 s."""
    door.shows(2, {1: "anna"}).empty(6).shows(8, {2: "anna"}).empty(6)

    assert door.outcomes() == [(1, "anna"), (2, "anna")]
    assert 11.9 <= door.said[1].decided <= 13
    assert [one.visit for one in door.left] == [1, 2]


def test_the_cool_down_is_for_that_person_at_that_camera_alone(door: Door) -> None:
    door.shows(2, {1: "anna"}).empty(6)
    door.shows(1, {2: "ben"}).shows(1, {3: "anna"}, "garden")

    assert [(one.camera, one.decision.subject) for one in door.said] == [("door", "anna"), ("door", "ben"), ("garden", "anna")]


def test_a_glimpse_is_not_spoken_of(door: Door) -> None:
    """0.2 s, as when the detector takes a shadow for a face: no answer, no end."""
    door.shows(0.2, {1: "anna"}).empty(10)

    assert (door.said, door.left, door.visits.glimpses) == ([], [], 1)


def test_a_visit_without_enough_good_crops_is_undecided_and_names_what_failed_most(door: Door) -> None:
    """Fifteen blurred crops, five of them too small as well; two good ones are not enough."""
    door.quality = BLURRED
    door.shows(1, {1: "anna"})
    door.quality = BLURRED_AND_SMALL
    door.shows(0.5, {1: "anna"})
    door.quality = GOOD
    door.shows(0.2, {1: "anna"}).empty(6)

    assert door.outcomes() == [(1, "undecided")]
    assert door.said[0].decision.reasons == (Reason.TOO_FEW_GOOD_FRAMES, "blurred", "too_small")
    assert [(one.outcome, one.subject) for one in door.left] == [(Outcome.UNDECIDED, None)]


def test_of_a_visit_without_one_good_crop_no_first_good_frame_is_told(door: Door) -> None:
    door.quality = BLURRED
    door.shows(2, {1: "anna"}).empty(6)

    assert [(one.decision.outcome, one.first_good) for one in door.said] == [(Outcome.UNDECIDED, None)]


def test_somebody_who_leaves_before_patience_ends_is_answered_when_they_have_left(door: Door) -> None:
    """Five good crops of a stranger, last seen at 0.4 s; said 1 s later, while it may be told, and with its true age."""
    door.shows(0.5, {1: "stranger"}).empty(0.8)
    assert door.said == []

    door.empty(0.4)

    assert door.outcomes() == [(1, "unknown")]


def test_a_template_that_comes_back_after_its_visit_is_over_is_nobodys(door: Door) -> None:
    crop = Crop(np.zeros((150, 150, 3), np.uint8), "alignment", "door", 99, 0.0, NOON, GOOD)

    assert door.visits.compared(crop, Template(PEOPLE["anna"], "model"), 0.1) == []


# Whose template it is (fault L6: two people under one track)


@pytest.mark.parametrize("second", ["stranger", "ben"])
@pytest.mark.parametrize("before", [0.2, 1.0, 6.0])
def test_another_person_under_the_same_track_is_another_visit_that_inherits_nothing(
    door: Door, before: float, second: str
) -> None:
    """The tracker takes the second person for the first, who was seen for two, ten or sixty frames."""
    door.shows(before, {1: "anna"}).shows(5, {1: second})

    assert [who for visit, who in door.outcomes() if visit == 1] == (["anna"] if before >= 0.3 else [])
    assert [(visit, who) for visit, who in door.outcomes() if visit != 1] == [(2, "ben" if second == "ben" else "unknown")]
    answer = next(one for one in door.said if one.visit == 2)
    # Two foreign crops count for nobody, the third opens the second visit: nothing older than that is in its answer.
    assert answer.first_good >= before + 0.2
    assert answer.decision.frames_used <= (answer.settled - answer.first_good) * FPS + 1.01


@pytest.mark.parametrize(("each", "answered"), [(2.0, ["anna", "ben"]), (0.1, ["anna"])])
def test_two_people_who_are_shown_in_turn_at_one_place_are_told_apart_when_each_stays(each: float, answered: list[str]) -> None:
    """As in a folder of pictures. One who is there for single frames only cannot be told from a tracker's slip."""
    door = Door(rules=VisitRules())
    for _ in range(20):
        door.shows(each, {1: "anna"}).shows(each, {1: "ben"})

    assert [who for _, who in door.outcomes()] == answered


def test_two_people_whose_tracks_are_swapped_are_never_given_each_others_name(door: Door) -> None:
    door.shows(0.2, {1: "anna", 2: "stranger"}).shows(5, {1: "stranger", 2: "anna"})

    for one in door.said:
        if one.decision.subject == "anna":
            assert one.decision.best is not None
            assert one.decision.best.score > 0.8
    named = [one.visit for one in door.said if one.decision.subject == "anna"]
    unknown = [one.visit for one in door.said if one.decision.subject is None]
    assert len(named) == len(unknown) == 1
    assert set(named).isdisjoint(unknown)


def test_one_or_two_odd_crops_are_nobodys_and_change_nothing(door: Door) -> None:
    """A hand before the face, or a passer-by taken for it in a single frame."""
    for _ in range(4):
        door.shows(0.2, {1: "anna"}).shows(0.2, {1: "stranger"})
    door.shows(1, {1: "anna"}).empty(6)

    assert door.outcomes() == [(1, "anna")]
    assert len(door.left) == 1


def test_the_end_of_a_visit_that_began_by_a_mix_up_is_told_even_when_it_was_short(door: Door) -> None:
    """What was announced is also taken leave of, or a light that it switched on would burn for ever.

    Once anna is known she is looked at once a second: ben is noticed after three such looks, and gone 0.5 s later.
    """
    door.shows(2, {1: "anna"}).shows(3.5, {1: "ben"}).empty(8)

    assert [who for _, who in door.outcomes()] == ["anna", "ben"]
    assert [one.subject for one in door.left] == ["anna", "ben"]


# The gallery changes while somebody stands there


def test_somebody_enrolled_while_they_stand_there_is_known_at_once() -> None:
    door = Door(gallery("ben"))
    door.shows(2, {1: "anna"})
    assert door.outcomes() == [(1, "unknown")]

    door.change(gallery("anna", "ben", generation=2))

    assert door.outcomes() == [(1, "unknown"), (1, "anna")]
    assert door.said[-1].gallery_generation == 2


def test_somebody_whose_photos_are_taken_away_is_a_stranger_again_at_once(door: Door) -> None:
    door.shows(8, {1: "anna"})
    door.change(gallery("ben", generation=2))

    assert door.outcomes() == [(1, "anna"), (1, "unknown")]
    assert door.shows(3, {1: "anna"}).outcomes() == [(1, "anna"), (1, "unknown")]


def test_a_change_that_does_not_concern_those_in_view_says_nothing(door: Door) -> None:
    door.shows(2, {1: "anna", 2: "stranger"})
    before = door.outcomes()

    door.change(gallery("anna", generation=2))

    assert door.outcomes() == before


def test_no_visit_ever_mixes_two_galleries() -> None:
    """Two crops are compared with one gallery, the third with another in which the subjects have other numbers."""
    door = Door(gallery("anna"))
    door.shows(0.2, {1: "ben"})
    door.change(gallery("anna", "ben", generation=2))
    door.shows(0.2, {1: "ben"})

    assert door.outcomes() == [(1, "ben")]
    assert door.said[0].gallery_generation == 2


def test_nobody_who_has_left_is_announced_by_a_change_of_the_gallery() -> None:
    """An answer for somebody who is gone would open a door to nobody, or to the next one."""
    door = Door(gallery("ben"))
    door.shows(2, {1: "anna"}).empty(1)

    door.change(gallery("anna", "ben", generation=2))

    assert door.outcomes() == [(1, "unknown")]


def test_nobody_is_identified_by_a_photo_that_came_after_they_had_left() -> None:
    """Five good crops were not enough to say anything of anna; she leaves, and then her photo is dropped in."""
    door = Door(gallery("ben"))
    door.shows(0.5, {1: "anna"}).empty(0.3)

    door.change(gallery("anna", "ben", generation=2))
    door.empty(6)

    assert door.outcomes() == [(1, "undecided")]
    assert door.said[0].decision.reasons == (Reason.LEFT_BEFORE_DECISION,)
    assert door.said[0].settled == pytest.approx(0.4)


# How many looks are asked for


def test_looks_are_asked_for_as_the_answer_needs_them() -> None:
    """At 10 frames a second: the first three at once; then up to 4 a second until something is said; then one a second."""
    rules = VisitRules(max_crops_per_second=4.0)
    strange, known = Door(rules=rules), Door(rules=rules)
    strange.shows(0.3, {1: "stranger"})
    assert strange.crops == 3
    strange.shows(1.0, {1: "stranger"})
    assert 3 + 3 <= strange.crops <= 3 + 5

    known.shows(1, {1: "anna"})
    before = known.crops
    known.shows(10, {1: "anna"})
    assert known.crops - before in {10, 11}


def test_a_look_half_a_frame_early_is_on_time() -> None:
    """Eight looks a second of ten frames: every frame, since every other one would be five."""
    patient = DecisionRules(unknown_after_good_frames=100)
    door = Door(rules=VisitRules(decision=patient, max_crops_per_second=8.0))

    door.shows(3, {1: "stranger"})

    assert door.crops == 30


def test_only_the_newest_looks_of_a_long_visit_are_kept() -> None:
    """A stranger who stands there for a minute is enrolled at last: known by two dozen looks of sixty and more."""
    door = Door()
    door.shows(60, {1: "stranger"})
    assert door.crops > 60

    door.change(gallery("anna", "ben", "stranger", generation=2))

    assert door.outcomes() == [(1, "unknown"), (1, "stranger")]
    assert door.said[-1].decision.frames_used == 24


def test_who_is_back_within_the_cool_down_is_not_told_as_a_stranger_for_looking_aside() -> None:
    """They have been identified, which only the cool-down keeps from being said; looks worth -6 each follow."""
    aside = (0.5 * PEOPLE["stranger"] - 0.4 * PEOPLE["anna"] + np.sqrt(1 - 0.41) * PEOPLE["other stranger"]).astype(np.float32)
    door = Door(rules=VisitRules(same_person=-1.0, cooldown=60.0))

    door.shows(1, {1: mixed(0.9)}).empty(8).shows(1, {2: mixed(0.9)}).shows(20, {2: aside})

    assert door.outcomes() == [(1, "anna")]


def test_who_is_taken_out_of_the_gallery_while_out_of_view_is_a_stranger_on_return(door: Door) -> None:
    door.shows(1.0, {1: "anna"}).empty(1.0)

    door.change(gallery("ben", generation=2))
    door.shows(1.5, {2: "anna"})

    assert door.outcomes() == [(1, "anna"), (2, "unknown")]


def test_a_gallery_change_decides_by_no_crop_that_is_too_old_to_be_told(door: Door) -> None:
    """The face has been blurred for three seconds when the photo comes; the next good crop answers, and is told."""
    door.shows(1.0, {1: "stranger"})
    door.quality = BLURRED
    door.shows(3.0, {1: "stranger"})

    door.change(build([Enrolled("new", "new/1.jpg", PEOPLE["stranger"])], 2, "model", 16))
    assert door.outcomes() == [(1, "unknown")]
    changed = door.now
    door.quality = GOOD
    door.shows(0.6, {1: "stranger"})

    assert door.outcomes() == [(1, "unknown"), (1, "new")]
    assert door.said[-1].settled >= changed


@pytest.mark.parametrize(("away", "answered"), [(0.6, ["unknown", "new"]), (0.8, ["unknown"])])
def test_a_gallery_change_decides_by_a_crop_of_the_last_second(door: Door, away: float, answered: list[str]) -> None:
    """The last good one was the eighth, 0.3 s before the blur."""
    door.shows(1.0, {1: "stranger"})
    door.quality = BLURRED
    door.shows(away, {1: "stranger"})

    door.change(build([Enrolled("new", "new/1.jpg", PEOPLE["stranger"])], 2, "model", 16))

    assert [who for _, who in door.outcomes()] == answered


def test_two_people_whose_tracks_are_exchanged_are_each_named_once(door: Door) -> None:
    """Both have been named; the tracker then takes each for the other, and back to their own visits they go."""
    door.shows(2.0, {1: "anna", 2: "ben"})

    door.shows(3.0, {1: "ben", 2: "anna"})

    named = [one.decision.subject for one in door.said if one.decision.subject]
    assert sorted(named) == ["anna", "ben"]


# People for whom something special holds

ELSEWHERE = SubjectRules(cameras=frozenset({"garage"}))
PAST = SubjectRules(valid_until=NOON)
TO_COME = SubjectRules(valid_from=NOON + timedelta(days=1))
NOW = SubjectRules(cameras=frozenset({"door"}), valid_from=NOON, valid_until=NOON + timedelta(days=1))


@pytest.mark.parametrize("rules", [ELSEWHERE, PAST, TO_COME])
def test_somebody_who_is_not_to_be_recognised_here_and_now_is_a_stranger(rules: SubjectRules) -> None:
    rows = [Enrolled(name, f"{name}/1.jpg", PEOPLE[name]) for name in ("anna", "ben")]
    door = Door(build(rows, 1, "model", 16, {"anna": rules}))

    door.shows(2.0, {1: "anna"})

    assert [one.decision.outcome for one in door.said] == [Outcome.UNKNOWN]
    assert "anna" not in {one.decision.subject for one in door.said}


def test_somebody_who_is_to_be_recognised_here_and_now_is() -> None:
    rows = [Enrolled(name, f"{name}/1.jpg", PEOPLE[name]) for name in ("anna", "ben")]
    door = Door(build(rows, 1, "model", 16, {"anna": NOW, "ben": PAST}))

    door.shows(1.0, {1: "anna"})

    assert [one.decision.subject for one in door.said] == ["anna"]


def test_a_change_of_the_rules_reaches_whoever_stands_there() -> None:
    rows = [Enrolled(name, f"{name}/1.jpg", PEOPLE[name]) for name in ("anna", "ben")]
    door = Door(build(rows, 1, "model", 16, {"anna": PAST}))
    door.shows(2.0, {1: "anna"})

    door.change(build(rows, 2, "model", 16))

    assert [one.decision.outcome for one in door.said] == [Outcome.UNKNOWN, Outcome.IDENTIFIED]


# A gallery with an index


class TwoBest:
    """An index that names two templates and no more, however many it is asked for."""

    def __init__(self, templates: Float32) -> None:
        self._templates = templates

    def nearest(self, vectors: Float32, count: int) -> Int64:
        return np.argsort(-(vectors @ self._templates.T), axis=1)[:, :2]


def indexed(enrolled: Gallery) -> Gallery:
    return dataclasses.replace(enrolled, index=TwoBest(enrolled.templates))


def test_an_index_that_finds_others_near_in_each_crop_changes_no_decision() -> None:
    """Anna is best in every crop, the second is somebody else in each. Their evidence is a mean over all crops: were a crop
    in which they were not found counted against them, anna's lead would be larger than it is.
    """
    enrolled = gallery(*PEOPLE)
    exact, fast = Door(enrolled, RULES), Door(indexed(enrolled), RULES)
    for door in (exact, fast):
        for frame in range(6):
            shares = {"anna": 0.7, "ben": 0.3, "stranger": 0.3, "other stranger": 0.3}
            shares[("ben", "stranger", "other stranger")[frame % 3]] = 0.5
            vector = sum(share * PEOPLE[name] for name, share in shares.items())
            door.frame({1: (vector / np.linalg.norm(vector)).astype(np.float32)})
        door.change(door.enrolled if door is exact else indexed(gallery(*PEOPLE, generation=2)))

    assert exact.said
    assert len(fast.said) == len(exact.said)
    for found, expected in zip(fast.said, exact.said, strict=True):
        for one, other in ((found.decision.best, expected.decision.best), (found.decision.second, expected.decision.second)):
            assert one is not None
            assert other is not None
            assert one.evidence == pytest.approx(other.evidence, abs=1e-4)
        assert found.decision.best.subject == expected.decision.best.subject  # type: ignore[union-attr]
        assert found.decision.outcome == expected.decision.outcome


# Whoever comes in soon after somebody went and looks like them


def look(**parts: float) -> Float32:
    """A look made of directions: anna, ben, or n5, n6, ... for what no photo shows."""
    vector = np.zeros(16, np.float32)
    for name, share in parts.items():
        vector += share * (PEOPLE[name] if name in PEOPLE else np.eye(16, dtype=np.float32)[int(name[1:])])
    return (vector / np.linalg.norm(vector)).astype(np.float32)


ANNA_TODAY = look(anna=0.6, n5=0.8)
LIKE_HER = look(n5=0.8, n6=0.6)  # a stranger, at 0.64 to her looks today and at nothing to her photo
BEN_LIKE_HER = look(anna=0.55, ben=0.8, n5=0.55)  # at 0.72 to her looks


def test_a_slight_likeness_joins_nobody(door: Door) -> None:
    """At 0.4 to her looks: two strangers in a hundred pairs are as alike."""
    door.shows(2, {1: ANNA_TODAY}).shows(3, {2: look(n5=0.5, n6=0.87)})

    assert door.outcomes() == [(1, "anna"), (2, "unknown")]


def test_a_stranger_who_goes_on_with_a_visit_is_answered_for_by_their_own_looks(door: Door) -> None:
    """And she left when she did."""
    door.shows(2, {1: ANNA_TODAY}).empty(1).shows(4, {2: LIKE_HER}).empty(6)

    assert door.outcomes() == [(1, "anna"), (3, "unknown")]
    assert [(one.visit, one.subject, one.seconds) for one in door.left] == [
        (1, "anna", pytest.approx(1.9)),
        (3, None, pytest.approx(3.9)),
    ]


def test_somebody_enrolled_who_goes_on_with_a_visit_is_named_by_their_own_looks(door: Door) -> None:
    door.shows(2, {1: ANNA_TODAY}).shows(2, {2: BEN_LIKE_HER}).empty(6)

    assert door.outcomes() == [(1, "anna"), (3, "ben")]
    assert door.said[1].decision.frames_used >= RULES.decision.min_good_frames
    assert sorted(one.subject or "" for one in door.left) == ["anna", "ben"]


def test_nobody_is_announced_anew_by_the_looks_of_whoever_went(door: Door) -> None:
    """The word of her reached nobody, and she has gone; one look of somebody like her must not open the door."""
    door.shows(2, {1: ANNA_TODAY}).empty(1.0)
    door.visits.not_delivered(1)

    door.shows(3, {2: LIKE_HER})

    assert door.outcomes() == [(1, "anna"), (1, "unknown")]
    assert door.said[1].decision.frames_used == RULES.decision.unknown_after_good_frames


def test_whoever_is_back_goes_on_with_the_visit_that_is_most_like_them(door: Door) -> None:
    door.shows(2, {1: ANNA_TODAY, 2: look(anna=0.35, n5=0.47, n7=0.8)}).shows(1, {3: look(anna=0.4, n5=0.5, n7=0.77)})

    assert door.visits.visit_of("door", 3) == 2


def test_who_comes_back_is_not_a_stranger_for_looking_aside_at_first(door: Door) -> None:
    """A look at which evidence for her is left, if too little of it."""
    door.shows(2, {1: ANNA_TODAY}).empty(1).shows(3, {2: look(anna=0.25, n5=0.85, n6=0.45)}).shows(2, {2: ANNA_TODAY}).empty(6)

    assert door.outcomes() == [(1, "anna")]
    assert [one.visit for one in door.left] == [1]


@pytest.mark.parametrize("away", [0.8, 1.5])
def test_the_looks_of_a_glimpse_are_no_evidence_for_whoever_comes_after(away: float) -> None:
    """Two looks of Anna, one too few, which with those of a stranger like her would be enough."""
    anna, stranger = look(anna=0.9, n5=0.436), look(anna=0.2, n5=0.98)
    door = Door(rules=dataclasses.replace(RULES, left_after=2.0))
    door.shows(0.2, {1: anna}).empty(away).shows(3, {2: stranger})

    assert "anna" not in [subject for _, subject in door.outcomes()]


def test_whoever_comes_in_where_somebody_went_is_unknown_to_others_until_they_show_who_they_are() -> None:
    door = Door()
    door.shows(2, {1: ANNA_TODAY}).empty(1).shows(3, {2: LIKE_HER, 3: "ben"})

    (ben,) = [one for one in door.said if one.decision.subject == "ben"]
    assert (ben.others_in_view, ben.unknown_in_view) == (1, 1)


def test_no_cool_down_silences_somebody_whose_word_was_lost() -> None:
    """Gone before the broker was back, and back before the cool-down would have been over."""
    door = Door()
    door.shows(1, {1: "anna"}).empty(0.5)
    door.visits.not_delivered(1)
    door.empty(RULES.rejoin + 0.5).shows(2, {2: "anna"})

    assert door.outcomes() == [(1, "anna"), (2, "anna")]


def test_who_was_taken_out_of_the_gallery_leaves_without_a_name() -> None:
    door = Door()
    door.shows(1, {1: "anna"}).empty(1)
    door.change(gallery("ben", generation=2))
    door.empty(6)

    assert [(one.outcome, one.subject) for one in door.left] == [(Outcome.UNKNOWN, None)]


def test_who_is_taken_out_right_after_a_change_of_the_model_is_unknown() -> None:
    door = Door()
    door.shows(1, {1: "anna"})
    door.visits.model_changed(by_another_model(), Shifted())
    door.model = "another"
    door.change(build([Enrolled("ben", "ben/1.jpg", PEOPLE["anna"])], 3, "another", 16))
    door.shows(3, {1: "stranger"})

    assert door.outcomes()[-1][1] != "anna"


def test_a_face_that_was_lost_for_a_moment_keeps_its_evidence(door: Door) -> None:
    """Two looks, a blink of the tracker, and the third settles it."""
    door.shows(0.2, {1: ANNA_TODAY}).empty(0.2).shows(0.1, {2: ANNA_TODAY})

    assert door.outcomes() == [(1, "anna")]


@pytest.mark.parametrize(("lost", "looks"), [(0.4, 1), (0.6, 3)])
def test_a_face_that_was_lost_for_longer_than_half_a_second_is_looked_at_anew(door: Door, lost: float, looks: int) -> None:
    """lost: from the last frame before to the first after."""
    door.shows(0.2, {1: ANNA_TODAY}).empty(lost - 0.1)

    for _ in range(looks):
        assert door.said == []
        door.frame({2: ANNA_TODAY})
    assert door.outcomes() == [(1, "anna")]


def odd_twice() -> Door:
    """Anna, not identified yet, and then two crops of a stranger under her track; a third would be one too many."""
    return Door(gallery("ben")).shows(0.3, {1: "anna"}).shows(0.2, {1: "stranger"})


def test_odd_crops_before_somebody_went_do_not_count_against_who_comes_back() -> None:
    door = odd_twice().empty(0.3).shows(0.1, {2: "anna"}).shows(0.1, {2: "stranger"})

    assert door.crops == 7
    assert door.visits.open == {1}
    assert door.visits.visit_of("door", 2) == 1


def test_somebody_who_was_taken_for_the_one_before_leaves_them_their_looks(door: Door) -> None:
    """So that she goes on with her visit when she comes back after the stranger, whom she is not like today."""
    door.shows(2, {1: ANNA_TODAY}).empty(0.5).shows(1, {2: LIKE_HER}).shows(0.5, {3: look(anna=0.9, n5=0.436)})

    assert door.outcomes() == [(1, "anna"), (3, "unknown")]
    assert door.visits.visit_of("door", 3) == 1


def test_somebody_who_looks_like_two_people_keeps_the_name_that_they_were_given(door: Door) -> None:
    """The light changes while they stand there, and with it whom they are more like."""
    like_anna, like_ben = look(anna=0.8, ben=0.5, n5=0.3), look(anna=0.5, ben=0.8, n5=0.3)
    for _ in range(3):
        door.shows(30, {1: like_anna}).shows(30, {1: like_ben})
    door.empty(6)

    assert door.outcomes() == [(1, "anna")]
    assert [(one.visit, one.subject) for one in door.left] == [(1, "anna")]


def test_after_they_were_recognised_again_a_look_aside_is_one(door: Door) -> None:
    """Back, known by their own looks, and then turned away for long: still the same visit."""
    door.shows(2, {1: ANNA_TODAY}).empty(1).shows(2, {2: ANNA_TODAY}).shows(20, {2: look(n5=0.8, n6=0.6)}).empty(6)

    assert door.outcomes() == [(1, "anna")]


def test_whoever_is_back_is_looked_at_as_often_as_somebody_new() -> None:
    """Three looks at once, then as many as the answer needs, not one a second as after an answer."""
    door = Door(rules=dataclasses.replace(RULES, max_crops_per_second=5.0))
    door.shows(3, {1: ANNA_TODAY}).empty(1)
    before = door.crops

    door.shows(1.0, {2: LIKE_HER})

    assert door.crops - before >= 5


# What was said and reached nobody


def test_whoever_stands_there_is_announced_anew_when_nobody_heard_of_them() -> None:
    door = Door().shows(1.0, {1: "anna"})
    door.visits.not_delivered(door.said[0].visit)

    door.shows(1.0, {1: "anna"})

    assert door.outcomes() == [(1, "anna"), (1, "anna")]


def test_only_the_first_decision_of_a_visit_is_told_as_the_first() -> None:
    """A stronger one, one after a change of the gallery and one that nobody heard of are answers to something else."""
    door = Door(gallery("ben"))
    door.shows(2.0, {1: "anna"})
    door.change(gallery("anna", "ben", generation=2))
    door.visits.not_delivered(1)
    door.shows(1.0, {1: "anna"})
    door.change(gallery("ben", generation=3))

    assert door.outcomes() == [(1, "unknown"), (1, "anna"), (1, "anna"), (1, "unknown")]
    assert [one.first for one in door.said] == [True, False, False, False]


def test_what_the_cool_down_kept_back_is_no_first_decision_when_it_is_said_at_last(door: Door) -> None:
    door.shows(1, {1: "anna"}).empty(6).shows(20, {2: "anna"})

    assert [(one.visit, one.first) for one in door.said] == [(1, True), (2, False)]


def test_whoever_has_gone_meanwhile_keeps_their_decision_and_is_announced_when_they_come_back() -> None:
    door = Door().shows(1.0, {1: "anna"}).empty(1.5)
    door.visits.not_delivered(1)
    door.empty(0.5)
    assert door.outcomes() == [(1, "anna")]

    door.shows(1.0, {2: "anna"})
    assert door.outcomes() == [(1, "anna"), (1, "anna")]
    door.empty(7.0)
    assert [one.subject for one in door.left] == ["anna"]


def test_whoever_goes_before_a_lost_word_is_said_again_has_left_all_the_same() -> None:
    """The word may have arrived, unconfirmed: whoever it named has left, and nothing weaker is said of them."""
    door = Door().shows(0.4, {1: "anna"})
    door.visits.not_delivered(1)

    door.empty(8)

    assert door.outcomes() == [(1, "anna")]
    assert [(one.visit, one.outcome, one.subject) for one in door.left] == [(1, Outcome.IDENTIFIED, "anna")]


def test_whoever_is_back_after_going_before_a_lost_word_was_said_again_is_announced() -> None:
    door = Door().shows(0.4, {1: "anna"})
    door.visits.not_delivered(1)

    door.empty(1.5).shows(1.0, {2: "anna"})

    assert door.outcomes() == [(1, "anna"), (1, "anna")]


def test_who_goes_before_a_lost_word_is_said_again_and_was_taken_out_meanwhile_is_not_taken_for_named() -> None:
    """Her photo was found to be Ben's."""
    door = Door().shows(0.4, {1: "anna"})
    door.visits.not_delivered(1)
    door.empty(0.5)

    door.change(build([Enrolled("ben", "ben/1.jpg", PEOPLE["anna"])], 2, "model", 16))
    door.empty(8)

    assert door.outcomes() == [(1, "anna"), (1, "undecided")]
    assert [(one.outcome, one.subject) for one in door.left] == [(Outcome.UNDECIDED, None)]


@pytest.mark.parametrize("lose", [Visits.unheard, Visits.not_delivered])
def test_no_cool_down_follows_a_word_that_was_lost_while_they_stood_there(lose: Callable[[Visits, int], None]) -> None:
    """Without a broker nothing is said again before they go; with one they may be gone before it is."""
    door = Door().shows(0.4, {1: "anna"})
    lose(door.visits, 1)

    door.empty(RULES.rejoin + 0.5).shows(1, {2: "anna"})

    assert door.outcomes() == [(1, "anna"), (2, "anna")]


def test_a_cool_down_follows_once_the_word_is_said_again() -> None:
    door = Door().shows(0.4, {1: "anna"})
    door.visits.not_delivered(1)

    door.shows(1, {1: "anna"}).empty(RULES.rejoin + 0.5).shows(1, {2: "anna"})

    assert door.outcomes() == [(1, "anna"), (1, "anna")]


def test_a_visit_that_ended_unheard_of_ends_as_what_it_was() -> None:
    door = Door().shows(1.0, {1: "anna"}).empty(1.0)
    door.visits.not_delivered(1)

    door.empty(7.0)

    assert door.outcomes() == [(1, "anna")]
    assert [(one.outcome, one.subject) for one in door.left] == [(Outcome.IDENTIFIED, "anna")]


# Another model


def by_another_model() -> Gallery:
    """The same people by a model that sees Anna where the other saw Ben, and Ben where it saw Anna."""
    rows = [Enrolled("anna", "anna/1.jpg", PEOPLE["ben"]), Enrolled("ben", "ben/1.jpg", PEOPLE["anna"])]
    return build(rows, 2, "another", 16)


def test_a_visit_begins_its_evidence_anew_when_another_model_takes_over() -> None:
    door = Door(rules=dataclasses.replace(RULES, decision=DecisionRules(min_good_frames=3))).shows(0.2, {1: "anna"})
    assert door.said == []

    door.visits.model_changed(by_another_model(), Shifted())
    door.model = "another"
    door.shows(0.2, {1: "ben"})
    assert door.said == []
    door.shows(0.5, {1: "ben"})

    assert door.outcomes() == [(1, "anna")]
    assert (door.said[0].decision.frames_used, door.said[0].gallery_generation) == (3, 2)


def test_whoever_takes_over_a_track_while_another_model_takes_over_is_named_too() -> None:
    """The looks that would tell them from whom the track showed before are of the model before."""
    door = Door().shows(1.0, {1: "anna"})
    door.visits.model_changed(by_another_model(), Shifted())
    door.model = "another"

    door.shows(1.0, {1: "anna"})  # whom the new model knows as Ben

    assert door.outcomes() == [(1, "anna"), (2, "ben")]


def test_a_template_of_the_model_before_counts_for_nothing() -> None:
    door = Door()
    door.visits.model_changed(by_another_model(), Shifted())

    door.shows(2.0, {1: "anna"})

    assert door.said == []


def test_odd_crops_by_the_model_before_do_not_count() -> None:
    door = odd_twice()
    door.visits.model_changed(by_another_model(), Shifted())
    door.model = "another"

    door.shows(0.1, {1: "anna"}).shows(0.1, {1: "stranger"})

    assert door.crops == 7
    assert door.visits.open == {1}
    assert door.visits.visit_of("door", 1) == 1


def test_looks_by_the_model_before_join_nobody(door: Door) -> None:
    """Anna's, kept since somebody like her goes on with her visit; by the other model they would be another's."""
    door.shows(2, {1: ANNA_TODAY}).empty(1).shows(0.1, {2: LIKE_HER}).empty(0.3)
    door.visits.model_changed(by_another_model(), Shifted())
    door.model = "another"

    door.shows(0.1, {3: ANNA_TODAY})

    assert door.visits.visit_of("door", 3) not in (None, 1)


def test_whoever_was_identified_before_is_not_said_again_unless_they_are_enrolled_no_more() -> None:
    door = Door().shows(1.0, {1: "anna", 2: "ben"})
    door.visits.model_changed(build([Enrolled("anna", "anna/1.jpg", PEOPLE["ben"])], 2, "another", 16), Shifted())
    door.model = "another"

    door.shows(2.0, {1: "ben", 2: "anna"})

    assert sorted(door.outcomes()[:2]) == [(1, "anna"), (2, "ben")]
    assert door.outcomes()[2:] == [(2, "unknown")]
