"""Enrolment before a camera with real faces: Watcher, session, cut, judge and check in one line, as the daemon joins them.

The portraits are played always. With STREAMD_TEST_LFW naming an unpacked folder of Labeled Faces in the Wild, seven more people
are played from photographs of theirs that look straight, left and right.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.demo.portraits import OFFICIAL, SPEAKING, STRANGER, Portrait
from streamd.enrolment.guided import Ending, GuideRules, Pose, PromptCode, Result, Session, check, seen
from streamd.enrolment.photo import judge
from streamd.enrolment.portrait import cut
from streamd.recognition.card import read_card
from streamd.recognition.embedding import open_embedder
from streamd.values import Float32, Frame, Template, UInt8
from streamd.vision.picture import RgbPicture
from streamd.vision.watching import Watcher

if TYPE_CHECKING:
    from streamd.vision.analysis import FaceAnalyser
    from tests.conftest import NetworkThread

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RATIO = read_card(Path(SHIPPED_CARD)).calibration.log_likelihood_ratio
# Numbers of a person's photographs: straight, to their own left, to their own right.
LFW_VISITS = {
    "Arnold_Schwarzenegger": (22, 24, 41),
    "Bill_Clinton": (1, 15, 27),
    "George_Robertson": (9, 6, 16),
    "Gerhard_Schroeder": (94, 96, 55),
    "Junichiro_Koizumi": (50, 30, 24),
    "Luiz_Inacio_Lula_da_Silva": (16, 18, 34),
    "Tom_Ridge": (23, 30, 4),
}


@dataclass(frozen=True, slots=True)
class Played:
    """What a visit came to; `chosen`: the frames kept, `sharp`: those that were shown without blur, by pose.

    likeness: cosine of each photo's template to that of its whole frame.
    """

    codes: tuple[PromptCode | Ending, ...]
    result: Result[Frame]
    chosen: tuple[int, ...]
    sharp: tuple[int, ...]
    likeness: tuple[float, ...]


def at_the_door(image: UInt8, box: Sequence[float], wide: int = 160) -> UInt8:
    """A picture (RGB) as a 1280x720 frame of a camera, the face (its box, pixels) `wide` pixels wide in the middle."""
    scale = wide / (box[2] - box[0])
    middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    move = np.array([[scale, 0, 640 - scale * middle_x], [0, scale, 360 - scale * middle_y]])
    moved = cv2.warpAffine(
        image, move, (1280, 720), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=(114,) * 3
    )
    return np.ascontiguousarray(moved, np.uint8)


def play(networks: NetworkThread, poses: Sequence[UInt8], rules: GuideRules, blur: float = 0.8) -> Played:
    """Shows each picture for two seconds, ten frames a second, all but one a little blurred (sigma, pixels)."""
    embedder = open_embedder(SHIPPED_CARD, "litert")

    def embed(crop: UInt8) -> Template:
        return Template(embedder.embed([crop])[0], "model")

    def visit(analyser: FaceAnalyser) -> Played:
        watcher = Watcher(analyser, itertools.count(1).__next__, lambda _track, _now: True)
        session: Session[Frame] = Session("anna", rules, 0.0)
        codes, sharp = [], []
        for index, (image, blurred) in enumerate(frames()):
            if not blurred:
                sharp.append(index)
            frame = Frame("door", index, RgbPicture(image), index / 10, NOON)
            sighting = watcher.watch(frame)
            codes += [prompt.code for prompt in session.look(frame.captured, seen(frame, sighting.tracks, sighting.crops))]
            if session.result is not None:
                break
        assert session.result is not None, codes
        vectors: list[Float32 | None] = []
        likeness = []
        for picture in session.result.pictures:
            photo = cut(picture.frame.image, picture.box, picture.others)
            assert photo is not None
            verdict = judge(photo, analyser, embed)
            vectors.append(verdict.vector)
            whole = judge(picture.frame.image, analyser, embed)
            assert verdict.vector is not None, verdict.reasons
            assert whole.vector is not None, whole.reasons
            likeness.append(float(verdict.vector @ whole.vector))
        chosen = tuple(picture.frame.index for picture in session.result.pictures)
        result = check(session.result, vectors, RATIO)
        codes += [prompt.code for prompt in session.conclude(result)]
        return Played(tuple(codes), result, chosen, tuple(sharp), tuple(likeness))

    def frames() -> Iterator[tuple[UInt8, bool]]:
        for image in poses:
            soft = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
            for number in range(20):
                # The first frame of a pose ends the one before; the hold takes seven.
                blurred = number != 4
                yield (soft if blurred else image), blurred

    return networks.call(visit)


@pytest.fixture
def stations(portrait: Callable[[Portrait], UInt8]) -> tuple[UInt8, UInt8, UInt8]:
    """One man straight, to his left, to his right; that for the left is the one for the right (yaw -16) in a mirror."""
    straight, right = portrait(OFFICIAL), portrait(SPEAKING)
    x0, y0, x1, y1 = SPEAKING.face
    wide = right.shape[1]
    left = np.ascontiguousarray(right[:, ::-1])
    return (
        at_the_door(straight, OFFICIAL.face),
        at_the_door(left, (wide - x1, y0, wide - x0, y1)),
        at_the_door(right, SPEAKING.face),
    )


GOOD_VISIT = (
    PromptCode.LOOK_STRAIGHT,
    PromptCode.TURN_LEFT,
    PromptCode.TURN_RIGHT,
    PromptCode.CHECKING,
    Ending.COMPLETE,
)


def test_a_visit_of_one_man_gives_three_photos_that_are_accepted(
    networks: NetworkThread, stations: tuple[UInt8, UInt8, UInt8]
) -> None:
    """The sharp frame of each pose is the one that is kept, and its cut is worth what the whole frame is worth."""
    played = play(networks, stations, GuideRules())

    assert played.codes == GOOD_VISIT
    assert [picture.pose for picture in played.result.pictures] == [Pose.STRAIGHT, Pose.LEFT, Pose.RIGHT]
    assert played.chosen == played.sharp
    assert min(played.likeness) > 0.97


def test_another_man_who_takes_the_place_unseen_spoils_it(
    networks: NetworkThread, portrait: Callable[[Portrait], UInt8], stations: tuple[UInt8, UInt8, UInt8]
) -> None:
    """From one frame to the next, at the same place: the tracker takes him for the first; the templates do not."""
    image = np.ascontiguousarray(portrait(STRANGER)[:, ::-1])
    x0, y0, x1, y1 = STRANGER.face
    stranger = at_the_door(image, (image.shape[1] - x1, y0, image.shape[1] - x0, y1))

    played = play(networks, (*stations[:2], stranger), GuideRules(turned_yaw=(10.0, 32.0)))

    assert played.codes == (*GOOD_VISIT[:-1], Ending.NOT_ONE_PERSON)
    assert played.result.pictures == ()


def lfw(person: str, number: int) -> UInt8:
    folder = os.environ.get("STREAMD_TEST_LFW")
    if folder is None:
        pytest.skip("STREAMD_TEST_LFW names no folder of Labeled Faces in the Wild")
    found = next(iter(Path(folder).rglob(f"{person}_{number:04}.jpg")), None)
    if found is None:
        pytest.skip(f"{person}_{number:04}.jpg is not below {folder}")
    image = cv2.imread(str(found), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[:, :, ::-1])


@pytest.mark.parametrize("person", LFW_VISITS)
def test_photographs_of_one_person_from_several_sides_make_a_visit(networks: NetworkThread, person: str) -> None:
    images = [lfw(person, number) for number in LFW_VISITS[person]]
    doors = [at_the_door(image, networks.analyse(image)[0].face.box.tolist(), wide=130) for image in images]

    played = play(networks, doors, GuideRules(), blur=0.5)

    assert played.codes == GOOD_VISIT
    assert len(set(played.chosen) & set(played.sharp)) >= 2
    assert min(played.likeness) > 0.95
