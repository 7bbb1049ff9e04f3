"""A change of the model: the gallery of the old one serves, live in everything, until that of the new one is complete.

Photos are short texts as in test_folder.py. The program is started again and again on one state, each time with a model.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamd.enrolment.coach import Coach, CoachRules
from streamd.enrolment.folder import Enrolment, EnrolmentFolder, FolderRules, PhotoEvent, Refreshed
from streamd.enrolment.seal import Seal
from streamd.enrolment.succession import Succession
from streamd.enrolment.vault import Vault
from streamd.values import QualityReason
from tests.enrolment.test_folder import CALIBRATION, DIMENSION, MUCH_LATER, Home, Judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamd.enrolment.images import OpenedPhoto
    from streamd.enrolment.photo import PhotoVerdict
    from streamd.enrolment.rows import Row

OLD, NEW = "the old model", "the new model"


class NewJudge(Judge):
    """The new model's: its templates are the old one's backwards, and it refuses what says so."""

    def __call__(self, photo: OpenedPhoto) -> PhotoVerdict:
        found = super().__call__(photo)
        if self.judged[-1].endswith(b"not for the new"):
            return replace(found, reasons=(QualityReason.BLURRED,), vector=None)
        return replace(found, vector=None if found.vector is None else found.vector[::-1].copy())


class House(Home):
    """The gallery was made by the old model; `update` starts the program with the new one."""

    def start(self, model: str = OLD) -> None:
        super().start(model)

    def update(self) -> None:
        self.old, self.new = Judge(), NewJudge()
        vault = Vault(self.state / "vault", Seal(bytes(32)))
        kept = replace(self.rules, keep_photos=True)
        coming = self._folder(NEW, Vault(self.state / "vault-next", Seal(bytes(32))), replace(kept, sidecars=False))

        def swap(rows: Sequence[Row]) -> EnrolmentFolder | str:
            committed = vault.commit(rows, NEW, DIMENSION)
            return committed.problem or self._folder(NEW, vault, self.rules)

        self.both = Succession(self._folder(OLD, vault, kept), coming, swap)

    def _folder(self, model: str, vault: Vault, rules: FolderRules) -> EnrolmentFolder:
        return EnrolmentFolder(
            self.photos, vault, Coach(CALIBRATION, CoachRules(0.99, (0.0, 1.0)), DIMENSION),
            self.old if model == OLD else self.new, rules,
            model=model, dimension=DIMENSION, seen=self.state / "gallery.seen", utc=lambda: self.now,
        )  # fmt: skip

    def slice(self, most: int = 1000) -> Refreshed:
        """One look at both, in which at most so many photos are judged."""
        left = iter(range(most))
        return self.both.refresh(MUCH_LATER, 0, lambda: next(left, None) is None)


def in_force(seen: Enrolment) -> tuple[str, tuple[str, ...]]:
    return seen.gallery.model, seen.gallery.photos


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    for number in range(4):
        house.drop(f"anna/{number}.jpg", f"is 0, {number}")
    house.drop("ben/1.jpg", "is 1")
    house.look()
    house.update()
    return house


EVERYTHING = ("anna/0.jpg", "anna/1.jpg", "anna/2.jpg", "anna/3.jpg", "ben/1.jpg")


def test_the_old_gallery_is_there_at_once_and_whole_until_the_new_one_is(house: House) -> None:
    seen = [house.slice(2).enrolment for _ in range(4)]

    assert [in_force(one) for one in seen] == [(OLD, EVERYTHING)] * 3 + [(NEW, EVERYTHING)]
    assert [one.waiting for one in seen] == [5, 3, 1, 0]
    assert [one.gallery.generation for one in seen][-1] > seen[0].gallery.generation
    assert (house.old.judged, len(house.new.judged)) == ([], 5)
    assert int(seen[-1].gallery.templates[0].argmax()) == DIMENSION - 1


@pytest.mark.parametrize("most", [1, 1000])
def test_whoever_was_first_is_the_senior_one_by_the_new_model_too(tmp_path: Path, most: int) -> None:
    """Or everybody's look-alike who stands before them in the alphabet would take their place."""
    house = House(tmp_path)
    house.drop("zed/1.jpg", "is 0, young")
    house.look()
    house.drop("aaa/1.jpg", "is 0, old")
    assert house.look().gallery.photos == ("zed/1.jpg",)
    came, house.now = house.now, house.now + timedelta(days=1)
    house.update()

    while (seen := house.slice(most).enrolment).gallery.model == OLD:
        assert seen.gallery.photos == ("zed/1.jpg",)

    assert in_force(seen) == (NEW, ("zed/1.jpg",))
    assert {row.enrolled for row in house.both.serving.rows} == {came}


