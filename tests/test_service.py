"""The daemon as a service: what systemd and the broker are told while it moves and while something hangs; and its signals."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.demo.portraits import OFFICIAL, SPEAKING
from streamd.service import Service
from tests.porch import CARD, Snag, TurnedClock, Watched, asking_for_a_template, written_config
from tests.process.broker import Listener, Mosquitto, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WATCHDOG = 1.0  # seconds of silence that systemd allows; the real unit's are longer
STOP = 5.0


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": f"{WATCHDOG * 1e6:.0f}"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.environ["NOTIFY_SOCKET"])

    def told(self, what: str, within: float) -> bool:
        """Whether it is told so from now on within so many seconds; what it was told before does not count."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            pass
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if what in self._socket.recv(4096).decode():
                    return True
            except TimeoutError:
                break
        return False

    def close(self) -> None:
        self._socket.close()


class House:
    """A service on the porch, its broker and its systemd."""

    def __init__(self, folder: Path, broker: Mosquitto, listener: Listener) -> None:
        self.snag = Snag()
        self.is_caught: Callable[[], bool] = lambda: True
        """Whether the embedder is to be caught."""
        self.clock = TurnedClock()
        self.systemd = Systemd(folder)
        self.listener = listener
        # Looked at once an hour, or when asked.
        options = {"mqtt": f"mqtt://127.0.0.1:{broker.port}", "gallery": {"poll_seconds": 3600, "settle_milliseconds": 100}}
        # A card without what is known of glasses beside it: the stand-in for the model knows nothing of them.
        options["model"] = {"card": shutil.copy(SHIPPED_CARD, folder)}
        self.config = written_config(folder, **options)
        embedder = Watched(lambda: self.is_caught() and self.snag.catch())
        self.service = Service(self.config, self.systemd.environ, open_model=lambda _: (embedder, CARD), clock=self.clock)

    def live(self, story: Callable[[], None]) -> None:
        """Run the service on this thread, as signals want it, and the story beside it, whose end stops the service."""

        def tell() -> None:
            try:
                wait_until(lambda: self.service.daemon.started, "the start")
                story()
            finally:
                self.snag.let_go()
                self.service.daemon.stop()

        with ThreadPoolExecutor(1, "story") as pool:
            told = pool.submit(tell)
            self.service.run()
            told.result()

    def problems(self) -> list[str]:
        """What `status` names as wrong now."""
        told = [json.loads(one.body) for one in self.listener.at("streamd/porch/status") if one.body]
        return list(told[-1]["problems"]) if told else ["nothing was told yet"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Mosquitto(tmp_path / "broker") as broker, Listener(broker.port) as listener:
        house = House(tmp_path, broker, listener)
        yield house
        house.systemd.close()


def test_the_watchdog_is_fed_as_long_as_everything_moves(house: House) -> None:
    def story() -> None:
        for seconds in (0, 61, 600):  # also long after the start
            house.clock.turn(seconds)
            wait_until(lambda: house.problems() == [], "nothing to be wrong")
            assert house.systemd.told("WATCHDOG=1", 2 * WATCHDOG)

    house.live(story)


def test_the_watchdog_is_not_fed_while_a_stage_hangs_which_is_named(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def story() -> None:
        with asking_for_a_template(house.service.daemon):
            assert house.snag.caught.wait(10)
            house.clock.turn(9)
            wait_until(lambda: house.problems() == ["embedder hangs"], "the embedder to be named")
            assert not house.systemd.told("WATCHDOG=1", 1.5 * WATCHDOG)
            house.snag.let_go()
            wait_until(lambda: house.problems() == [], "the embedder to go on")
            assert house.systemd.told("WATCHDOG=1", 2 * WATCHDOG)

    house.live(story)

    assert "embedder: no sign of life" in [record.message for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_time_and_is_given_back(house: House, number: signal.Signals) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    asked: list[float] = []

    def story() -> None:
        asked.append(time.monotonic())
        os.kill(os.getpid(), number)
        wait_until(lambda: not any(thread.is_alive() for thread in house.service.daemon.threads), "the end", STOP)

    house.live(story)

    assert time.monotonic() - asked[0] < STOP
    assert {one: signal.getsignal(one) for one in before} == before
    assert [json.loads(one.body)["state"] for one in house.listener.at("streamd/porch/status")][-1] == "offline"


def test_between_two_steps_of_the_main_thread_a_signal_does_nothing_but_wake_another(house: House) -> None:
    """The main thread may hold any lock there, such as that of the event which the signal sets."""

    def story() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            handler = signal.getsignal(number)
            assert callable(handler)
            handler(number, None)
        time.sleep(0.5)
        assert all(thread.is_alive() for thread in house.service.daemon.threads)

    house.live(story)

    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]


def test_sighup_looks_at_the_enrolment_folder(house: House) -> None:
    def story() -> None:
        wait_until(lambda: house.listener.at("streamd/porch/gallery"), "the gallery's first state")
        photo = house.config.gallery_folder / "Anna" / "portrait.jpg"
        photo.parent.mkdir()
        photo.write_bytes(b"no picture")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until(lambda: house.listener.at("streamd/porch/gallery/event"), "the photo's verdict")

    house.live(story)

    [event] = house.listener.at("streamd/porch/gallery/event")
    assert json.loads(event.body)["photo"] == "Anna/portrait.jpg"


def test_nobodys_last_seen_is_taken_away_while_photos_are_still_to_be_judged(house: House, portraits: Path) -> None:
    """The first photo takes longer than the start waits for all; whose photo is the second is no stranger for that."""
    for person, photo in (("Anna", OFFICIAL), ("Ben", SPEAKING)):
        (house.config.gallery_folder / person).mkdir()
        shutil.copy(portraits / photo.file, house.config.gallery_folder / person / "portrait.jpg")
    time.sleep(0.2)  # until they have settled
    anna, ben, carl = (f"streamd/porch/subject/{who}/last_seen" for who in ("anna", "ben", "carl"))
    for topic in (anna, ben, carl):
        house.listener.send(topic, b"{}", retain=True)
    embedded = itertools.count()

    def after_the_first() -> bool:
        if next(embedded) > 0:
            return True
        time.sleep(1.6)
        return False

    house.is_caught = after_the_first

    def taken_away(topic: str) -> bool:
        return any(not one.body for one in house.listener.at(topic))

    def story() -> None:
        assert house.snag.caught.wait(10)
        wait_until(lambda: house.problems() == [], "the broker to be told")
        time.sleep(1.5)  # some ticks, each of which would take them away
        assert house.service.daemon.enrolment.waiting == 1
        assert not any(taken_away(topic) for topic in (anna, ben, carl))
        house.snag.let_go()
        wait_until(lambda: taken_away(carl), "what is kept of nobody to be taken away")

    house.live(story)

    assert not taken_away(anna)


def test_what_a_thread_cannot_handle_ends_the_service_which_says_goodbye(house: House) -> None:
    daemon = house.service.daemon
    daemon._serving = dataclasses.replace(daemon._serving, embedder=Watched(lambda: 1 // 0))

    def story() -> None:
        with asking_for_a_template(house.service.daemon):
            wait_until(lambda: not any(thread.is_alive() for thread in house.service.daemon.threads), "the end", STOP)

    with pytest.raises(ZeroDivisionError):
        house.live(story)

    wait_until(lambda: b'"offline"' in house.listener.at("streamd/porch/status")[-1].body, "the farewell")
