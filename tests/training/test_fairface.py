"""FairFace as published becomes crops with their groups, and a run that was cut off goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.demo import portraits as known
from streamd.values import UInt8
from training.fairface import strangers
from training.prepare import DataError

Portraits = Callable[[known.Portrait], UInt8]


@pytest.fixture
def published(tmp_path: Path, portrait: Portraits) -> Path:
    """Two faces cut as tight as FairFace's, and a picture without one; the labels name a fourth that is not there."""
    (tmp_path / "val").mkdir()
    for number, which in enumerate((known.OFFICIAL, known.STRANGER), 1):
        left, top, right, bottom = which.face
        tight = cv2.resize(portrait(which)[top:bottom, left:right], (224, 224), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / "val" / f"{number}.jpg"), tight[..., ::-1])
    cv2.imwrite(str(tmp_path / "val" / "3.jpg"), np.full((224, 224, 3), 90, np.uint8))
    rows = (
        "val/1.jpg,50-59,Male,Black",
        "val/2.jpg,60-69,Male,White",
        "val/3.jpg,20-29,Female,Indian",
        "val/4.jpg,0-2,Male,White",
    )
    (tmp_path / "fairface_label_val.csv").write_text("\n".join(("file,age,gender,race", *rows)))
    return tmp_path


def test_tightly_cut_faces_are_found_and_keep_their_groups(published: Path, tmp_path: Path) -> None:
    found = strangers(published, "val", tmp_path / "cache", processes=1)

    assert found.files == ("val/1.jpg", "val/2.jpg")
    assert found.race.tolist() == ["Black", "White"]
    assert found.age.tolist() == ["50-59", "60-69"]
    assert (found.pictures, found.missed) == (3, 1)
    assert found.crops.shape == (2, 150, 150, 3)
    assert ((found.outside > 0.05) & (found.outside < 0.5)).all()  # cut tight: the crop is wider than the photograph


def test_what_was_made_before_is_not_made_again(published: Path, tmp_path: Path) -> None:
    first = strangers(published, "val", tmp_path / "cache", processes=1)
    for picture in (published / "val").iterdir():
        picture.write_bytes(b"no picture any more")

    again = strangers(published, "val", tmp_path / "cache", processes=1)

    assert (again.crops == first.crops).all()


def test_only_the_first_pictures_are_taken_where_so_many_suffice(published: Path, tmp_path: Path) -> None:
    assert strangers(published, "val", tmp_path / "cache", most=1, processes=1).files == ("val/1.jpg",)


def test_a_folder_that_is_not_fairface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fairface_label_val.csv: cannot be read .*expected FairFace as published"):
        strangers(tmp_path, "val", tmp_path / "cache")


def test_labels_without_groups_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fairface_label_val.csv").write_text("file,age\nval/1.jpg,20-29\n")

    with pytest.raises(DataError, match="expected the columns file, age, gender, race"):
        strangers(tmp_path, "val", tmp_path / "cache")
