"""The enrolment folder: what lies in it is the gallery, every photo is judged once, and each refusal has its reason.

Photos here are short texts: `Judge` reads `is 3` as a good photo of the third person, anything else as refused. Two photos of
one person have a cosine of 0.8 or so, those of two persons about 0; 10 (s - 0.2) nats are given for a cosine s.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.enrolment.coach import Coach, CoachReason, CoachRules
from streamd.enrolment.folder import Enrolment, EnrolmentFolder, FolderRules, PhotoEvent, Refreshed
from streamd.enrolment.images import OpenedPhoto, PhotoReason
from streamd.enrolment.listing import slug, subject_id
from streamd.enrolment.photo import ADVICE, PhotoVerdict
from streamd.enrolment.rows import Traits
from streamd.enrolment.seal import Seal
from streamd.enrolment.sidecar import Sidecars, remove_file
from streamd.enrolment.vault import Vault
from streamd.errors import GalleryError
from streamd.recognition.calibration import Calibration
from streamd.values import Float32, QualityReason

DIMENSION = 64
MODEL = "digest of the model"
CALIBRATION = Calibration(scores=(-1.0, 1.0), eye_distances=(60.0,), ratios=((-12.0, 8.0),), correlation=0.5)
LOOKS = Traits(0.3, 120, 40, 0, 0, 0, 60)
MUCH_LATER = 1 << 62


def template(data: bytes) -> Float32:
    """Of the person that `is N` names, varied by all the bytes."""
    vector = np.random.default_rng(list(data)).normal(0, 0.5 / np.sqrt(DIMENSION), DIMENSION)
    vector[int(data[3:4])] += 1
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


class Judge:
    """Counts what it is asked to judge."""

    def __init__(self) -> None:
        self.judged: list[bytes] = []
        self.out_of_order = False

    def __call__(self, photo: OpenedPhoto) -> PhotoVerdict:
        data = os.pread(photo.descriptor, 100, 0)
        self.judged.append(data)
        if self.out_of_order:
            return PhotoVerdict((PhotoReason.NO_TEMPLATE,), None)
        if data.startswith(b"is "):
            return PhotoVerdict((), template(data), LOOKS)
        if data == b"cut short":
            return PhotoVerdict((PhotoReason.TRUNCATED,), None)
        return PhotoVerdict((QualityReason.BLURRED, QualityReason.DARK), None, LOOKS)


class Home:
    """An enrolment folder with a vault beside it, and a program that is started on it again and again."""

    def __init__(self, root: Path) -> None:
        self.photos, self.state = root / "gallery", root
        self.photos.mkdir()
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.rules = FolderRules(cameras=("front",), basis="bounds of today")
        self.start()

    def start(self, model: str = MODEL) -> None:
        self.judge = Judge()
        self.folder = EnrolmentFolder(
            self.photos,
            Vault(self.state / "vault", Seal(bytes(32))),
            Coach(CALIBRATION, CoachRules(0.99, (0.0, 1.0)), DIMENSION),
            self.judge,
            self.rules,
            model=model,
            dimension=DIMENSION,
            seen=self.state / "gallery.seen",
            utc=lambda: self.now,
        )

    def drop(self, photo: str, content: str) -> Path:
        """Write a photo; one of the same name is written over, later than before by the clock of the file system."""
        path = self.photos / photo
        path.parent.mkdir(exist_ok=True)
        before = path.stat().st_ctime_ns if path.exists() else None
        while before is not None and time.time_ns() < before + 20_000_000:
            pass
        path.write_text(content)
        return path

    def refresh(self, now_ns: int = MUCH_LATER, settle_ns: int = 0, most: int = 1000) -> Refreshed:
        """One look, in which at most so many photos are judged."""
        left = iter(range(most))
        return self.folder.refresh(now_ns, settle_ns, lambda: next(left, None) is None)

    def look(self) -> Enrolment:
        return self.refresh().enrolment

    def events(self) -> tuple[PhotoEvent, ...]:
        return self.refresh().judged

    def sidecar(self, photo: str) -> dict[str, object]:
        """What the file beside a photo says."""
        return json.loads((self.photos / f"{photo}.verdict.json").read_text())

    def stored(self) -> bytes:
        """Everything that the vault's newest generations hold, unsealed."""
        opened = [Seal(bytes(32)).unseal(path.read_bytes()) for path in (self.state / "vault").glob("gallery-*")]
        return b"".join(one.data for one in opened)  # type: ignore[union-attr]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def directions(enrolment: Enrolment) -> dict[str, int]:
    """Which person each photo in force was judged to be."""
    return {photo: int(row.argmax()) for photo, row in zip(enrolment.gallery.photos, enrolment.gallery.templates, strict=True)}


# A folder is a gallery


def test_a_folder_for_each_person_becomes_a_gallery(home: Home) -> None:
    home.drop("Ben/1.png", "is 1")
    home.drop("Anna Müller/b.jpg", "is 0, older")
    home.drop("Anna Müller/a.JPG", "is 0")

    seen = home.look()

    assert seen.gallery.names == (subject_id("Anna Müller"), "ben")
    assert directions(seen) == {"Anna Müller/a.JPG": 0, "Anna Müller/b.jpg": 0, "Ben/1.png": 1}
    assert seen.names == {subject_id("Anna Müller"): "Anna Müller", "ben": "Ben"}
    assert seen.gallery.subjects.tolist() == [0, 0, 1]
    assert (seen.gallery.model, seen.refused, seen.problem) == (MODEL, (), None)


def test_what_is_no_photo_of_a_person_is_passed_over_in_silence(home: Home) -> None:
    for other in ("Ben/notes.txt", "Ben/.hidden.jpg", "Ben/1.jpg~", ".trash/1.jpg"):
        home.drop(other, "is 1")
    (home.photos / "Ben" / "folder.jpg").mkdir()

    assert home.events() == ()
    assert home.look().gallery.names == ()


def test_a_photo_in_nobodys_folder_is_named(home: Home) -> None:
    (home.photos / "loose.jpg").write_text("is 1")

    assert [(one.photo, one.reasons) for one in home.look().refused] == [("loose.jpg", (PhotoReason.NO_PERSON,))]
    (home.photos / "loose.jpg").unlink()
    assert home.look().refused == ()


