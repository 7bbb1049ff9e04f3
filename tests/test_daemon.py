"""The daemon's threads: who hangs is named, who fails ends the daemon, and a stop waits for all of them."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamd.assembly import detection_workers
from streamd.control import _line, ask
from streamd.daemon import Daemon
from streamd.demo.broker import free_port
from streamd.enrolment.folder import Enrolment
from streamd.enrolment.unknown import Look
from streamd.errors import UnavailableError
from streamd.recognition.gallery import Enrolled, build
from streamd.recognition.visit import Departure
from streamd.values import Face, Outcome, Quality, Track
from tests.porch import CARD, PorchSink, Snag, TurnedClock, Watched, asking_for_a_template, written_config
from tests.process.broker import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from streamd.enrolment.folder import EnrolmentFolder

STOP = 2.0  # seconds: what the threads have for their end, of the five that a stop may take
CORES = os.cpu_count() or 1
MARGIN = 1.0  # of a loaded machine
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
LOOK = Look(np.eye(1, 8, dtype=np.float32)[0], Quality(0.3, 120.0, 40.0, 0.0, 0.0, 0.0, 48.0), b"JPEG", NOON)


class Porch:
    """A daemon that runs beside the test, and what it told every tick: the workers that hang."""

    def __init__(
        self,
        folder: Path,
        embed: Callable[[], object] = lambda: None,
        detect: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self.clock = TurnedClock()
        self.sink = PorchSink(self.clock, detect)
        self.asked = Snag()
        self.late: list[tuple[str, ...]] = []
        self.greeted: list[str] = []
        self.config = written_config(folder, **options)
        self.daemon = Daemon(
            self.config,
            self.sink,
            Watched(embed),
            CARD.calibration,
            boot="b1",
            requests={"greet": self._greet, "catch": self._catch, "fail": self._fail, "tire": self._tire},
            clock=self.clock,
            on_tick=lambda _now, late: self.late.append(late),
        )
        self.ended: Future[None]

    def _greet(self, _folder: EnrolmentFolder, asked: Mapping[str, Any]) -> dict[str, object]:
        self.greeted.append(asked["who"])
        return {"ok": True, "message": f"good evening, {asked['who']}", "thread": threading.current_thread().name}

    def _catch(self, _folder: EnrolmentFolder, _asked: Mapping[str, Any]) -> dict[str, object]:
        self.asked.catch()
        return {"ok": True}

    def _fail(self, _folder: EnrolmentFolder, _asked: Mapping[str, Any]) -> dict[str, object]:
        raise UnavailableError("not today; come tomorrow")

    def _tire(self, _folder: EnrolmentFolder, _asked: Mapping[str, Any]) -> dict[str, object]:
        raise TimeoutError("of the disk")

    @contextmanager
    def open(self) -> Iterator[None]:
        """Run the daemon until the end of the block, or of itself."""
        with ThreadPoolExecutor(1, "run") as pool:
            self.ended = pool.submit(self.daemon.run)
            try:
                wait_until(lambda: self.daemon.started or self.ended.done(), "the start")
                yield
            finally:
                self.asked.let_go()
                self.daemon.stop()

    def states(self) -> list[dict[str, Any]]:
        """What was told of the camera."""
        told = list(self.sink.messages)
        return [json.loads(one.body) for one in told if one.topic == "streamd/porch/camera/front/state"]


def only(porch: Porch, *workers: str) -> None:
    """Wait until these workers hang and no other does: all that move have shown it since the clock was turned."""
    fresh = len(porch.late) + 2  # a tick may be under way
    wait_until(lambda: len(porch.late) >= fresh and porch.late[-1] == workers, f"{workers or 'nobody'} to be late")


def test_nobody_is_late_while_every_stage_moves(tmp_path: Path) -> None:
    """Idle ones too, however long: whoever has nothing to do shows it every second."""
    porch = Porch(tmp_path)
    with porch.open():
        for seconds in (9, 61):
            porch.clock.turn(seconds)
            only(porch)


def test_an_embedder_that_hangs_is_named_until_it_goes_on(tmp_path: Path) -> None:
    snag = Snag()
    porch = Porch(tmp_path, embed=snag.catch)
    with porch.open(), asking_for_a_template(porch.daemon):
        assert snag.caught.wait(10)
        only(porch)
        porch.clock.turn(9)
        only(porch, "embedder")
        snag.let_go()
        only(porch)


def test_a_detection_that_hangs_is_named(tmp_path: Path) -> None:
    snag = Snag()
    porch = Porch(tmp_path, detect=snag.catch)
    with porch.open():
        assert snag.caught.wait(10)
        porch.clock.turn(9)
        only(porch, "detection-0")
        snag.let_go()
        only(porch)


def test_a_gallery_that_hangs_is_named_after_a_minute(tmp_path: Path) -> None:
    """A photo may take seconds; the folder's thread is given more time than the others."""
    porch = Porch(tmp_path)
    with porch.open(), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: list(ask(porch.config.state, "catch")))
        assert porch.asked.caught.wait(10)
        porch.clock.turn(9)
        only(porch)
        porch.clock.turn(52)
        only(porch, "gallery")
        porch.asked.let_go()
        only(porch)


