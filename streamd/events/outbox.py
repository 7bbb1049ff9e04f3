"""What may leave for the broker now, and what may no longer: the rules of hand-over, without a network. Time is passed in.

A *state* (retained) is kept: the newest of each topic, sent again at every connection. An *event* (never retained) means
something only now: it waits in memory until the broker has shown a sign of life, for less than `max_age` after the frame that
settled it, and never over an outage. Whatever is not handed over is counted under its reason.

    any thread ─ state(), event(), reply() ─▶ Outbox ─ next(), sent(), confirmed() ─▶ the network thread
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from streamd.events.contract import EnrolPrompt, Event, GalleryEvent, LastSeen, Left, Presence, State, Topics, VisitEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

log = logging.getLogger(__name__)

# Mosquitto lets a client have 20 unconfirmed messages; half of the window stays free for events.
WINDOW = 16
# More events than this within `max_age` cannot come from people at a door.
EVENTS_WAITING = 64
REPLIES_WAITING = 32
# Seconds after which nobody waits for the answer to a command any more.
REPLY_LIFE = 10.0

_KINDS = {VisitEvent: "visit", Left: "left", GalleryEvent: "gallery_event", EnrolPrompt: "enrol_prompt"}


class DropReason(StrEnum):
    """Why an event or a reply was not handed over."""

    OFFLINE = "offline"
    """There was no connection."""
    OUTAGE = "outage"
    """The connection ended while it waited."""
    TOO_OLD = "too_old"
    """Its life ended before the broker gave a sign of life, or was over when it was made: the picture came late."""
    FULL = "full"
    """Too many waited already."""
    REFUSED = "refused"
    """The broker refused it (access control)."""
    UNCONFIRMED = "unconfirmed"
    """It was handed over, and the connection ended before the broker confirmed it: it may have arrived."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One message that was dropped: `age` seconds after the frame that settled it."""

    topic: str
    reason: DropReason
    age: float
    event: Event | None

    @property
    def may_be_made_anew(self) -> bool:
        """Whether what it said may be decided and said again; access control would refuse it again."""
        return isinstance(self.event, VisitEvent) and self.reason is not DropReason.REFUSED


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way. `deadline` (monotonic seconds) and `expiry` (whole seconds) only where it means something now."""

    topic: str
    body: bytes
    retained: bool
    kind: str
    settled: float
    deadline: float | None = None
    expiry: int | None = None
    event: Event | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What left and what did not, since the start. `handed_over` by kind: visit, left, gallery_event, enrol_prompt,
    state, reply.
    """

    handed_over: Mapping[str, int]
    confirmed: int
    dropped: Mapping[DropReason, int]


class EventSink(Protocol):
    """Where the pipeline's results go; no call waits for the network."""

    def publish_state(self, state: State) -> None:
        """Make this the newest state of its topic."""

    def publish_event(self, event: Event, settled: float | None = None) -> None:
        """Announce an event, now or never; `settled`: capture time (monotonic seconds) of the frame that settled it."""

    def forget(self, subject: str) -> None:
        """Take away what is kept of a subject at the broker."""


