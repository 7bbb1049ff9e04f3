"""What a person may ask for: whom a name means, what is deleted and handed out of them, and what the proof says."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamd import assembly, desk, people
from streamd.cli import main
from streamd.config import load
from streamd.enrolment.coach import Coach, CoachRules
from streamd.enrolment.disk import Disk
from streamd.enrolment.dropping import drop, person_folder
from streamd.enrolment.folder import EnrolmentFolder, FolderRules
from streamd.enrolment.seal import Seal
from streamd.enrolment.unknown import Look, UnknownRules, UnknownVisit, UnknownVisits
from streamd.enrolment.vault import Vault
from streamd.errors import GalleryError
from streamd.people import Forgotten, Kept, Person, PhotoStore, PictureStore, TemplateStore, UnknownStore
from streamd.values import Quality
from tests.enrolment.test_folder import CALIBRATION, DIMENSION, MODEL, MUCH_LATER, Home, template

if TYPE_CHECKING:
    from streamd.config import Config


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def named(home: Home, who: str) -> Person:
    home.look()
    return people.find(Kept(home.folder, None), home.photos, who)


def written(home: Home) -> str:
    """A configuration of that state and that enrolment folder."""
    file = home.state / "streamd.yaml"
    file.write_text(f"state: {home.state}\ncameras:\n  front:\n    source: {home.photos}\nmqtt:\n  url: mqtt://localhost\n")
    return str(file)


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


def test_a_photo_that_repeats_another_is_not_handed_out_as_used(home: Home) -> None:
    home.drop("Bob/1.png", "is 1")
    home.drop("Bob/2.png", "is 1")
    bob = named(home, "Bob")

    templates = TemplateStore(home.folder).export(bob)["templates.json"]

    assert isinstance(templates, bytes)
    told = {one["photo"]: (one["used"], one["reasons"]) for one in json.loads(templates)}
    assert sorted(used for used, _ in told.values()) == [False, True]
    assert ["duplicate"] in [reasons for _, reasons in told.values()]


def test_everything_is_handed_out_into_a_new_folder_of_whoever_asked(home: Home, tmp_path: Path) -> None:
    """Larger than what is handed out at once too; nothing that a link leads to, and never over what lies there."""
    home.drop("Bob/1.png", "is 1")
    (home.photos / "Bob" / "large.bin").write_bytes(b"x" * (people.PART + 1))
    (home.photos / "Bob" / "link").symlink_to("/etc/hostname")
    into = tmp_path / "handed" / "out"

    assert main(["export", "Bob", str(into), "--config", written(home)]) == 0

    files = {str(one.relative_to(into)): one.stat().st_size for one in into.rglob("*") if one.is_file()}
    assert files == {"photos/Bob/1.png": 4, "photos/Bob/large.bin": people.PART + 1, "templates.json": 3}
    assert into.stat().st_mode & 0o777 == 0o700
    assert main(["export", "Bob", str(into), "--config", written(home)]) != 0


def test_a_document_that_became_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write into the folder could have anything handed out that the daemon may read."""
    (tmp_path / "secret").write_text("of another")
    (tmp_path / "1.jpg").symlink_to(tmp_path / "secret")

    with pytest.raises(GalleryError, match="export again"):
        people.part(tmp_path / "1.jpg", 0)
    assert people.part(tmp_path / "secret", 3) == b"another"


