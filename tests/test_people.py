"""What a person may ask for: whom a name means, what is deleted and handed out of them, and what the proof says."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from streamd import people
from streamd.cli import main
from streamd.errors import GalleryError
from streamd.people import Kept, Person, PictureStore, TemplateStore
from tests.enrolment.test_folder import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def named(home: Home, who: str) -> Person:
    home.look()
    return people.find(Kept(home.folder, None), home.photos, who)


# Whom a name means


def test_a_folder_comes_before_another_persons_shown_name(home: Home) -> None:
    home.drop("alice/1.png", "is 0")
    home.drop("alice/subject.yaml", "name: Bob\n")
    home.drop("Bob/1.png", "is 1")

    assert [named(home, who).folders for who in ("Bob", "bob", "alice")] == [("Bob",), ("Bob",), ("alice",)]


def test_a_shown_name_of_one_person_is_enough(home: Home) -> None:
    home.drop("alice/1.png", "is 0")
    home.drop("alice/subject.yaml", "name: Bob\n")

    assert named(home, "Bob").shown == "Bob (alice, folder alice, 1 photo)"


def test_a_shown_name_of_two_people_is_refused_with_both(home: Home) -> None:
    for place in ("alice", "carol"):
        home.drop(f"{place}/1.png", "is 0")
        home.drop(f"{place}/subject.yaml", "name: Bob\n")

    with pytest.raises(GalleryError, match=r"'Bob' may be alice \(folder alice\) or carol \(folder carol\); name the id"):
        named(home, "Bob")


def test_a_name_is_not_its_beginning(home: Home) -> None:
    home.drop("Anna Müller/1.png", "is 0")

    with pytest.raises(GalleryError, match="there is no 'Anna'"):
        named(home, "Anna")


def test_an_enrolment_folder_that_is_away_is_said_in_one_sentence(home: Home) -> None:
    home.drop("Bob/1.png", "is 1")
    home.look()
    home.photos.rename(home.state / "away")

    with pytest.raises(GalleryError, match="the enrolment folder cannot be read"):
        people.find(Kept(home.folder, None), home.photos, "Bob")


# What is handed out and deleted


def test_a_picture_of_whose_name_ends_alike_is_not_theirs(tmp_path: Path) -> None:
    for who in ("bob", "jim-bob"):
        (tmp_path / f"20261125T120000-door-visit1-{who}-identified.jpg").touch()

    gone = PictureStore(tmp_path).forget(Person("bob", "Bob", ("Bob",), ()))

    assert [path.rpartition("/")[2] for path in gone] == ["20261125T120000-door-visit1-bob-identified.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["20261125T120000-door-visit1-jim-bob-identified.jpg"]


def test_a_photo_that_repeats_another_is_not_handed_out_as_used(home: Home, tmp_path: Path) -> None:
    home.drop("Bob/1.png", "is 1")
    home.drop("Bob/2.png", "is 1")
    bob = named(home, "Bob")

    TemplateStore(home.folder).export(bob, tmp_path)

    told = {one["photo"]: (one["used"], one["reasons"]) for one in json.loads((tmp_path / "templates.json").read_text())}
    assert sorted(used for used, _ in told.values()) == [False, True]
    assert ["duplicate"] in [reasons for _, reasons in told.values()]


def test_forget_without_an_answer_deletes_nothing_and_names_yes(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.drop("Bob/1.png", "is 1")
    (home.state / "streamd.yaml").write_text(
        f"state: {home.state}\ncameras:\n  front:\n    source: {home.photos}\nmqtt:\n  url: mqtt://localhost\n"
    )

    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert main(["forget", "Bob", "--config", str(home.state / "streamd.yaml")]) != 0
    said = capsys.readouterr()
    assert "Delete everything of Bob (bob, folder Bob, 1 photo)?" in said.out
    assert "--yes" in said.err
    assert (home.photos / "Bob" / "1.png").exists()