class Outbox:
    """The messages that wait and those under way. Safe to use from any thread; `now` is always monotonic seconds."""

    def __init__(self, topics: Topics, max_age: float, on_drop: Callable[[Drop], None] | None = None) -> None:
        self._topics = topics
        self._max_age = max_age
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._open = False
        self._window = WINDOW
        self._states: dict[str, bytes] = {}
        self._presence: dict[str, Presence] = {}
        self._unsent: dict[str, None] = {}
        self._events: deque[Outgoing] = deque()
        self._replies: deque[Outgoing] = deque()
        self._under_way: dict[int, tuple[Outgoing, float]] = {}
        self._handed_over: Counter[str] = Counter()
        self._confirmed = 0
        self._dropped: Counter[DropReason] = Counter()

    # From any thread

    def state(self, state: State) -> None:
        """Make this the newest state of its topic; one that was not sent yet is replaced. ValueError as `Payload.to_json`."""
        topic = self._topics.of(state)
        self.retain(topic, state.to_json())
        if isinstance(state, Presence):
            self._presence[topic] = state

    def retain(self, topic: str, body: bytes) -> None:
        """Keep a message for a topic and send it at every connection; empty bytes clear the topic and are sent once."""
        with self._lock:
            self._states[topic] = body
            self._unsent.pop(topic, None)
            self._unsent[topic] = None

    def event(self, event: Event, settled: float, now: float) -> None:
        """Let an event wait for its hand-over, or drop it at once. ValueError as `Payload.to_json`."""
        deadline = settled + self._max_age
        body = event.to_json()
        waiting = Outgoing(self._topics.of(event), body, False, _KINDS[type(event)], settled, deadline, event=event)
        # Many photos dropped at once must not take a decision's place.
        places = EVENTS_WAITING // 2 if isinstance(event, GalleryEvent) else EVENTS_WAITING
        self._wait(self._events, places, waiting, now)

    def reply(self, topic: str, body: bytes, correlation: bytes | None, now: float) -> None:
        """Let the answer to a command wait for its turn, or drop it at once."""
        waiting = Outgoing(
            topic, body, False, "reply", now, deadline=now + REPLY_LIFE, expiry=math.ceil(REPLY_LIFE), correlation=correlation
        )
        self._wait(self._replies, REPLIES_WAITING, waiting, now)

    def counters(self) -> Counters:
        """The counters as they stand."""
        with self._lock:
            return Counters(dict(self._handed_over), self._confirmed, dict(self._dropped))

    def clear_presence(self, at: datetime) -> None:
        """Say of every camera that nobody is in view: whoever stops no longer knows."""
        for presence in list(self._presence.values()):
            if presence.faces:
                self.state(dataclasses.replace(presence, faces=0, at=at))

    # From the network thread

    def opened(self, window: int = WINDOW) -> None:
        """A connection stands: every state is to be sent again; `window` is how many unconfirmed messages the broker takes."""
        with self._lock:
            self._open = True
            self._window = max(1, min(WINDOW, window))
            self._unsent = dict.fromkeys(self._states)

    def closed(self, now: float) -> None:
        """The connection is gone, and with it every event that waited or was not confirmed."""
        with self._lock:
            self._open = False
            drops = [self._drop(waiting, DropReason.OUTAGE, now) for waiting in (*self._events, *self._replies)]
            lost = [sent for sent, _ in self._under_way.values() if not sent.retained]
            drops += [self._drop(sent, DropReason.UNCONFIRMED, now) for sent in lost]
            self._events.clear()
            self._replies.clear()
            self._under_way.clear()
        self._tell(drops)

    def again(self) -> None:
        """Send every state again: somebody at the other end has started anew."""
        with self._lock:
            self._unsent = dict.fromkeys(self._states)

    def expire(self, now: float) -> None:
        """Drop what has waited until the end of its life."""
        with self._lock:
            drops = []
            for queue in (self._events, self._replies):
                late = [waiting for waiting in queue if waiting.deadline is not None and waiting.deadline <= now]
                for waiting in late:
                    queue.remove(waiting)
                drops += [self._drop(waiting, DropReason.TOO_OLD, now) for waiting in late]
        self._tell(drops)

    @property
    def connected(self) -> bool:
        """Whether a connection stands."""
        return self._open

    @property
    def events_wait(self) -> bool:
        """Whether an event waits for a sign of life from the broker."""
        return bool(self._events)

    @property
    def quiet(self) -> bool:
        """Whether nothing waits and everything that was sent is confirmed."""
        return not (self._unsent or self._events or self._replies or self._under_way)

    def next_event(self, now: float) -> Outgoing | None:
        """The next event to hand over now that the broker has shown a sign of life; its `age_ms` and expiry are set here."""
        self.expire(now)
        with self._lock:
            if not self._events or len(self._under_way) >= self._window:
                return None
            waiting = self._events.popleft()
        assert waiting.event is not None
        assert waiting.deadline is not None
        return dataclasses.replace(
            waiting,
            body=_aged(waiting.event, now - waiting.settled).to_json(),
            expiry=max(1, math.ceil(waiting.deadline - now)),
        )

    def next_other(self) -> Outgoing | None:
        """The next reply or state to send; half of the window stays free for events."""
        with self._lock:
            if len(self._under_way) >= max(1, self._window // 2):
                return None
            if self._replies:
                return self._replies.popleft()
            if not self._unsent:
                return None
            topic = next(iter(self._unsent))
            del self._unsent[topic]
            body = self._states[topic]
            if not body:
                del self._states[topic]
        return Outgoing(topic, body, True, "state", 0.0)

    def sent(self, key: int, message: Outgoing, now: float) -> None:
        """A message went out under the client's key (packet identifier)."""
        with self._lock:
            self._under_way[key] = (message, now)
            self._handed_over[message.kind] += 1

    def confirmed(self, key: int, now: float, *, refused: bool = False) -> Outgoing | None:
        """The broker has answered for a message: returns it, or None if the key is not known."""
        with self._lock:
            message, _ = self._under_way.pop(key, (None, 0.0))
            if message is None:
                return None
            drops = [self._drop(message, DropReason.REFUSED, now)] if refused else []
            self._confirmed += not refused
        self._tell(drops)
        return message

    def overdue(self, now: float, patience: float) -> bool:
        """Whether the broker owes an answer: for an event beyond its life, or for anything for `patience` seconds."""
        with self._lock:
            return any(
                now >= since + patience or (message.event is not None and now >= message.settled + self._max_age)
                for message, since in self._under_way.values()
            )

    def next_deadline(self) -> float | None:
        """When the next life ends of what `expire` and `overdue` watch, monotonic seconds."""
        with self._lock:
            under_way = [message for message, _ in self._under_way.values() if message.event is not None]
            messages = [*self._events, *self._replies, *under_way]
        return min((message.deadline for message in messages if message.deadline is not None), default=None)

    def _wait(self, queue: deque[Outgoing], limit: int, message: Outgoing, now: float) -> None:
        reason: DropReason | None = None
        with self._lock:
            if not self._open:
                reason = DropReason.OFFLINE
            elif message.deadline is not None and message.deadline <= now:
                reason = DropReason.TOO_OLD
            elif len(queue) >= limit:
                reason = DropReason.FULL
            drops = [] if reason is None else [self._drop(message, reason, now)]
            if reason is None:
                queue.append(message)
        self._tell(drops)

    def _drop(self, message: Outgoing, reason: DropReason, now: float) -> Drop:
        self._dropped[reason] += 1
        return Drop(message.topic, reason, now - message.settled, message.event)

    def _tell(self, drops: list[Drop]) -> None:
        for drop in drops:
            log.warning("not handed to the broker: %s, %s, %.2f s old", drop.topic, drop.reason, drop.age)
            if self._on_drop is not None:
                self._on_drop(drop)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a subscriber receives it."""

    topic: str
    body: bytes
    retained: bool


class MemoryPublisher:
    """An `EventSink` that keeps what a broker would have been given, under the same rules; for tests and for trying things out.

    `messages` is all that was handed over, in order; `retained` is what a late subscriber would receive.
    """

    def __init__(self, topics: Topics, max_age: float, clock: Callable[[], float]) -> None:
        self.messages: list[Message] = []
        self.retained: dict[str, bytes] = {}
        self.drops: list[Drop] = []
        self._topics = topics
        self._clock = clock
        self._outbox = Outbox(topics, max_age, self.drops.append)
        self.connect()

    def connect(self) -> None:
        """The broker is there (again)."""
        self._outbox.opened()
        self._deliver()

    def disconnect(self) -> None:
        """The broker goes away: states wait, events are dropped."""
        self._outbox.closed(self._clock())

    def publish_state(self, state: State) -> None:
        """See `EventSink`."""
        self._outbox.state(state)
        self._deliver()

    def publish_event(self, event: Event, settled: float | None = None) -> None:
        """See `EventSink`."""
        now = self._clock()
        self._outbox.event(event, now if settled is None else settled, now)
        self._deliver()

    def forget(self, subject: str) -> None:
        """See `EventSink`."""
        self._outbox.retain(self._topics.at(LastSeen, subject=subject), b"")
        self._deliver()

    def counters(self) -> Counters:
        """See `Outbox.counters`."""
        return self._outbox.counters()

    def _deliver(self) -> None:
        now = self._clock()
        while self._outbox.connected and (message := self._outbox.next_event(now) or self._outbox.next_other()):
            self._outbox.sent(len(self.messages), message, now)
            self._outbox.confirmed(len(self.messages), now)
            self.messages.append(Message(message.topic, message.body, message.retained))
            if message.retained and message.body:
                self.retained[message.topic] = message.body
            elif message.retained:
                self.retained.pop(message.topic, None)


def _aged(event: Event, age: float) -> Event:
    return dataclasses.replace(event, age_ms=max(0, round(age * 1000))) if isinstance(event, VisitEvent) else event