@pytest.mark.parametrize("name", ["portrait", "p.jfif", "p.gif", "p.avif", "p.TIFF"])
def test_a_picture_under_an_odd_name_is_looked_at_for_what_it_is(home: Home, name: str) -> None:
    home.drop(f"anna/{name}", "is 1")

    assert home.look().gallery.photos == (f"anna/{name}",)


def test_a_large_gallery_is_in_force_at_once_and_has_its_index_with_the_next_look(home: Home) -> None:
    """The index takes a second to make: neither a start nor a photo waits for it."""
    pytest.importorskip("faiss", reason="needs streamd[large]")
    home.rules = dataclasses.replace(home.rules, exact_numbers=10)
    home.start()
    for number in range(40):
        home.drop(f"anna/{number}.jpg", f"is 0, {'older ' * number}")

    first, then, after = home.refresh(), home.refresh(), home.refresh()

    assert len(first.enrolment.gallery.photos) > 10
    assert (first.enrolment.gallery.index, first.settles_in) == (None, 0)
    assert then.enrolment.gallery.index is not None
    assert then.enrolment.gallery.generation == first.enrolment.gallery.generation
    assert then.settles_in is None
    assert after.enrolment is then.enrolment

    home.drop("ben/1.jpg", "is 1")
    assert home.refresh().enrolment.gallery.index is None


def test_an_empty_folder_is_a_gallery_of_nobody(home: Home) -> None:
    seen = home.look()

    assert (seen.gallery.names, seen.gallery.templates.shape) == ((), (0, DIMENSION))


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.photos = tmp_path / "a" / "gallery"
    home.start()

    assert home.photos.is_dir()
    (tmp_path / "file").write_text("")
    home.photos = tmp_path / "file" / "gallery"
    with pytest.raises(GalleryError, match=r"gallery\.folder"):
        home.start()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna", "anna"),
        ("Anna Müller", "anna-muller"),
        ("  José  ", "jose"),
        ("a/../b", "a-b"),
        ("R2_D2", "r2_d2"),
        ("李", ""),
        ("+#", ""),
    ],
)
def test_names_become_what_a_topic_can_hold(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text())
def test_a_slug_is_safe_in_a_topic_and_is_its_own_slug(name: str) -> None:
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert len(slug(name)) <= 63
    assert slug(slug(name)) == slug(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Anna", "anna"),
        ("Barack Obama", "barack-obama"),
        ("R2_D2", "r2_d2"),
        ("Jorg", "jorg"),
        ("Jörg", "jorg-"),
        ("Łukasz", "ukasz-"),
        ("李", "person-"),
        ("Anna B.", "anna-b-"),
        ("x" * 80, "x" * 50 + "-"),
    ],
)
def test_every_name_has_an_id_and_one_that_loses_something_a_digest(name: str, expected: str) -> None:
    """So that no person's face opens under another's name."""
    found = subject_id(name)

    assert found == expected or (expected.endswith("-") and re.fullmatch(re.escape(expected) + "[0-9a-f]{6}", found))
    assert subject_id(name) == found


def test_a_second_folder_of_the_same_name_but_for_capitals_is_refused(home: Home) -> None:
    home.drop("Anna B/1.jpg", "is 1")
    home.drop("anna-b/1.jpg", "is 2")

    enrolment = home.look()

    assert enrolment.gallery.photos == ("Anna B/1.jpg",)
    (event,) = enrolment.refused
    assert (event.photo, event.reasons) == ("anna-b/1.jpg", (PhotoReason.NAME_TAKEN,))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("keep_photos", [True, False])
def test_no_newcomers_folder_takes_over_a_persons_id(home: Home, keep_photos: bool, restarted: bool) -> None:
    """Sorted by name, `Anna` comes before `anna`."""
    home.rules = replace(home.rules, keep_photos=keep_photos)
    home.start()
    home.drop("anna/1.jpg", "is 1")
    home.drop("anna/subject.yaml", "valid_until: 2099-01-01\n")
    before = home.look().gallery
    if restarted:
        home.start()
    home.drop("Anna/1.jpg", "is 2")

    seen = home.look()

    assert seen.gallery.photos == before.photos
    assert seen.gallery.rules == before.rules != {}
    (event,) = seen.refused
    assert (event.photo, event.reasons) == ("Anna/1.jpg", (PhotoReason.NAME_TAKEN,))


def test_a_photo_whose_name_is_not_utf_8_is_enrolled_and_can_be_told(home: Home) -> None:
    """One byte of Latin-1, as an old memory card has it."""
    (home.photos / "anna").mkdir()
    Path(os.fsdecode(os.fsencode(home.photos) + b"/anna/M\xfcller.jpg")).write_text("is 1")

    enrolment = home.look()

    (photo,) = enrolment.gallery.photos
    assert photo == r"anna/M\xfcller.jpg"


