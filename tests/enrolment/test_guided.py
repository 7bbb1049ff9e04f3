"""Enrolment before a camera: what a person is told, and which frames are kept, from a script of what the camera saw."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.assembly import SHIPPED_CARD
from streamd.enrolment.guided import (
    WORDS,
    Ending,
    GuideRules,
    Pose,
    Prompt,
    PromptCode,
    Result,
    SeenFace,
    Session,
    Taken,
    asked,
    check,
    obstacle,
    one_person,
    seen,
    worth,
)
from streamd.recognition.card import read_card
from streamd.values import Crop, Face, Float32, Quality, QualityReason, Track
from streamd.vision.alignment import VERSION
from tests.conftest import FakeClock

RATIO = read_card(Path(SHIPPED_CARD)).calibration.log_likelihood_ratio
PAGE = Path(__file__).parents[2] / "docs" / "mqtt.md"
GOOD = Quality(sharpness=0.15, brightness=128, contrast=40, yaw=0, pitch=-5, roll=0, eye_distance=60)
RULES = GuideRules()
HERE = (400, 200)
ELSEWHERE = (900, 200)
FRAME = 0.1  # seconds between the frames of the script


def quality(**changes: object) -> Quality:
    return dataclasses.replace(GOOD, **changes)  # type: ignore[arg-type]


class Visit:
    """Plays what the camera sees to a session, ten frames a second, and remembers what was said and when.

    Frames are numbered; the session's references are those numbers.
    """

    def __init__(self, rules: GuideRules = RULES) -> None:
        self.session: Session[int] = Session("anna", rules, 0.0)
        self.now = 0.0
        self.frame = 0
        self.said: list[tuple[float, Prompt]] = []
        self.most_kept = 0

    @property
    def codes(self) -> list[PromptCode | Ending]:
        return [prompt.code for _, prompt in self.said]

    @property
    def result(self) -> Result[int]:
        assert self.session.result is not None
        return self.session.result

    def face(
        self,
        seen: Quality | None = GOOD,
        *,
        track: int = 1,
        at: tuple[int, int] = HERE,
        wide: int = 160,
        glasses: bool | None = None,
    ) -> SeenFace[int]:
        x, y = at
        return SeenFace(track, np.array([x, y, x + wide, y + wide], np.float32), seen, self.frame, glasses)

    def look(self, *faces: SeenFace[int]) -> None:
        self.said += [(self.now, prompt) for prompt in self.session.look(self.now, faces)]
        self.most_kept = max(self.most_kept, len(self.session.kept))
        self.now = round(self.now + FRAME, 3)
        self.frame += 1

    def show(self, seconds: float, *people: dict[str, object], **one: object) -> Visit:
        """The same people in view for so long; `one` where there is one."""
        for _ in range(round(seconds / FRAME)):
            self.look(*(self.face(**person) for person in (people or ((one,) if one else ()))))  # type: ignore[arg-type]
        return self

    def nobody(self, seconds: float) -> Visit:
        return self.show(seconds)


STRAIGHT, LEFT, RIGHT = ({"seen": quality(yaw=yaw)} for yaw in (0, 20, -20))


# What a visit is like


def test_a_good_visit_takes_a_few_seconds_and_gives_one_frame_for_each_pose() -> None:
    visit = Visit().show(1, **STRAIGHT).show(1, **LEFT).show(1, **RIGHT)

    assert visit.codes == [PromptCode.LOOK_STRAIGHT, PromptCode.TURN_LEFT, PromptCode.TURN_RIGHT, PromptCode.CHECKING]
    assert [(prompt.step, prompt.done, prompt.of) for _, prompt in visit.said] == [
        (Pose.STRAIGHT, 0, 3),
        (Pose.LEFT, 1, 3),
        (Pose.RIGHT, 2, 3),
        (None, 3, 3),
    ]
    assert (visit.result.ending, [picture.pose for picture in visit.result.pictures]) == (
        Ending.COMPLETE,
        [Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT],
    )
    assert visit.said[-1][0] < 3
    assert not visit.session.finished

    last = visit.session.conclude(visit.result)

    assert [(prompt.code, prompt.ok, prompt.finished) for prompt in last] == [(Ending.COMPLETE, True, True)]
    assert visit.session.finished


def test_nothing_is_taken_before_the_person_was_told_what_to_do() -> None:
    visit = Visit()
    visit.said += [(0.0, prompt) for prompt in visit.session.tick(0.0)]
    visit.show(1.9, **STRAIGHT)

    assert visit.codes == [PromptCode.STEP_IN_FRONT]
    assert visit.session.kept == ()

    visit.show(1, **STRAIGHT)

    assert visit.codes[1:] == [PromptCode.LOOK_STRAIGHT, PromptCode.TURN_LEFT]


def test_the_best_frame_of_a_pose_is_the_one_that_is_kept() -> None:
    """Frame 0 is told what to do; the best of the others is the fifth."""
    visit = Visit()
    for sharpness in (0.3, 0.10, 0.12, 0.11, 0.13, 0.2, 0.14, 0.09, 0.1):
        visit.look(visit.face(quality(sharpness=sharpness)))

    assert visit.codes[-1] is PromptCode.TURN_LEFT
    assert visit.session.kept == (5,)


def test_only_one_frame_for_each_pose_is_ever_held() -> None:
    visit = Visit().show(1, **STRAIGHT).show(1, **LEFT).show(1, **RIGHT)

    assert visit.most_kept == 3
    assert visit.session.kept == tuple(picture.frame for picture in visit.result.pictures)

    visit.session.abort()

    assert visit.session.kept == ()


def test_a_pose_must_be_held() -> None:
    """Half a second straight, then away for a second, again and again, is not enough: the hold begins anew each time."""
    visit = Visit().show(0.6, **STRAIGHT)
    for _ in range(3):
        visit.show(1, seen=quality(yaw=30)).show(0.5, **STRAIGHT)

    assert PromptCode.TURN_LEFT not in visit.codes


def test_a_shaky_visit_is_helped_along_and_ends_well() -> None:
    """Blurred, then too far away, then too far round: each is told once it lasts, and no two within two seconds."""
    blurred = quality(sharpness=0.03, reasons=(QualityReason.BLURRED,))
    far = quality(eye_distance=22)
    visit = Visit().nobody(1).show(2.5, seen=far).show(3, seen=blurred)
    visit.show(3, **STRAIGHT).show(4, seen=quality(yaw=40)).show(1, **LEFT).show(4, seen=quality(yaw=-6)).show(1, **RIGHT)

    assert visit.codes == [
        PromptCode.STEP_IN_FRONT,
        PromptCode.COME_NEARER,
        PromptCode.HOLD_STILL,
        PromptCode.LOOK_STRAIGHT,
        PromptCode.TURN_LEFT,
        PromptCode.TURN_LESS,
        PromptCode.TURN_RIGHT,
        PromptCode.CHECKING,
    ]
    assert visit.result.ending is Ending.COMPLETE


def test_what_lasts_for_one_frame_is_not_worth_a_word() -> None:
    """Long after the last words."""
    visit = Visit().show(1, **STRAIGHT).show(4, **STRAIGHT).show(0.1, seen=quality(reasons=(QualityReason.DARK,)))
    visit.show(1, **STRAIGHT)

    assert visit.codes == [PromptCode.LOOK_STRAIGHT, PromptCode.TURN_LEFT]


def test_the_same_hint_is_not_repeated_all_the_time() -> None:
    visit = Visit().show(20, seen=quality(eye_distance=20))

    times = [when for when, prompt in visit.said if prompt.code is PromptCode.COME_NEARER]
    assert all(later - earlier >= RULES.repeat - 1e-6 for earlier, later in itertools.pairwise(times))
    assert len(times) == 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.3, 1.0, 4.0]),
            st.lists(
                st.fixed_dictionaries(
                    {
                        "seen": st.sampled_from(
                            [None, GOOD, quality(yaw=20), quality(yaw=-20), quality(yaw=60), quality(eye_distance=9)]
                            + [quality(reasons=(reason,)) for reason in QualityReason]
                        ),
                        "track": st.integers(1, 4),
                        "at": st.sampled_from([HERE, ELSEWHERE, (430, 210)]),
                        "wide": st.sampled_from([60, 160, 200]),
                        "glasses": st.sampled_from([None, True, False]),
                    }
                ),
                max_size=2,
                unique_by=lambda person: person["track"],
            ),
        ),
        max_size=30,
    )
)
def test_whatever_happens_hints_keep_their_distance_few_frames_are_held_and_it_ends(
    script: list[tuple[float, list[dict[str, object]]]],
) -> None:
    visit = Visit()
    for seconds, people in script:
        visit.show(seconds, *people)
    visit.nobody(max(0.0, 61 - visit.now))

    assert visit.session.result is not None
    assert visit.most_kept <= len(RULES.poses)
    steps = {Pose.STRAIGHT: 0, Pose.LEFT: 1, Pose.RIGHT: 2, Pose.WITHOUT_GLASSES: 3, None: 4}
    for (earlier, one), (later, other) in itertools.pairwise(visit.said):
        assert later - earlier >= RULES.prompt - 1e-6 or steps[other.step] > steps[one.step]
        assert other.done >= one.done or other.ok is False
        assert other.done <= other.of
    if visit.result.pictures:
        assert visit.result.ending.ok
        assert visit.result.pictures[0].pose is Pose.STRAIGHT
        assert all(obstacle_free(picture) for picture in visit.result.pictures)


def obstacle_free(picture: Taken[int]) -> bool:
    return picture.quality.good and picture.quality.eye_distance >= RULES.min_eye_distance


# Who is enrolled


def test_two_people_in_view_are_asked_to_be_one() -> None:
    other = {"track": 2, "at": ELSEWHERE, "wide": 120}
    visit = Visit().show(3, STRAIGHT, other)

    assert visit.codes == [PromptCode.ONLY_ONE]
    assert visit.session.kept == ()

    visit.show(3, **STRAIGHT).show(1, **LEFT).show(1, **RIGHT)

    assert visit.result.ending is Ending.COMPLETE


def test_somebody_who_joins_later_stops_it_until_they_step_aside() -> None:
    visit = Visit().show(1, **STRAIGHT)
    before = visit.session.kept
    visit.show(4, LEFT, {"track": 2, "at": ELSEWHERE, "wide": 250})

    assert visit.session.kept == before
    assert visit.codes[-1] is PromptCode.ONLY_ONE

    visit.show(1, **LEFT).show(1, **RIGHT)

    assert visit.result.ending is Ending.COMPLETE


def test_somebody_small_in_the_background_does_not_matter_but_is_told_of() -> None:
    """A third of the person's width; the cut must leave them out, so their box comes with the frame."""
    visit = Visit().show(1, STRAIGHT, {"track": 2, "at": (700, 200), "wide": 53})

    assert visit.codes == [PromptCode.LOOK_STRAIGHT, PromptCode.TURN_LEFT]

    visit.show(1, **LEFT).show(1, **RIGHT)

    assert [[box.tolist() for box in picture.others] for picture in visit.result.pictures] == [[[700, 200, 753, 253]], [], []]


