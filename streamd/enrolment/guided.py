"""Enrolment before a camera: guides one person through a few poses and keeps the best frame of each, by quality alone.

A pure machine: it is shown the faces of each frame and told the time, and answers with what to say. It compares no
face with anything while it chooses. Only when all are chosen, `check` asks whether they are of one person, to refuse a mixture.

    look, tick ──▶ prompts        result ──▶ (cut, judge) ──▶ check ──▶ conclude ──▶ last prompt

Left and right are the person's own. A camera's picture shows their left on its right side, so `Quality.yaw` is positive when
they turn to their own left. Some cameras deliver a mirror's picture: `GuideRules.mirrored` turns the two around for those.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from streamd.enrolment.portrait import cut_area, width
from streamd.values import Crop, Float32, Quality, QualityReason, Track
from streamd.vision.detection import overlap

Reference = TypeVar("Reference")
"""What the caller knows a frame by; the frame itself will do, since no more than one a pose is held."""


class Pose(StrEnum):
    """What a step asks for; `left` and `right` are the person's own."""

    STRAIGHT = "straight"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    WITHOUT_GLASSES = "without_glasses"


class PromptCode(StrEnum):
    """What is said while it goes on."""

    STEP_IN_FRONT = "step_in_front"
    COME_BACK = "come_back"
    ONLY_ONE = "only_one"
    COME_NEARER = "come_nearer"
    MOVE_INTO_VIEW = "move_into_view"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    FACE_CAMERA = "face_camera"
    HEAD_UPRIGHT = "head_upright"
    UNCOVER_FACE = "uncover_face"
    HOLD_STILL = "hold_still"
    LOOK_STRAIGHT = "look_straight"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    LOOK_UP = "look_up"
    LOOK_DOWN = "look_down"
    TURN_LESS = "turn_less"
    GLASSES_OFF = "glasses_off"
    CHECKING = "checking"


