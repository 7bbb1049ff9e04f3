"""What other people's software may ask of the daemon: commands are judged, carried out and answered. No network.

Before it: mqtt.py takes a message from the broker. After it: the answer goes into the outbox.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamd.events.contract import CommandResult, Refusal, Topics, is_level

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

MAX_COMMAND_BYTES = 64 * 1024
# A photo travels as base64 in JSON: twelve megabytes of it.
MAX_ENROL_BYTES = 16 * 1024 * 1024
# A handler that keeps the network thread longer than this is named in the log.
HANDLER_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Command:
    """A command that came in: its name, the JSON object it carried (empty if none), and when."""

    name: str
    payload: Mapping[str, Any]
    received: datetime

    def done(self, message: str) -> CommandResult:
        """The answer when it was carried out."""
        return CommandResult(command=self.name, ok=True, message=message, at=self.received)

    def refused(self, message: str, refusal: Refusal = Refusal.FAILED) -> CommandResult:
        """The answer when it was not."""
        return CommandResult(command=self.name, ok=False, message=message, refusal=refusal, at=self.received)


@dataclass(frozen=True, slots=True)
class Letter:
    """A command as it came from the broker."""

    name: str
    body: bytes
    retained: bool
    received: datetime
    response_topic: str | None = None
    correlation: bytes | None = None


Handler = Callable[[Command], CommandResult]
# Takes a job to another thread; False when it has no room.
Runner = Callable[[Callable[[], None]], bool]
# Topic, answer, correlation data.
Reply = Callable[[str, CommandResult, bytes | None], None]


class Commands:
    """Judges each letter, has its handler run, and answers it, always: silence would leave the sender guessing.

    handlers: by name of the command; `run` decides on which thread they work, by default on the caller's.
    """

    def __init__(
        self,
        topics: Topics,
        handlers: Mapping[str, Handler],
        reply: Reply,
        clock: Callable[[], float],
        run: Runner | None = None,
    ) -> None:
        self._topics = topics
        self._handlers = handlers
        self._reply = reply
        self._clock = clock
        self._run = run
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()

    def outcomes(self) -> dict[str, int]:
        """Commands by what became of them: `done` or a `Refusal`."""
        with self._lock:
            return dict(self._outcomes)

    def receive(self, letter: Letter) -> None:
        """Judge a command and have it carried out."""
        judged = judge(letter, self._handlers)
        if isinstance(judged, CommandResult):
            self._answer(letter, judged)
        elif self._run is None:
            began = self._clock()
            self._carry_out(letter, judged)
            if (took := self._clock() - began) > HANDLER_SECONDS:
                log.warning("the command %s kept the network thread for %.2f s", judged.name, took)
        elif not self._run(lambda: self._carry_out(letter, judged)):
            self._answer(letter, judged.refused("too many commands wait already", Refusal.BUSY))

    def _carry_out(self, letter: Letter, command: Command) -> None:
        try:
            answer = self._handlers[command.name](command)
        except Exception as error:
            # A fault of one command never harms another, nor the connection.
            log.exception("the command %s failed", command.name)
            answer = command.refused(f"it failed: {error}")
        self._answer(letter, answer)

    def _answer(self, letter: Letter, answer: CommandResult) -> None:
        with self._lock:
            self._outcomes["done" if answer.ok else answer.refusal or Refusal.FAILED] += 1
        if not answer.ok:
            log.warning("command %r refused: %s", letter.name[:80], answer.message)
        target, correlation = answer_to(letter, self._topics)
        if target is not None:
            self._reply(target, answer, correlation)


def judge(letter: Letter, handlers: Mapping[str, Handler]) -> Command | CommandResult:
    """The command that a letter holds, or the answer that says why it is refused."""
    command = Command(letter.name, {}, letter.received)
    if letter.retained:
        return command.refused("a retained command is never carried out; send it without the retain flag", Refusal.RETAINED)
    most = MAX_ENROL_BYTES if letter.name == "enrol" else MAX_COMMAND_BYTES
    if len(letter.body) > most:
        size = f"the message has {len(letter.body)} bytes, at most {most} are read"
        return command.refused(size, Refusal.TOO_LARGE)
    if letter.name not in handlers:
        known = ", ".join(sorted(handlers)) or "none"
        return command.refused(f"there is no such command; known are: {known}", Refusal.UNKNOWN_COMMAND)
    try:
        payload = json.loads(letter.body) if letter.body.strip() else {}
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        return command.refused("expected a JSON object or an empty message", Refusal.INVALID_PAYLOAD)
    return Command(letter.name, payload, letter.received)


def answer_to(letter: Letter, topics: Topics) -> tuple[str | None, bytes | None]:
    """Where the answer to a letter goes, and the data that goes with it.

    A response topic among our own would let anybody who may send commands speak as the daemon: it is not honoured.
    """
    asked = letter.response_topic
    if asked and not any(c in asked for c in "+#\0"):
        ours = asked == topics.base or asked.startswith(f"{topics.base}/")
        if not ours or asked.startswith(topics.command("")):
            return asked, letter.correlation
    return (topics.result(letter.name) if is_level(letter.name) else None), None
