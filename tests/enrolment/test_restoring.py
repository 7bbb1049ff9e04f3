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


@pytest.mark.parametrize("person", ["..", ".", ".ssh", "a/b", "../beside", "/etc"])
@pytest.mark.parametrize("file", ["subject.yaml", "0.jpg"])
def test_a_backup_lays_out_nothing_under_what_is_no_persons_folder(tmp_path: Path, person: str, file: str) -> None:
    """It may be anybody's: what opens by a passphrase was not made on this machine."""
    if person == "a/b":
        (tmp_path / "gallery" / "a").mkdir(parents=True)
    (tmp_path / "gallery").mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    changes = {"template": None, "traits": None, "notes": "name: A\n"} if file == "subject.yaml" else {}

    fit([row("anna", photo=f"{person}/{file}".replace("/etc", str(tmp_path / "etc")), **changes)], tmp_path / "gallery")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gallery").write_text("")

    with pytest.raises(GalleryError, match="run this as somebody who may write there"):
        fit([row("anna")], tmp_path / "gallery")