class Ending(StrEnum):
    """How it ended; the first two are good."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    NOBODY_CAME = "nobody_came"
    NO_GOOD_PICTURE = "no_good_picture"
    PERSON_LEFT = "person_left"
    PERSON_CHANGED = "person_changed"
    NOT_ONE_PERSON = "not_one_person"
    PHOTOS_REFUSED = "photos_refused"
    NOT_SAVED = "not_saved"
    ABORTED = "aborted"

    @property
    def ok(self) -> bool:
        """Whether there are pictures to enrol."""
        return self in (Ending.COMPLETE, Ending.PARTIAL)


WORDS: Final[dict[PromptCode | Ending, str]] = {
    PromptCode.STEP_IN_FRONT: "Please stand in front of the camera.",
    PromptCode.COME_BACK: "Please come back in front of the camera.",
    PromptCode.ONLY_ONE: "Only one person, please: the others should step aside.",
    PromptCode.COME_NEARER: "Please come nearer.",
    PromptCode.MOVE_INTO_VIEW: "Please move until the camera sees all of your face.",
    PromptCode.MORE_LIGHT: "There is too little light on your face: please turn to the light, or switch one on.",
    PromptCode.LESS_LIGHT: "There is too much light on your face: please step out of it.",
    PromptCode.FACE_CAMERA: "Please turn your face to the camera.",
    PromptCode.HEAD_UPRIGHT: "Please hold your head upright.",
    PromptCode.UNCOVER_FACE: "Please uncover your face.",
    PromptCode.HOLD_STILL: "Please hold still.",
    PromptCode.LOOK_STRAIGHT: "Please look straight into the camera.",
    PromptCode.TURN_LEFT: "Please turn your head a little to your left.",
    PromptCode.TURN_RIGHT: "Please turn your head a little to your right.",
    PromptCode.LOOK_UP: "Please raise your chin a little.",
    PromptCode.LOOK_DOWN: "Please lower your chin a little.",
    PromptCode.TURN_LESS: "Not quite so far, please.",
    PromptCode.GLASSES_OFF: "Please take your glasses off and look straight into the camera.",
    PromptCode.CHECKING: "Thank you, that is all. The pictures are being checked.",
    Ending.COMPLETE: "Thank you. All pictures were taken.",
    Ending.PARTIAL: "Thank you. Some pictures are missing, but there are enough to begin with.",
    Ending.NOBODY_CAME: "Nobody stood in front of the camera; nothing was kept.",
    Ending.NO_GOOD_PICTURE: "No good picture was made in time; nothing was kept.",
    Ending.PERSON_LEFT: "The person went away before the end; nothing was kept.",
    Ending.PERSON_CHANGED: "The camera lost the person and saw a face elsewhere, perhaps somebody else's; nothing was kept.",
    Ending.NOT_ONE_PERSON: "The pictures do not show one and the same person; nothing was kept.",
    Ending.PHOTOS_REFUSED: "The pictures are not good enough to be used; nothing was kept.",
    Ending.NOT_SAVED: "The pictures could not be written; see the log.",
    Ending.ABORTED: "It was called off; nothing was kept.",
}
"""What is said to a person, for every code."""

_INSTRUCTIONS: Final = {
    Pose.STRAIGHT: PromptCode.LOOK_STRAIGHT,
    Pose.LEFT: PromptCode.TURN_LEFT,
    Pose.RIGHT: PromptCode.TURN_RIGHT,
    Pose.UP: PromptCode.LOOK_UP,
    Pose.DOWN: PromptCode.LOOK_DOWN,
    Pose.WITHOUT_GLASSES: PromptCode.GLASSES_OFF,
}
# What makes the others hard to judge comes first; blur comes after the pose, since a head that turns is blurred.
_OBSTACLES: Final = (
    (QualityReason.CUT_OFF, PromptCode.MOVE_INTO_VIEW),
    (QualityReason.NO_LANDMARKS, PromptCode.FACE_CAMERA),
    (QualityReason.DARK, PromptCode.MORE_LIGHT),
    (QualityReason.OVEREXPOSED, PromptCode.LESS_LIGHT),
    (QualityReason.FLAT, PromptCode.MORE_LIGHT),
    (QualityReason.TILTED, PromptCode.HEAD_UPRIGHT),
)
ONE_PERSON: Final = 1.0
"""Nats for one person against two, across every way to share the pictures out. Measured with the shipped model on press
photos (straight, left, right; 90 people of LFW, years apart): 1.1 % of one person's are refused; 0 of 4,346 with one picture of
somebody else pass, and 0 of 4,104 with two and two. At 0 nats it is 1.1 %, 2 and 0."""
_LONGEST_STEP: Final = 0.5  # seconds that one look may count for: a camera that stalls must not use up a step's time


@dataclass(frozen=True, slots=True)
class GuideRules:
    """What is asked for, and how patiently: seconds, degrees, pixels.

    poses: in this order, the straight one first; glasses come off only where they are on. yaw of a straight face is at most
    `straight_yaw` either way, of a turned one in `turned_yaw`; `straight_pitch` suits cameras below and above the face (90 % of
    248 press photos lie in -18..13: the mesh reads some 6 degrees low). `nod`: pitch against that of the straight picture.
    min_eye_distance: what a photo to be kept must have, more than a passing visit needs.
    hold: a pose is held for this long, over at least `min_frames`; a break under `gap` does not count. step: time for one pose
    with the person alone in view; session: for everything. away: how long a person may be out of view; rejoin: how soon a new
    track at the same place is still them. rival: share of the person's width from which another face is somebody else
    who might be meant. settle: what is wrong must last this long to be told; prompt: between two hints; repeat: of the same.
    """

    poses: tuple[Pose, ...] = (Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT, Pose.WITHOUT_GLASSES)
    mirrored: bool = False
    straight_yaw: float = 10.0
    turned_yaw: tuple[float, float] = (12.0, 32.0)
    straight_pitch: tuple[float, float] = (-25.0, 15.0)
    nod: tuple[float, float] = (8.0, 22.0)
    min_eye_distance: float = 30.0
    rival: float = 0.5
    hold: float = 0.6
    min_frames: int = 3
    gap: float = 0.75
    step: float = 12.0
    session: float = 60.0
    away: float = 3.0
    rejoin: float = 1.5
    settle: float = 0.6
    prompt: float = 2.0
    repeat: float = 6.0

    def __post_init__(self) -> None:
        if not self.poses or self.poses[0] is not Pose.STRAIGHT or len(set(self.poses)) != len(self.poses):
            raise ValueError(f"expected poses that begin with straight, each once; found {', '.join(self.poses) or 'none'}")


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace(Generic[Reference]):
    """A face in a frame. box: float32 (4,), pixels x0 y0 x1 y1. quality: None where it was not looked at closely.

    glasses: None where it is not known. covered: a mask, a scarf or dark glasses are on it.
    """

    track: int
    box: Float32
    quality: Quality | None
    frame: Reference
    glasses: bool | None = None
    covered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Taken(Generic[Reference]):
    """The frame chosen for a pose: where the face lies in it, and where others do (boxes, float32 (4,), pixels)."""

    pose: Pose
    frame: Reference
    box: Float32
    others: tuple[Float32, ...]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to tell the person: `step` is the pose that is asked for now, None at the end; `done` of `of` poses are taken.

    ok: None until it has `finished`.
    """

    code: PromptCode | Ending
    text: str
    step: Pose | None
    done: int
    of: int
    ok: bool | None = None

    @property
    def finished(self) -> bool:
        """Whether this is the last prompt."""
        return self.ok is not None