def test_a_face_right_beside_the_persons_cannot_be_cut_away() -> None:
    visit = Visit().show(3, STRAIGHT, {"track": 2, "at": (540, 260), "wide": 70})

    assert visit.codes == [PromptCode.ONLY_ONE]
    assert visit.session.kept == ()


def test_until_the_first_picture_is_taken_whoever_stands_nearest_is_the_person() -> None:
    """The frames of the one who goes are dropped."""
    visit = Visit().show(0.5, **STRAIGHT)
    assert visit.session.kept != ()

    visit.look(visit.face(track=2, at=ELSEWHERE))

    assert visit.session.kept == ()

    visit.show(3, track=2, at=ELSEWHERE)

    assert visit.codes[-1] is PromptCode.TURN_LEFT
    assert visit.session.kept[0] > 5


def test_nobody_else_is_enrolled_after_the_person_has_gone() -> None:
    visit = Visit().show(1, **STRAIGHT).show(4, track=2, at=ELSEWHERE, **LEFT)

    assert visit.codes[-1] is Ending.PERSON_CHANGED
    assert (visit.said[-1][1].ok, visit.result.pictures, visit.session.kept) == (False, (), ())


def test_somebody_who_takes_the_place_after_a_while_is_not_taken_for_the_person() -> None:
    visit = Visit().show(1, **STRAIGHT).nobody(2).show(2, track=2, **LEFT)

    assert visit.codes[-1] is Ending.PERSON_CHANGED


