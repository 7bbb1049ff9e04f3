"""The coach on real photographs, with the shipped model, its calibration and what was measured of its scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING, STRANGER, Portrait
from streamd.enrolment.attributes import read_attributes
from streamd.enrolment.coach import Coach, CoachReason, CoachRules, UsablePhoto
from streamd.enrolment.words import advice
from streamd.recognition.card import read_card
from streamd.recognition.embedding import open_embedder
from streamd.values import UInt8

if TYPE_CHECKING:
    from tests.conftest import NetworkThread

MODELS = Path(__file__).resolve().parents[2] / "streamd" / "models"
CARD = read_card(MODELS / "pair.json")
MEASURED = read_attributes(MODELS / "pair.attributes.json", CARD.sha256)
RULES = CoachRules(MEASURED.duplicate, MEASURED.genuine)

Photo = Callable[..., UsablePhoto]


@pytest.fixture(scope="module")
def photo(networks: NetworkThread, portrait: Callable[[Portrait], UInt8]) -> Photo:
    """Makes a usable photo of a portrait: `photo("obama/2", SPEAKING)`; `copied` saves it smaller and brighter first."""
    embedder = open_embedder(MODELS / "pair.json", "litert")
    made = 0

    def make(name: str, who: Portrait, *, copied: bool = False) -> UsablePhoto:
        nonlocal made
        made += 1
        image = portrait(who)
        if copied:
            image = np.asarray(cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA), np.uint8)
            image = np.clip(image.astype(int) + 8, 0, 255).astype(np.uint8)
        face = networks.analyse(image)[0]
        vector = embedder.embed([face.crop])[0]
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        return UsablePhoto(name.split("/")[0], name, digest, vector, face.quality, False, made)

    return make


def coach(*photos: UsablePhoto) -> Coach:
    made = Coach(CARD.calibration, RULES, CARD.dimension)
    made.change(new=photos)
    return made


def test_three_occasions_of_one_man_vouch_for_each_other_and_each_adds_something(photo: Photo) -> None:
    made = coach(photo("obama/1", OFFICIAL), photo("obama/2", SPEAKING), photo("obama/3", STANDING))

    for verdict in made.verdicts.values():
        assert verdict.accepted
        assert not verdict.warnings
        assert verdict.leave_one_out is not None
        assert verdict.leave_one_out > 5
        assert verdict.gain > 0.05


def test_the_same_shot_saved_again_is_a_duplicate(photo: Photo) -> None:
    made = coach(photo("obama/1", OFFICIAL), photo("obama/again", OFFICIAL, copied=True))

    assert made.verdicts["obama/again"].reasons == (CoachReason.DUPLICATE,)


def test_another_mans_photo_in_the_folder_is_told_by_name(photo: Photo) -> None:
    made = coach(
        photo("obama/1", OFFICIAL), photo("obama/2", SPEAKING), photo("biden/1", STRANGER), photo("biden/wrong", STANDING)
    )
    wrong = made.verdicts["biden/wrong"]

    assert {name for name, verdict in made.verdicts.items() if not verdict.accepted} == {"biden/wrong"}
    assert "more like OBAMA than like BIDEN" in advice(wrong, str.upper)


def test_a_second_folder_of_an_enrolled_man_waits(photo: Photo) -> None:
    made = coach(photo("obama/1", OFFICIAL), photo("biden/1", STRANGER), photo("barack/1", SPEAKING))

    assert {name for name, verdict in made.verdicts.items() if not verdict.accepted} == {"barack/1"}
    assert made.confusable() == ()