def test_forget_without_an_answer_deletes_nothing_and_names_yes(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.drop("Bob/1.png", "is 1")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert main(["forget", "Bob", "--config", written(home)]) != 0
    said = capsys.readouterr()
    assert "Delete everything of Bob (bob, folder Bob, 1 photo)?" in said.out
    assert "--yes" in said.err
    assert (home.photos / "Bob" / "1.png").exists()


def test_without_the_daemon_it_is_said_that_the_broker_is_cleared_later(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.drop("Bob/1.png", "is 1")

    assert main(["forget", "Bob", "--yes", "--config", written(home)]) == 0

    assert "what the broker keeps of them goes when streamd starts next" in capsys.readouterr().out
    assert list(home.photos.iterdir()) == []


def test_a_backup_goes_over_a_file_that_is_there_by_force_alone(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.drop("Bob/1.png", "is 1")
    home.look()
    (home.state / "vault.key").touch(0o600)
    (home.state / "vault.key").write_bytes(bytes(32))
    file = home.state / "backup"
    file.write_text("mine")

    assert main(["backup", str(file), "--config", written(home)]) != 0
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main(["backup", str(file), "--force", "--config", written(home)]) == 0
    assert file.stat().st_size > 500


# Every store


STORES = (PhotoStore, TemplateStore, TemplateStore, UnknownStore, PictureStore)
"""Of a person of whom everything is kept that can be: the second of two models is on its way."""


def everything_of_bob(home: Home) -> tuple[Config, Kept]:
    """A photo, its template by two models, a picture of a decision, and a visit in which nobody knew him; Ann has as much."""
    home.drop("Bob/1.png", "is 1")
    home.drop("Ann/1.png", "is 0")
    home.look()
    coach = Coach(CALIBRATION, CoachRules(0.99, (0.0, 1.0)), DIMENSION)
    vault = Vault(home.state / "vault-next", Seal(bytes(32)))
    coming = EnrolmentFolder(
        home.photos, vault, coach, home.judge, FolderRules(),
        model="the next", dimension=DIMENSION, seen=home.state / "gallery.seen", utc=lambda: home.now,
    )  # fmt: skip
    coming.refresh(MUCH_LATER, 0, lambda: False)
    unknown = UnknownVisits(
        home.state / "unknown", Seal(bytes(32)), MODEL, DIMENSION, CALIBRATION, UnknownRules(timedelta(days=7))
    )
    (home.state / "pictures").mkdir()
    for who, content in (("ann", b"is 0"), ("bob", b"is 1")):
        look = Look(template(content), Quality(0.3, 120.0, 40.0, 0.0, 0.0, 0.0, 48.0), b"JPEG", home.now)
        unknown.add(UnknownVisit(f"visit-{content[-1]}", "front", home.now, home.now, (look,)), home.now)
        (home.state / "pictures" / f"20261125T120000-front-visit1-{who}-identified.jpg").write_bytes(b"JPEG")
    written(home)
    with (home.state / "streamd.yaml").open("a") as file:
        file.write(f"debug:\n  pictures: {home.state / 'pictures'}\n")
    return load(home.state / "streamd.yaml", {}), Kept(home.folder, unknown, coming)


def left_of_bob(home: Home, left_out: int | None) -> tuple[Forgotten, str]:
    """What is found after all stores but one have forgotten him, and what else is there of people."""
    config, kept = everything_of_bob(home)
    stores = assembly.personal_stores(config, kept)
    assert tuple(map(type, stores)) == STORES
    bob = people.find(kept, home.photos, "bob")
    others = people.others(kept, home.photos, bob)
    but_one = [store for place, store in enumerate(stores) if place != left_out]
    done = people.forget(bob, but_one, home.state, [Seal(bytes(32))], home.photos, others)
    assert kept.unknown is not None
    assert kept.successor is not None
    rows = {row.subject for row in (*home.folder.rows, *kept.successor.rows)}
    visits = len(kept.unknown.listing())
    return done, f"{sorted(rows)}, {visits} visit, {sorted(one.name for one in home.photos.iterdir())}"


def test_every_store_forgets_and_keeps_what_is_others(home: Home) -> None:
    done, left = left_of_bob(home, None)

    assert (done.found, done.named, done.unread) == ((), (), ())
    assert left == "['ann'], 1 visit, ['Ann']"
    assert [one.name for one in (home.state / "pictures").iterdir()] == ["20261125T120000-front-visit1-ann-identified.jpg"]


def test_who_has_a_photo_whose_name_is_not_utf_8_is_forgotten_and_told_so(home: Home) -> None:
    """One byte of Latin-1: what was deleted must be sayable, or nobody hears of it."""
    _, kept = everything_of_bob(home)
    (home.photos / os.fsdecode(b"Bob/M\xfcller.jpg")).write_text("is 3")

    gone = PhotoStore(home.photos).forget(people.find(kept, home.photos, "bob"))

    assert r"Bob/M\xfcller.jpg" in gone
    assert "\n".join(gone).encode()


def test_a_photo_is_dropped_under_a_name_that_can_be_told_and_over_no_other(tmp_path: Path) -> None:
    assert drop(tmp_path, "\udcff.jpg", b"one") == "?.jpg"
    assert drop(tmp_path, "a.jpg", b"one") == "a.jpg"
    assert drop(tmp_path, "a.jpg", b"two") == "a-2.jpg"
    assert (tmp_path / "a.jpg").read_bytes() == b"one"


def test_photos_of_one_name_that_are_dropped_at_once_are_all_there(tmp_path: Path) -> None:
    photos = [b"%d" % number for number in range(24)]

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda data: drop(tmp_path, "a.jpg", data), photos))

    assert [(tmp_path / name).read_bytes() for name in names] == photos
    assert len(list(tmp_path.iterdir())) == 24


@pytest.mark.parametrize("name", ["写" * 100 + ".jpg", "a\0b.jpg", "a\x1b[31m.jpg"])
def test_a_photo_whose_name_no_file_can_have_is_dropped_under_another(tmp_path: Path, name: str) -> None:
    chosen = drop(tmp_path, name, b"one")

    assert chosen.endswith(".jpg")
    assert (tmp_path / chosen).read_bytes() == b"one"


@pytest.mark.parametrize("empty", [True, False])
def test_nobody_is_put_where_a_disk_is_not_mounted(home: Home, empty: bool) -> None:
    """Their folder would be taken for the whole gallery, and everybody else would be gone."""
    home.drop("anna/1.png", "is 0")
    home.look()
    home.photos.rename(home.state / "the disk")
    if empty:
        home.photos.mkdir()

    with pytest.raises(GalleryError, match="perhaps a disk is not mounted"):
        person_folder(home.photos, home.state / "gallery.seen", "ben")

    assert home.look().names == {"anna": "anna"}


def test_who_could_not_be_forgotten_whole_can_be_asked_for_again(home: Home) -> None:
    """By photos and templates a person is found: they go last."""
    config, kept = everything_of_bob(home)
    stores = assembly.personal_stores(config, kept)

    class Broken(PictureStore):
        def forget(self, person: Person) -> list[str]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "pictures")

    broken = [Broken(home.state) if isinstance(one, PictureStore) else one for one in stores]
    for some, refused in ((broken, True), (stores, False)):
        bob = people.find(kept, home.photos, "bob")
        with pytest.raises(GalleryError, match="ask again") if refused else contextlib.nullcontext():
            people.forget(bob, some, home.state, [Seal(bytes(32))], home.photos, frozenset())

    with pytest.raises(GalleryError, match="there is no 'bob'"):
        people.find(kept, home.photos, "bob")


