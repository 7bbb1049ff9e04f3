"""Strangers' visits: what is kept of them, for how long, under which name, and that it is gone when it is said to be."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.demo.portraits import OFFICIAL, STRANGER, Portrait
from streamd.enrolment.disk import Bytes, Disk
from streamd.enrolment.photo import judge
from streamd.enrolment.seal import Seal
from streamd.enrolment.unknown import (
    Filing,
    Look,
    UnknownRules,
    UnknownVisit,
    UnknownVisits,
    VisitLooks,
    best_looks,
    surroundings,
)
from streamd.errors import GalleryError
from streamd.recognition.calibration import Calibration
from streamd.values import Float32, Quality, Template, UInt8
from streamd.vision.analysis import FaceAnalyser
from streamd.vision.picture import RgbPicture
from tests.conftest import NetworkThread

TABLE = Calibration(scores=(0.2, 0.7), eye_distances=(20.0,), ratios=((-6.0, 14.0),), correlation=0.5)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WEEK = UnknownRules(keep=timedelta(days=7))
KEY = b"k" * 32


def face(degrees: float) -> Float32:
    """A template; people are directions in a plane, strangers at right angles to each other."""
    angle = np.radians(degrees)
    return np.array([np.cos(angle), np.sin(angle), 0], np.float32)


def look(degrees: float, eye_distance: float = 48.0, photo: bytes | None = None, sharpness: float = 0.3) -> Look:
    good = Quality(sharpness, 120.0, 40.0, 0.0, 0.0, 0.0, eye_distance)
    return Look(face(degrees), good, photo or f"photo of {degrees} at {eye_distance}".encode(), NOON)


def visit(name: str, *degrees: float, minutes: float = 0, camera: str = "front") -> UnknownVisit:
    began = NOON + timedelta(minutes=minutes)
    return UnknownVisit(name, camera, began, began + timedelta(seconds=5), tuple(look(angle) for angle in degrees))


def opened(
    folder: Path, rules: UnknownRules = WEEK, model: str = "model", key: bytes = KEY, disk: Disk | None = None
) -> UnknownVisits:
    return UnknownVisits(folder, Seal(key), model, 3, TABLE, rules, disk)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def facts(visits: UnknownVisits) -> list[object]:
    return [visits.listing(), visits.ignored(), visits.problems, visits.bytes_kept]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "unknown"


def test_nothing_is_kept_unless_a_time_is_configured(folder: Path) -> None:
    filed = opened(folder, UnknownRules()).add(visit("a", 0), NOON)

    assert filed.filing is Filing.NOT_KEPT
    assert files(folder) == set()


def test_who_comes_again_is_listed_once(folder: Path) -> None:
    visits = opened(folder)
    first = visits.add(visit("a", 0, 1), NOON)
    visits.add(visit("b", 90), NOON)
    again = visits.add(visit("c", 2, minutes=60, camera="back"), NOON)

    assert (first.filing, again.filing, again.visitor) == (Filing.KEPT, Filing.KEPT, first.visitor)
    one = visits.listing()[0]
    assert (one.id, one.visits, one.cameras) == (first.visitor, 2, ("back", "front"))
    assert (one.first_seen, one.last_seen) == (NOON, NOON + timedelta(minutes=60, seconds=5))
    assert len(visits.listing()) == 2


def test_a_restart_changes_nothing(folder: Path) -> None:
    """Ids, aliases, ignored visitors and sizes are as they were; the next visit goes where it would have gone."""
    visits = opened(folder)
    for number, degrees in enumerate([0, 90, 180, 45, 270]):
        visits.add(visit(f"v{number}", degrees, minutes=number), NOON)
    visits.ignore(visits.add(visit("v5", 270, minutes=9), NOON).visitor or "", NOON)
    assert visits.listing()[0].aliases

    restarted = opened(folder)

    assert facts(restarted) == facts(visits)
    assert restarted.photos(visits.listing()[0].id) == visits.photos(visits.listing()[0].id)
    for degrees in (1, 91, 269):
        probe = visit(f"probe{degrees}", degrees, minutes=20)
        assert restarted.add(probe, NOON) == visits.add(probe, NOON)


def test_what_a_visit_joined_is_known_without_the_file_of_names(folder: Path) -> None:
    """It is written after the visit; a crash may come between."""
    visits = opened(folder)
    for number, degrees in enumerate([0, 90, 45]):
        visits.add(visit(f"v{number}", degrees, minutes=number), NOON)
    (folder / "names").unlink()

    assert facts(opened(folder)) == facts(visits)


def test_no_byte_of_a_face_lies_open_on_the_disk(folder: Path) -> None:
    opened(folder).add(visit("a", 12, 13), NOON)
    stored = b"".join(path.read_bytes() for path in folder.iterdir())

    assert len(files(folder)) == 2
    assert b"photo of" not in stored
    assert face(12).tobytes() not in stored
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_was_kept_long_enough_is_gone_for_good(folder: Path) -> None:
    visits = opened(folder)
    visits.add(visit("a", 0), NOON)
    visits.add(visit("b", 90, minutes=1), NOON)

    assert visits.expire(NOON + timedelta(days=7)).visits == ()
    gone = visits.expire(NOON + timedelta(days=7, seconds=30))

    assert gone.visits == ("a",)
    assert len(gone.visitors) == 1
    assert files(folder) == {"b.looks", "b.photos"}


def test_a_shorter_time_holds_for_what_is_there_already(folder: Path) -> None:
    opened(folder).add(visit("a", 0), NOON)

    assert opened(folder, UnknownRules()).expire(NOON + timedelta(minutes=1)).visits == ("a",)
    assert files(folder) == set()


@pytest.mark.parametrize("rules", [UnknownRules(WEEK.keep, max_visits=2), UnknownRules(WEEK.keep, max_bytes=4000)])
def test_the_oldest_make_room(folder: Path, rules: UnknownRules) -> None:
    """A visit of one look is two files of a little more than 528 bytes of seal each, 1.4 kB in all."""
    visits = opened(folder, rules)
    visits.add(visit("b", 90, minutes=1), NOON)
    visits.add(visit("a", 0), NOON)

    assert visits.add(visit("c", 180, minutes=2), NOON).dropped == ("a",)
    assert files(folder) == {"b.looks", "b.photos", "c.looks", "c.photos"}
    assert visits.bytes_kept == sum(path.stat().st_size for path in folder.iterdir())


def test_the_best_looks_are_kept_by_quality(folder: Path) -> None:
    """Large before small, then sharp before blurred; whom they are like plays no part."""
    small, blurred, sharp = look(0, 20.0), look(1, sharpness=0.1), look(2, sharpness=0.5)

    assert best_looks([small, blurred, sharp], 2) == (sharp, blurred)

    visits = opened(folder, UnknownRules(WEEK.keep, max_looks=2))
    kept = visits.add(UnknownVisit("a", "front", NOON, NOON, (small, blurred, sharp)), NOON).visitor or ""
    assert [photo.data for photo in visits.photos(kept)] == [sharp.photo, blurred.photo]


def test_a_visitors_photos_come_from_as_many_visits_as_there_are(folder: Path) -> None:
    visits = opened(folder)
    visits.add(visit("a", 0, 1, 2), NOON)
    visitor = visits.add(visit("b", 3, 4, minutes=1), NOON).visitor or ""

    photos = visits.photos(visitor, 3)

    assert [photo.name.split("-")[3:] for photo in photos] == [["b", "1.jpg"], ["a", "1.jpg"], ["b", "2.jpg"]]
    assert all("/" not in photo.name and photo.name.startswith(visitor) for photo in photos)
    assert visits.photos("visitor-nobody") == ()


@pytest.mark.parametrize("vector", [np.full(3, np.nan, np.float32), np.zeros(3, np.float32), np.ones(4, np.float32)])
def test_what_is_no_template_is_not_kept(folder: Path, vector: Float32) -> None:
    bad = Look(vector, look(0).quality, b"photo", NOON)

    assert opened(folder).add(UnknownVisit("a", "front", NOON, NOON, (bad,)), NOON).filing is Filing.NO_LOOKS


def test_who_is_ignored_is_recognised_and_kept_nothing_more_of(folder: Path) -> None:
    visits = opened(folder)
    visitor = visits.add(visit("a", 0), NOON).visitor or ""

    gone = visits.ignore(visitor, NOON)

    assert gone is not None
    assert gone.visits == ("a",)
    assert visits.listing() == ()
    assert files(folder) == {f"{visitor}.ignored"}
    for later in (visits, opened(folder)):
        assert later.add(visit("b", 1, minutes=5), NOON) == later.add(visit("c", 1), NOON)
        assert later.add(visit("b", 1, minutes=5), NOON).filing is Filing.IGNORED
        assert later.expire(NOON + timedelta(days=1000)).ignored == ()
        assert [one.id for one in later.ignored()] == [visitor]
    assert visits.add(visit("d", 90), NOON).filing is Filing.KEPT


def test_a_crash_after_somebody_was_ignored_leaves_them_ignored(folder: Path) -> None:
    visits = opened(folder)
    visitor = visits.add(visit("a", 0), NOON).visitor or ""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    visits.ignore(visitor, NOON)
    for name, data in before.items():
        (folder / name).write_bytes(data)

    assert opened(folder).listing() == ()
    assert files(folder) == {f"{visitor}.ignored"}


def test_a_visitor_is_forgotten_by_any_of_their_names_listed_or_ignored(folder: Path) -> None:
    visits = opened(folder)
    visits.add(visit("a", 0), NOON)
    other = visits.add(visit("b", 90, minutes=1), NOON).visitor or ""
    visits.add(visit("c", 45, minutes=2), NOON)
    ignored = visits.add(visit("d", 180), NOON).visitor or ""
    visits.ignore(ignored, NOON)

    assert sorted((visits.forget(other) or visits.expire(NOON)).visits) == ["a", "b", "c"]
    assert (visits.forget(ignored) or visits.expire(NOON)).ignored == (ignored,)
    assert visits.forget(other) is None
    assert files(folder) == {"names"}
    assert other.encode() not in (folder / "names").read_bytes()


def test_a_subject_who_is_forgotten_is_forgotten_here_too(folder: Path) -> None:
    """Whole visitors: the second visit of the first is too unlike the subject by itself, but hangs on the first."""
    visits = opened(folder)
    visitor = visits.add(visit("a", 0), NOON).visitor
    assert visits.add(visit("b", 44, minutes=1), NOON).visitor == visitor
    stranger = visits.add(visit("c", 150, minutes=2), NOON).visitor
    ignored = visits.add(visit("d", 270, minutes=3), NOON).visitor or ""
    visits.ignore(ignored, NOON)

    assert visits.like(np.stack([face(-40), face(250)])) == (visitor,)
    gone = visits.forget_like(np.stack([face(-40), face(250)]))

    assert (gone.visitors, gone.ignored) == ((visitor,), (ignored,))
    assert sorted(gone.visits) == ["a", "b"]
    assert [one.id for one in visits.listing()] == [stranger]
    assert files(folder) == {"c.looks", "c.photos"}


def test_what_cannot_be_compared_is_forgotten_with_a_subject(folder: Path) -> None:
    opened(folder).add(visit("a", 0), NOON)
    opened(folder).add(visit("b", 90), NOON)
    damage(folder / "a.looks")

    gone = opened(folder, model="another").forget_like(face(180)[None])

    assert (gone.visits, gone.unreadable) == (("b",), ("a.looks",))
    assert files(folder) == set()


def test_visits_of_another_model_are_listed_and_compared_with_nothing(folder: Path) -> None:
    old = opened(folder).add(visit("a", 0), NOON).visitor
    visits = opened(folder, model="another")
    new = visits.add(visit("b", 0, minutes=1), NOON).visitor

    assert [(one.id, one.comparable) for one in visits.listing()] == [(new, True), (old, False)]
    answer = visits.ignore(old or "", NOON)
    assert answer is not None
    assert "another model" in answer.problems[0]


def test_a_person_is_handed_everything_that_is_kept(folder: Path) -> None:
    visits = opened(folder)
    visits.add(visit("a", 0, 1), NOON)
    visitor = visits.add(visit("b", 2, minutes=1), NOON).visitor or ""

    summary, *photos = visits.export(visitor)

    told = json.loads(summary.data)
    assert [one["visit"] for one in told["visits"]] == ["a", "b"]
    assert sorted(photo.name for photo in photos) == sorted(name for one in told["visits"] for name in one["photos"])
    assert told["visits"][1]["templates"] == [face(2).tolist()]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.looks", "names", "visitor.ignored"])
def test_a_damaged_file_is_told_and_hides_no_other(folder: Path, name: str) -> None:
    visits = opened(folder)
    for number, degrees in enumerate([0, 90, 45]):
        visits.add(visit("abc"[number], degrees, minutes=number), NOON)
    ignored = visits.add(visit("d", 180), NOON).visitor or ""
    visits.add(visit("e", 270), NOON)
    visits.ignore(ignored, NOON)
    name = name.replace("visitor", ignored)
    damage(folder / name)

    again = opened(folder)

    assert again.problems == (
        f"{folder / name} is damaged and cannot be mended; it is removed once it is older than what is kept",
    )
    assert len(again) == (3 if name == "a.looks" else 4)
    assert again.add(visit("f", 1, minutes=9), NOON).filing is Filing.KEPT


def test_photos_that_are_damaged_leave_the_visit(folder: Path) -> None:
    visits = opened(folder)
    visitor = visits.add(visit("a", 0), NOON).visitor or ""
    damage(folder / "a.photos")

    assert visits.photos(visitor) == ()
    assert "is damaged" in visits.problems[0]
    assert len(visits.listing()) == 1


def test_another_key_is_told_and_what_lies_under_it_expires_by_its_date(folder: Path) -> None:
    opened(folder).add(visit("a", 0), NOON)
    for path in folder.iterdir():
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))

    visits = opened(folder, key=b"x" * 32)

    assert "was sealed under another key" in visits.problems[0]
    assert visits.expire(NOON + timedelta(days=6)).unreadable == ()
    assert visits.expire(NOON + timedelta(days=8)).unreadable == ("a.looks",)
    assert (files(folder), visits.problems) == (set(), ())


def test_a_file_under_another_visits_name_is_noticed(folder: Path) -> None:
    visits = opened(folder)
    visits.add(visit("a", 0), NOON)
    visits.add(visit("b", 90), NOON)
    (folder / "a.looks").replace(folder / "b.looks")

    assert "is something else under this name" in opened(folder).problems[0]


class FailingDisk(Disk):
    """Fails at the step of that number, counted from when it is set; `ending` fails every one after it too, as a crash."""

    def __init__(self) -> None:
        self.fails_at: int | None = None
        self.ending = False

    def _step(self) -> None:
        if self.fails_at is not None:
            self.fails_at -= 1
            if self.fails_at == -1 or (self.ending and self.fails_at < 0):
                raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, path: Path, parts: Iterable[Bytes]) -> None:
        self._step()
        super().write(path, parts)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


def test_a_full_disk_is_told_and_nothing_half_is_left(folder: Path) -> None:
    """At whichever step it fails: the visit is not kept, and nobody's id has changed by it."""
    disk = FailingDisk()
    visits = opened(folder, disk=disk)
    visits.add(visit("a", 0), NOON)
    before = facts(visits)
    for step in range(8):
        disk.fails_at = step
        filed = visits.add(visit("b", 1), NOON)
        disk.fails_at = None

        assert filed.filing is Filing.NOT_WRITTEN
        assert "No space left on device" in filed.problem
        assert facts(visits) == before
        assert files(folder) == {"a.looks", "a.photos"}
    assert visits.add(visit("b", 1), NOON).filing is Filing.KEPT


