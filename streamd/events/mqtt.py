"""The broker: one thread that connects, tells, listens and comes back. The only module that knows paho-mqtt.

Before it: contract.py says what, outbox.py says what may leave now. After it: the broker.

paho's own queue is not used. It keeps QoS 1 messages over an outage without limit and sends them after a reconnect, those under
way included, clean session or not (`Client._handle_connack`): at a door, that is yesterday's visit announced today. So:

- every connection has a client object of its own; nothing can be remembered by the last one;
- messages wait in `Outbox`, and paho is given one only when it can be written at once;
- an event leaves only when the broker has just answered a question. A broker that hangs takes bytes gladly, kept by its kernel,
  and delivers them when it goes on: measured with Mosquitto stopped for two seconds, the message arrived late even though the
  connection had been reset meanwhile. The question is an UNSUBSCRIBE of a topic that nobody subscribed to: every broker answers
  it, and it changes nothing;
- an event whose confirmation is missing at the end of its life ends the connection by a reset, so that what this side's kernel
  still holds is thrown away.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamd.errors import BrokerError
from streamd.events.broker import (
    BrokerFailure,
    BrokerFault,
    BrokerSettings,
    client_id_conflict,
    closed_unanswered,
    fault_of_error,
    fault_of_reason,
    no_answer,
    reconnect_delay,
    silent,
    tls_context,
)
from streamd.events.commands import Command, Commands, Handler, Letter, Runner
from streamd.events.contract import (
    CommandResult,
    EnrolPrompt,
    GalleryEvent,
    LastSeen,
    Left,
    NodeState,
    Status,
    Topics,
    VisitEvent,
)
from streamd.events.outbox import Counters, Drop, Outbox, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paho.mqtt.reasoncodes import ReasonCode

    from streamd.events.contract import Event, State
    from streamd.events.remains import Remains

__all__ = ["BrokerHealth", "BrokerSettings", "Command", "CommandResult", "Identity", "Publisher", "probe"]

log = logging.getLogger(__name__)

# Home Assistant is told again within this time after its start, so that many nodes do not answer at once.
REPUBLISH_WITHIN = 1.0
# What is retained below our base topic comes right after the subscription; then it is ended.
STRAYS_SECONDS = 2.0
# A connection that lasted this long was a good one: the next back-off starts anew.
GOOD_CONNECTION = 5.0
# Taken and then closed by the broker this often within a minute, with no failed attempt between: another client has the same
# identifier. A broker that restarts refuses connections meanwhile.
CLOSURES = 5
# What an access-control list refuses is named in `status`; more than this helps nobody.
REFUSED_TOPICS = 8
# A broker that owes an answer for so long is treated as gone, however long the keepalive.
ANSWER_SECONDS = 10.0
_FAREWELL_SECONDS = 1.0  # that are left for `offline` when a broker is slow to take what comes before it


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks: the version of streamd and the identifier of this run."""

    version: str
    boot: str
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class BrokerHealth:
    """How things stand with the broker. `since`: monotonic seconds of the last change, None before the first connection."""

    connected: bool
    since: float | None
    fault: BrokerFault | None
    connections: int
    failed_attempts: int
    commands: Mapping[str, int]
    """Commands by what became of them: `done` or a `Refusal`."""
    outgoing: Counters