def test_a_stop_waits_until_every_thread_has_ended(tmp_path: Path) -> None:
    """Also for one that is busy, as the embedder is for a quarter of a second."""
    busy = threading.Event()
    porch = Porch(tmp_path, embed=lambda: busy.set() or time.sleep(0.25))
    with porch.open(), asking_for_a_template(porch.daemon):
        assert busy.wait(10)
        began = time.monotonic()
        porch.daemon.stop()
        porch.ended.result()
        took = time.monotonic() - began
        names = {thread.name for thread in porch.daemon.threads}
        assert [thread.name for thread in porch.daemon.threads if thread.is_alive()] == []

    assert names == {"embedder", "gallery", "control", "detection-0", "camera-front"}
    assert took < STOP + MARGIN


def test_a_stop_leaves_behind_who_does_not_end_in_time_and_names_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    snag = Snag()
    porch = Porch(tmp_path, embed=snag.catch)
    with porch.open(), asking_for_a_template(porch.daemon):
        assert snag.caught.wait(10)
        began = time.monotonic()
        porch.daemon.stop()
        porch.ended.result()
        took = time.monotonic() - began
        snag.let_go()

    assert took < STOP + MARGIN
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "embedder did not end within 2 s; it is left behind"
    ]


def test_what_a_thread_cannot_handle_ends_the_daemon_and_every_other_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("of the model")

    porch = Porch(tmp_path, embed=fail)
    with porch.open(), asking_for_a_template(porch.daemon):
        with pytest.raises(ZeroDivisionError, match="of the model"):
            porch.ended.result(timeout=10)
        assert [thread.name for thread in porch.daemon.threads if thread.is_alive()] == []

    assert "embedder failed" in caplog.text