@dataclass(frozen=True, slots=True, eq=False)
class Result(Generic[Reference]):
    """How it ended: the frames chosen, in the order of the poses; or why not, in a sentence, and then no frames."""

    ending: Ending
    text: str
    pictures: tuple[Taken[Reference], ...] = ()


class Worn(Protocol):
    """What is on a face."""

    @property
    def glasses(self) -> bool:
        """Whether it wears glasses."""

    @property
    def covered(self) -> bool:
        """Whether part of it is covered."""


def seen(
    frame: Reference, tracks: Sequence[Track], crops: Sequence[Crop], worn: Callable[[Crop], Worn | None] = lambda _: None
) -> list[SeenFace[Reference]]:
    """The faces of one frame of the Watcher (a Sighting's tracks and crops), as a session takes them."""
    of_track = {crop.track: crop for crop in crops}
    faces = []
    for track in tracks:
        crop = of_track.get(track.id)
        on = worn(crop) if crop is not None and crop.quality.good else None
        quality = crop.quality if crop is not None else None
        glasses, covered = (None, False) if on is None else (on.glasses, on.covered)
        faces.append(SeenFace(track.id, track.face.box, quality, frame, glasses, covered))
    return faces


def worth(quality: Quality) -> float:
    """What a good frame is worth beside others of the same pose, 0..1; pose is no part of it, every frame meets its bounds.

    The product of size, sharpness and light, so that nothing makes up for what is missing. The first two are x / (x + x0):
    always rising, ever less so. x0 of size is large, since a picture that is only made smaller looks sharper by the pixel and
    must lose more by its size than it seems to gain; x0 of sharpness is the bound under which a crop is not compared. Light is
    flat around the middle grey and falls to 0 at black and white. Contrast is left out: among good press photos more of it is
    no better (rank correlation with the score against the person's other photos -0.13, standard error 0.05).
    """
    size = quality.eye_distance / (quality.eye_distance + 72.0)
    sharp = quality.sharpness / (quality.sharpness + 0.07)
    light = max(0.0, 1 - ((quality.brightness - 127.5) / 127.5) ** 2)
    return size * sharp * light


def asked(pose: Pose, quality: Quality, rules: GuideRules, level: float) -> PromptCode | None:
    """What the person must do for the pose, None when they hold it; `level`: pitch of their straight picture, degrees."""
    to_own_left = -quality.yaw if rules.mirrored else quality.yaw
    if pose in (Pose.LEFT, Pose.RIGHT):
        turn = to_own_left if pose is Pose.LEFT else -to_own_left
        return _within(turn, rules.turned_yaw, _INSTRUCTIONS[pose])
    if abs(quality.yaw) > rules.straight_yaw:
        return PromptCode.LOOK_STRAIGHT
    if pose in (Pose.UP, Pose.DOWN):
        nod = quality.pitch - level if pose is Pose.UP else level - quality.pitch
        return _within(nod, rules.nod, _INSTRUCTIONS[pose])
    low, high = rules.straight_pitch
    return None if low <= quality.pitch <= high else PromptCode.LOOK_STRAIGHT


