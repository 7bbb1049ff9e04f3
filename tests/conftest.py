"""What several chapters of the tests share: photographs of real faces, the networks that find them, and a clock to turn."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest
from hypothesis import settings

from streamd.demo import portraits as demo_portraits
from streamd.errors import UnavailableError
from streamd.values import UInt8
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from tests.checkout import environment

settings.register_profile("streamd", deadline=None)  # on a loaded machine any example may take long
settings.load_profile("streamd")

Result = TypeVar("Result")

# For every program that a test starts, also those of which it does not know: decoders, cameras, the demonstration's daemon.
os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers each chapter is one worker's: its tests share servers, and some go on where the last one ended."""
    for item in items:
        chapter = "visited" if "visited" in getattr(item, "fixturenames", ()) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(chapter))


class FakeClock:
    """A clock that stands until somebody sleeps on it or turns it; `slept` lists every wait."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.on_sleep()


class NetworkThread:
    """A face analyser on the one thread that may own it: that thread can open no socket, this process keeps its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "networks")
        self._analyser = self._thread.submit(FaceAnalyser).result()

    def call(self, work: Callable[[FaceAnalyser], Result]) -> Result:
        """Run `work(analyser)` on the thread."""
        return self._thread.submit(work, self._analyser).result()

    def analyse(self, image: UInt8) -> list[AnalysedFace]:
        """Every face of a picture (uint8 (H, W, 3) RGB), largest first."""
        return self.call(lambda analyser: analyser.analyse(image))

    def close(self) -> None:
        self.call(FaceAnalyser.close)
        self._thread.shutdown()


@pytest.fixture(autouse=True)
def _way_to_the_network_is_left() -> Iterator[None]:
    """The networks that find faces take it from the thread that makes them: a test that makes some here is told of it."""
    yield
    socket.socket().close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def portraits() -> Path:
    """The folder of public-domain portraits; without a network the tests that need it are skipped, but never in CI."""
    try:
        return demo_portraits.folder()
    except UnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def portrait(portraits: Path) -> Callable[[demo_portraits.Portrait], UInt8]:
    """Reads one of the portraits: uint8 (H, W, 3) RGB."""

    def read(which: demo_portraits.Portrait) -> UInt8:
        image = cv2.imread(str(portraits / which.file), cv2.IMREAD_COLOR)
        assert image is not None
        return np.ascontiguousarray(image[:, :, ::-1])

    return read


@pytest.fixture(scope="session")
def networks(portraits: Path) -> Iterator[NetworkThread]:
    """The networks of the vision stage; made after the portraits are there, since they take the way to the network away."""
    assert portraits.is_dir()
    thread = NetworkThread()
    yield thread
    thread.close()
    assert not [one.name for one in threading.enumerate() if one.name.startswith("networks")]