def test_a_mistake_of_the_surroundings_ends_the_daemon_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sentence is shown where the program ends, once."""

    def fail() -> None:
        raise UnavailableError("the model is away; bring it back")

    porch = Porch(tmp_path, embed=fail)
    with porch.open(), asking_for_a_template(porch.daemon), pytest.raises(UnavailableError, match="bring it back"):
        porch.ended.result(timeout=10)

    assert "failed" not in caplog.text


def test_a_file_that_has_been_shown_to_its_end_is_shown_again_when_it_is_enabled(tmp_path: Path) -> None:
    once = {"front": {"source": str(tmp_path / "front"), "max_fps": 20}}
    porch = Porch(tmp_path, cameras=once)
    with porch.open():
        front = porch.daemon.health["front"]
        wait_until(lambda: front.failure == "end_of_stream", "the end of the pictures")
        assert front.frames == 3

        porch.daemon.enable("front", enabled=True)

        wait_until(lambda: front.frames == 6, "the pictures again")
        only(porch)


def test_a_cameras_state_is_told_again_every_ten_seconds(tmp_path: Path) -> None:
    porch = Porch(tmp_path)
    with porch.open():
        wait_until(lambda: porch.states() and porch.states()[-1]["state"] == "ok", "the first state")
        wait_until(lambda: len(porch.late) > 8, "some ticks")  # more than one state at the start: opening, then pictures
        told, ticks = len(porch.states()), len(porch.late)
        wait_until(lambda: len(porch.late) > ticks + 4, "ticks without news")
        assert len(porch.states()) == told
        porch.clock.turn(10)
        wait_until(lambda: len(porch.states()) > told, "the state again")
        assert len({one["at"] for one in porch.states()}) == told + 1


def test_the_control_socket_asks_the_thread_that_owns_the_folder(tmp_path: Path) -> None:
    porch = Porch(tmp_path)
    with porch.open():
        [answer] = ask(porch.config.state, "greet", who="Anna")
        [refusal] = ask(porch.config.state, "fail")
        [unknown] = ask(porch.config.state, "dance")

    assert answer == {"ok": True, "message": "good evening, Anna", "thread": "gallery"}
    assert refusal == {"ok": False, "message": "not today; come tomorrow"}
    assert unknown == {"ok": False, "message": "expected one of these commands: catch, fail, greet, guide, tire"}
    assert not (porch.config.state / "control").exists()
    with pytest.raises(UnavailableError, match="no streamd runs on"):
        list(ask(porch.config.state, "greet", who="Anna"))


def test_what_took_too_long_on_the_folders_thread_is_told_and_not_waited_for(tmp_path: Path) -> None:
    porch = Porch(tmp_path)
    with porch.open():
        [answer] = ask(porch.config.state, "tire", timeout=5)

    assert not answer["ok"]
    assert "TimeoutError('of the disk')" in answer["message"]


def test_who_is_guided_holds_up_no_other_client(tmp_path: Path) -> None:
    """Two clients at once: the first is answered by nobody yet."""
    porch = Porch(tmp_path)
    with porch.open(), ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: list(ask(porch.config.state, "catch")))
        assert porch.asked.caught.wait(10)
        [unknown] = ask(porch.config.state, "dance", timeout=5)
        assert not first.done()
        porch.asked.let_go()

    assert not unknown["ok"]
    assert first.result() == [{"ok": True}]


def test_what_a_client_asked_who_has_hung_up_is_not_done(tmp_path: Path) -> None:
    porch = Porch(tmp_path)
    with porch.open(), ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: list(ask(porch.config.state, "catch")))
        assert porch.asked.caught.wait(10)
        with pytest.raises(UnavailableError, match="did not answer within"):
            list(ask(porch.config.state, "greet", timeout=0.5, who="Anna"))
        [_] = ask(porch.config.state, "dance")  # by then the server has looked after every client
        porch.asked.let_go()
        busy.result()
        [answer] = ask(porch.config.state, "greet", who="Ben")

    assert answer["message"] == "good evening, Ben"
    assert porch.greeted == ["Ben"]


def test_a_client_whose_question_drips_in_holds_nobody_for_long() -> None:
    client, server = socket.socketpair()
    with client, server:
        dripping = threading.Event()

        def drip() -> None:
            while not dripping.wait(0.05):
                client.sendall(b"x")

        with ThreadPoolExecutor(1) as pool:
            pool.submit(drip)
            with pytest.raises(TimeoutError):
                _line(server, time.monotonic() + 0.3)
            dripping.set()


def test_who_is_guided_is_shown_by_the_name_that_was_given(tmp_path: Path) -> None:
    porch = Porch(tmp_path)
    said = porch.daemon._serve_guide({"subject": "anna", "camera": "front", "name": "Anna M."})

    assert next(said)
    assert (porch.config.gallery_folder / "anna" / "subject.yaml").read_text() == 'name: "Anna M."\n'


# Whoever stands there while somebody is forgotten


def visited(porch: Porch) -> int:
    """The visit of somebody who stands before the camera, of whom a look is held that may be a stranger's."""
    daemon = porch.daemon
    face = Face(np.array([0, 0, 80, 80], np.float32), np.zeros((6, 2), np.float32), 0.9)
    daemon._visits.seen("front", [Track(1, face, 0.0, 0.0)], (), 0.0, NOON)
    (visit,) = daemon._visits.open
    daemon._looks.add(visit, LOOK)
    return visit


def held(porch: Porch, visit: int) -> bool:
    """Whether looks of a visit are held at its end, also of those that were on their way."""
    porch.daemon._looks.add(visit, LOOK)
    return visit in porch.daemon._looks.ended(frozenset())


