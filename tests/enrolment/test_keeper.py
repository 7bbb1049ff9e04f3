"""The gallery's keeper: when it looks at the folder again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streamd.enrolment.folder import Enrolment, Refreshed
from streamd.enrolment.keeper import GalleryKeeper
from streamd.recognition.gallery import build
from tests.porch import TurnedClock
from tests.process.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
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
