"""Coverage: what a subject's photos show, and what to photograph next."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.enrolment.coach import UsablePhoto
from streamd.enrolment.coverage import Glasses, Light, Turn, coverage, light, next_photo, turn
from streamd.values import Quality


def quality(yaw: float = 0.0, brightness: float = 120.0) -> Quality:
    return Quality(0.2, brightness, 50.0, yaw, 0.0, 0.0, 60.0)


def photo(yaw: float = 0.0, brightness: float = 120.0, glasses: bool | None = None) -> UsablePhoto:
    return UsablePhoto("anna", "anna/1", "d", np.ones(1, np.float32), quality(yaw, brightness), glasses, 1)


@pytest.mark.parametrize(
    ("yaw", "expected"),
    [
        (-40, "left"),
        (-25, "left"),
        (-15, "half-left"),
        (-9, "front"),
        (0, "front"),
        (9, "front"),
        (15, "half-right"),
        (40, "right"),
    ],
)
def test_a_face_that_looks_to_the_right_of_the_picture_has_a_positive_yaw(yaw: float, expected: str) -> None:
    assert turn(quality(yaw)) == expected


def test_light_is_the_grey_level_of_the_face() -> None:
    assert [light(quality(brightness=grey)) for grey in (50, 120, 200)] == [Light.DARK, Light.NORMAL, Light.BRIGHT]


def test_the_map_counts_every_photo_in_use_and_names_what_is_missing() -> None:
    found = coverage([photo(), photo(15, 50, True), photo(-15, 200, False)])

    assert found.photos == 3
    assert found.turns == {"left": 0, "half-left": 1, "front": 1, "half-right": 1, "right": 0}
    assert found.lights == {"dark": 1, "normal": 1, "bright": 1}
    assert found.glasses == {Glasses.WITH: 1, Glasses.WITHOUT: 1}


@pytest.mark.parametrize(
    ("photos", "words"),
    [
        ([], "from the front"),
        ([photo(15), photo(15)], "straight to the camera"),
        ([photo()], "another day"),
        ([photo(), photo()], "left of the picture"),
        ([photo(), photo(-15)], "right of the picture"),
        ([photo(glasses=True), photo(-15, glasses=True), photo(15, glasses=True)], "glasses off"),
        ([photo(), photo(-15), photo(15)], "evening"),
        ([photo(), photo(-30), photo(30), photo(brightness=50)], "noon"),
        ([photo(), photo(-15), photo(15), photo(brightness=50), photo(brightness=200)], "enough"),
    ],
)
def test_one_sentence_says_what_to_photograph_next(photos: list[UsablePhoto], words: str) -> None:
    assert words in next_photo(coverage(photos))


def test_glasses_that_nobody_could_tell_are_not_counted() -> None:
    assert set(coverage([photo(glasses=None)]).glasses.values()) == {0}


def test_following_the_advice_comes_to_an_end() -> None:
    """Each sentence is answered by the photo that it asks for; nothing is asked for twice."""
    answers = {
        "from the front": photo(),
        "another day": photo(),
        "left of": photo(-15),
        "right of": photo(15),
        "evening": photo(brightness=50),
        "noon": photo(brightness=200),
    }
    photos: list[UsablePhoto] = []
    said: list[str] = []
    while "That is enough" not in (sentence := next_photo(coverage(photos))):
        said.append(sentence)
        photos.append(next(taken for words, taken in answers.items() if words in sentence))

    assert len(said) == len(set(said)) <= 6
    assert Turn.FRONT in {turn(taken.quality) for taken in photos}