class Publisher:
    """The way to the broker: an `EventSink` with commands. Calls from any thread return at once; `start` and `stop` once each.

    handlers: what a command does. They run on the network thread and must return quickly; give `run` a function that takes a
    job to another thread (and returns False when it has no room) if one of them cannot. discovery_prefix: Home Assistant's, to
    be told again when it starts. remains: what it names as gone is cleared at the broker.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        identity: Identity,
        *,
        handlers: Mapping[str, Handler] | None = None,
        discovery_prefix: str | None = None,
        remains: Remains | None = None,
        run: Runner | None = None,
        on_drop: Callable[[Drop], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._topics = topics
        self._clock = clock
        self._outbox = Outbox(topics, settings.max_age, on_drop)
        self._commands = Commands(topics, handlers or {}, self._reply, clock, run)
        self._standing = _Standing(settings, topics, identity, self._outbox, clock, utc, chance)
        self._birth_topic = f"{discovery_prefix}/status" if discovery_prefix else None
        self._remains = remains
        self._thread = threading.Thread(target=self._serve_until_stopped, name="mqtt", daemon=True)
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    # From any thread

    def start(self) -> None:
        """Connect in the background and stay connected; returns at once, with or without a broker."""
        self._outbox.state(self._standing.status(NodeState.ONLINE))
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Say that nobody is in view and that the daemon goes, wait for the broker to confirm, and end the thread.

        Takes little more than `timeout` seconds; without a connection the will has said it already.
        """
        self._standing.farewell_until = self._clock() + timeout
        self._standing.stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout + 0.5)

    def publish_state(self, state: State) -> None:
        """Make this the newest state of its topic."""
        self._outbox.state(state)
        self._wake()

    def publish_event(self, event: Event, settled: float | None = None) -> None:
        """Announce an event, now or never; `settled`: capture time (monotonic seconds) of the frame that settled it."""
        now = self._clock()
        self._outbox.event(event, now if settled is None else settled, now)
        self._wake()

    def retain(self, topic: str, body: bytes) -> None:
        """Keep a message of another contract, such as a discovery message, for its topic."""
        self._outbox.retain(topic, body)
        self._wake()

    def retract(self, topic: str) -> None:
        """Take a retained message away, at the broker and from memory."""
        self._outbox.retain(topic, b"")
        self._wake()

    def forget(self, subject: str) -> None:
        """Take away what the broker keeps of a subject."""
        self.retract(self._topics.at(LastSeen, subject=subject))

    def set_problems(self, problems: tuple[str, ...]) -> None:
        """Name in `status` what is wrong with the daemon now, one sentence each."""
        self._standing.note_problems(problems)
        self._wake()

    def health(self) -> BrokerHealth:
        """How things stand, as a value."""
        return self._standing.health(self._commands.outcomes())

    def _reply(self, topic: str, answer: CommandResult, correlation: bytes | None) -> None:
        self._outbox.reply(topic, answer.to_json(), correlation, self._clock())
        self._wake()

    def _wake(self) -> None:
        # A full pipe has woken the thread already; a closed one has nobody to wake.
        with suppress(OSError):
            self._wake_in.send(b"\0")

    # On the network thread

    def _serve_until_stopped(self) -> None:
        standing, settings = self._standing, self._standing.settings
        attempt = 0
        while not standing.stopping.is_set():
            began = self._clock()
            try:
                fault = _Connection(standing, self._commands, self._wake_out, self._birth_topic, self._remains).serve()
            except Exception as error:
                # The outermost loop of this thread: a broken packet or a fault of ours must not silence the daemon for good.
                log.exception("the connection to the broker at %s failed", settings.address)
                fault = BrokerFault(BrokerFailure.FAULT, f"the connection to {settings.address} failed: {error!r}")
            was_open = self._outbox.connected
            self._outbox.closed(self._clock())
            if standing.stopping.is_set():
                break
            if was_open and self._clock() - began >= GOOD_CONNECTION:
                attempt = 0
            standing.note_failure(fault, was_open=was_open)
            standing.stopping.wait(reconnect_delay(attempt, settings, fault.failure, standing.chance()))
            attempt += 1
        self._wake_in.close()
        self._wake_out.close()