def test_whoever_leaves_in_the_middle_has_not_agreed_to_be_enrolled() -> None:
    visit = Visit().show(1, **STRAIGHT).show(1, **LEFT).nobody(3.5)

    assert visit.codes[-2:] == [PromptCode.COME_BACK, Ending.PERSON_LEFT]
    assert visit.result.pictures == ()


def test_a_track_that_breaks_while_the_head_turns_goes_on_at_its_place() -> None:
    visit = Visit().show(1, **STRAIGHT).nobody(1).show(1, track=2, at=(430, 210), **LEFT).show(1, track=2, **RIGHT)

    assert visit.result.ending is Ending.COMPLETE


def test_a_person_who_goes_before_anything_was_taken_is_waited_for() -> None:
    visit = Visit().show(0.3, **STRAIGHT).nobody(10).show(3, track=2, **STRAIGHT)

    assert visit.codes == [
        PromptCode.LOOK_STRAIGHT,
        PromptCode.STEP_IN_FRONT,
        PromptCode.STEP_IN_FRONT,
        PromptCode.LOOK_STRAIGHT,
        PromptCode.TURN_LEFT,
    ]


# Left, right, up, down, glasses


def test_left_is_the_persons_own_which_the_picture_shows_on_its_right() -> None:
    """Yaw is positive towards the right of the picture."""
    assert asked(Pose.LEFT, quality(yaw=20), RULES, 0) is None
    assert asked(Pose.LEFT, quality(yaw=-20), RULES, 0) is PromptCode.TURN_LEFT
    assert asked(Pose.RIGHT, quality(yaw=-20), RULES, 0) is None
    assert asked(Pose.RIGHT, quality(yaw=-40), RULES, 0) is PromptCode.TURN_LESS