def obstacle(
    face: SeenFace[Reference], others: Sequence[Float32], pose: Pose, rules: GuideRules, level: float
) -> PromptCode | None:
    """What keeps this frame from being taken for the pose, None when nothing does. `face` was looked at closely."""
    quality = face.quality
    if quality is None or quality.eye_distance < rules.min_eye_distance or QualityReason.TOO_SMALL in quality.reasons:
        return PromptCode.COME_NEARER
    for reason, code in _OBSTACLES:
        if reason in quality.reasons:
            return code
    if face.covered and pose is not Pose.WITHOUT_GLASSES:
        return PromptCode.UNCOVER_FACE
    if pose is Pose.WITHOUT_GLASSES and face.glasses is not False:
        return PromptCode.GLASSES_OFF
    wanted = asked(pose, quality, rules, level)
    if wanted is not None:
        return wanted
    if not quality.good:
        return PromptCode.HOLD_STILL if QualityReason.BLURRED in quality.reasons else PromptCode.FACE_CAMERA
    return None if cut_area(face.box, others) is not None else PromptCode.ONLY_ONE


class Session(Generic[Reference]):
    """One person's enrolment before one camera; one owner at a time. Times are monotonic seconds and never fall.

    Until the straight picture is taken, whoever stands nearest may become the person. From then on it is that track alone, or
    one that appears at once at its place: whoever comes later is never enrolled under the name of somebody who has gone.
    """

    def __init__(self, subject: str, rules: GuideRules, started: float) -> None:
        self.subject = subject
        self.result: Result[Reference] | None = None
        """How it ended; with frames, `check` and `conclude` are still to come."""
        self._rules = rules
        self._started = started
        self._looked = started
        self._poses: list[Pose] = [pose for pose in rules.poses if pose is not Pose.WITHOUT_GLASSES]
        self._step = 0
        self._spent = 0.0
        self._instructed = False
        self._taken: list[Taken[Reference]] = []
        self._finished = False
        # The person: track, where they were last, when.
        self._track: int | None = None
        self._place: Float32 | None = None
        self._present = started
        self._anybody = False
        self._glasses: Counter[bool] = Counter()
        # The pose that is being held.
        self._best: Taken[Reference] | None = None
        self._held_since = started
        self._held_last = float("-inf")
        self._frames = 0
        # What is in the way, since when, how often; what was said last, and when.
        self._wrong: PromptCode | None = None
        self._wrong_since = started
        self._hindrances: Counter[PromptCode] = Counter()
        self._said: PromptCode | None = None
        self._said_at = float("-inf")

    @property
    def kept(self) -> tuple[Reference, ...]:
        """The frames that the caller must keep, at most one for each pose; every other one may go."""
        pictures = self._taken if self.result is None else self.result.pictures
        best = [self._best] if self._best is not None and self.result is None else []
        return tuple(picture.frame for picture in (*pictures, *best))

    @property
    def finished(self) -> bool:
        """Whether the last prompt was said."""
        return self._finished

    def look(self, now: float, faces: Sequence[SeenFace[Reference]]) -> list[Prompt]:
        """What to say after a frame with these faces (none, where nobody is in view)."""
        if self.result is not None:
            return []
        if over := self._overdue(now):
            return over
        since, self._looked = min(now - self._looked, _LONGEST_STEP), now
        self._anybody = self._anybody or bool(faces)
        person = self._person(now, faces)
        if person is None:
            return self._missing(now, faces)
        if person.quality is None:
            return []
        others = tuple(face.box for face in faces if face is not person)
        if any(width(box) >= self._rules.rival * width(person.box) for box in others):
            return self._hint(now, PromptCode.ONLY_ONE)
        self._spent += since
        wrong = obstacle(person, others, self._poses[self._step], self._rules, self._level)
        if wrong is not None:
            said = self._hint(now, wrong)
        elif not self._instructed:
            said = self._hint(now, _INSTRUCTIONS[self._poses[self._step]], at_once=True)
        else:
            self._wrong = None
            self._hold(now, person, others)
            said = []
        held = now - self._held_since >= self._rules.hold and self._frames >= self._rules.min_frames
        if self._best is not None and ((wrong is None and held) or self._spent >= self._rules.step):
            return self._take(now, self._best)
        if self._spent >= self._rules.step and self._taken:
            return self._next(now, skipped=True)
        return said

    def tick(self, now: float) -> list[Prompt]:
        """What to say when no frame was looked at: the first words, and that time is over."""
        if self.result is not None:
            return []
        return self._overdue(now) or ([] if self._said is not None else self._hint(now, PromptCode.STEP_IN_FRONT, at_once=True))

    def abort(self) -> list[Prompt]:
        """End it now and keep nothing; also while the pictures are being checked."""
        return [] if self._finished else self._end(Ending.ABORTED)

    def conclude(self, result: Result[Reference]) -> list[Prompt]:
        """Say how it ended, after the pictures were checked and written; nothing if it has ended otherwise meanwhile."""
        return [] if self._finished else self._close(result)

    @property
    def _level(self) -> float:
        return self._taken[0].quality.pitch if self._taken else 0.0

    def _person(self, now: float, faces: Sequence[SeenFace[Reference]]) -> SeenFace[Reference] | None:
        person: SeenFace[Reference] | None
        if not self._taken:
            person = max(faces, key=lambda face: width(face.box), default=None)
            if person is not None and person.track != self._track:
                self._track = person.track
                self._start_pose()
                self._glasses.clear()
        else:
            person = next((face for face in faces if face.track == self._track), None)
            if person is None and self._place is not None and now - self._present <= self._rules.rejoin:
                place = self._place
                nearest = max(faces, key=lambda face: overlap(face.box, place), default=None)
                # A turning head can lose its track. A third of the union is half of either box: not to be had from elsewhere.
                if nearest is not None and overlap(nearest.box, place) >= 1 / 3:
                    person, self._track = nearest, nearest.track
        if person is not None:
            self._place, self._present = person.box, now
        return person

    def _missing(self, now: float, faces: Sequence[SeenFace[Reference]]) -> list[Prompt]:
        if self._taken and now - self._present > self._rules.away:
            return self._end(Ending.PERSON_CHANGED if faces else Ending.PERSON_LEFT)
        if not self._taken and self._best is not None and now - self._present > self._rules.away:
            self._start_pose()
        return self._hint(now, PromptCode.COME_BACK if self._taken else PromptCode.STEP_IN_FRONT)

    def _hold(self, now: float, person: SeenFace[Reference], others: tuple[Float32, ...]) -> None:
        assert person.quality is not None
        if now - self._held_last > self._rules.gap:
            self._held_since, self._frames = now, 0
        self._held_last = now
        self._frames += 1
        if person.glasses is not None:
            self._glasses[person.glasses] += 1
        if self._best is None or worth(person.quality) > worth(self._best.quality):
            self._best = Taken(self._poses[self._step], person.frame, person.box, others, person.quality)

    def _take(self, now: float, best: Taken[Reference]) -> list[Prompt]:
        self._taken.append(best)
        wears = self._glasses[True] > self._glasses[False]
        if best.pose is Pose.STRAIGHT and wears and Pose.WITHOUT_GLASSES in self._rules.poses:
            self._poses = list(self._rules.poses)
        return self._next(now)

    def _next(self, now: float, *, skipped: bool = False) -> list[Prompt]:
        self._step += 1
        self._start_pose()
        if self._step < len(self._poses):
            return self._say(now, _INSTRUCTIONS[self._poses[self._step]], "Never mind. " if skipped else "Good. ")
        return self._gathered()

    def _start_pose(self) -> None:
        self._best, self._frames, self._held_last, self._spent = None, 0, float("-inf"), 0.0
        self._wrong, self._instructed = None, False

    def _overdue(self, now: float) -> list[Prompt]:
        if now - self._started < self._rules.session:
            return []
        if self._taken and now - self._present > self._rules.rejoin:
            return self._end(Ending.PERSON_LEFT)
        if self._taken:
            # Not so for a straight picture that nobody held: it may be of somebody who only passed by.
            self._taken += [self._best] if self._best is not None else []
            return self._gathered()
        if not self._anybody:
            return self._end(Ending.NOBODY_CAME)
        mostly = self._hindrances.most_common(1)
        why = f" What was asked for most: {WORDS[mostly[0][0]]}" if mostly else ""
        return self._end(Ending.NO_GOOD_PICTURE, why)

    def _gathered(self) -> list[Prompt]:
        ending = Ending.COMPLETE if len(self._taken) == len(self._poses) else Ending.PARTIAL
        self.result = Result(ending, WORDS[ending], tuple(self._taken))
        return [Prompt(PromptCode.CHECKING, WORDS[PromptCode.CHECKING], None, len(self._taken), len(self._poses))]

    def _end(self, ending: Ending, more: str = "") -> list[Prompt]:
        return self._close(Result(ending, WORDS[ending] + more))

    def _close(self, result: Result[Reference]) -> list[Prompt]:
        self.result, self._finished = result, True
        self._taken, self._best = [], None
        return [Prompt(result.ending, result.text, None, len(result.pictures), len(self._poses), result.ending.ok)]

    def _hint(self, now: float, code: PromptCode, *, at_once: bool = False) -> list[Prompt]:
        """Say what is wrong, unless it has only just begun, or the last words are too fresh."""
        self._hindrances[code] += not at_once
        if code is not self._wrong:
            self._wrong, self._wrong_since = code, now
        silent = now - self._said_at
        settled = at_once or now - self._wrong_since >= self._rules.settle or silent >= self._rules.repeat
        if not settled or silent < (self._rules.repeat if code is self._said else self._rules.prompt):
            # Whoever was just asked for this pose need not hear it again to be looked at.
            self._instructed = self._instructed or code is self._said is _INSTRUCTIONS[self._poses[self._step]]
            return []
        return self._say(now, code)

    def _say(self, now: float, code: PromptCode, before: str = "") -> list[Prompt]:
        self._said, self._said_at = code, now
        pose = self._poses[self._step]
        self._instructed = self._instructed or code is _INSTRUCTIONS[pose]
        return [Prompt(code, before + WORDS[code], pose, len(self._taken), len(self._poses))]


