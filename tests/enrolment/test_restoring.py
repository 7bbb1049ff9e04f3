"""A backup and a folder brought together: whoever is in the backup is in the gallery, with the photos that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamd.enrolment.restoring import fit
from streamd.errors import GalleryError
from tests.enrolment.test_vault import row

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = row("anna", 5, photo="anna/subject.yaml", template=None, traits=None, notes="name: Anna M.\n")


def test_where_nothing_is_folders_and_settings_are_laid_out_and_templates_stand_alone(tmp_path: Path) -> None:
    refused = row("carl", 3, template=None, traits=None, reasons=("blurred",))
    found = fit(
        [row("", 4, photo="basis", template=None, traits=None), row("anna"), row("ben", 2), refused, SETTINGS], tmp_path / "new"
    )

    assert [(one.photo, one.photo_kept) for one in found.rows] == [
        ("basis", True), ("anna/0.jpg", False), ("ben/2.jpg", False), ("anna/subject.yaml", True)
    ]  # fmt: skip
    assert found.by_template == ("Anna", "Ben")
    assert {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*")} == {
        "anna",
        "anna/subject.yaml",
        "ben",
    }
    assert (tmp_path / "new" / "anna" / "subject.yaml").read_text() == "name: Anna M.\n"


def test_what_lies_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "0.jpg").write_bytes(b"photo")
    (tmp_path / "anna" / "subject.yaml").write_text("name: Anna N.\n")

    found = fit([row("anna"), row("anna", 1), SETTINGS], tmp_path)

    assert [one.photo_kept for one in found.rows] == [True, False, True]
    assert (tmp_path / "anna" / "subject.yaml").read_text() == "name: Anna N.\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gallery").write_text("")

    with pytest.raises(GalleryError, match="run this as somebody who may write there"):
        fit([row("anna")], tmp_path / "gallery")