def test_a_camera_that_gives_a_mirrors_picture_swaps_them() -> None:
    mirrored = GuideRules(mirrored=True)

    assert asked(Pose.LEFT, quality(yaw=-20), mirrored, 0) is None
    assert asked(Pose.RIGHT, quality(yaw=20), mirrored, 0) is None
    assert asked(Pose.LEFT, quality(yaw=20), mirrored, 0) is PromptCode.TURN_LEFT


def test_up_and_down_are_measured_from_the_persons_own_straight_look() -> None:
    """A camera at the height of the chest sees everybody's chin raised."""
    rules = GuideRules(poses=(Pose.STRAIGHT, Pose.UP, Pose.DOWN))
    visit = Visit(rules).show(1, seen=quality(pitch=10)).show(3, seen=quality(pitch=10))

    assert visit.codes[-1] is PromptCode.LOOK_UP

    visit.show(1, seen=quality(pitch=22)).show(1, seen=quality(pitch=0))

    assert visit.result.ending is Ending.COMPLETE


def test_glasses_come_off_only_where_they_are_on() -> None:
    visit = Visit().show(1, glasses=True, **STRAIGHT)
    assert [prompt.of for _, prompt in visit.said] == [3, 4]
    visit.show(1, glasses=True, **LEFT).show(1, glasses=True, **RIGHT).show(3, glasses=True, **STRAIGHT)

    assert visit.codes[-1] is PromptCode.GLASSES_OFF

    visit.show(1, glasses=False, **STRAIGHT)

    assert visit.result.ending is Ending.COMPLETE
    assert visit.result.pictures[-1].pose is Pose.WITHOUT_GLASSES


def test_the_glasses_of_somebody_who_only_passed_by_are_nobodys() -> None:
    """Five frames with glasses, then another person of whom it is not known."""
    visit = Visit().show(0.6, glasses=True).show(1, track=2)

    assert visit.codes == [PromptCode.LOOK_STRAIGHT, PromptCode.TURN_LEFT]
    assert visit.said[-1][1].of == 3


