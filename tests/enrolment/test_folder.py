"""The enrolment folder: what lies in it is the gallery, every photo is judged once, and each refusal has its reason.

Photos here are short texts: `judge` below reads `is 3` as a good photo of the third direction, anything else as refused.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.enrolment.folder import Enrolment, EnrolmentFolder, PhotoEvent, VerdictCache, cache_key, slug, subject_id
from streamd.enrolment.images import OpenedPhoto, PhotoReason
from streamd.enrolment.photo import ADVICE, PhotoVerdict
from streamd.errors import GalleryError
from streamd.values import QualityReason
from streamd.vision.quality import QualityRules

DIMENSION = 4
MODEL = "digest of the model"
ALL_SETTLED = 1 << 62
NONE_SETTLED = 0


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
            return PhotoVerdict((), np.eye(DIMENSION, dtype=np.float32)[int(data[3:4])])
        return PhotoVerdict((QualityReason.BLURRED, QualityReason.DARK), None)


class Home:
    """An enrolment folder with a cache beside it, and a program that is started on it again and again."""

    def __init__(self, root: Path) -> None:
        self.photos, self.cache = root / "gallery", root / "templates.npz"
        self.photos.mkdir()
        self.start()

    def start(self, key: str = "key") -> None:
        self.judge = Judge()
        cache = VerdictCache(self.cache, key, DIMENSION)
        self.folder = EnrolmentFolder(self.photos, cache, self.judge, MODEL, DIMENSION)

    def drop(self, photo: str, content: str) -> Path:
        """Write a photo; one of the same name is written over, later than before by the clock of the file system."""
        path = self.photos / photo
        path.parent.mkdir(exist_ok=True)
        before = path.stat().st_ctime_ns if path.exists() else None
        while before is not None and time.time_ns() < before + 20_000_000:
            pass
        path.write_text(content)
        return path

    def look(self, settled_before_ns: int = ALL_SETTLED) -> Enrolment:
        return self.folder.refresh(settled_before_ns)[0]

    def events(self) -> tuple[PhotoEvent, ...]:
        return self.folder.refresh(ALL_SETTLED)[1]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def directions(enrolment: Enrolment) -> dict[str, int]:
    """Which direction each photo in force was judged to be."""
    return {photo: int(row.argmax()) for photo, row in zip(enrolment.gallery.photos, enrolment.gallery.templates, strict=True)}


# A folder is a gallery


def test_a_folder_for_each_person_becomes_a_gallery(home: Home) -> None:
    home.drop("Ben/1.png", "is 1")
    home.drop("Anna Müller/b.jpg", "is 2")
    home.drop("Anna Müller/a.JPG", "is 0")

    seen = home.look()

    assert seen.gallery.names == (subject_id("Anna Müller"), "ben")
    assert directions(seen) == {"Anna Müller/a.JPG": 0, "Anna Müller/b.jpg": 2, "Ben/1.png": 1}
    assert seen.names == {subject_id("Anna Müller"): "Anna Müller", "ben": "Ben"}
    assert seen.gallery.subjects.tolist() == [0, 0, 1]
    assert (seen.gallery.model, seen.refused, seen.problem) == (MODEL, (), None)


def test_what_is_no_photo_of_a_person_is_passed_over_in_silence(home: Home) -> None:
    for other in ("Ben/notes.txt", "Ben/.hidden.jpg", "Ben/1.jpg~", ".trash/1.jpg"):
        home.drop(other, "is 1")
    (home.photos / "loose.jpg").write_text("is 1")
    (home.photos / "Ben" / "folder.jpg").mkdir()

    assert home.events() == ()
    assert home.look().gallery.names == ()


def test_an_empty_folder_is_a_gallery_of_nobody(home: Home) -> None:
    seen = home.look()

    assert (seen.gallery.names, seen.gallery.templates.shape) == ((), (0, DIMENSION))


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "cache.npz", "key", DIMENSION)
    EnrolmentFolder(tmp_path / "a" / "gallery", cache, Judge(), MODEL, DIMENSION)

    assert (tmp_path / "a" / "gallery").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(GalleryError, match=r"gallery\.folder"):
        EnrolmentFolder(tmp_path / "file" / "gallery", cache, Judge(), MODEL, DIMENSION)


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


def test_a_photo_whose_name_is_not_utf_8_is_enrolled_and_can_be_told(home: Home) -> None:
    """One byte of Latin-1, as an old memory card has it."""
    (home.photos / "anna").mkdir()
    Path(os.fsdecode(os.fsencode(home.photos) + b"/anna/M\xfcller.jpg")).write_text("is 1")

    enrolment = home.look()

    (photo,) = enrolment.gallery.photos
    assert photo == "anna/M\N{REPLACEMENT CHARACTER}ller.jpg"


def test_a_folder_that_cannot_be_read_takes_nobody_else_along(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with mode 000 for a service that is not root; said in place of the photos in it."""
    home.drop("zoe/1.jpg", "is 1")
    home.drop("anna/1.jpg", "is 2")
    listing = Path.iterdir

    def refusing(path: Path) -> Iterator[Path]:
        if path.name == "zoe":
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    enrolment = home.look()

    assert enrolment.gallery.photos == ("anna/1.jpg",)
    assert [(one.photo, one.reasons) for one in enrolment.refused] == [("zoe/", (PhotoReason.UNREADABLE,))]


