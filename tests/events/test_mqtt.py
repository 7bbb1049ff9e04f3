"""The way to the broker, against a real Mosquitto: what arrives, what never arrives late, what is refused, and what is said."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd.demo.broker import free_port
from streamd.errors import BrokerError
from streamd.events.broker import BrokerFailure, BrokerSettings, fault_of_error, reconnect_delay
from streamd.events.contract import GalleryState, Presence, Topics, VisitEvent
from streamd.events.homeassistant import discovery, discovery_topic
from streamd.events.mqtt import GOOD_CONNECTION, Command, CommandResult, Identity, Publisher, _reset, probe
from streamd.events.outbox import DropReason
from streamd.events.remains import Remains
from streamd.values import Decision, Outcome, SubjectEvidence
from tests.porch import TurnedClock
from tests.process.broker import Authority, Listener, Mosquitto, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOPICS = Topics("streamd/porch")
STATUS, VISIT = "streamd/porch/status", "streamd/porch/camera/door/visit"
MAX_AGE = 1.0
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
IDENTITY = Identity(version="0.1.0", boot="b7")


def settings(port: int, **changes: Any) -> BrokerSettings:
    return BrokerSettings(**{"host": "127.0.0.1", "port": port, "client_id": "streamd-porch", "max_age": MAX_AGE} | changes)


def visit(seq: int) -> VisitEvent:
    now = datetime.now(UTC)
    decision = Decision(Outcome.IDENTIFIED, SubjectEvidence("anna", 12.0, 0.6, "anna/1.jpg"), None, 9.2, 3.0, 3, 2.1)
    return VisitEvent.from_decision(
        decision, visit=f"b7-{seq}", seq=seq, boot="b7", camera="door", name="Anna", others_in_view=0, unknown_in_view=0,
        captured=now, clock_synchronised=True, started=now, decided=now, max_age=MAX_AGE, latency=0.2, model="m",
        gallery_generation=1,
    )  # fmt: skip


def presence(faces: int) -> Presence:
    return Presence(camera="door", faces=faces, at=datetime.now(UTC))


def gallery() -> GalleryState:
    return GalleryState(subjects=1, templates=1, generation=1, changed=None)


@contextmanager
def connected(broker: BrokerSettings, **options: Any) -> Iterator[Publisher]:
    """A publisher that has told its states and heard its subscriptions; stopped in the end."""
    publisher = Publisher(broker, TOPICS, IDENTITY, **options)
    publisher.start()
    try:
        wait_until(lambda: publisher.health().outgoing.confirmed, "the birth message")
        yield publisher
    finally:
        publisher.stop()


def states(listener: Listener) -> list[str]:
    """What `status` said, in order."""
    return [json.loads(message.body)["state"] for message in listener.at(STATUS) if message.body]


def ages(listener: Listener, sent: dict[int, float]) -> list[float]:
    """How old each decision was when it reached the subscriber, seconds since it was settled."""
    return [message.at - sent[json.loads(message.body)["seq"]] for message in listener.at(VISIT)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as found:
        yield found


@PROTOCOLS
def test_a_decision_arrives_with_its_age_and_is_not_there_for_those_who_come_later(broker: Mosquitto, protocol: str) -> None:
    with Listener(broker.port) as early, connected(settings(broker.port, protocol=protocol)) as publisher:
        publisher.publish_state(presence(1))
        publisher.publish_event(visit(1), time.monotonic() - 0.2)
        wait_until(lambda: early.at(VISIT), "the decision")
        [message] = early.at(VISIT)

        event = VisitEvent.from_json(message.body)
        assert (event.subject, event.seq) == ("anna", 1)
        assert 200 <= event.age_ms < 1000
        if protocol == "5":
            assert message.properties is not None
            assert message.properties.MessageExpiryInterval == 1
            assert message.properties.ContentType == "application/json"
        with Listener(broker.port) as late:
            wait_until(lambda: late.at(STATUS) and late.at("streamd/porch/camera/door/presence"), "the states")
            assert all(message.retained for message in late.messages)
            assert late.at(VISIT) == []


@PROTOCOLS
def test_an_orderly_stop_says_that_nobody_is_in_view_and_that_the_daemon_is_gone(broker: Mosquitto, protocol: str) -> None:
    with Listener(broker.port) as listener:
        with connected(settings(broker.port, protocol=protocol)) as publisher:
            publisher.publish_state(presence(2))
            began = time.monotonic()
        took = time.monotonic() - began

        wait_until(lambda: states(listener) == ["online", "offline"], "the farewell")
        assert [json.loads(m.body)["faces"] for m in listener.at("streamd/porch/camera/door/presence")][-1] == 0
        assert json.loads(listener.at(STATUS)[-1].body)["since"] is not None
        assert took < 1.0


def test_stopping_without_a_broker_does_not_wait() -> None:
    publisher = Publisher(settings(free_port()), TOPICS, IDENTITY)
    publisher.start()
    wait_until(lambda: publisher.health().fault, "the refusal")

    began = time.monotonic()
    publisher.stop(timeout=2.0)

    assert time.monotonic() - began < 0.5
    assert not any(thread.name == "mqtt" for thread in threading.enumerate())


def test_the_last_will_speaks_for_a_daemon_that_was_killed(broker: Mosquitto) -> None:
    program = textwrap.dedent(f"""
        import time
        from streamd.events.contract import Topics
        from streamd.events.mqtt import BrokerSettings, Identity, Publisher
        Publisher(BrokerSettings("127.0.0.1", {broker.port}), Topics("streamd/porch"), Identity("0.1.0", "b7")).start()
        time.sleep(60)
    """)
    with Listener(broker.port) as listener, subprocess.Popen([sys.executable, "-c", program]) as daemon:
        wait_until(lambda: states(listener) == ["online"], "the birth message")

        os.kill(daemon.pid, signal.SIGKILL)

        wait_until(lambda: states(listener) == ["online", "offline"], "the will")
        assert json.loads(listener.at(STATUS)[-1].body)["since"] is None


@PROTOCOLS
def test_a_broker_that_is_killed_and_started_again_gets_the_states_and_no_old_decision(
    broker: Mosquitto, protocol: str
) -> None:
    """B1 to B3 and B14: the broker comes back empty; within 5 s all states are there; what was decided meanwhile is not."""
    sent: dict[int, float] = {}
    with connected(settings(broker.port, protocol=protocol)) as publisher:
        publisher.publish_state(presence(1))
        publisher.publish_state(gallery())
        broker.kill()
        wait_until(lambda: not publisher.health().connected, "the loss to be noticed")
        for seq in range(20):
            sent[seq] = time.monotonic()
            publisher.publish_event(visit(seq))
        publisher.publish_state(presence(3))

        broker.start()
        began = time.monotonic()
        with Listener(broker.port) as listener:
            wait_until(lambda: states(listener) and listener.at("streamd/porch/gallery"), "the states")
            assert time.monotonic() - began < 5.0
            wait_until(lambda: listener.at("streamd/porch/camera/door/presence"), "presence")
            assert json.loads(listener.at("streamd/porch/camera/door/presence")[-1].body)["faces"] == 3
            sent[20] = time.monotonic()
            publisher.publish_event(visit(20))
            wait_until(lambda: listener.at(VISIT), "the next decision")
            assert [json.loads(message.body)["seq"] for message in listener.at(VISIT)] == [20]
        assert publisher.health().outgoing.dropped == {DropReason.OFFLINE: 20}
        assert publisher.health().connections == 2


@PROTOCOLS
def test_a_broker_that_hangs_and_goes_on_delivers_no_old_decision(broker: Mosquitto, protocol: str) -> None:
    """Its kernel takes bytes for it all the while; handed over at once, every decision would arrive after the pause."""
    sent: dict[int, float] = {}
    with Listener(broker.port) as listener, connected(settings(broker.port, protocol=protocol)) as publisher:
        broker.halt()
        for seq in range(5):
            sent[seq] = time.monotonic()
            publisher.publish_event(visit(seq))
            publisher.publish_state(presence(seq))
        wait_until(lambda: publisher.health().outgoing.dropped.get(DropReason.TOO_OLD) == 5, "the end of their lives")
        broker.go_on()
        sent[5] = time.monotonic()
        publisher.publish_event(visit(5))

        wait_until(lambda: listener.at(VISIT), "the next decision")
        publisher.publish_state(gallery())
        wait_until(lambda: listener.at("streamd/porch/gallery"), "a message after it")
        assert [json.loads(message.body)["seq"] for message in listener.at(VISIT)] == [5]
        assert json.loads(listener.at("streamd/porch/camera/door/presence")[-1].body)["faces"] == 4


def test_a_short_pause_of_the_broker_delays_decisions_within_their_life(broker: Mosquitto) -> None:
    sent: dict[int, float] = {}
    with Listener(broker.port) as listener, connected(settings(broker.port)) as publisher:
        broker.halt()
        for seq in range(3):
            sent[seq] = time.monotonic()
            publisher.publish_event(visit(seq))
        timer = threading.Timer(0.3, broker.go_on)
        timer.start()

        wait_until(lambda: len(listener.at(VISIT)) == 3, "the decisions")
        timer.join()
        assert all(0.25 < age < MAX_AGE for age in ages(listener, sent))
        assert publisher.health().outgoing.dropped == {}


class Wire:
    """A wire to the broker that can be cut without either side noticing: bytes are taken and go nowhere.

    With `deaf_after`, the broker's answers are lost once these bytes have gone to it, on the first connection only.
    """

    def __init__(self, port: int, deaf_after: bytes | None = None) -> None:
        self._deaf_after = deaf_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._to = port
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            deaf = threading.Event()
            for source, target, lost in ((near, far, None), (far, near, deaf)):
                threading.Thread(target=self._carry, args=(source, target, lost, deaf), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, lost: threading.Event | None, deaf: threading.Event) -> None:
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            if not data:
                target.close()
                return
            if lost is None and self._deaf_after is not None and self._deaf_after in data:
                deaf.set()
                self._deaf_after = None
            if not self.cut.is_set() and not (lost is not None and lost.is_set()):
                with suppress(OSError):  # the other side has gone meanwhile
                    target.sendall(data)


def test_a_cut_wire_delivers_nothing_late_and_the_link_is_given_up(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """B4: neither side sees the cut. The question stays open, the decision dies waiting, and then a new connection is made."""
    monkeypatch.setattr("streamd.events.mqtt.ANSWER_SECONDS", 1.5)
    with Wire(broker.port) as wire, Listener(broker.port) as listener, connected(settings(wire.port)) as publisher:
        wire.cut.set()
        publisher.publish_event(visit(1))
        wait_until(lambda: publisher.health().fault, "the link to be given up")
        fault = publisher.health().fault
        assert fault is not None
        assert fault.failure is BrokerFailure.SILENT

        wire.cut.clear()
        wait_until(lambda: publisher.health().connections == 2, "a new connection")
        publisher.publish_event(visit(2))
        wait_until(lambda: listener.at(VISIT), "the next decision")
        assert [json.loads(message.body)["seq"] for message in listener.at(VISIT)] == [2]


def test_a_decision_that_was_not_confirmed_is_not_sent_again(broker: Mosquitto) -> None:
    """The broker has it, the confirmation is lost. A client that remembered it would send it again after the reconnect."""
    with (
        Wire(broker.port, deaf_after=VISIT.encode()) as wire,
        Listener(broker.port) as listener,
        connected(settings(wire.port)) as publisher,
    ):
        publisher.publish_event(visit(1))
        wait_until(lambda: publisher.health().connections == 2, "a new connection")
        publisher.publish_event(visit(2))

        wait_until(lambda: len(listener.at(VISIT)) == 2, "the next decision")
        assert [json.loads(message.body)["seq"] for message in listener.at(VISIT)] == [1, 2]
        assert publisher.health().outgoing.dropped == {DropReason.UNCONFIRMED: 1}


def test_a_retained_message_of_an_earlier_version_is_taken_away(broker: Mosquitto) -> None:
    """B5: whoever subscribes afterwards finds no decision."""
    with Listener(broker.port) as listener:
        listener.send(VISIT, b'{"decision":"identified"}', retain=True)
        with connected(settings(broker.port)):
            wait_until(lambda: any(not message.body for message in listener.at(VISIT)), "the clearing")
        with Listener(broker.port) as late:
            wait_until(lambda: late.at(STATUS), "the states")
            assert late.at(VISIT) == []


@PROTOCOLS
def test_people_and_cameras_that_went_while_nobody_ran_are_taken_away(broker: Mosquitto, protocol: str) -> None:
    """Whoever is still there stays, and nobody is judged before it is known who is enrolled."""
    seen, bert = "streamd/porch/subject/{}/last_seen", "homeassistant/device/porch_old/config"
    gone = {seen.format("bert"), "streamd/porch/camera/old/state", "streamd/porch/camera/old/presence", bert}
    kept = {seen.format("anna"), "streamd/porch/camera/door/state", "homeassistant/device/porch_door/config"}
    with Listener(broker.port) as listener:
        for topic in gone | kept:
            listener.send(topic, b"{}", retain=True)
        remains = Remains(TOPICS, ["door"], partial(discovery_topic, "porch"))
        with connected(settings(broker.port, protocol=protocol), remains=remains):
            camera_topics = gone - {seen.format("bert")}
            cleared = lambda: {one.topic for one in listener.messages if not one.body}  # noqa: E731
            wait_until(lambda: cleared() == camera_topics, "the camera's topics to be cleared")
            remains.enrolled(["anna"])
            wait_until(lambda: cleared() == gone, "the person's topic to be cleared")
        with Listener(broker.port) as late:
            wait_until(lambda: late.at(STATUS), "the states")
            assert kept <= {one.topic for one in late.messages}
            assert not gone & {one.topic for one in late.messages}


def test_home_assistant_is_told_again_when_it_starts_and_gets_no_decision(broker: Mosquitto) -> None:
    """B13. The delay is drawn from 0 to 1 s; here it is 0.1 s."""
    announced = discovery(TOPICS, "porch", ["door"], version="0.1.0")
    with (
        Listener(broker.port) as listener,
        connected(settings(broker.port), discovery_prefix="homeassistant", chance=lambda: 0.1) as publisher,
    ):
        for topic, body in announced.items():
            publisher.retain(topic, body)
        publisher.publish_event(visit(1))
        wait_until(lambda: all(listener.at(topic) for topic in announced) and listener.at(VISIT), "the first announcement")

        listener.send("homeassistant/status", b"online")

        wait_until(lambda: all(len(listener.at(topic)) == 2 for topic in (*announced, STATUS)), "the second one")
        assert (
            listener.at("homeassistant/device/porch_door/config")[1].body == announced["homeassistant/device/porch_door/config"]
        )
        assert len(listener.at(VISIT)) == 1


def test_a_birth_message_that_somebody_retained_is_no_start_of_home_assistant(broker: Mosquitto) -> None:
    """It would be told everything twice at every connection; the start that follows is one."""
    [topic, *_] = announced = discovery(TOPICS, "porch", ["door"], version="0.1.0")
    with Listener(broker.port) as listener:
        listener.send("homeassistant/status", b"online", retain=True)
        with connected(settings(broker.port), discovery_prefix="homeassistant", chance=lambda: 0.0) as publisher:
            publisher.retain(topic, announced[topic])
            wait_until(lambda: listener.at(topic), "the announcement")
            told = len(listener.at(topic))
            listener.send("homeassistant/status", b"online")
            wait_until(lambda: len(listener.at(topic)) > told, "the second one")
            publisher.publish_state(presence(1))
            wait_until(lambda: listener.at("streamd/porch/camera/door/presence"), "what comes after it")

        assert len(listener.at(topic)) == 2
        assert states(listener) == ["online", "online", "offline"]


# Commands


def reload_and_count(done: list[Command]) -> dict[str, Callable[[Command], CommandResult]]:
    def reload(command: Command) -> CommandResult:
        done.append(command)
        return command.done("reloaded")

    return {"reload": reload}


@PROTOCOLS
def test_a_command_is_carried_out_and_answered_at_its_result_topic(broker: Mosquitto, protocol: str) -> None:
    done: list[Command] = []
    with (
        Listener(broker.port) as listener,
        connected(settings(broker.port, protocol=protocol), handlers=reload_and_count(done)) as publisher,
    ):
        listener.send("streamd/porch/cmd/reload", b'{"camera":"door"}')
        listener.send("streamd/porch/cmd/open_the_door")

        wait_until(lambda: listener.at("streamd/porch/cmd/open_the_door/result"), "the answers")
        [answer] = listener.at("streamd/porch/cmd/reload/result")
        assert CommandResult.from_json(answer.body).ok
        assert done[0].payload == {"camera": "door"}
        refusal = CommandResult.from_json(listener.at("streamd/porch/cmd/open_the_door/result")[0].body)
        assert (refusal.ok, refusal.refusal) == (False, "unknown_command")
        assert "reload" in refusal.message
        assert publisher.health().commands == {"done": 1, "unknown_command": 1}


def test_the_answer_goes_to_the_response_topic_with_the_correlation_data(broker: Mosquitto) -> None:
    wanted = Properties(PacketTypes.PUBLISH)
    wanted.ResponseTopic = "clients/7"
    wanted.CorrelationData = b"\x00\x2a"
    with Listener(broker.port) as listener, connected(settings(broker.port), handlers=reload_and_count([])):
        listener.send("streamd/porch/cmd/reload", properties=wanted)

        wait_until(lambda: listener.at("clients/7"), "the answer")
        [answer] = listener.at("clients/7")
        assert answer.properties is not None
        assert answer.properties.CorrelationData == b"\x00\x2a"
        assert not answer.retained
        assert listener.at("streamd/porch/cmd/reload/result") == []


@PROTOCOLS
def test_a_retained_command_is_refused_aloud_and_never_carried_out(broker: Mosquitto, protocol: str) -> None:
    """On MQTT 5 it is taken away as well; on 3.1.1 the clearing message would come back as a command."""
    done: list[Command] = []
    with Listener(broker.port) as listener:
        listener.send("streamd/porch/cmd/reload", retain=True, body=b"{}")
        with connected(settings(broker.port, protocol=protocol), handlers=reload_and_count(done)):
            wait_until(lambda: listener.at("streamd/porch/cmd/reload/result"), "the refusal")
            [refusal] = listener.at("streamd/porch/cmd/reload/result")
            assert CommandResult.from_json(refusal.body).refusal == "retained"
            if protocol == "5":
                wait_until(lambda: listener.at("streamd/porch/cmd/reload")[-1].body == b"", "the clearing")
        assert done == []


def test_a_handler_that_raises_does_not_end_the_connection(broker: Mosquitto) -> None:
    def broken(_command: Command) -> CommandResult:
        raise RuntimeError("the shelf is empty")

    with Listener(broker.port) as listener, connected(settings(broker.port), handlers={"reload": broken}) as publisher:
        listener.send("streamd/porch/cmd/reload")
        wait_until(lambda: listener.at("streamd/porch/cmd/reload/result"), "the answer")

        publisher.publish_event(visit(1))
        wait_until(lambda: listener.at(VISIT), "a decision after it")
        assert publisher.health().connections == 1


# Access


ACL = """
user streamd
topic readwrite streamd/porch/#
topic deny streamd/porch/gallery
user watcher
topic readwrite #
"""


def test_password_access_list_and_tls_together(tmp_path: Path) -> None:
    """The decision arrives over TLS; the topic that the list denies is named in `status` (B9), and nothing loops."""
    authority = Authority(tmp_path / "ca")
    users = {"streamd": "s3cret", "watcher": "w4tch"}
    with Mosquitto(tmp_path / "broker", users=users, acl=ACL, tls=authority.issue("broker")) as broker:
        safe = settings(broker.port, tls=True, ca_file=authority.certificate, username="streamd", password="s3cret")
        probe(safe)
        context = ssl.create_default_context(cafile=str(authority.certificate))
        with Listener(broker.port, username="watcher", password="w4tch", tls=context) as listener, connected(safe) as publisher:
            publisher.publish_event(visit(1))
            publisher.publish_state(gallery())
            wait_until(lambda: listener.at(VISIT), "the decision")
            wait_until(lambda: json.loads(listener.at(STATUS)[-1].body)["problems"], "the refused topic in status")
            [problem] = json.loads(listener.at(STATUS)[-1].body)["problems"]
            assert "streamd/porch/gallery" in problem
            assert len(listener.at(STATUS)) == 2
            assert publisher.health().connections == 1


def test_a_wrong_password_is_named_and_tried_again_slowly(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", users={"streamd": "s3cret"}) as broker:
        publisher = Publisher(settings(broker.port, username="streamd", password="wrong"), TOPICS, IDENTITY)
        publisher.start()
        wait_until(lambda: publisher.health().fault, "the refusal")
        fault = publisher.health().fault
        publisher.stop()

        assert fault is not None
        assert fault.failure is BrokerFailure.NOT_AUTHORISED
        assert "user name and password" in fault.sentence
        assert publisher.health().failed_attempts == 1


@pytest.mark.parametrize(("lasted", "wait"), [(0.0, 0.8), (GOOD_CONNECTION + 0.5, 0.2)], ids=["short", "good"])
def test_waits_go_on_growing_after_a_short_connection_and_begin_anew_after_a_good_one(
    broker: Mosquitto, lasted: float, wait: float
) -> None:
    """Two attempts failed before (0.2 s, 0.4 s); then the broker takes the connection, and goes again."""
    clock = TurnedClock()
    slow = settings(broker.port, reconnect_min=0.2, reconnect_max=30.0)
    publisher = Publisher(slow, TOPICS, IDENTITY, clock=clock.monotonic, chance=lambda: 0.0)
    broker.kill()
    publisher.start()
    wait_until(lambda: publisher.health().failed_attempts == 2, "two failed attempts")
    broker.start()
    wait_until(lambda: publisher.health().outgoing.confirmed, "the connection")

    clock.turn(lasted)
    broker.kill()
    wait_until(lambda: not publisher.health().connected, "the loss")
    lost = time.monotonic()
    wait_until(lambda: publisher.health().failed_attempts == 3, "the next attempt")
    waited = time.monotonic() - lost
    publisher.stop()

    assert wait - 0.1 <= waited < wait + 0.4


def test_a_connection_that_is_given_up_is_reset_so_that_nothing_of_it_arrives_later() -> None:
    """The other side sees no orderly end: what the kernel still held for it has been thrown away."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:

            class Client:
                def socket(self) -> socket.socket:
                    return ours

            _reset(Client())

            with pytest.raises(ConnectionResetError):
                theirs.recv(1)


