"""Photos as they really arrive at a running daemon: copied slowly, by rsync, by scp over an older one, beside backups.

All at once, in pieces over two seconds, each piece long enough alone to seem to be the last.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from streamd.demo.portraits import OFFICIAL, SPEAKING, STRANGER
from streamd.events.contract import GalleryEvent, GalleryState, Verdict
from tests.process.broker import wait_until
from tests.process.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.process

PIECES, PAUSE = 7, 0.3  # the pause is longer than the 0.2 s after which a photo counts as left alone
LIVE = 2.0  # seconds: one, and one for a loaded machine
BACKUPS = ("copied.jpg~", ".copied.jpg.swp", "#copied.jpg#", "copied.jpg.bak")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, portraits: Path) -> Iterator[Door]:
    """A daemon that knows Joe by one photo; its camera is off."""
    with Door(tmp_path_factory.mktemp("arrivals")) as door:
        door.cameras["front"] = {"source": str(portraits), "enabled": False}
        door.enrol("Joe", portraits / STRANGER.file, "replaced.jpg")
        door.start()
        door.gallery_state(lambda one: one.templates == 1)
        yield door


@pytest.fixture(scope="module")
def written(door: Door, portraits: Path) -> float:
    """Write everything; when the last byte was written and the last name given (monotonic)."""
    (door.gallery / "Barack").mkdir()
    copied, synchronised = door.gallery / "Barack" / "copied.jpg", door.gallery / "Barack" / ".synchronised.jpg.AbC123"
    contents = {
        copied: (portraits / OFFICIAL.file).read_bytes(),
        synchronised: (portraits / SPEAKING.file).read_bytes(),
        door.gallery / "Joe" / "replaced.jpg": (portraits / STRANGER.file).read_bytes() + b"another",
    }
    for name in BACKUPS:
        (door.gallery / "Barack" / name).write_bytes((portraits / STRANGER.file).read_bytes())
    for piece in range(PIECES):
        for path, content in contents.items():
            with path.open("ab" if piece else "wb") as file:
                file.write(content[piece * len(content) // PIECES : (piece + 1) * len(content) // PIECES])
        if piece < PIECES - 1:
            time.sleep(PAUSE)
    synchronised.rename(door.gallery / "Barack" / "synchronised.jpg")
    return time.monotonic()


def judged(door: Door, photo: str) -> list[GalleryEvent]:
    return [one for one in door.said(GalleryEvent) if one.photo == photo]


def test_each_is_live_a_second_after_its_last_byte_and_was_never_judged_by_half(door: Door, written: float) -> None:
    def live() -> bool:
        return bool(judged(door, "Barack/copied.jpg") and judged(door, "Barack/synchronised.jpg"))

    wait_until(live, "the verdicts")
    took = time.monotonic() - written

    for photo in ("Barack/copied.jpg", "Barack/synchronised.jpg"):
        assert [one.verdict for one in judged(door, photo)] == [Verdict.ACCEPTED]
    assert took <= LIVE


def test_a_photo_that_is_written_over_stays_in_force_until_the_new_one_is_whole(door: Door, written: float) -> None:
    wait_until(lambda: len(judged(door, "Joe/replaced.jpg")) == 2, "the second verdict")

    assert [one.verdict for one in judged(door, "Joe/replaced.jpg")] == [Verdict.ACCEPTED] * 2
    known = [one.subjects for one in door.said(GalleryState) if one.templates]
    assert known == sorted(known)
    assert written


def test_what_is_no_photo_of_anybody_is_not_looked_at(door: Door, written: float) -> None:
    door.gallery_state(lambda one: one.templates == 3, written)

    told = {one.photo for one in door.said(GalleryEvent)}
    assert told == {"Joe/replaced.jpg", "Barack/copied.jpg", "Barack/synchronised.jpg"}
    assert door.said(GalleryState)[-1].problems == ()
    assert not list((door.gallery / "Barack").glob("*AbC123*"))