@pytest.mark.parametrize("wrong", ["nowhere.jpg", "a folder.jpg", "text.txt"])
def test_nobody_is_made_where_one_of_the_photos_is_none(home: Home, tmp_path: Path, wrong: str) -> None:
    good = tmp_path / "good.jpg"
    good.write_text("is 0")
    (tmp_path / "a folder.jpg").mkdir()
    (tmp_path / "text.txt").write_text("is 0")

    with pytest.raises(GalleryError, match=wrong):
        desk.enrol(load(Path(written(home)), {}), "zoe", [good, tmp_path / wrong])

    assert not list(home.photos.iterdir())


@pytest.mark.parametrize("who", ["\udcff", "a\nb", "a\u2028b", "a\x1b[31m", "a/b", ".a", " ", "a" * 201])
def test_no_folder_is_made_for_what_is_no_name(tmp_path: Path, who: str) -> None:
    with pytest.raises(GalleryError, match="expected a name that a folder can have"):
        person_folder(tmp_path, tmp_path / "seen", who)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shown", ["Anna Müller", 'Anna "the 1st": #1', "null", "7", "\U0001f600"])
def test_a_shown_name_becomes_a_persons_settings(home: Home, shown: str) -> None:
    assert person_folder(home.photos, home.state / "gallery.seen", "anna", shown) == "anna"
    home.drop("anna/1.png", "is 0")

    assert home.look().names == {"anna": shown}
    assert sorted(path.name for path in (home.photos / "anna").iterdir()) == ["1.png", "1.png.verdict.json", "subject.yaml"]


def test_a_shown_name_goes_over_no_settings(home: Home) -> None:
    theirs = home.drop("anna/subject.yaml", "name: Ann\n")

    with pytest.raises(GalleryError, match="write the name into it by hand"):
        person_folder(home.photos, home.state / "gallery.seen", "anna", "Anna Müller")
    assert theirs.read_text() == "name: Ann\n"

    for _ in range(2):
        assert person_folder(home.photos, home.state / "gallery.seen", "ben", "Ben B.") == "ben"


