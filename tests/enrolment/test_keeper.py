"""The gallery's keeper: when it looks at the folder again."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from streamd.enrolment.folder import Enrolment, Refreshed
from streamd.enrolment.keeper import GalleryKeeper
from streamd.enrolment.words import SIDECAR_SUFFIX
from streamd.recognition.gallery import build
from tests.porch import TurnedClock
from tests.process.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOTHING = Enrolment(build([], 0, "model", 8))


class Folder:
    """A folder in which there is never anything new; counts the looks."""

    enrolment = NOTHING

    def __init__(self) -> None:
        self.looks = 0

    def refresh(self, _now_ns: int, _settle_ns: int, _out_of_time: Callable[[], bool]) -> Refreshed:
        self.looks += 1
        return Refreshed(NOTHING, (), None)


def test_a_change_of_which_nobody_is_told_is_found_by_a_look_within_half_a_minute(tmp_path: Path) -> None:
    """Events of a file system may be lost; until then nothing is looked at that nobody has touched."""
    folder, clock, alive = Folder(), TurnedClock(), threading.Event()
    keeper = GalleryKeeper(
        tmp_path, lambda: folder, lambda: None, lambda: None, lambda _now, _judged: None,
        settle_seconds=0.1, poll_seconds=None, clock=clock, alive=lambda _seconds: alive.set(), progress=lambda _text: None,
    )  # fmt: skip

    def wait_for_a_turn() -> None:
        for _ in range(2):  # one may be under way
            alive.clear()
            assert alive.wait(5)

    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        wait_until(lambda: folder.looks == 2, "the look of the start, and that after the watch was set up")
        wait_for_a_turn()
        clock.turn(28)
        wait_for_a_turn()
        assert folder.looks == 2
        clock.turn(3)
        wait_until(lambda: folder.looks > 2, "a look")
    finally:
        keeper.stop()
        thread.join()


def test_nothing_is_waited_for_longer_than_a_photo_takes_to_settle(tmp_path: Path) -> None:
    """While it waits, the keeper hears of no other change: a time that a wrong clock makes long must not make it deaf."""

    class Written(Folder):
        def refresh(self, _now_ns: int, _settle_ns: int, _out_of_time: Callable[[], bool]) -> Refreshed:
            self.looks += 1
            return Refreshed(NOTHING, (), 100.0)

    folder = Written()
    keeper = GalleryKeeper(
        tmp_path, lambda: folder, lambda: None, lambda: None, lambda _now, _judged: None,
        settle_seconds=0.02, poll_seconds=None, clock=TurnedClock(), alive=lambda _seconds: None, progress=lambda _text: None,
    )  # fmt: skip
    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        wait_until(lambda: folder.looks > 2, "a look after the time that a photo takes to settle", 5)
    finally:
        keeper.stop()
        thread.join()


class Bulk(Folder):
    """A folder of which there is always more to judge, and what a slice costs beside that makes slices as long as may be."""

    enrolment = replace(NOTHING, waiting=1000)

    def __init__(self, clock: TurnedClock) -> None:
        super().__init__()
        self._clock = clock

    def refresh(self, _now_ns: int, _settle_ns: int, out_of_time: Callable[[], bool]) -> Refreshed:
        self._clock.turn(1)
        self.looks += 1
        while not out_of_time():
            time.sleep(0.01)
        return Refreshed(self.enrolment, (), None)


@contextmanager
def bulk(path: Path, poll_seconds: float | None = None) -> Iterator[tuple[Bulk, TurnedClock, GalleryKeeper[Bulk]]]:
    """Photos that are judged in slices of five seconds meanwhile, the third of which has begun."""
    clock = TurnedClock()
    folder = Bulk(clock)
    keeper = GalleryKeeper(
        path, lambda: folder, lambda: None, lambda: None, lambda _now, _judged: None,
        settle_seconds=0.1, poll_seconds=poll_seconds, clock=clock, alive=lambda _seconds: None, progress=lambda _text: None,
    )  # fmt: skip
    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        wait_until(lambda: folder.looks == 2, "the second look", 5)
        clock.turn(5)
        wait_until(lambda: folder.looks == 3, "the third look", 5)
        yield folder, clock, keeper
    finally:
        keeper.stop()
        thread.join()


def test_a_change_during_a_bulk_is_in_force_within_two_seconds(tmp_path: Path) -> None:
    """It ends a slice, and what is in force with the end of the next one need not wait for five seconds either."""
    with bulk(tmp_path) as (folder, _, _):
        (tmp_path / "anna").mkdir()
        wait_until(lambda: folder.looks >= 5, "the look that sees it, and the one after it", 1.5)


def test_who_asks_for_a_look_during_a_bulk_has_it_within_two_seconds(tmp_path: Path) -> None:
    with bulk(tmp_path) as (folder, _, keeper):
        keeper.reload()
        wait_until(lambda: folder.looks >= 5, "the look, and the one after it", 1.5)


def test_a_bulk_in_which_nothing_changes_makes_few_galleries(tmp_path: Path) -> None:
    """A verdict beside a photo is the keeper's own."""
    with bulk(tmp_path) as (folder, clock, _):
        (tmp_path / f"1.jpg{SIDECAR_SUFFIX}").touch()
        clock.turn(4)
        time.sleep(0.3)
        assert folder.looks == 3


def test_a_bulk_in_a_folder_of_which_nothing_is_heard_is_judged_in_slices_as_long_as_a_poll(tmp_path: Path) -> None:
    with bulk(tmp_path, 2.0) as (folder, clock, _):
        clock.turn(1.5)
        time.sleep(0.2)
        assert folder.looks == 3
        clock.turn(0.5)
        wait_until(lambda: folder.looks > 3, "a look", 1)