@pytest.mark.parametrize("action", ["add", "join", "ignore", "forget", "expire"])
def test_whenever_it_crashes_the_next_start_finds_the_state_before_or_after(folder: Path, action: str) -> None:
    """Nothing more is done from that step on; what is half done is swept up, and no photo is left without its visit."""
    known = {"a", "b", "c"}
    after = {"add": [known, {*known, "d"}], "join": [known, {*known, "d"}], "ignore": [known, {"b", "c"}]}
    after |= {"forget": [known, {"b", "c"}], "expire": [known, {"b", "c"}, {"c"}, set()]}
    for step in range(30):
        here = folder / str(step)
        disk = FailingDisk()
        visits = opened(here, disk=disk)
        names = [visits.add(visit("abc"[n], 90.0 * n, minutes=n), NOON).visitor or "" for n in range(3)]
        disk.fails_at, disk.ending = step, True
        if action == "add":
            visits.add(visit("d", 270), NOON)
        elif action == "join":
            visits.add(visit("d", 45, minutes=9), NOON)
        elif action == "ignore":
            visits.ignore(names[0], NOON)
        elif action == "forget":
            visits.forget(names[0])
        else:
            visits.expire(NOON + timedelta(days=8))

        again = opened(here)

        left = {name.removesuffix(".looks") for name in files(here) if name.endswith(".looks")}
        assert again.problems == ()
        assert left in after[action]
        assert files(here) <= {f"{one}{kind}" for one in left for kind in (".looks", ".photos")} | {
            "names",
            f"{names[0]}.ignored",
        }
        if step == 29:
            assert left == after[action][-1]
        if action == "join" and "d" in left:
            assert again.listing()[-1].aliases == (names[1],) or len(again.listing()) == 2