def test_where_nobody_can_tell_whether_glasses_are_on_nobody_is_asked_to_take_them_off() -> None:
    visit = Visit().show(1, **STRAIGHT).show(1, **LEFT).show(1, **RIGHT)

    assert PromptCode.GLASSES_OFF not in visit.codes


def test_the_straight_picture_comes_first_in_every_order() -> None:
    with pytest.raises(ValueError, match="begin with straight"):
        GuideRules(poses=(Pose.LEFT, Pose.STRAIGHT))
    with pytest.raises(ValueError, match="each once"):
        GuideRules(poses=(Pose.STRAIGHT, Pose.LEFT, Pose.LEFT))


# What is in the way


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (QualityReason.TOO_SMALL, PromptCode.COME_NEARER),
        (QualityReason.CUT_OFF, PromptCode.MOVE_INTO_VIEW),
        (QualityReason.DARK, PromptCode.MORE_LIGHT),
        (QualityReason.FLAT, PromptCode.MORE_LIGHT),
        (QualityReason.OVEREXPOSED, PromptCode.LESS_LIGHT),
        (QualityReason.TILTED, PromptCode.HEAD_UPRIGHT),
        (QualityReason.NO_LANDMARKS, PromptCode.FACE_CAMERA),
        (QualityReason.BLURRED, PromptCode.HOLD_STILL),
        (QualityReason.TURNED_AWAY, PromptCode.FACE_CAMERA),
    ],
)
def test_each_reason_has_something_to_do_about_it(reason: QualityReason, code: PromptCode) -> None:
    face = Visit().face(quality(reasons=(reason,)))

    assert obstacle(face, (), Pose.STRAIGHT, RULES, 0) is code


def test_every_reason_of_quality_is_in_the_way() -> None:
    for reason in QualityReason:
        for pose, yaw in ((Pose.STRAIGHT, 0), (Pose.LEFT, 20), (Pose.RIGHT, -20)):
            face = Visit().face(quality(yaw=yaw, reasons=(reason,)))
            assert obstacle(face, (), pose, RULES, 0) is not None


def test_a_covered_face_is_asked_to_be_uncovered() -> None:
    face = dataclasses.replace(Visit().face(), covered=True)

    assert obstacle(face, (), Pose.STRAIGHT, RULES, 0) is PromptCode.UNCOVER_FACE


# Time


def test_a_pose_that_does_not_come_off_is_passed_over() -> None:
    visit = Visit().show(1, **STRAIGHT).show(12.1, **STRAIGHT).show(1, **RIGHT)

    assert visit.codes[-1] is PromptCode.CHECKING
    assert [prompt.text for _, prompt in visit.said if prompt.code is PromptCode.TURN_RIGHT] == [
        "Never mind. Please turn your head a little to your right."
    ]
    assert (visit.result.ending, [one.pose for one in visit.result.pictures]) == (Ending.PARTIAL, [Pose.STRAIGHT, Pose.RIGHT])


def test_a_pose_that_was_never_held_is_taken_with_what_there_is() -> None:
    """One good frame each second, the others too far round."""
    visit = Visit().show(1, **STRAIGHT)
    for _ in range(13):
        visit.show(0.1, **LEFT).show(0.9, seen=quality(yaw=40))

    assert visit.session.result is None
    assert PromptCode.TURN_RIGHT in visit.codes
    assert len(visit.session.kept) == 2


def test_a_step_loses_no_time_to_those_who_stand_beside() -> None:
    visit = Visit().show(1, **STRAIGHT).show(20, LEFT, {"track": 2, "at": ELSEWHERE})

    assert PromptCode.TURN_RIGHT not in visit.codes


def test_a_step_loses_no_time_to_a_camera_that_stalls() -> None:
    visit = Visit().show(1, **STRAIGHT).show(0.2, seen=quality(yaw=5))
    visit.now += 15
    visit.show(0.2, seen=quality(yaw=5))

    assert PromptCode.TURN_RIGHT not in visit.codes