def test_two_daemons_with_one_identifier_stop_fighting(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """B8: being pushed out three times within a minute is named and ends the fight for half a minute."""
    monkeypatch.setattr("streamd.events.broker.reconnect_delay", reconnect_delay)
    quick = settings(broker.port, reconnect_min=0.05, reconnect_max=0.05)
    one, other = (Publisher(quick, TOPICS, Identity("0.1.0", boot)) for boot in ("b7", "b8"))
    one.start()
    other.start()

    def conflict() -> bool:
        faults = [publisher.health().fault for publisher in (one, other)]
        return any(fault is not None and fault.failure is BrokerFailure.CLIENT_ID_CONFLICT for fault in faults)

    wait_until(conflict, "the conflict to be named")
    one.stop()
    other.stop()


# What is wrong, and what to do


@contextmanager
def nothing() -> Iterator[int]:
    yield free_port()


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def told(broker: BrokerSettings, timeout: float = 5.0) -> str:
    with pytest.raises(BrokerError) as caught:
        probe(broker, timeout)
    return str(caught.value)


def test_the_probe_tells_a_closed_port_from_a_silent_one_and_a_wrong_name() -> None:
    with nothing() as port:
        assert "nothing listens" in told(settings(port))
    with silence() as port:
        assert "did not answer" in told(settings(port), timeout=0.3)
    assert "cannot be resolved" in told(settings(1883, host="broker.invalid"))


def test_the_probe_names_each_fault_of_tls(tmp_path: Path) -> None:
    """B10: whatever is wrong with the certificate, there is no connection, and never one without TLS."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "somebody else")
    cases = {
        "good": (ours.issue("good"), None),
        "stale": (ours.issue("stale", life=timedelta(hours=-1)), "not valid now"),
        "elsewhere": (ours.issue("elsewhere", host="broker.example"), "for another name"),
        "foreign": (theirs.issue("foreign"), "mqtt.ca_file"),
    }
    for name, (certificate, complaint) in cases.items():
        with Mosquitto(tmp_path / name, tls=certificate) as broker:
            safe = settings(broker.port, tls=True, ca_file=ours.certificate)
            if complaint is None:
                probe(safe)
                assert "mqtts://" in told(settings(broker.port))
            else:
                assert complaint in told(safe)
    with Mosquitto(tmp_path / "plain") as broker:
        assert "TLS" in told(settings(broker.port, tls=True, ca_file=ours.certificate), timeout=1.0)
    assert "no-such.pem" in told(settings(1883, tls=True, ca_file=tmp_path / "no-such.pem"))


def test_a_client_certificate_is_shown_where_the_broker_wants_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    door = authority.issue("door")
    with Mosquitto(tmp_path / "broker", tls=authority.issue("broker"), client_ca=authority.certificate) as broker:
        safe = settings(broker.port, tls=True, ca_file=authority.certificate)
        assert "client certificate" in told(safe)
        probe(settings(broker.port, tls=True, ca_file=authority.certificate, certificate=door.certificate, key=door.key))


def test_the_probe_names_a_wrong_password(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", users={"streamd": "s3cret"}) as broker:
        assert "as 'streamd'" in told(settings(broker.port, username="streamd", password="wrong"))
        assert "without a user name" in told(settings(broker.port))


def test_a_broker_that_knows_only_the_older_protocol_is_named_with_the_setting_that_helps() -> None:
    """amqtt, the demonstration's broker, answers a client of MQTT 5 with reason 132."""
    amqtt = pytest.importorskip("amqtt.broker", reason="amqtt is not installed")
    import asyncio

    port = free_port()
    loop = asyncio.new_event_loop()
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}

    async def run() -> Any:
        broker = amqtt.Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": plugins})
        await broker.start()
        return broker

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    broker = asyncio.run_coroutine_threadsafe(run(), loop).result(10)
    try:
        assert 'mqtt.protocol: "3.1.1"' in told(settings(port))
        probe(settings(port, protocol="3.1.1"))
        with connected(settings(port, protocol="3.1.1")) as publisher:
            publisher.publish_event(visit(1))
            wait_until(lambda: publisher.health().outgoing.handed_over.get("visit") == 1, "the decision to be handed over")
    finally:
        asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def test_waiting_doubles_up_to_its_limit_and_is_long_where_only_a_person_can_help() -> None:
    broker = settings(1883)

    assert [reconnect_delay(n, broker, BrokerFailure.REFUSED, 0.0) for n in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert reconnect_delay(0, broker, BrokerFailure.REFUSED, 1.0) == pytest.approx(0.4)
    assert reconnect_delay(0, broker, BrokerFailure.NOT_AUTHORISED, 0.0) == 30.0


def test_no_text_holds_the_password() -> None:
    broker = settings(1883, username="streamd", password="s3cret")

    assert "s3cret" not in repr(broker)
    assert "s3cret" not in fault_of_error(OSError("no route"), broker).sentence
