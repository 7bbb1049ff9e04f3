"""A daemon within this process, for its threads and its watchdog: drawn pictures, a stand-in for the model, a clock to turn."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

from streamd.assembly import SHIPPED_CARD
from streamd.clock import SystemClock
from streamd.config import load
from streamd.daemon import Daemon
from streamd.events.contract import Presence, Topics
from streamd.events.outbox import MemoryPublisher
from streamd.recognition.card import read_card
from streamd.recognition.embedding import StubEmbedder, golden_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from streamd.config import Config
    from streamd.events.contract import State
    from streamd.values import Float32, UInt8

CARD = read_card(SHIPPED_CARD)


def written_config(folder: Path, more_cameras: Mapping[str, Any] | None = None, **options: Any) -> Config:
    """A configuration with a camera, `front`: a folder of drawn pictures, shown again and again."""
    pictures = folder / "front"
    pictures.mkdir()
    for index in range(3):
        noise = np.random.default_rng(index).integers(90, 110, (180, 320, 3)).astype(np.uint8)
        assert cv2.imwrite(str(pictures / f"{index}.png"), noise)
    (folder / "state" / "gallery").mkdir(parents=True)
    config = {
        "node": "porch",
        "state": "state",
        "cameras": {"front": {"source": str(pictures), "loop": True, "max_fps": 5}, **(more_cameras or {})},
        "mqtt": "mqtt://127.0.0.1:1",
        "motion": {"enabled": False},
        "home_assistant": {"enabled": False},
    }
    (folder / "streamd.yaml").write_text(yaml.safe_dump(config | options))
    return load(folder / "streamd.yaml", {})


class TurnedClock(SystemClock):
    """The machine's clock, which may be put forward."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def turn(self, seconds: float) -> None:
        """Put it forward, for everybody at once."""
        self._ahead += seconds


class Snag:
    """Something in which a thread gets caught until it is let go; never for longer than a test may take."""

    def __init__(self) -> None:
        self.caught = threading.Event()
        self._free = threading.Event()

    def catch(self) -> None:
        """Called by whoever is to be caught."""
        self.caught.set()
        self._free.wait(30)

    def let_go(self) -> None:
        """Let everybody go, also those who come later."""
        self._free.set()


class Watched(StubEmbedder):
    """A stand-in for the model that does something of the test's before it answers."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._before = before

    def embed(self, crops: Sequence[UInt8]) -> Float32:
        self._before()
        return super().embed(crops)


class PorchSink(MemoryPublisher):
    """What was told, safe for the daemon's many threads; `on_presence` is called by the thread that detects."""

    def __init__(self, clock: TurnedClock, on_presence: Callable[[], object] = lambda: None) -> None:
        self._lock = threading.RLock()
        self._on_presence = on_presence
        super().__init__(Topics("streamd/porch"), 2.0, clock.monotonic)

    def publish_state(self, state: State) -> None:
        if isinstance(state, Presence):
            self._on_presence()
        with self._lock:
            super().publish_state(state)


@contextmanager
def asking_for_a_template(daemon: Daemon) -> Iterator[None]:
    """One crop goes the way of every crop through the embedder's thread meanwhile; nobody waits for its template."""
    asking = threading.Thread(target=daemon._embed_photo, args=(golden_crop(),))
    asking.start()
    try:
        yield
    finally:
        daemon.stop()
        asking.join()
