"""A subscriber to one node's messages, as the demonstration and the benchmarks use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from streamd.errors import BrokerError

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Received:
    """A message and when it came (monotonic seconds)."""

    topic: str
    body: bytes
    retained: bool
    at: float


class Listener:
    """Hears everything below a base topic; use as a context manager. MQTT 3.1.1, which every broker speaks."""

    def __init__(self, host: str, port: int, base_topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._port, self._base = host, port, base_topic
        self._clock = clock
        self._messages: SimpleQueue[Received] = SimpleQueue()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self._client.suppress_exceptions = True  # else one would end paho's thread
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Listener:
        try:
            self._client.connect(self._host, self._port)
        except OSError as error:
            raise BrokerError(f"{self._host}:{self._port} cannot be reached ({error}); is the broker running?") from None
        self._client.loop_start()
        if not self._subscribed.wait(_CONNECT_SECONDS):
            raise BrokerError(f"{self._host}:{self._port} did not accept a subscription within {_CONNECT_SECONDS:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def next(self, timeout: float) -> Received | None:
        """The next message, or None after `timeout` seconds."""
        try:
            return self._messages.get(timeout=timeout)
        except Empty:
            return None

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(f"{self._base}/#", qos=1)

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed.set()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._messages.put(Received(message.topic, bytes(message.payload), message.retain, self._clock()))