def test_nobody_comes() -> None:
    visit = Visit().nobody(59.9)
    assert visit.session.result is None

    visit.nobody(0.3)

    assert (visit.codes[-1], visit.said[-1][1].ok) == (Ending.NOBODY_CAME, False)


def test_when_time_is_over_without_a_picture_it_says_what_was_in_the_way() -> None:
    visit = Visit().show(61, seen=quality(reasons=(QualityReason.DARK,)))

    assert visit.codes[-1] is Ending.NO_GOOD_PICTURE
    assert WORDS[PromptCode.MORE_LIGHT] in visit.said[-1][1].text


def test_when_time_is_over_what_was_taken_counts() -> None:
    visit = Visit(GuideRules(step=100)).show(61, **STRAIGHT)

    assert visit.codes[-1] is PromptCode.CHECKING
    assert (visit.result.ending, len(visit.result.pictures)) == (Ending.PARTIAL, 1)


def test_somebody_who_only_passed_by_is_never_enrolled() -> None:
    """A few good frames, not enough for a hold; later, at the very end, a few more."""
    visit = Visit().show(0.5, **STRAIGHT)
    assert len(visit.session.kept) == 1

    visit.nobody(4)
    assert visit.session.kept == ()

    visit.nobody(55).show(0.8, track=2, **STRAIGHT)

    assert visit.codes[-1] is Ending.NO_GOOD_PICTURE
    assert visit.result.pictures == ()


def test_who_is_not_there_when_time_is_over_has_left() -> None:
    visit = Visit(GuideRules(step=100)).show(58.2, **STRAIGHT).nobody(2)

    assert (visit.codes[-1], visit.result.pictures) == (Ending.PERSON_LEFT, ())


def test_time_runs_out_without_any_frame(clock: FakeClock) -> None:
    """The camera is gone."""
    started = clock.monotonic()
    session: Session[int] = Session("anna", RULES, started)

    assert [prompt.code for prompt in session.tick(started)] == [PromptCode.STEP_IN_FRONT]
    assert session.tick(started + 59) == []
    assert [prompt.code for prompt in session.tick(started + 60)] == [Ending.NOBODY_CAME]
    assert session.tick(started + 61) == []


def test_it_can_be_called_off_at_any_time() -> None:
    visit = Visit().show(1, **STRAIGHT)

    assert [(prompt.code, prompt.ok) for prompt in visit.session.abort()] == [(Ending.ABORTED, False)]
    assert visit.session.look(visit.now, [visit.face()]) == []
    assert visit.session.abort() == []


def test_what_was_called_off_during_the_check_stays_so() -> None:
    visit = Visit().show(1, **STRAIGHT).show(1, **LEFT).show(1, **RIGHT)
    gathered = visit.result

    assert [prompt.code for prompt in visit.session.abort()] == [Ending.ABORTED]
    assert visit.session.conclude(gathered) == []
    assert visit.result.ending is Ending.ABORTED


# Which frame is better


@pytest.mark.parametrize("name", ["sharpness", "eye_distance"])
def test_sharper_and_larger_is_worth_more(name: str) -> None:
    values = np.linspace(0.01, 0.5, 30) * (1 if name == "sharpness" else 400)
    worths = [worth(quality(**{name: float(value)})) for value in values]

    assert all(later > earlier for earlier, later in itertools.pairwise(worths))
    assert 0 <= worths[0] < worths[-1] <= 1


def test_light_is_worth_most_in_the_middle() -> None:
    worths = [worth(quality(brightness=float(value))) for value in (0, 45, 90, 127.5, 165, 210, 255)]

    assert worths[:4] == sorted(worths[:4])
    assert worths[3:] == sorted(worths[3:], reverse=True)
    assert (worths[0], worths[-1]) == (0, 0)


def test_neither_pose_nor_contrast_makes_a_frame_better() -> None:
    assert worth(quality(yaw=9, pitch=10, roll=5, contrast=60)) == worth(GOOD)


# One person


