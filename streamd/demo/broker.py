"""An MQTT broker inside the demonstration (amqtt, MQTT 3.1.1), so that nothing has to be installed for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
from typing import Any

from streamd.errors import UnavailableError

_START_SECONDS = 15.0

# Below what Linux gives to outgoing connections: a client that tries again and again to reach a broker that is away could be
# given the broker's own port there, and keep it from coming back.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment, and that no outgoing connection is given."""
    while True:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class EmbeddedBroker:
    """A broker on 127.0.0.1 in a thread of its own; use as a context manager. Raises UnavailableError without amqtt."""

    def __init__(self, port: int) -> None:
        try:
            from amqtt.broker import Broker
        except ImportError:
            raise UnavailableError("the demonstration needs its broker; install it with: pip install 'streamd[demo]'") from None
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.port = port
        self._broker_class = Broker
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="demo-broker", daemon=True)

    def __enter__(self) -> EmbeddedBroker:
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise UnavailableError(f"the demonstration's broker did not start within {_START_SECONDS:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        config: dict[str, Any] = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        broker = self._broker_class(config)
        await broker.start()
        self._started.set()
        await self._stop.wait()
        await broker.shutdown()