@pytest.mark.parametrize("shown", ["", "a\nb", "a\x1b[31m", "a\u2028b", "\udcff"])
def test_no_folder_is_made_for_what_is_no_shown_name(tmp_path: Path, shown: str) -> None:
    with pytest.raises(GalleryError, match=r"name|UTF-8"):
        person_folder(tmp_path, tmp_path / "seen", "anna", shown)
    assert not list(tmp_path.iterdir())


def test_a_visitor_is_assigned_under_a_shown_name(home: Home) -> None:
    config, kept = everything_of_bob(home)
    assert kept.unknown is not None
    visitor = kept.unknown.listing()[0].id

    answer = desk.do("unknown-assign", kept, config, {"id": visitor, "subject": "carl", "name": "Carl C."})

    assert answer["ok"]
    assert kept.unknown.listing() != ()
    assert people.find(Kept(home.folder, None), home.photos, "carl").folders == ("carl",)
    assert named(home, "Carl C.").subject == "carl"


class Stuck(Disk):
    """A disk that takes nothing away."""

    def remove(self, path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))


def test_what_stays_of_a_visitor_who_was_assigned_is_told(home: Home) -> None:
    """Their photos are in the folder by then."""
    config, kept = everything_of_bob(home)
    rules = UnknownRules(timedelta(days=7))
    unknown = UnknownVisits(home.state / "unknown", Seal(bytes(32)), MODEL, DIMENSION, CALIBRATION, rules, Stuck())
    visitor = unknown.listing()[0].id

    answer = desk.do("unknown-assign", Kept(kept.folder, unknown), config, {"id": visitor, "subject": "carl"})

    assert not answer["ok"]
    assert "the folder of carl has 1 photo" in answer["message"]
    assert ".looks cannot be removed (Read-only file system)" in answer["message"]
    assert (home.photos / answer["photos"][0]).read_bytes() == b"JPEG"