def direction(*values: float) -> Float32:
    vector = np.array(values, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def gathered(*poses: Pose) -> Result[int]:
    box = np.array([400, 200, 560, 360], np.float32)
    return Result(Ending.COMPLETE, "", tuple(Taken(pose, index, box, (), GOOD) for index, pose in enumerate(poses)))


ANNA = (direction(1, 0.3, 0), direction(1, -0.2, 0.1), direction(1, 0, 0.4))
BERTA = direction(0, 0, 1), direction(0.1, 0.1, 1)


def test_pictures_of_one_person_are_kept() -> None:
    result = check(gathered(Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT), ANNA, RATIO)

    assert (result.ending, len(result.pictures)) == (Ending.COMPLETE, 3)


@pytest.mark.parametrize("place", range(3))
def test_one_picture_of_somebody_else_spoils_them_all(place: int) -> None:
    vectors = [*ANNA]
    vectors[place] = BERTA[0]
    result = check(gathered(Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT), vectors, RATIO)

    assert (result.ending, result.pictures) == (Ending.NOT_ONE_PERSON, ())


def test_two_and_two_are_not_one_person_however_well_each_pair_agrees() -> None:
    assert not one_person([*ANNA[:2], *BERTA], [60.0] * 4, RATIO)


def test_left_and_right_may_differ_where_straight_lies_between() -> None:
    """At 0.3 the pair alone speaks against one person (calibration: under 0 nats), the middle for it."""
    left, right = direction(1, 0.73, 0), direction(1, -0.73, 0)
    assert float(left @ right) == pytest.approx(0.3, abs=0.02)

    assert not one_person([left, right], [60.0] * 2, RATIO)
    assert one_person([direction(1, 0, 0), left, right], [60.0] * 3, RATIO)


def test_one_picture_is_one_person() -> None:
    assert one_person([ANNA[0]], [60.0], RATIO)


def test_pictures_without_a_template_are_left_out() -> None:
    poses = (Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT)
    some = check(gathered(*poses), (ANNA[0], None, ANNA[2]), RATIO)

    assert (some.ending, [one.pose for one in some.pictures]) == (Ending.PARTIAL, [Pose.STRAIGHT, Pose.RIGHT])
    assert check(gathered(*poses), (None, None, None), RATIO).ending is Ending.PHOTOS_REFUSED


def test_no_vectors_are_looked_at_before_everything_is_chosen() -> None:
    """What the session is shown holds none: quality alone can choose."""
    assert {field.name for field in dataclasses.fields(SeenFace)} == {
        "track", "box", "quality", "frame", "glasses", "covered",
    }  # fmt: skip


# What others see of it


def test_the_watchers_faces_are_what_a_session_takes(clock: FakeClock) -> None:
    """A track without a crop was not looked at closely; a bad crop is not asked for glasses."""

    @dataclasses.dataclass(frozen=True)
    class On:
        glasses: bool = True
        covered: bool = False

    box = np.array([0, 0, 10, 10], np.float32)
    tracks = [Track(number, Face(box, np.zeros((6, 2), np.float32), 1.0), 0, 0) for number in (1, 2, 3)]
    bad = quality(reasons=(QualityReason.DARK,))
    image = np.zeros((150, 150, 3), np.uint8)
    crops = [Crop(image, VERSION, "door", number, 0.0, clock.utc(), how) for number, how in ((1, GOOD), (3, bad))]

    faces: Sequence[SeenFace[str]] = seen("frame", tracks, crops, lambda _: On())

    assert [(face.track, face.quality, face.glasses) for face in faces] == [(1, GOOD, True), (2, None, None), (3, bad, None)]
    assert {face.frame for face in faces} == {"frame"}


def test_everything_that_is_said_has_its_words_and_its_line_on_the_page() -> None:
    section = PAGE.read_text().partition("### `enrol`")[2].partition("### `")[0]
    table = section.partition("| prompt |")[2]
    told = dict(re.findall(r"^\| `(\w+)` \| (?:the end, (?:not )?`ok`: )?(.+) \|$", table, re.MULTILINE))

    assert WORDS.keys() == {*PromptCode, *Ending}
    assert told == {code.value: text for code, text in WORDS.items()}
    assert all(f"`{pose.value}`" in section for pose in Pose)