def test_killed_in_the_middle_it_goes_on_where_it_was_and_the_old_one_serves_again(house: House) -> None:
    house.slice()
    house.slice(2)
    house.update()
    again = house.slice()

    assert (in_force(again.enrolment), again.enrolment.waiting) == ((OLD, EVERYTHING), 3)
    assert in_force(house.slice().enrolment) == (NEW, EVERYTHING)
    assert len(house.new.judged) == 3


def test_killed_before_the_swap_it_swaps_at_the_next_start(house: House) -> None:
    house.slice()
    house.both.successor.refresh(MUCH_LATER, 0, lambda: False)  # type: ignore[union-attr]
    house.update()

    assert in_force(house.slice().enrolment) == (NEW, EVERYTHING)
    assert house.new.judged == []


def test_after_the_swap_the_new_model_starts_without_judging(house: House) -> None:
    house.slice()
    house.slice()
    house.start(NEW)

    assert in_force(house.look()) == (NEW, EVERYTHING)
    assert house.judge.judged == []


def test_who_comes_and_goes_meanwhile_does_so_in_both(house: House) -> None:
    house.slice()
    house.slice(2)
    house.drop("carl/1.jpg", "is 2")
    shutil.rmtree(house.photos / "anna")

    seen = house.slice(1)
    assert in_force(seen.enrolment) == (OLD, ("ben/1.jpg", "carl/1.jpg"))
    house.slice()
    assert in_force(house.both.enrolment) == (NEW, ("ben/1.jpg", "carl/1.jpg"))


def test_who_is_forgotten_meanwhile_is_in_no_vault(house: House) -> None:
    house.slice()
    house.slice(4)
    shutil.rmtree(house.photos / "anna")
    for folder in (house.both.serving, house.both.successor):
        folder.forget("anna")  # type: ignore[union-attr]

    sealed = [Seal(bytes(32)).unseal(path.read_bytes()) for path in house.state.glob("vault*/*.sealed")]
    assert len(sealed) == 6
    assert not any(b"anna" in bytes(one.data) for one in sealed)  # type: ignore[union-attr]
    house.slice()
    assert in_force(house.both.enrolment) == (NEW, ("ben/1.jpg",))


def test_what_only_the_new_model_refuses_is_news(house: House) -> None:
    house.drop("ben/2.jpg", "is 1, not for the new")
    house.slice()

    said: tuple[PhotoEvent, ...] = ()
    while house.both.successor is not None:
        said = house.slice().judged
    assert [(one.photo, one.accepted, one.reasons) for one in said] == [("ben/2.jpg", False, (QualityReason.BLURRED,))]
    assert house.sidecar("ben/2.jpg")["used"] is False


def test_whom_only_templates_of_the_old_model_know_keep_it_serving_until_they_have_a_photo_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.rules = replace(house.rules, keep_photos=False)
    house.start()
    for who, number in (("Anna", 0), ("Ben", 1), ("Carl", 2)):
        house.drop(f"{who}/1.jpg", f"is {number}")
    house.look()
    house.update()

    seen = [house.slice().enrolment for _ in range(3)]
    assert [in_force(one) for one in seen] == [(OLD, ("Anna/1.jpg", "Ben/1.jpg", "Carl/1.jpg"))] * 3
    assert seen[1] is seen[2]
    assert "it alone knows Anna, Ben, Carl, whose photos were not kept" in (seen[-1].problem or "")

    # One has a photo again, one is taken out; and their photo is kept until the new model has it too.
    photo = house.drop("Anna/2.jpg", "is 0, again")
    shutil.rmtree(house.photos / "Ben")
    seen.append(house.slice().enrolment)
    assert "it alone knows Carl, whose" in (seen[-1].problem or "")
    assert photo.exists()

    photo = house.drop("Carl/2.jpg", "is 2, again")
    while house.both.successor is not None:
        house.slice()
    assert in_force(house.both.enrolment) == (NEW, ("Anna/2.jpg", "Carl/2.jpg"))
    assert house.both.enrolment.problem is None
    assert list(house.photos.rglob("*.jpg")) == []


def test_a_swap_that_cannot_be_written_is_told_and_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.slice()
    full = iter(["the disk is full", "the disk is full"])
    swap = house.both._swap
    monkeypatch.setattr(house.both, "_swap", lambda rows: next(full, None) or swap(rows))  # type: ignore[misc]

    seen = [house.slice().enrolment for _ in range(3)]

    assert [one.problem for one in seen] == ["the disk is full", "the disk is full", None]
    assert [one.gallery.model for one in seen] == [OLD, OLD, NEW]