def test_a_folder_that_cannot_be_made_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(GalleryError, match="the visits of strangers cannot be read"):
        opened(tmp_path / "file" / "unknown")


@pytest.mark.parametrize("who", [OFFICIAL, STRANGER], ids=lambda one: one.file)
@pytest.mark.parametrize("eyes", [20, 35, 90])
def test_a_kept_photo_is_accepted_as_a_photo(
    networks: NetworkThread, portrait: Callable[[Portrait], UInt8], who: Portrait, eyes: int
) -> None:
    """A face that has that many pixels between its eyes in the frame, cut out as it is kept, and dropped into a folder."""
    image = portrait(who)
    distance = networks.analyse(image)[0].quality.eye_distance
    size = round(image.shape[1] * eyes / distance), round(image.shape[0] * eyes / distance)
    frame = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    face = networks.analyse(frame)[0]
    assert face.quality.good

    data = surroundings(RgbPicture(frame), face.face.box)

    photo = np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
    assert max(photo.shape) <= 400
    assert networks.call(lambda analyser: _verdict(photo, analyser)) == ()


def _verdict(photo: UInt8, analyser: FaceAnalyser) -> tuple[str, ...]:
    return judge(photo, analyser, lambda _: Template(face(0), "model")).reasons


def test_a_photo_is_made_small() -> None:
    whole = surroundings(RgbPicture(np.zeros((1000, 500, 3), np.uint8)), np.array([0, 0, 500, 1000], np.float32))

    assert cv2.imdecode(np.frombuffer(whole, np.uint8), 1).shape == (400, 200, 3)


# While a visit goes on


def test_the_best_looks_of_a_visit_are_handed_out_once_it_has_ended() -> None:
    looks = VisitLooks(1)
    looks.add(1, look(0, sharpness=0.1))
    looks.add(1, look(10, sharpness=0.9))
    looks.add(2, look(20))

    assert [one.quality.sharpness for one in looks.ended(frozenset({2}))[1]] == [0.9]
    assert looks.ended(frozenset({2})) == {}


def test_a_visit_during_which_somebody_was_forgotten_is_not_kept_as_a_strangers() -> None:
    """Nor by a look that was on its way just then; who comes later is."""
    looks = VisitLooks(5)
    looks.add(1, look(0))
    looks.drop(frozenset({1}))
    looks.add(1, look(0))
    looks.add(2, look(20))

    assert list(looks.ended(frozenset())) == [2]