def test_a_template_in_the_cache_that_is_no_unit_vector_is_not_taken(home: Home) -> None:
    """A NaN would end every comparison with it."""
    home.drop("anna/1.jpg", "is 1")
    home.look()
    with np.load(home.cache) as stored:
        kept = dict(stored)
    kept["vectors"] = np.full_like(kept["vectors"], np.nan)
    np.savez(home.cache, **kept)

    home.start()
    enrolment = home.look()

    assert home.judge.judged == [b"is 1"]
    assert np.isfinite(enrolment.gallery.templates).all()


def test_photos_that_were_judged_before_a_restart_are_no_news(home: Home) -> None:
    home.drop("anna/1.jpg", "is 1")
    assert [one.photo for one in home.events()] == ["anna/1.jpg"]

    home.start()
    home.drop("anna/2.jpg", "is 2")

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
    """A link that leads nowhere is passed over; one to a file that is too large is not read at all."""
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


def test_without_a_change_the_very_same_gallery_stays_and_nothing_is_said(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.drop("anna/2.jpg", "bad")
    first = home.look()
    again, events, pending = home.folder.refresh(ALL_SETTLED)

    assert again is first
    assert (events, pending) == ((), False)


def test_a_photo_that_is_still_being_written_waits(home: Home) -> None:
    path = home.drop("anna/1.jpg", "is")
    seen, events, pending = home.folder.refresh(path.stat().st_ctime_ns - 1)
    assert (seen.gallery.names, events, pending, home.judge.judged) == ((), (), True, [])

    path = home.drop("anna/1.jpg", "is 1")
    seen, events, pending = home.folder.refresh(path.stat().st_ctime_ns)

    assert (directions(seen), pending) == ({"anna/1.jpg": 1}, False)
    assert home.judge.judged == [b"is 1"]


def test_a_photo_that_is_being_replaced_stays_in_force_until_the_new_one_is_whole(home: Home) -> None:
    """Else whoever stands at the door would be a stranger for the moment that the copying takes."""
    home.drop("anna/1.jpg", "is 0")
    home.drop("ben/1.jpg", "is 1")
    home.look()
    path = home.drop("anna/1.jpg", "is")
    before, events, pending = home.folder.refresh(path.stat().st_ctime_ns - 1)
    assert (directions(before), events, pending) == ({"anna/1.jpg": 0, "ben/1.jpg": 1}, (), True)

    home.drop("anna/1.jpg", "is 2")
    assert directions(home.look()) == {"anna/1.jpg": 2, "ben/1.jpg": 1}


def test_a_photo_removed_while_another_is_written_is_gone_all_the_same(home: Home) -> None:
    home.drop("anna/1.jpg", "is 0")
    home.look()
    (home.photos / "anna" / "1.jpg").unlink()
    home.drop("ben/1.jpg", "is 1")

    assert directions(home.look(NONE_SETTLED)) == {}


def test_a_folder_that_is_gone_leaves_the_last_gallery_in_force_and_says_so_once(home: Home) -> None:
    """A network drive that is away must not make strangers of everybody."""
    home.drop("anna/1.jpg", "is 0")
    home.look()
    away = home.photos.rename(home.photos.with_name("elsewhere"))
    seen = home.look()

    assert directions(seen) == {"anna/1.jpg": 0}
    assert seen.problem is not None
    assert str(home.photos) in seen.problem
    assert home.look() is seen

    away.rename(home.photos)
    back = home.look()
    assert (back.problem, directions(back)) == (None, {"anna/1.jpg": 0})
    assert len(home.judge.judged) == 1


# The cache


def test_an_unchanged_photo_is_judged_once_over_all_starts_also_where_it_was_refused(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.drop("anna/2.jpg", "bad")
    before = home.look()
    home.start()
    after = home.look()

    assert home.judge.judged == []
    assert np.array_equal(before.gallery.templates, after.gallery.templates)
    assert after.refused == before.refused


def test_the_same_picture_in_two_places_is_judged_once(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.drop("anna/copy.jpg", "is 3")

    assert len(home.look().gallery.photos) == 2
    assert len(home.judge.judged) == 1


def test_another_model_alignment_or_quality_bound_has_every_photo_judged_anew(home: Home) -> None:
    keys = {
        cache_key("one", QualityRules()),
        cache_key("two", QualityRules()),
        cache_key("one", QualityRules(min_sharpness=0.2)),
    }
    assert len(keys) == 3
    assert "arcface5-150/" in cache_key("one", QualityRules())
    home.drop("anna/1.jpg", "is 3")
    home.look()

    home.start(key="another")
    home.look()

    assert home.judge.judged == [b"is 3"]


def test_what_was_removed_is_removed_from_the_cache_too(home: Home) -> None:
    """Forgetting somebody's face includes the file that it was kept in."""
    home.drop("ben/1.jpg", "is 1")
    path = home.drop("anna/1.jpg", "is 3")
    home.look()
    path.unlink()
    home.look()

    with np.load(home.cache) as stored:
        assert stored["vectors"].argmax(1).tolist() == [1]


def test_the_cache_can_be_read_by_its_owner_alone(home: Home) -> None:
    home.drop("anna/1.jpg", "is 3")
    home.look()

    assert home.cache.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.cache.parent.glob("*.tmp")] == []


def test_a_photo_for_which_there_was_no_template_is_tried_again_at_the_next_start(home: Home) -> None:
    """The program ends while a photo is judged: that is not the photo's fault, and must not be remembered as such."""
    home.drop("anna/1.jpg", "is 3")
    home.judge.out_of_order = True
    assert [event.reasons for event in home.events()] == [(PhotoReason.NO_TEMPLATE,)]

    home.start()

    assert directions(home.look()) == {"anna/1.jpg": 3}


def test_a_cache_that_cannot_be_written_is_said_and_harms_nothing(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.cache.with_suffix(".tmp").mkdir()
    home.drop("anna/1.jpg", "is 3")

    assert directions(home.look()) == {"anna/1.jpg": 3}
    assert "cannot be written" in caplog.text


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(data: bytes) -> bytes:
    return data[:0]


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def with_a_bit_flipped_inside(data: bytes) -> bytes:
    middle = data.index(b"\x80?")  # a one among the vectors, float32
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut_in_half, emptied, zeroed, with_a_bit_flipped_inside], ids=lambda one: one.__name__)
def test_a_damaged_cache_is_said_and_every_photo_is_judged_anew(
    home: Home, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
) -> None:
    """As a power cut leaves it: never a start that fails, never a template that is another."""
    home.drop("anna/1.jpg", "is 3")
    home.look()
    home.cache.write_bytes(damage(home.cache.read_bytes()))

    home.start()

    assert directions(home.look()) == {"anna/1.jpg": 3}
    assert home.judge.judged == [b"is 3"]
    assert "cannot be read" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_no_single_bit_of_the_cache_makes_a_wrong_template_or_a_start_that_fails(
    tmp_path: Path, place: float, bit: int
) -> None:
    path = tmp_path / "cache.npz"
    if not path.exists():
        cache = VerdictCache(path, "key", DIMENSION)
        cache.put("a" * 64, PhotoVerdict((), np.eye(DIMENSION, dtype=np.float32)[2]))
        cache.save(frozenset({"a" * 64}))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    broken = tmp_path / "broken.npz"
    broken.write_bytes(damaged)
    logging.getLogger("streamd.enrolment.folder").setLevel(logging.ERROR)

    verdict = VerdictCache(broken, "key", DIMENSION).get("a" * 64)

    logging.getLogger("streamd.enrolment.folder").setLevel(logging.NOTSET)
    assert verdict is None or (verdict.vector is not None and verdict.vector.tolist() == [0, 0, 1, 0])
