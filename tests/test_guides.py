"""Guided enrolments under way: what a template tells a moment after its frame is known to the frames that follow."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from streamd.enrolment.attributes import Attributes
from streamd.enrolment.guided import PromptCode, seen
from streamd.events.contract import EnrolPrompt
from streamd.guides import Guides
from streamd.values import Crop, Face, Frame, Track
from streamd.vision.picture import RgbPicture
from tests.enrolment.test_guided import quality

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Porch:
    """One person before the camera, who is guided; every frame is followed by its template, which tells what they wear."""

    def __init__(self) -> None:
        self.said: list[EnrolPrompt] = []
        self.gathered = 0
        self.guides = Guides(self.said.append, lambda *_: setattr(self, "gathered", 1), lambda: NOON)
        self.guided = self.guides.begin("anna", "Anna", "door", 0.0)
        self.now = 0.0

    def shows(self, seconds: float, yaw: float, worn: Attributes) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            frame = Frame("door", 0, RgbPicture(np.zeros((720, 1280, 3), np.uint8)), self.now, NOON)
            face = Face(np.array([400, 200, 560, 360], np.float32), np.zeros((6, 2), np.float32), 0.9)
            image = np.zeros((150, 150, 3), np.uint8)
            crop = Crop(image, "alignment", "door", 1, self.now, NOON, quality(yaw=yaw))
            track = Track(1, face, 0.0, self.now)
            self.guides.look("door", self.now, seen(frame, [track], [crop], self.guides.worn))
            self.guides.wears("door", 1, worn)


def test_whoever_wears_glasses_is_asked_to_take_them_off_and_photographed_without() -> None:
    porch, on, off = Porch(), Attributes(glasses=True, covered=False), Attributes(glasses=False, covered=False)
    for yaw in (0, 20, -20, 0):
        porch.shows(3, yaw, on)
    assert porch.said[-1].prompt == PromptCode.GLASSES_OFF
    assert not porch.gathered

    porch.shows(2, 0, off)

    assert porch.gathered


def test_whoever_wears_none_is_asked_for_nothing_of_the_kind() -> None:
    porch = Porch()
    for yaw in (0, 20, -20):
        porch.shows(3, yaw, Attributes(glasses=False, covered=False))

    assert porch.gathered
    assert PromptCode.GLASSES_OFF not in {one.prompt for one in porch.said}


def test_a_face_that_is_covered_is_asked_to_be_uncovered() -> None:
    porch = Porch()
    porch.shows(4, 0, Attributes(glasses=True, covered=True))

    assert porch.said[-1].prompt == PromptCode.UNCOVER_FACE


def test_who_is_called_off_is_not_photographed_and_holds_the_camera_no_longer() -> None:
    porch = Porch()
    porch.shows(3, 0, Attributes(glasses=False, covered=False))

    porch.guides.abort(porch.guided)
    for yaw in (20, -20):
        porch.shows(3, yaw, Attributes(glasses=False, covered=False))

    assert not porch.gathered
    assert porch.said[-1].finished
    assert porch.guides.begin("ann", "Ann", "door", porch.now)


def test_what_was_worn_goes_with_the_enrolment() -> None:
    guides = Porch().guides
    guides.wears("elsewhere", 1, Attributes(glasses=True, covered=False))

    assert guides.worn(Crop(np.zeros((150, 150, 3), np.uint8), "a", "elsewhere", 1, 0.0, NOON, quality())) is None
