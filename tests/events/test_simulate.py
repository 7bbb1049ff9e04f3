"""The scripted visits: they obey the contract, play in their time, and leave nothing behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamd.cli import main
from streamd.errors import ConfigError
from streamd.events.contract import Left, Presence, Topics, VisitEvent
from streamd.events.outbox import MemoryPublisher
from streamd.simulate import FRAME_AGE, MAX_AGE, SCENARIOS, Stage, play, run
from streamd.values import Outcome
from tests.process.broker import Listener, Mosquitto, wait_until

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
STAGE = Stage(camera="door", start=NOW, boot="b", seq=1)


class Stopwatch:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return NOW + timedelta(seconds=self.now - 100.0)


@pytest.mark.parametrize("name", ["identified", "unknown", "ambiguous", "undecided"])
def test_a_visit_comes_is_decided_as_its_name_says_and_leaves(name: str) -> None:
    steps = SCENARIOS[name](STAGE)

    messages = [step.message for step in steps]
    [event] = [message for message in messages if isinstance(message, VisitEvent)]
    [left] = [message for message in messages if isinstance(message, Left)]
    assert event.decision is left.decision is Outcome(name)
    assert (event.subject == "anna") == (name == "identified")
    assert [message.faces for message in messages if isinstance(message, Presence)] == [1, 0]
    assert [step.at for step in steps] == sorted(step.at for step in steps)


def test_the_decisions_follow_the_rule_of_decisions() -> None:
    """Identified: above the bound and well ahead. Ambiguous: above the bound, the lead is missing. Unknown: below the bound."""
    events = {
        name: next(step.message for step in SCENARIOS[name](STAGE) if isinstance(step.message, VisitEvent))
        for name in ("identified", "ambiguous", "unknown")
    }
    lead = {name: event.evidence - event.second for name, event in events.items() if event.evidence and event.second}

    assert lead["identified"] >= events["identified"].margin > lead["ambiguous"]
    assert events["identified"].evidence >= events["identified"].threshold  # type: ignore[operator]
    assert events["ambiguous"].evidence >= events["ambiguous"].threshold > events["unknown"].evidence  # type: ignore[operator]


def test_everything_says_that_it_is_simulated_and_nothing_stays_at_the_broker_but_a_calm_camera() -> None:
    watch = Stopwatch()
    sink = MemoryPublisher(Topics("streamd/simulation"), MAX_AGE, watch.clock)

    played = play(sink, "door", SCENARIOS, boot="b", sleep=watch.sleep, clock=watch.clock, utc=watch.utc)

    bodies = [json.loads(message.body) for message in sink.messages if message.body]
    assert len(bodies) == played
    assert all(body["simulated"] for body in bodies)
    assert not sink.drops
    kept = {topic.removeprefix("streamd/simulation/camera/door/"): json.loads(body) for topic, body in sink.retained.items()}
    assert set(kept) == {"state", "presence"}
    assert (kept["state"]["state"], kept["presence"]["faces"]) == ("ok", 0)
    assert watch.now - 100.0 == pytest.approx(4 * 3.0 + 4.0)


def test_the_age_of_a_scripted_decision_is_that_of_its_frame() -> None:
    watch = Stopwatch()
    sink = MemoryPublisher(Topics("streamd/simulation"), MAX_AGE, watch.clock)

    play(sink, "door", ["identified"], boot="b", sleep=watch.sleep, clock=watch.clock, utc=watch.utc)

    event = next(json.loads(message.body) for message in sink.messages if message.topic.endswith("/visit"))
    assert event["age_ms"] == round(FRAME_AGE * 1000)
    assert event["valid_until"] == "2026-11-25T09:00:02.340Z"


def test_an_unknown_scenario_is_named() -> None:
    watch = Stopwatch()
    sink = MemoryPublisher(Topics("streamd/simulation"), MAX_AGE, watch.clock)

    with pytest.raises(KeyError, match="burglar"):
        play(sink, "door", ["burglar"], boot="b", sleep=watch.sleep, clock=watch.clock, utc=watch.utc)


def test_twice_the_speed_is_half_the_time_and_the_times_in_the_messages_agree() -> None:
    watch = Stopwatch()
    sink = MemoryPublisher(Topics("streamd/simulation"), MAX_AGE, watch.clock)

    play(sink, "door", ["identified"], boot="b", sleep=watch.sleep, clock=watch.clock, utc=watch.utc, speed=2.0)

    left = Left.from_json(next(message.body for message in sink.messages if message.topic.endswith("/left")))
    assert watch.now - 100.0 == pytest.approx(1.5)
    assert (left.left - left.started).total_seconds() == left.duration == 1.5


def test_the_command_plays_beside_the_daemon_and_takes_its_announcements_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        status = run("identified", f"mqtt://127.0.0.1:{broker.port}", None, speed=30.0)

        assert status == 0
        wait_until(lambda: any(message.topic.endswith("/left") for message in listener.messages), "the end of the visit")
        ours = [message for message in listener.messages if message.topic.startswith("streamd/")]
        assert {message.topic.split("/")[1].rpartition("-")[2] for message in ours} == {"simulation"}
        assert all(json.loads(message.body)["simulated"] for message in ours if message.body)
        with Listener(broker.port) as late:
            late.send("sentinel")  # whatever is kept arrives before it
            wait_until(lambda: late.at("sentinel"), "the sentinel")
            kept = {message.topic.rpartition("/")[2] for message in late.messages if message.retained}
            assert kept == {"status", "state", "presence"}
            assert not [message for message in late.messages if message.topic.startswith("homeassistant/")]
    printed = [line.partition(" ") for line in capsys.readouterr().out.splitlines()]
    assert [topic.rpartition("/")[2] for topic, _, _ in printed] == [
        "state",
        "presence",
        "visit",
        "last_seen",
        "presence",
        "left",
    ]


def test_the_command_prints_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Mosquitto(tmp_path) as broker:
        assert main(["simulate", "identified", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--speed", "60", "--json"]) == 0

    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 6
    visit = next(one for one in printed if one["topic"].endswith("/camera/door/visit"))
    assert visit["payload"]["decision"] == "identified"


@pytest.mark.parametrize(
    ("scenario", "broker", "speed", "complaint"),
    [
        ("burglar", "mqtt://127.0.0.1", 1.0, "there are: identified, unknown, ambiguous, undecided, camera-fault, all"),
        ("all", "ftp://127.0.0.1", 1.0, "--broker: expected mqtt://host"),
        ("all", "mqtt://127.0.0.1", 0.0, "--speed: expected a number above 0"),
        ("all", "mqtt://127.0.0.1", float("inf"), "--speed: expected a number above 0"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_arguments(scenario: str, broker: str, speed: float, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        run(scenario, broker, None, speed)