def test_a_folder_that_cannot_be_read_keeps_its_person_and_takes_nobody_else_along(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with mode 000 for a service that is not root."""
    home.drop("zoe/1.jpg", "is 1")
    home.look()
    home.drop("anna/1.jpg", "is 2")
    listing = os.scandir

    def refusing(path: object) -> object:
        if str(path).endswith("zoe"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refusing)

    assert home.look().gallery.photos == ("anna/1.jpg", "zoe/1.jpg")


def test_photos_that_were_judged_before_a_restart_are_no_news(home: Home) -> None:
    home.drop("anna/1.jpg", "is 1")
    assert [one.photo for one in home.events()] == ["anna/1.jpg"]

    home.start()
    home.drop("anna/2.jpg", "is 1, older")

    assert [one.photo for one in home.events()] == ["anna/2.jpg"]


# A photo that cannot be used


def test_a_refused_photo_is_named_with_its_reasons_and_what_to_do_and_the_others_are_used(home: Home) -> None:
    home.drop("anna/good.jpg", "is 0")
    home.drop("anna/bad.jpg", "a blurred photo")

    events = home.events()
    seen = home.look()

    assert {event.photo: event.accepted for event in events} == {"anna/good.jpg": True, "anna/bad.jpg": False}
    (refused,) = seen.refused
    assert (refused.photo, refused.subject, refused.reasons) == ("anna/bad.jpg", "anna", ("blurred", "dark"))
    assert refused.advice == f"{ADVICE[QualityReason.BLURRED]}; {ADVICE[QualityReason.DARK]}"
    assert directions(seen) == {"anna/good.jpg": 0}


def test_somebody_of_whom_no_photo_is_good_is_not_enrolled(home: Home) -> None:
    home.drop("anna/bad.jpg", "a blurred photo")

    assert home.look().gallery.names == ()


def test_a_photo_that_cannot_be_read_is_refused_and_read_as_soon_as_it_can_be(home: Home) -> None:
    large = home.drop("anna/large.jpg", "")
    os.truncate(large, 50_000_000)

    assert [event.reasons for event in home.events()] == [(PhotoReason.TOO_MANY_BYTES,)]
    home.drop("anna/large.jpg", "is 2")
    assert directions(home.look()) == {"anna/large.jpg": 2}


@pytest.mark.parametrize("reason", [*PhotoReason, *QualityReason])
def test_there_is_advice_for_every_reason(reason: str) -> None:
    assert ADVICE[reason]


# Changes


def test_photos_added_changed_and_removed_are_so_in_the_next_gallery(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    first = home.look()
    home.drop("ben/1.jpg", "is 1")
    second = home.look()
    home.drop("anna/1.jpg", "is 3")
    third = home.look()
    (home.photos / "ben" / "1.jpg").unlink()
    fourth = home.look()

    assert [directions(seen) for seen in (first, second, third, fourth)] == [
        {"anna/1.jpg": 0}, {"anna/1.jpg": 0, "ben/1.jpg": 1}, {"anna/1.jpg": 3, "ben/1.jpg": 1}, {"anna/1.jpg": 3},
    ]  # fmt: skip
    assert [seen.gallery.generation for seen in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert fourth.names == {"anna": "anna"}
    assert home.judge.judged == [b"is 0", b"is 1", b"is 3"]


def test_a_snapshot_in_use_is_never_touched_by_a_change(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    before = home.look().gallery
    kept = before.templates.copy()
    shutil.rmtree(home.photos / "anna")
    home.drop("ben/1.jpg", "is 1")
    home.look()

    assert (before.names, np.array_equal(before.templates, kept)) == (("anna",), True)


def test_a_photo_or_a_person_renamed_is_not_judged_again(home: Home) -> None:
    path = home.drop("anna/1.jpg", "is 2")
    home.look()
    path.rename(path.with_name("2.jpg"))
    home.look()
    path.parent.rename(home.photos / "Anna Berg")

    seen = home.look()

    assert (seen.gallery.names, directions(seen)) == (("anna-berg",), {"Anna Berg/2.jpg": 2})
    assert home.judge.judged == [b"is 2"]


def test_a_photo_that_is_renamed_is_in_force_all_the_while(home: Home) -> None:
    """Its new name counts as just written; whoever stands there must not be a stranger until it has settled."""
    path = home.drop("anna/1.jpg", "is 2")
    home.look()
    moved = path.rename(path.with_name("other.jpg"))
    now = moved.stat().st_ctime_ns

    found = [home.refresh(now, settle_ns=1), home.refresh(now + 1, settle_ns=1)]

    assert [directions(one.enrolment) for one in found] == [{"anna/1.jpg": 2}, {"anna/other.jpg": 2}]
    assert [one.settles_in is None for one in found] == [False, True]


def test_without_a_change_the_very_same_gallery_stays_and_nothing_is_said(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/2.jpg", "bad")
    first = home.look()
    again = home.refresh()

    assert again.enrolment.gallery is first.gallery
    assert (again.judged, again.settles_in) == ((), None)


def test_a_photo_that_is_still_being_written_waits(home: Home) -> None:
    path = home.drop("anna/1.jpg", "is")
    soon = home.refresh(path.stat().st_ctime_ns + 5, settle_ns=6)
    assert (soon.enrolment.gallery.names, soon.judged, soon.settles_in, home.judge.judged) == ((), (), 1e-9, [])

    path = home.drop("anna/1.jpg", "is 1")
    later = home.refresh(path.stat().st_ctime_ns + 6, settle_ns=6)

    assert (directions(later.enrolment), later.settles_in) == ({"anna/1.jpg": 1}, None)
    assert home.judge.judged == [b"is 1"]


def test_a_photo_that_is_being_replaced_stays_in_force_until_the_new_one_is_whole(home: Home) -> None:
    """Else whoever stands at the door would be a stranger for the moment that the copying takes."""
    home.drop("anna/1.jpg", "is 0")
    home.drop("ben/1.jpg", "is 1")
    home.look()
    path = home.drop("anna/1.jpg", "is")
    before = home.refresh(path.stat().st_ctime_ns, settle_ns=1)
    assert (directions(before.enrolment), before.judged, before.settles_in) == ({"anna/1.jpg": 0, "ben/1.jpg": 1}, (), 1e-9)

    home.drop("anna/1.jpg", "is 2")
    assert directions(home.look()) == {"anna/1.jpg": 2, "ben/1.jpg": 1}


def test_a_photo_by_a_clock_ahead_of_ours_settles_all_the_same(home: Home) -> None:
    """As a file server's is, or that of a machine whose time was not set yet when it started: by when it was first seen."""
    ahead = 100_000_000_000
    now = home.drop("anna/1.jpg", "is 1, so far").stat().st_ctime_ns - ahead
    assert home.refresh(now, settle_ns=6).settles_in == 6e-9
    now = home.drop("anna/1.jpg", "is 1, and whole").stat().st_ctime_ns - ahead
    assert home.refresh(now, settle_ns=6).settles_in == 6e-9
    assert home.refresh(now + 5, settle_ns=6).settles_in == 1e-9

    later = home.refresh(now + 6, settle_ns=6)

    assert (directions(later.enrolment), later.settles_in) == ({"anna/1.jpg": 1}, None)
    assert home.judge.judged == [b"is 1, and whole"]


def test_a_photo_removed_while_another_is_written_is_gone_all_the_same(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.look()
    (home.photos / "anna" / "1.jpg").unlink()
    path = home.drop("ben/1.jpg", "is 1, so far")

    assert directions(home.refresh(path.stat().st_ctime_ns, settle_ns=1).enrolment) == {}


def test_a_folder_that_is_gone_leaves_the_last_gallery_in_force_and_says_so_once(home: Home) -> None:
    """A network drive that is away must not make strangers of everybody."""
    home.drop("anna/1.jpg", "is 0")
    home.look()
    away = home.photos.rename(home.photos.with_name("elsewhere"))
    seen = home.look()

    assert directions(seen) == {"anna/1.jpg": 0}
    assert seen.problem is not None
    assert str(home.photos) in seen.problem
    assert home.look().gallery is seen.gallery

    away.rename(home.photos)
    back = home.look()
    assert (back.problem, directions(back)) == (None, {"anna/1.jpg": 0})
    assert len(home.judge.judged) == 1


def test_a_folder_under_which_a_disk_is_gone_leaves_the_last_gallery_in_force(home: Home) -> None:
    """What is left of a mounted disk is an empty folder, and another one; also for a program that starts only then."""
    home.drop("anna/1.jpg", "is 0")
    home.look()
    disk = home.photos.rename(home.photos.with_name("disk"))
    home.photos.mkdir()

    for _ in range(2):
        seen = home.look()
        assert directions(seen) == {"anna/1.jpg": 0}
        assert seen.problem is not None
        home.start()

    home.photos.rmdir()
    disk.rename(home.photos)
    assert (home.look().problem, directions(home.look())) == (None, {"anna/1.jpg": 0})


def test_the_last_person_can_be_deleted(home: Home) -> None:
    """The folder is empty then, but it is the folder that it was."""
    home.drop("anna/1.jpg", "is 0")
    home.look()
    shutil.rmtree(home.photos / "anna")

    seen = home.look()

    assert (seen.gallery.names, seen.problem) == ((), None)


def test_a_photo_that_ends_too_early_may_still_be_on_its_way(home: Home) -> None:
    """A slow copy pauses; what it has written so far is no reason to complain. Ten seconds later it is."""
    path = home.drop("anna/1.jpg", "cut short")
    changed = path.stat().st_ctime_ns

    soon = home.refresh(changed + 9_000_000_000)
    assert (soon.judged, soon.settles_in, soon.enrolment.waiting) == ((), 0.0, 0)
    assert [event.reasons for event in home.refresh(changed + 11_000_000_000).judged] == [(PhotoReason.TRUNCATED,)]


# Many at once


def test_many_photos_are_judged_a_few_at_a_time_and_in_force_as_soon_as_they_are(home: Home) -> None:
    for person in range(9):
        home.drop(f"p{person}/1.jpg", f"is {person}")

    found = [home.refresh(most=4) for _ in range(3)]

    assert [len(one.enrolment.gallery.photos) for one in found] == [4, 8, 9]
    assert [one.enrolment.waiting for one in found] == [5, 1, 0]
    assert sum(len(one.judged) for one in found) == 9
    assert len(home.judge.judged) == 9


def test_a_photo_dropped_while_many_wait_is_judged_before_them(home: Home) -> None:
    for person in range(8):
        home.drop(f"p{person}/1.jpg", f"is {person}")
    assert home.refresh(most=2).enrolment.gallery.photos == ("p0/1.jpg", "p1/1.jpg")

    home.drop("zoe/1.jpg", "is 9")

    assert [one.photo for one in home.refresh(most=1).judged] == ["zoe/1.jpg"]
    assert [one.photo for one in home.refresh(most=2).judged] == ["p2/1.jpg", "p3/1.jpg"]
    assert home.look().waiting == 0


def test_photos_that_go_before_they_are_judged_are_waited_for_no_more(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.look()
    path = home.drop("ben/1.jpg", "is 1")
    assert home.refresh(most=0).enrolment.waiting == 1

    path.unlink()

    assert home.look().waiting == 0


def test_what_went_and_what_was_enrolled_before_is_in_force_before_anything_is_judged(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("ben/1.jpg", "is 1")
    home.look()
    shutil.rmtree(home.photos / "ben")
    home.drop("carl/1.jpg", "is 2")
    home.start()

    found = home.refresh(most=0)

    assert directions(found.enrolment) == {"anna/1.jpg": 0}
    assert (found.enrolment.waiting, home.judge.judged) == (1, [])


# Beside the others


def test_a_photo_of_somebody_else_is_not_used_and_told_to_whom_it_belongs(home: Home) -> None:
    for name in ("1", "2", "3"):
        home.drop(f"anna/{name}.jpg", f"is 0, {name}")
        home.drop(f"ben/{name}.jpg", f"is 1, {name}")
    home.look()
    home.drop("ben/wrong.jpg", "is 0, at the beach")

    (event,) = home.events()

    assert (event.photo, event.accepted, event.reasons) == ("ben/wrong.jpg", False, (CoachReason.LOOKS_LIKE,))
    assert "move it to anna's folder" in event.advice
    assert "ben/wrong.jpg" not in home.look().gallery.photos
    assert len(home.look().gallery.photos) == 6
    assert home.sidecar("ben/wrong.jpg")["used"] is False


def test_a_quarantined_photo_is_used_when_the_reason_for_it_goes(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0, young")
    home.look()
    home.drop("bea/1.jpg", "is 0, old")
    assert home.look().gallery.photos == ("anna/1.jpg",)
    shutil.rmtree(home.photos / "anna")

    events = home.events()

    assert [(one.photo, one.accepted) for one in events] == [("bea/1.jpg", True)]
    assert home.look().gallery.photos == ("bea/1.jpg",)
    assert home.sidecar("bea/1.jpg")["used"] is True


@pytest.mark.parametrize("how", ["touched", "other bounds", "renamed", "moved"])
def test_a_photo_that_is_judged_again_stays_as_senior_as_it_was(home: Home, how: str) -> None:
    """One that was out since it looks like this one must not take its place: the door would call one by the other's name."""
    path = home.drop("zed/1.jpg", "is 0, young")
    home.look()
    came, home.now = home.now, home.now + timedelta(days=1)
    home.drop("aaa/1.jpg", "is 0, old")
    assert home.look().gallery.photos == ("zed/1.jpg",)

    home.now += timedelta(days=1)
    if how == "touched":
        path.chmod(0o600)
    elif how == "other bounds":
        home.rules = replace(home.rules, basis="bounds of tomorrow")
        home.start()
    elif how == "renamed":
        path.rename(path.with_name("2.jpg"))
    else:
        path.parent.rename(home.photos / "zoe")
    seen = home.look()

    (photo,) = seen.gallery.photos
    assert photo == {"renamed": "zed/2.jpg", "moved": "zoe/1.jpg"}.get(how, "zed/1.jpg")
    assert [row.enrolled for row in home.folder.rows if row.photo == photo] == [came]


def test_a_photo_that_is_replaced_by_a_bad_one_is_used_no_more(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0, young")
    home.drop("anna/2.jpg", "is 0, old")
    home.look()
    home.drop("anna/1.jpg", "blurred and dark")

    seen = home.look()

    assert seen.gallery.photos == ("anna/2.jpg",)
    assert [(one.photo, one.reasons) for one in seen.refused] == [("anna/1.jpg", (QualityReason.BLURRED, QualityReason.DARK))]


def test_a_photo_that_looked_like_somebody_who_was_forgotten_stays_out_until_it_is_copied_again(home: Home) -> None:
    """It may show them, and nothing that is kept could tell: the door would call them by another's name."""
    home.drop("anna/1.jpg", "is 0, young")
    home.look()
    home.drop("bea/1.jpg", "is 0, old")
    home.look()
    shutil.rmtree(home.photos / "anna")
    home.folder.forget("anna")

    for _ in range(2):
        seen = home.look()
        assert seen.gallery.photos == ()
        assert [one.reasons for one in seen.refused] == [(PhotoReason.LOOKED_LIKE_FORGOTTEN,)]
        assert "copy it here again" in str(home.sidecar("bea/1.jpg"))
        assert [row.template for row in home.folder.rows] == [None]
        home.rules = replace(home.rules, basis="bounds of tomorrow")
        home.start()
    home.drop("bea/1.jpg", "is 0, old")

    assert home.look().gallery.photos == ("bea/1.jpg",)


def test_the_same_picture_twice_is_judged_once_and_used_once(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.drop("anna/copy.jpg", "is 3")

    seen = home.look()

    assert seen.gallery.photos == ("anna/1.jpg",)
    assert [(one.photo, one.reasons) for one in seen.refused] == [("anna/copy.jpg", (CoachReason.DUPLICATE,))]
    assert len(home.judge.judged) == 1


# Beside the photo


def test_the_verdict_lies_beside_its_photo_and_goes_with_it(home: Home) -> None:
    good, bad = home.drop("anna/1.jpg", "is 0"), home.drop("anna/2.jpg", "bad")
    home.look()
    assert str(home.sidecar("anna/1.jpg")["verdict"]).startswith("Used")
    assert home.sidecar("anna/2.jpg")["reasons"] == ["blurred", "dark"]

    good.unlink()
    bad.unlink()
    home.look()

    assert list((home.photos / "anna").iterdir()) == []


def test_a_verdict_goes_with_a_photo_that_was_renamed_or_went_while_nobody_ran(home: Home) -> None:
    path = home.drop("anna/1.jpg", "is 0")
    home.drop("anna/2.jpg", "is 0, older")
    home.look()
    path.rename(path.with_name("new.jpg"))
    home.look()
    assert not (home.photos / "anna" / "1.jpg.verdict.json").exists()
    assert home.sidecar("anna/new.jpg")["used"] is True

    (home.photos / "anna" / "2.jpg").unlink()
    home.start()
    home.look()
    assert not (home.photos / "anna" / "2.jpg.verdict.json").exists()


def test_a_folder_in_which_nothing_can_be_written_is_said_once_and_harms_nothing(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a gallery nor the verdicts beside other people's photos."""
    for photo in ("anna/1", "anna/2", "ben/1"):
        home.drop(f"{photo}.jpg", f"is {int(photo[0] == 'b')}, {photo}")
    for name in ("1", "2"):
        (home.photos / "anna" / f".{name}.jpg.verdict.json.tmp").mkdir()

    assert len(home.look().gallery.photos) == 3
    assert caplog.text.count("verdicts cannot be written") == 1
    assert "gallery/anna: verdicts" in caplog.text
    assert home.sidecar("ben/1.jpg")["used"] is True


def test_a_name_that_is_too_long_costs_no_other_photo_its_verdict(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """A name may have 255 bytes, and the verdict's is 13 bytes longer than the photo's."""
    for length in (238, 242, 243):
        home.drop(f"anna/{'a' * (length - 4)}.jpg", f"is 0, {length}")
    home.drop("zoe/1.jpg", "is 1")
    home.look()
    home.start()
    home.folder.refresh(MUCH_LATER, 0, lambda: False)
    home.folder.write_sidecars()
    home.folder.write_sidecars()

    assert home.sidecar("zoe/1.jpg")["used"] is True
    assert home.sidecar(f"anna/{'a' * 234}.jpg")["used"] is True
    assert home.sidecar(f"anna/{'a' * 238}.jpg")["used"] is True
    assert caplog.text.count("give it a shorter one") == 2  # at each start
    assert "writable" not in caplog.text


def test_no_sidecar_is_written_through_a_link(home: Home, tmp_path: Path) -> None:
    """Whoever may drop photos must not have the daemon write elsewhere."""
    target = tmp_path / "target"
    target.write_text("mine")
    home.drop("anna/1.jpg", "is 0")
    (home.photos / "anna" / ".1.jpg.verdict.json.tmp").symlink_to(target)
    home.drop("anna/2.jpg", "is 0, older")
    (home.photos / "anna" / "2.jpg.verdict.json").symlink_to(target)
    home.look()

    assert target.read_text() == "mine"
    assert home.sidecar("anna/1.jpg")["used"] is True


def test_no_sidecar_is_written_or_removed_where_a_persons_folder_became_a_link(home: Home, tmp_path: Path) -> None:
    """Between the listing and the writing: what it leads to is another's."""
    home.drop("anna/1.jpg", "is 0")
    event = home.events()[0]
    sidecars = Sidecars(home.photos, lambda who: who)
    (home.photos / "anna").rename(tmp_path / "elsewhere")
    (home.photos / "anna").symlink_to(tmp_path / "elsewhere")
    told = tmp_path / "elsewhere" / "1.jpg.verdict.json"
    before = told.read_bytes()

    sidecars.remove(["anna/1.jpg"])
    assert told.read_bytes() == before
    told.unlink()
    sidecars.write({"anna/1.jpg": event})
    assert not remove_file(home.photos, "anna/1.jpg")

    assert [one.name for one in (tmp_path / "elsewhere").iterdir()] == ["1.jpg"]


@pytest.mark.parametrize("content", ["", "{}", '{"verdict": "guilty", "used": true, "reasons": []}', "notes on the trial"])
def test_a_file_of_somebodys_own_that_is_named_like_a_verdict_is_left_alone(home: Home, content: str) -> None:
    """Beside no photo, where a verdict would be swept up, and beside one whose verdict would go there."""
    loose = home.drop("anna/trial.verdict.json", content)
    home.drop("anna/1.jpg", "is 0")
    beside = home.drop("anna/1.jpg.verdict.json", content or "mine")
    home.look()
    (home.photos / "anna" / "1.jpg").unlink()
    home.look()

    assert (loose.read_text(), beside.read_text()) == (content, content or "mine")


def test_whose_file_has_the_name_of_a_verdict_is_told_so_once(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.drop("anna/1.jpg", "is 0")
    mine = home.drop("anna/1.jpg.verdict.json", "mine")
    home.look()
    home.folder.write_sidecars()
    assert caplog.text.count("anna/1.jpg: the verdict cannot be written beside the photo, as a file of yours") == 1

    mine.write_text("")  # as after a power failure
    home.folder.write_sidecars()

    assert home.sidecar("anna/1.jpg")["used"] is True


# What is said of a person


def test_the_settings_of_a_person_are_in_force_and_their_name_is_shown(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/subject.yaml", "{name: Anna Berg, cameras: [front], valid_until: 2026-12-31}")
    seen = home.look()
    assert seen.names == {"anna": "Anna Berg"}
    assert seen.gallery.rules["anna"].cameras == {"front"}

    home.drop("anna/subject.yaml", "{name: Anna B.}")

    assert (home.look().names, home.look().gallery.rules) == ({"anna": "Anna B."}, {})


@pytest.mark.parametrize("name", ["subject.yml", "Subject.yaml", "subject.yaml.txt"])
def test_settings_under_another_name_are_not_passed_over_in_silence(home: Home, name: str) -> None:
    home.drop("Anna/1.jpg", "is 0")
    home.look()
    home.drop(f"Anna/{name}", "valid_until: 2026-01-31")

    (told,) = home.look().refused
    assert (told.photo, told.reasons) == (f"Anna/{name}", ("settings",))
    assert "settings are called subject.yaml; rename it" in told.advice

    (home.photos / "Anna" / name).rename(home.photos / "Anna" / "subject.yaml")
    assert (home.look().refused, list(home.look().gallery.rules)) == ((), ["anna"])


@pytest.mark.parametrize("name", ["subject.yaml~", ".subject.yaml.swp", "subject.yaml.bak"])
def test_what_an_editor_leaves_beside_the_settings_is_passed_over(home: Home, name: str) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop(f"anna/{name}", "valid_until: 2026-01-31")

    assert home.look().refused == ()


def test_a_mistake_in_the_settings_closes_the_door_until_it_is_mended(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("ben/1.jpg", "is 1")
    home.look()
    home.drop("anna/subject.yaml", "valid_untill: 2026-12-31")
    seen = home.look()
    assert seen.gallery.names == ("ben",)
    (told,) = seen.refused
    assert told.photo == "anna/subject.yaml"
    assert "did you mean 'valid_until'?" in told.advice

    home.drop("anna/subject.yaml", "valid_until: 2026-12-31")

    assert home.look().gallery.names == ("anna", "ben")
    assert len(home.judge.judged) == 2


def test_settings_hold_also_where_the_folder_cannot_be_read_at_the_start(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/subject.yaml", "valid_until: 2026-12-31")
    home.look()
    shutil.move(home.photos, home.photos.with_name("elsewhere"))
    home.start()
    home.photos.rmdir()

    seen = home.look()

    assert (seen.gallery.names, seen.problem is not None) == (("anna",), True)
    assert seen.gallery.rules["anna"].valid_until is not None


def test_settings_that_are_half_written_do_not_open_the_door(home: Home) -> None:
    """What is cut off may be what restricts; until the file is left alone the old settings hold."""
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/subject.yaml", "name: Anna\nvalid_until: 2026-01-31")
    restricted = home.look().gallery.rules
    half = home.drop("anna/subject.yaml", "name: A. Berg\n").stat().st_ctime_ns
    before = home.refresh(half, settle_ns=1)
    assert (before.enrolment.gallery.rules, before.enrolment.names) == (restricted, {"anna": "Anna"})
    assert before.settles_in == 1e-9
    (home.photos / "anna" / "subject.yaml").unlink()
    assert home.refresh(half + 1, settle_ns=1).enrolment.gallery.rules == restricted

    whole = home.drop("anna/subject.yaml", "name: A. Berg\nvalid_until: 2026-02-28").stat().st_ctime_ns
    assert home.refresh(whole, settle_ns=1).enrolment.gallery.rules == restricted
    after = home.refresh(whole + 1, settle_ns=1)

    assert (after.enrolment.names, after.settles_in) == ({"anna": "A. Berg"}, None)
    assert after.enrolment.gallery.rules not in (restricted, {})


def test_new_photos_wait_for_the_settings_that_come_with_them(home: Home) -> None:
    home.rules = replace(home.rules, require_consent=True)
    home.start()
    home.drop("anna/1.jpg", "is 0")
    written = home.drop("anna/subject.yaml", "name: An").stat().st_ctime_ns

    first = home.refresh(written, settle_ns=1)
    assert (first.enrolment.gallery.names, first.enrolment.refused, first.settles_in) == ((), (), 1e-9)

    home.drop("anna/subject.yaml", CONSENT)
    assert [event.accepted for event in home.events()] == [True]


CONSENT = "consent: {by: Anna, date: 2026-11-01, purpose: the door, until: 2026-11-30}"


def test_without_consent_nobody_is_looked_at_where_it_is_required(home: Home) -> None:
    home.rules = replace(home.rules, require_consent=True)
    home.start()
    home.drop("anna/1.jpg", "is 0")
    assert [event.reasons for event in home.events()] == [(PhotoReason.NO_CONSENT,)]
    assert home.judge.judged == []

    home.drop("anna/subject.yaml", CONSENT)
    assert directions(home.look()) == {"anna/1.jpg": 0}


def test_when_consent_ends_the_template_is_deleted(home: Home) -> None:
    home.rules = replace(home.rules, require_consent=True)
    home.start()
    home.drop("anna/subject.yaml", CONSENT)
    home.drop("anna/1.jpg", "is 0")
    home.look()
    assert template(b"is 0").tobytes() in home.stored()

    home.now += timedelta(days=6)
    seen = home.look()

    assert (seen.gallery.names, [one.reasons for one in seen.refused]) == ((), [(PhotoReason.NO_CONSENT,)])
    assert template(b"is 0").tobytes() not in home.stored()


def enrolled_by_consent_without_photo(home: Home) -> None:
    home.rules = replace(home.rules, require_consent=True, keep_photos=False)
    home.start()
    home.drop("anna/subject.yaml", CONSENT)
    home.drop("anna/1.jpg", "is 0")
    assert directions(home.look()) == {"anna/1.jpg": 0}
    assert not (home.photos / "anna" / "1.jpg").exists()


@pytest.mark.parametrize("mistake", ["", " \n", f"{CONSENT}\nname Anna", "consent: {by: Anna", None])
def test_a_mistake_in_the_settings_costs_nobody_the_templates_that_no_photo_brings_back(
    home: Home, mistake: str | None
) -> None:
    """A typo, a file that is being saved in place, or one that is gone for a moment: the door is closed, and that is said."""
    enrolled_by_consent_without_photo(home)
    for again in (False, True):
        if mistake is None:
            (home.photos / "anna" / "subject.yaml").unlink()
        else:
            home.drop("anna/subject.yaml", mistake)
        if again:
            home.look()
            home.start()
        seen = home.look()
        assert seen.gallery.names == ()
        assert [one.photo for one in seen.refused] == ["anna/subject.yaml"]
        assert template(b"is 0").tobytes() in home.stored()

        home.drop("anna/subject.yaml", CONSENT)
        assert (directions(home.look()), home.look().refused) == ({"anna/1.jpg": 0}, ())


def test_an_empty_file_of_settings_lifts_no_restriction(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/subject.yaml", "valid_until: 2026-01-31")
    home.look()
    home.drop("anna/subject.yaml", "")

    seen = home.look()

    assert seen.gallery.names == ()
    assert "the file is empty" in seen.refused[0].advice


def test_a_consent_that_does_not_hold_yet_deletes_nothing(home: Home) -> None:
    """As by a clock that was not set yet."""
    enrolled_by_consent_without_photo(home)
    today, home.now = home.now, datetime(1970, 1, 2, tzinfo=UTC)
    assert home.look().gallery.names == ()

    home.now = today

    assert directions(home.look()) == {"anna/1.jpg": 0}


def test_what_is_set_aside_goes_when_somebody_is_forgotten_or_a_consent_ends_and_not_with_a_photo(home: Home) -> None:
    """It may be all that is left of people who have no photo: too much to lose by whatever is tidied up in the folder."""
    home.rules = replace(home.rules, require_consent=True)
    home.start()
    for person, number in (("anna", 0), ("ben", 1), ("carl", 2)):
        home.drop(f"{person}/subject.yaml", CONSENT if person == "anna" else CONSENT.replace("until: 2026", "until: 2027"))
        home.drop(f"{person}/1.jpg", f"is {number}")
    home.look()
    aside = home.state / "vault" / "aside-1-gallery-1.sealed"
    aside.write_bytes(b"of another key")

    home.drop("ben/1.jpg", "is 1, older")
    home.look()
    shutil.rmtree(home.photos / "carl")
    assert home.look().names == {"anna": "anna", "ben": "ben"}
    assert aside.exists()

    home.now += timedelta(days=6)
    assert home.look().names.keys() == {"ben"}
    assert not aside.exists()

    aside.write_bytes(b"of another key")
    home.folder.forget("ben")
    assert not aside.exists()


@pytest.mark.parametrize("how", ["it ends", "it is taken back"])
def test_who_loses_templates_that_no_photo_brings_back_is_named(home: Home, how: str, caplog: pytest.LogCaptureFixture) -> None:
    enrolled_by_consent_without_photo(home)
    if how == "it ends":
        home.now += timedelta(days=6)
    else:
        home.drop("anna/subject.yaml", "name: Anna")
    seen = home.look()

    assert template(b"is 0").tobytes() not in home.stored()
    (told,) = seen.refused
    assert (told.subject, told.photo) == ("anna", "anna/")
    assert "photograph them anew" in told.advice
    assert "photograph them anew" in caplog.text

    home.drop("anna/subject.yaml", CONSENT.replace("11-30", "12-30"))
    home.drop("anna/2.jpg", "is 0, older")
    assert (directions(home.look()), home.look().refused) == ({"anna/2.jpg": 0}, ())


# What is kept


def test_an_unchanged_photo_is_judged_once_over_all_starts_also_where_it_was_refused(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.drop("anna/2.jpg", "bad")
    before = home.look()
    home.start()
    after = home.look()

    assert home.judge.judged == []
    assert np.array_equal(before.gallery.templates, after.gallery.templates)
    assert after.refused == before.refused


def test_another_model_has_every_photo_judged_anew(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.look()

    home.start(model="another")

    assert directions(home.look()) == {"anna/1.jpg": 3}
    assert home.judge.judged == [b"is 3"]


def test_other_bounds_have_every_photo_judged_anew_and_serve_as_they_are_meanwhile(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.look()
    home.rules = replace(home.rules, basis="bounds of tomorrow")
    home.start()

    meanwhile = home.refresh(most=0).enrolment
    assert (directions(meanwhile), meanwhile.waiting, home.judge.judged) == ({"anna/1.jpg": 3}, 1, [])
    assert home.look().waiting == 0
    assert home.judge.judged == [b"is 3"]
    home.start()
    home.look()
    assert home.judge.judged == []


def test_what_was_removed_is_removed_from_the_vault_too(home: Home) -> None:
    """Forgetting somebody's face includes every file that it was kept in."""
    home.drop("ben/1.jpg", "is 1")
    path = home.drop("anna/1.jpg", "is 3")
    home.look()
    path.unlink()
    home.look()

    assert template(b"is 3").tobytes() not in home.stored()
    assert template(b"is 1").tobytes() in home.stored()


def test_somebody_of_whom_there_are_settings_alone_is_forgotten_in_every_generation(home: Home) -> None:
    home.drop("Annabel/subject.yaml", "name: Annabel B.")
    for photo in ("is 1", "is 1, older"):
        home.drop(f"ben/{len(photo)}.jpg", photo)
        home.look()
    assert b"Annabel" in home.stored()

    home.folder.forget("annabel")

    assert b"Annabel" not in home.stored()


@pytest.mark.parametrize("how", ["the photo is removed", "the folder is removed", "forget"])
def test_somebody_whose_photos_were_all_refused_is_removed_from_every_generation(home: Home, how: str) -> None:
    """Their name and the digest of their photo are kept of them, and must not stay in the generations before."""
    home.drop("ben/1.jpg", "is 1")
    home.drop("Annabel/1.jpg", "a blurred photo")
    if how == "the folder is removed":
        home.drop("Annabel/subject.yaml", "name: Annabel")
    home.look()
    home.drop("ben/2.jpg", "is 1, older")
    home.look()
    assert b"Annabel" in home.stored()

    if how == "the photo is removed":
        (home.photos / "Annabel" / "1.jpg").unlink()
    else:
        shutil.rmtree(home.photos / "Annabel")
    if how == "forget":
        home.folder.forget("annabel")
    else:
        home.look()

    assert b"Annabel" not in home.stored()


def test_the_settings_of_somebody_without_photos_go_with_their_folder(home: Home) -> None:
    home.drop("ben/1.jpg", "is 1")
    home.drop("Annabel/subject.yaml", "name: Annabel")
    home.look()
    assert b"Annabel" in home.stored()

    shutil.rmtree(home.photos / "Annabel")
    home.look()

    assert b"Annabel" not in home.stored()


def test_a_removal_that_could_not_be_committed_is_made_good_in_every_generation(home: Home) -> None:
    home.drop("ben/1.jpg", "is 1")
    path = home.drop("anna/1.jpg", "is 3")
    home.look()
    vault = home.state / "vault"
    away = vault.rename(home.state / "vault-away")
    path.unlink()
    assert home.look().problem is not None

    away.rename(vault)
    assert home.look().problem is None

    assert template(b"is 3").tobytes() not in home.stored()


def test_a_photo_for_which_there_was_no_template_is_tried_again_at_the_next_start(home: Home) -> None:
    """The program ends while a photo is judged: that is not the photo's fault, and must not be remembered as such."""
    home.drop("anna/1.jpg", "is 3")
    home.judge.out_of_order = True
    assert [event.reasons for event in home.events()] == [(PhotoReason.NO_TEMPLATE,)]

    home.start()

    assert directions(home.look()) == {"anna/1.jpg": 3}


def test_a_vault_that_cannot_be_written_is_said_and_tried_again(home: Home) -> None:
    vault = home.state / "vault"
    shutil.rmtree(vault)
    home.drop("anna/1.jpg", "is 3")
    seen = home.look()
    assert directions(seen) == {"anna/1.jpg": 3}
    assert seen.problem is not None
    assert "vault" in seen.problem

    vault.mkdir()

    assert home.look().problem is None
    home.start()
    assert (directions(home.look()), home.judge.judged) == ({"anna/1.jpg": 3}, [])


def test_a_damaged_vault_is_rebuilt_from_the_photos(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.look()
    for path in (home.state / "vault").glob("gallery-*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    home.start()

    assert directions(home.look()) == {"anna/1.jpg": 3}
    assert home.judge.judged == [b"is 3"]


def test_where_photos_are_not_kept_only_their_templates_stay(home: Home) -> None:
    home.rules = replace(home.rules, keep_photos=False)
    home.start()
    good, bad = home.drop("anna/1.jpg", "is 3"), home.drop("anna/2.jpg", "bad")
    home.look()
    assert (good.exists(), bad.exists()) == (False, True)

    for _ in range(2):
        assert directions(home.look()) == {"anna/1.jpg": 3}
        home.start()
    shutil.rmtree(home.photos / "anna")

    assert home.look().gallery.names == ()
    assert template(b"is 3").tobytes() not in home.stored()


def test_who_is_lost_by_renaming_a_folder_without_photos_is_named(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.rules = replace(home.rules, keep_photos=False)
    home.start()
    home.drop("Joe/1.jpg", "is 3")
    home.drop("anna/1.jpg", "is 1")
    home.look()
    (home.photos / "Joe").rename(home.photos / "Joe B")

    seen = home.look()

    assert seen.gallery.names == ("anna",)
    (told,) = seen.refused
    assert told.photo == "Joe B/"
    assert "this was Joe's folder" in told.advice
    assert "Joe: the folder is gone" in caplog.text
    home.drop("Joe B/1.jpg", "is 3, anew")
    assert home.look().refused == ()


def test_who_is_removed_is_named_nowhere_but_in_the_log(home: Home) -> None:
    home.rules = replace(home.rules, keep_photos=False)
    home.start()
    home.drop("Joe/1.jpg", "is 3")
    home.drop("anna/1.jpg", "is 1")
    home.look()
    shutil.rmtree(home.photos / "Joe")

    assert home.look().refused == ()


def test_reading_only_writes_nothing(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.look()
    home.drop("ben/1.jpg", "is 1")
    home.rules = replace(home.rules, read_only=True, sidecars=False)
    home.start()
    before = {path: path.stat().st_mtime_ns for path in home.state.rglob("*")}

    assert directions(home.look()) == {"anna/1.jpg": 3, "ben/1.jpg": 1}
    assert {path: path.stat().st_mtime_ns for path in home.state.rglob("*")} == before


def test_whose_photo_comes_again_elsewhere_is_not_said_to_be_lost(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Under another name, as the same photo: its template is made of it again."""
    home.rules = replace(home.rules, keep_photos=False)
    home.start()
    home.drop("anna/1.jpg", "is 0")
    home.look()
    (home.photos / "anna").rename(home.photos / "Anna M")
    home.drop("Anna M/1.jpg", "is 0")

    seen = home.look()

    assert (seen.gallery.names, seen.refused) == ((subject_id("Anna M"),), ())
    assert "the folder is gone" not in caplog.text


@pytest.mark.parametrize("photo", ["anna/1.jpg", "anna/M\udcfcller.jpg"])
def test_the_verdict_on_a_photo_that_was_not_kept_stays_as_long_as_its_template(home: Home, photo: str) -> None:
    home.rules = replace(home.rules, keep_photos=False)
    home.start()
    home.drop(photo, "is 0")
    for _ in range(2):
        home.look()
    assert not (home.photos / photo).exists()
    assert home.sidecar(photo)["used"] is True

    home.folder.forget("anna")
    home.look()

    assert not (home.photos / f"{photo}.verdict.json").exists()