def test_looks_at_whoever_stands_there_are_let_go_when_somebody_is_forgotten(tmp_path: Path) -> None:
    """Over the control socket, by a command that takes them out."""
    porch = Porch(tmp_path)
    visit = visited(porch)
    asked = porch.daemon._ask(lambda _kept, _asked: {"ok": True}, {"command": "forget"})

    assert next(asked) is None
    porch.daemon._keeper._run_tasks(porch.daemon._open_folder())

    assert next(asked) == {"ok": True}
    assert not held(porch, visit)


@pytest.mark.parametrize("left", [(), ("anna",)])
def test_looks_at_whoever_stands_there_are_let_go_when_somebodys_folder_is_gone(tmp_path: Path, left: tuple[str, ...]) -> None:
    porch = Porch(tmp_path)
    model = porch.daemon.enrolment.gallery.model
    enrolled = Enrolled("anna", "anna/1.jpg", LOOK.vector)
    porch.daemon._put_in_force(Enrolment(build([enrolled], 1, model, 8)), ())
    visit = visited(porch)

    porch.daemon._put_in_force(Enrolment(build([enrolled] if left else [], 2, model, 8)), ())

    assert held(porch, visit) is bool(left)


@pytest.mark.parametrize(("meanwhile", "kept"), [("nothing", 1), ("somebody is forgotten", 0), ("another model serves", 0)])
def test_a_visit_that_waits_to_be_kept_is_not_where_it_may_be_of_somebody_forgotten_or_cannot_be_compared(
    tmp_path: Path, meanwhile: str, kept: int
) -> None:
    porch = Porch(tmp_path, privacy={"keep_unknown_days": 7})
    daemon, now = porch.daemon, datetime.now(UTC)
    folder = daemon._open_folder()
    daemon._keep(Departure("front", 1, Outcome.UNKNOWN, None, 1.0, now, now), (LOOK,))
    if meanwhile == "somebody is forgotten":
        daemon._forget_looks()
    elif meanwhile == "another model serves":
        daemon._serving = replace(daemon._serving)

    daemon._keeper._run_tasks(folder)

    strangers = daemon._strangers()
    assert strangers is not None
    assert len(strangers) == kept


def test_a_template_that_is_no_number_is_none(tmp_path: Path) -> None:
    """The stand-in gives NaN for a black crop, as a model may; nothing is compared with that."""
    porch = Porch(tmp_path)
    with porch.open():
        assert porch.daemon._embed_photo(np.zeros((150, 150, 3), np.uint8)) is None
        assert porch.daemon._embed_photo(np.full((150, 150, 3), 90, np.uint8)) is not None


def test_metrics_tell_whether_a_camera_delivers(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "shed").mkdir()  # without a picture
    cameras = {"shed": {"source": "shed", "loop": True}, "hall": {"source": "hall", "loop": True, "enabled": False}}
    porch = Porch(tmp_path, more_cameras=cameras, metrics={"port": port})
    with porch.open():
        wait_until(lambda: porch.daemon.health["front"].last_frame is not None, "a picture")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            told = re.findall(r'(?m)^streamd_camera_up{camera="(\w+)"} (\S+)$', answer.read().decode())

    assert dict(told) == {"front": "1.0", "shed": "0.0", "hall": "0.0"}


def test_a_port_of_the_metrics_that_is_taken_keeps_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        porch = Porch(tmp_path, metrics={"port": taken.getsockname()[1]})
        with porch.open():
            wait_until(lambda: porch.daemon.health["front"].last_frame is not None, "a picture")

    assert "until a restart there are none" in caplog.text


@pytest.mark.parametrize(
    ("cameras", "configured", "workers"),
    [(1, None, 1), (2, None, 1), (3, None, min(2, CORES)), (3 + 2 * CORES, None, CORES), (1, 3, 3)],
)
def test_a_thread_detects_for_two_cameras_unless_the_configuration_says_otherwise(
    tmp_path: Path, cameras: int, configured: int | None, workers: int
) -> None:
    more = {f"camera{index}": {"source": "front"} for index in range(1, cameras)}

    config = written_config(tmp_path, more_cameras=more, detection={"workers": configured})

    assert detection_workers(config) == workers