class _Standing:
    """What outlives a connection: who we are, what is wrong, and how often it was."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        identity: Identity,
        outbox: Outbox,
        clock: Callable[[], float],
        utc: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.topics = topics
        self.outbox = outbox
        self.clock = clock
        self.utc = utc
        self.chance = chance
        self.stopping = threading.Event()
        self.farewell_until = float("inf")
        self._identity = identity
        self._lock = threading.Lock()
        self._started = utc()
        self._problems: tuple[str, ...] = ()
        self._refused: dict[str, str] = {}
        self._connections = 0
        self._failed_attempts = 0
        self._changed: float | None = None
        self._fault: BrokerFault | None = None
        self._closures: deque[float] = deque(maxlen=CLOSURES)

    def status(self, state: NodeState, *, will: bool = False) -> Status:
        """What `status` says now, or after our death."""
        with self._lock:
            problems = (*self._problems, *self._refused.values())
        online = state is NodeState.ONLINE
        return Status(
            state=state,
            version=self._identity.version,
            boot=self._identity.boot,
            since=None if will else self._started if online else self.utc(),
            problems=problems if online else (),
            simulated=self._identity.simulated,
        )

    def health(self, commands: Mapping[str, int]) -> BrokerHealth:
        with self._lock:
            return BrokerHealth(
                self.outbox.connected,
                self._changed,
                self._fault,
                self._connections,
                self._failed_attempts,
                commands,
                self.outbox.counters(),
            )

    def note_problems(self, problems: tuple[str, ...]) -> None:
        with self._lock:
            changed = problems != self._problems
            self._problems = problems
        if changed and not self.stopping.is_set():
            self.outbox.state(self.status(NodeState.ONLINE))

    def note_access(self, what: str, sentence: str | None) -> None:
        """Name in `status` what the broker refuses, or stop naming it."""
        with self._lock:
            before = dict(self._refused)
            if sentence is None:
                self._refused.pop(what, None)
            elif len(self._refused) < REFUSED_TOPICS:
                self._refused[what] = sentence
            changed = before != self._refused
        if changed and sentence is not None:
            log.warning("%s", sentence)
        if changed and not self.stopping.is_set():
            self.outbox.state(self.status(NodeState.ONLINE))

    def note_failure(self, fault: BrokerFault, *, was_open: bool) -> None:
        with self._lock:
            news = was_open or self._fault is None or self._fault.failure is not fault.failure
            self._fault = fault
            self._failed_attempts += not was_open
            if was_open:
                self._changed = self.clock()
            else:
                self._closures.clear()
        log.log(logging.WARNING if news else logging.DEBUG, "%s", fault.sentence)

    def note_connection(self) -> None:
        now = self.clock()
        with self._lock:
            away = None if self._changed is None else now - self._changed
            self._changed = now
            self._fault = None
            self._connections += 1
        if away is None:
            log.info("connected to the broker at %s", self.settings.address)
        else:
            log.info("connected to the broker at %s again after %.1f s", self.settings.address, away)

    def note_closure(self, reason: str) -> BrokerFault:
        """What to make of a connection that the broker ended: once is a restart, again and again is another client."""
        now = self.clock()
        with self._lock:
            self._closures.append(now)
            often = len(self._closures) == CLOSURES and now - self._closures[0] < 60
        if often:
            return client_id_conflict(self.settings)
        return BrokerFault(BrokerFailure.CLOSED, f"the connection to {self.settings.address} ended ({reason})")


class _Connection:
    """One connection from its start to its end, on the network thread. Its client is thrown away with it."""

    def __init__(
        self,
        standing: _Standing,
        commands: Commands,
        wake: socket.socket,
        birth_topic: str | None,
        remains: Remains | None,
    ) -> None:
        self._standing = standing
        self._commands = commands
        self._wake = wake
        self._birth_topic = birth_topic
        self._remains = remains
        self._settings = standing.settings
        self._topics = standing.topics
        self._outbox = standing.outbox
        self._clock = standing.clock
        self._mqtt5 = self._settings.protocol == "5"
        self._began = self._clock()
        self._accepted = False
        self._fault: BrokerFault | None = None
        self._question: int | None = None
        self._asked = 0.0
        self._answered = False
        self._subscriptions: dict[int, str] = {}
        self._strays: tuple[str, ...] = (
            self._topics.at(VisitEvent, camera="+"),
            self._topics.at(Left, camera="+"),
            self._topics.at(GalleryEvent),
            self._topics.at(EnrolPrompt),
            *(remains.filters if remains is not None else ()),
        )
        self._republish_at: float | None = None
        self._farewell_said = False

    def serve(self) -> BrokerFault:
        """Connect, and stay until the connection ends; says why it did."""
        try:
            client = new_client(self._settings)
            will = self._standing.status(NodeState.OFFLINE, will=True)
            client.will_set(self._topics.of(will), will.to_json(), qos=1, retain=True)
            client.on_connect = self._on_connect
            client.on_disconnect = self._on_disconnect
            client.on_message = self._on_message
            client.on_publish = self._on_publish
            client.on_subscribe = self._on_subscribe
            client.on_unsubscribe = self._on_unsubscribe
            open_connection(client, self._settings)
        except (OSError, ValueError) as error:
            return fault_of_error(error, self._settings)
        try:
            while (sock := client.socket()) is not None and self._fault is None:
                self._turn(client, sock)
                if self._farewell_over(client):
                    break
        finally:
            _reset(client)
        return self._fault or BrokerFault(BrokerFailure.CLOSED, f"{self._settings.address} closed the connection")

    def _turn(self, client: paho.Client, sock: Any) -> None:
        """Wait for bytes, a message to send or the next deadline; then do what is due."""
        # What TLS has decrypted already does not show in select.
        pending = getattr(sock, "pending", int)()
        writers = [sock] if client.want_write() else []
        readable, writable, _ = select.select([sock, self._wake], writers, [], 0 if pending else self._patience())
        if self._wake in readable:
            with suppress(BlockingIOError):
                self._wake.recv(4096)
        if sock in readable or pending:
            client.loop_read()
        if sock in writable:
            client.loop_write()
        client.loop_misc()
        if self._accepted and self._fault is None and client.socket() is not None:
            self._send(client)
        elif not self._accepted and self._clock() - self._began >= self._settings.connect_timeout:
            self._fault = self._fault or no_answer(self._settings)

    def _patience(self) -> float:
        """Seconds until something is due without anybody waking us; paho's keepalive wants a look every second."""
        if not self._accepted:
            return max(0.0, min(1.0, self._began + self._settings.connect_timeout - self._clock()))
        due = [moment for moment in (self._outbox.next_deadline(), self._republish_at) if moment is not None]
        return max(0.0, min(1.0, *(moment - self._clock() for moment in due))) if due else 1.0

    def _send(self, client: paho.Client) -> None:
        now = self._clock()
        # The ends of visits go first, unless the broker holds them up for too long.
        in_order = not self._outbox.events_wait or now >= self._standing.farewell_until - _FAREWELL_SECONDS
        if self._standing.stopping.is_set() and not self._farewell_said and in_order:
            self._farewell_said = True
            self._outbox.clear_presence(self._standing.utc())
            self._outbox.state(self._standing.status(NodeState.OFFLINE))
        if self._republish_at is not None and now >= self._republish_at:
            self._republish_at = None
            self._outbox.again()
        if self._strays and now - self._began >= STRAYS_SECONDS:
            client.unsubscribe(list(self._strays))
            self._strays = ()
        for topic in self._remains.take() if self._remains is not None else ():
            log.info("took away %s: its camera or person is gone", topic)
            self._outbox.retain(topic, b"")
        if self._answered:
            self._answered = False
            while message := self._outbox.next_event(self._clock()):
                self._hand_over(client, message)
        self._outbox.expire(now)
        if self._outbox.events_wait and self._question is None:
            self._ask(client)
        while message := self._outbox.next_other():
            self._hand_over(client, message)
        waiting = self._question is not None and now - self._asked >= ANSWER_SECONDS
        if waiting or self._outbox.overdue(now, ANSWER_SECONDS):
            self._fault = silent(self._settings)

    def _ask(self, client: paho.Client) -> None:
        """Ask the broker for a sign of life; events leave when the answer is there."""
        _, self._question = client.unsubscribe(f"{self._topics.base}/sign_of_life")
        self._asked = self._clock()

    def _hand_over(self, client: paho.Client, message: Outgoing) -> None:
        properties: Properties | None = None
        if self._mqtt5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if message.body:
                properties.ContentType = "application/json"
            if message.expiry is not None:
                properties.MessageExpiryInterval = message.expiry
            if message.correlation is not None:
                properties.CorrelationData = message.correlation
        info = client.publish(message.topic, message.body, qos=1, retain=message.retained, properties=properties)
        # A lost connection shows in the next turn; `closed` then counts the message as not confirmed.
        self._outbox.sent(info.mid, message, self._clock())

    def _farewell_over(self, client: paho.Client) -> bool:
        """Whether the broker has confirmed the last messages, or there is no more time to wait for it."""
        if not self._standing.stopping.is_set():
            return False
        late = self._clock() >= self._standing.farewell_until
        if self._accepted and self._farewell_said and self._outbox.quiet and not client.want_write():
            client.disconnect()
            return True
        return late or not self._accepted

    # Called by paho, within loop_read and loop_write

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._fault = fault_of_reason(reason.value, str(reason), self._settings)
            return
        self._accepted = True
        self._outbox.opened(getattr(properties, "ReceiveMaximum", 65535))
        self._standing.note_connection()
        self._subscribe(client, self._topics.command("+"))
        if self._birth_topic is not None:
            self._subscribe(client, self._birth_topic)
        # Not being allowed to read our own topics only means that nothing old can be cleared there.
        for topic in self._strays:
            self._subscribe(client, topic, needed=False)

    def _subscribe(self, client: paho.Client, topic: str, *, needed: bool = True) -> None:
        if self._mqtt5:
            # Else a command that is retained while we listen would look like any other, and be refused only at the next start.
            as_sent = topic == self._topics.command("+")
            _, key = client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True, retainAsPublished=as_sent))
        else:
            _, key = client.subscribe(topic, qos=1)
        if key is not None and needed:
            self._subscriptions[key] = topic

    def _on_subscribe(self, _client: paho.Client, _data: Any, key: int, reasons: list[ReasonCode], _properties: Any) -> None:
        topic = self._subscriptions.pop(key, None)
        if topic is None:
            return
        refused = any(reason.is_failure for reason in reasons)
        sentence = f"the broker does not let {self._settings.client_id!r} read {topic}; allow it in its access-control list"
        self._standing.note_access(f"read {topic}", sentence if refused else None)

    def _on_unsubscribe(self, _client: paho.Client, _data: Any, key: int, _reasons: Any, _properties: Any) -> None:
        if key == self._question:
            self._question = None
            self._answered = True

    def _on_publish(self, _client: paho.Client, _data: Any, key: int, reason: ReasonCode, _properties: Any) -> None:
        message = self._outbox.confirmed(key, self._clock(), refused=reason.is_failure)
        if message is None or message.kind == "reply":
            return
        sentence = (
            f"the broker does not take {message.topic} from {self._settings.client_id!r} ({reason}); "
            "allow it in its access-control list"
        )
        self._standing.note_access(f"write {message.topic}", sentence if reason.is_failure else None)

    def _on_disconnect(self, _client: paho.Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if self._fault is not None or self._standing.stopping.is_set():
            return
        if self._accepted:
            said = flags.is_disconnect_packet_from_server
            self._fault = self._standing.note_closure(str(reason) if said else "without a reason")
        else:
            self._fault = closed_unanswered(self._settings)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        name = self._topics.command_name(message.topic)
        if name is not None:
            response_topic = getattr(message.properties, "ResponseTopic", None)
            correlation = getattr(message.properties, "CorrelationData", None)
            received = self._standing.utc()
            self._commands.receive(Letter(name, bytes(message.payload), message.retain, received, response_topic, correlation))
        elif message.topic == self._birth_topic:
            if message.payload == b"online" and not message.retain:
                self._republish_at = self._clock() + REPUBLISH_WITHIN * self._standing.chance()
            return
        if message.retain and self._remains is not None and self._remains.found(message.topic):
            return
        # Without MQTT 5 (no local) the clearing message would come back to us as a command.
        if message.retain and message.payload and (name is None or self._mqtt5):
            log.warning("took away a retained message at %s: nothing may be retained there", message.topic)
            self._outbox.retain(message.topic, b"")


def probe(settings: BrokerSettings, timeout: float = 5.0) -> None:
    """Connect once and go; BrokerError says in one sentence why that did not work and what to do.

    The identifier differs from the daemon's, so that a running one is not pushed out.
    """
    fault: list[BrokerFault] = []
    accepted = threading.Event()

    def on_connect(_client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            fault.append(fault_of_reason(reason.value, str(reason), settings))
        else:
            accepted.set()

    def on_disconnect(_client: paho.Client, _data: Any, _flags: Any, _reason: ReasonCode, _properties: Any) -> None:
        fault.append(closed_unanswered(settings))

    until = time.monotonic() + timeout
    try:
        client = new_client(settings, suffix="-check")
        client.connect_timeout = timeout
        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        open_connection(client, settings)
    except (OSError, ValueError) as error:
        raise BrokerError(fault_of_error(error, settings).sentence) from None
    try:
        while not accepted.is_set() and not fault:
            if time.monotonic() >= until:
                fault.append(no_answer(settings))
            elif client.socket() is None:
                fault.append(closed_unanswered(settings))
            else:
                client.loop(0.1)
        if accepted.is_set():
            client.disconnect()
    finally:
        _reset(client)
    if not accepted.is_set():
        raise BrokerError(fault[0].sentence)


def new_client(settings: BrokerSettings, suffix: str = "") -> paho.Client:
    """A client that remembers nothing; OSError (ssl.SSLError among them) if a TLS file cannot be used."""
    mqtt5 = settings.protocol == "5"
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id + suffix,
        clean_session=None if mqtt5 else True,
        protocol=paho.MQTTv5 if mqtt5 else paho.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = settings.connect_timeout
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.password)
    if settings.tls:
        client.tls_set_context(tls_context(settings))
    return client


def open_connection(client: paho.Client, settings: BrokerSettings) -> None:
    """Reach the broker and send the CONNECT packet, without waiting for its answer; OSError if it cannot be reached."""
    if settings.protocol == "5":
        client.connect(settings.host, settings.port, settings.keepalive, clean_start=True)
    else:
        client.connect(settings.host, settings.port, settings.keepalive)
    sock = cast("socket.socket | None", client.socket())
    if sock is not None:
        # Question and decision are small and follow each other: waiting to fill a packet would cost 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(client: paho.Client) -> None:
    """End a connection so that nothing of it can arrive later: what our kernel still holds is thrown away."""
    sock = client.socket()
    if sock is None:
        return
    with suppress(OSError):
        cast("socket.socket", sock).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
