"""What an earlier run left at the broker about people and cameras that are gone since. mqtt.py brings it what it finds.

Retained messages outlive the daemon: a person whose folder is deleted while it is down would stay at `last_seen` for ever, and
a camera that is taken out of the configuration would stay in Home Assistant.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streamd.events.contract import CameraState, LastSeen, Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamd.events.contract import Topics


class Remains:
    """Compares what the broker keeps with who and what is there. Safe to use from any thread.

    cameras: names in the configuration. discovery_topic: where Home Assistant is told of a camera, None if it is told nothing.
    """

    def __init__(self, topics: Topics, cameras: Iterable[str], discovery_topic: Callable[[str], str] | None = None) -> None:
        self._topics = topics
        self._cameras = frozenset(cameras)
        self._discovery_topic = discovery_topic
        self._lock = threading.Lock()
        self._subjects: frozenset[str] | None = None
        self._kept: dict[str, str] = {}
        self._gone: list[str] = []

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to in order to find everything."""
        topics = self._topics
        return topics.at(CameraState, camera="+"), topics.at(Presence, camera="+"), topics.at(LastSeen, subject="+")

    def enrolled(self, subjects: Iterable[str] | None) -> None:
        """Who may have a `last_seen`; None, as before the first call: that is not known, so nobody is judged."""
        with self._lock:
            self._subjects = None if subjects is None else frozenset(subjects)

    def found(self, topic: str) -> bool:
        """Take note of a retained message; returns whether its topic is one of `filters`."""
        kind, _, rest = topic.removeprefix(f"{self._topics.base}/").partition("/")
        name, _, what = rest.partition("/")
        with self._lock:
            if (kind, what) == ("subject", "last_seen"):
                self._kept[topic] = name
            elif kind == "camera" and what in ("state", "presence"):
                if name not in self._cameras:
                    self._gone.append(topic)
                    if self._discovery_topic is not None:
                        self._gone.append(self._discovery_topic(name))
            else:
                return False
        return True

    def take(self) -> list[str]:
        """The topics to clear now, each once."""
        with self._lock:
            gone = self._gone
            if self._subjects is not None:
                gone += [topic for topic, subject in self._kept.items() if subject not in self._subjects]
                self._kept = {}
            self._gone = []
        return list(dict.fromkeys(gone))