def check(
    result: Result[Reference],
    vectors: Sequence[Float32 | None],
    ratio: Callable[[float, float], float],
    bound: float = ONE_PERSON,
) -> Result[Reference]:
    """The result without the pictures that gave no template, and none at all where the rest is not of one person.

    vectors: of each picture, float32 (D,), unit length; None where the photo was refused. ratio: the model card's
    `Calibration.log_likelihood_ratio`. bound: see `one_person`.
    """
    found = [(picture, vector) for picture, vector in zip(result.pictures, vectors, strict=True) if vector is not None]
    if not found:
        return Result(Ending.PHOTOS_REFUSED, WORDS[Ending.PHOTOS_REFUSED])
    if not one_person([vector for _, vector in found], [one.quality.eye_distance for one, _ in found], ratio, bound):
        return Result(Ending.NOT_ONE_PERSON, WORDS[Ending.NOT_ONE_PERSON])
    ending = result.ending if len(found) == len(result.pictures) else Ending.PARTIAL
    return Result(ending, WORDS[ending], tuple(picture for picture, _ in found))


def one_person(
    vectors: Sequence[Float32],
    eye_distances: Sequence[float],
    ratio: Callable[[float, float], float],
    bound: float = ONE_PERSON,
) -> bool:
    """Whether templates (float32 (D,), unit length) hang together as one person's.

    Tried against every way to share them out between two people: the mean log-likelihood ratio (nats) across the two sides
    must reach `bound`. So a pair that is far apart, such as left and right, is held by what lies between, and two people are
    not hidden by how well each agrees with themselves. Few templates: 2^(n-1) - 1 ways.
    """
    count = len(vectors)
    ratios = np.zeros((count, count))
    for one in range(count):
        for other in range(one):
            score = float(np.clip(vectors[one] @ vectors[other], -1, 1))
            ratios[one, other] = ratios[other, one] = ratio(score, min(eye_distances[one], eye_distances[other]))
    for way in range(1, 2 ** max(count - 1, 0)):
        side = np.array([bool(way >> place & 1) for place in range(count)])
        if not math.isfinite(across := float(ratios[side][:, ~side].mean())) or across < bound:
            return False
    return True


def _within(angle: float, bounds: tuple[float, float], more: PromptCode) -> PromptCode | None:
    if angle < bounds[0]:
        return more
    return PromptCode.TURN_LESS if angle > bounds[1] else None