def test_a_dropped_photo_is_on_the_disk_before_its_name_and_that_before_anybody_relies_on_it(tmp_path: Path) -> None:
    steps: list[tuple[str, bool, bool]] = []

    class Watched(Disk):
        def sync(self, descriptor: int) -> None:
            file = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            steps.append((file.suffix, file.is_dir() or file.read_bytes() == b"one", (tmp_path / "a.jpg").exists()))

    drop(tmp_path, "a.jpg", b"one", Watched())

    assert steps == [(".part", True, False), (tmp_path.suffix, True, True)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["enrol", "anna", "x.jpg", "--name", "a\nb"], "expected a name without control characters"),
        (["unknown", "ignore", "visitor-1", "--name", "Ben"], "--name belongs to unknown assign"),
        (["unknown", "--name", "Ben"], "--name belongs to unknown assign"),
    ],
)
def test_a_shown_name_that_cannot_be_is_refused_before_anything_is_done(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(home.state)
    Path("x.jpg").write_text("is 0")

    assert main([*arguments, "--config", written(home)]) != 0
    assert words in capsys.readouterr().err
    assert list(home.photos.iterdir()) == []


@pytest.mark.parametrize(
    ("left_out", "where"),
    [
        (0, "gallery/Bob"),
        (1, "vault/gallery-1.sealed"),
        (2, "vault-next/gallery-1.sealed"),
        (3, "unknown/visit-49.looks"),
        (4, "pictures/20261125T120000-front-visit1-bob-identified.jpg"),
    ],
)
def test_what_one_store_keeps_is_found(home: Home, left_out: int, where: str) -> None:
    done, _ = left_of_bob(home, left_out)

    assert {str(home.state / where)} <= set(done.found)
    assert all(str(home.state / where).rpartition("/")[0] in found for found in done.found)


def test_all_that_is_kept_is_handed_out_but_visits_that_may_be_anothers(home: Home) -> None:
    config, kept = everything_of_bob(home)

    handed = people.export(people.find(kept, home.photos, "bob"), assembly.personal_stores(config, kept))

    assert sorted(handed) == [
        "photos/Bob/1.png",
        "photos/Bob/1.png.verdict.json",
        "pictures/20261125T120000-front-visit1-bob-identified.jpg",
        "templates-of-the-next-model.json",
        "templates.json",
    ]


# The proof


def forgotten(home: Home, who: str, *left_out: type) -> Forgotten:
    """Forget somebody in every store but those, and search for them."""
    person = named(home, who)
    kept = Kept(home.folder, None)
    others = people.others(kept, home.photos, person)
    stores = [one for one in (PhotoStore(home.photos), TemplateStore(home.folder)) if not isinstance(one, left_out)]
    return people.forget(person, stores, home.state, [Seal(bytes(32))], home.photos, others)


def test_whoever_is_forgotten_is_found_nowhere(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")
    home.drop("Anna/dark.png", "nobody")
    home.drop("Ben/1.png", "is 1")

    done = forgotten(home, "Anna")

    assert (done.found, done.named, done.unread) == ((), (), ())
    assert "is forgotten" in done.sentence
    assert [row.subject for row in home.folder.rows] == ["ben"]


@pytest.mark.parametrize(("left_out", "where"), [(PhotoStore, "gallery/Anna/1.png"), (TemplateStore, "vault/gallery-1.sealed")])
@pytest.mark.parametrize("content", ["is 0", "nobody"])
def test_what_a_store_leaves_is_found(home: Home, left_out: type, where: str, content: str) -> None:
    """Of somebody whose only photo is refused there is a row without a template."""
    home.drop("Anna/1.png", content)

    done = forgotten(home, "Anna", left_out)

    assert str(home.state / where) in done.found
    assert "something is still there" in done.sentence


def test_a_sealed_file_is_never_to_be_deleted_by_hand(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")

    done = forgotten(home, "Anna", TemplateStore)

    assert done.sealed == done.found == (str(home.state / "vault" / "gallery-1.sealed"),)
    assert "by hand" not in done.sentence


def test_whoever_is_called_alike_is_not_accused(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")
    home.drop("Anna Müller/1.png", "is 1")
    home.drop("Jo-Anna/1.png", "is 2")
    (home.state / "list.txt").write_text("Anna Müller, Jo-Anna")

    done = forgotten(home, "Anna")

    assert (done.found, done.named) == ((), ())


def test_a_shared_name_is_nobodys_trace(home: Home) -> None:
    home.drop("alice/1.png", "is 0")
    home.drop("alice/subject.yaml", "name: Bob\n")
    home.drop("Bob/1.png", "is 1")

    done = forgotten(home, "alice")

    assert (done.found, done.named) == ((), ())


def test_another_person_who_names_them_is_told_and_keeps_what_is_theirs(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")
    home.drop("Kid/1.png", "is 1")
    home.drop("Kid/subject.yaml", "consent: {by: Anna, date: 2026-11-25, purpose: the door}\n")

    done = forgotten(home, "Anna")

    assert done.found == ()
    assert f"{home.photos}/Kid/subject.yaml (belongs to Kid)" in done.named
    assert f"{home.state}/vault/gallery-2.sealed (belongs to Kid)" in done.named
    assert "is forgotten" in done.sentence


def test_their_template_in_anothers_folder_is_theirs(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")
    home.drop("Kid/1.png", "is 0")

    assert [path.rpartition("/")[2] for path in forgotten(home, "Anna").found] == ["gallery-2.sealed"]


def test_what_opens_by_a_passphrase_only_or_is_packed_proves_nothing(home: Home) -> None:
    home.drop("Anna/1.png", "is 0")
    home.look()
    Vault(home.state / "vault", Seal(bytes(32))).backup(home.state / "backup", "correct horse battery")
    (home.state / "copy.gz").write_bytes(b"\x1f\x8b\x08 Anna")
    (home.state / "vault" / "gallery-0.sealed").write_bytes(b"broken")

    done = forgotten(home, "Anna")

    assert {path.rpartition("/")[2] for path in done.unread} >= {"backup", "copy.gz"}
    assert "may hold them" in done.sentence


def test_networks_are_not_searched_and_other_files_of_the_state_are(home: Home) -> None:
    home.drop("Jo/1.png", "is 0")
    for name in ("models/sface.bin", "notes.txt"):
        (home.state / name).parent.mkdir(exist_ok=True)
        (home.state / name).write_bytes(b"\0Jo\0")

    done = forgotten(home, "Jo")

    assert done.found == (str(home.state / "notes.txt"),)
    assert "notes.txt: delete it by hand" in done.sentence


def test_a_picture_of_theirs_is_found_by_its_name(home: Home) -> None:
    home.drop("Bob/1.png", "is 0")
    for who in ("bob", "jim-bob"):
        (home.state / f"20261125T120000-door-visit1-{who}-identified.jpg").write_bytes(b"JPEG")

    assert [path.rpartition("/")[2] for path in forgotten(home, "Bob").found] == [
        "20261125T120000-door-visit1-bob-identified.jpg"
    ]
