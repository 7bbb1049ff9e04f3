"""The rules of hand-over: what may leave now, what may no longer, and what is counted."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from streamd.events.contract import EnrolPrompt, GalleryEvent, GalleryState, Presence, Topics, Verdict, VisitEvent
from streamd.events.outbox import EVENTS_WAITING, Drop, DropReason, MemoryPublisher, Outbox
from streamd.values import Decision, Outcome, SubjectEvidence

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
TOPICS = Topics("streamd/porch")
MAX_AGE = 2.0


def visit(seq: int = 1) -> VisitEvent:
    decision = Decision(Outcome.IDENTIFIED, SubjectEvidence("anna", 12.0, 0.6, "anna/1.jpg"), None, 9.2, 3.0, 3, 2.1)
    return VisitEvent.from_decision(
        decision, visit="b-1", seq=seq, boot="b", camera="door", name="Anna", others_in_view=0, unknown_in_view=0, captured=NOW,
        clock_synchronised=True, started=NOW, decided=NOW, max_age=MAX_AGE, latency=0.2, model="m", gallery_generation=1,
    )  # fmt: skip


def presence(faces: int, camera: str = "door") -> Presence:
    return Presence(camera=camera, faces=faces, at=NOW)


@pytest.fixture
def drops() -> list[Drop]:
    return []


@pytest.fixture
def outbox(drops: list[Drop]) -> Outbox:
    box = Outbox(TOPICS, MAX_AGE, drops.append)
    box.opened()
    return box


def test_an_event_tells_its_age_and_its_remaining_life_at_hand_over(outbox: Outbox) -> None:
    """Settled at 10.0, handed over at 10.7: 700 ms old, 1.3 s left, which MQTT can say only as 2 s."""
    outbox.event(visit(), settled=10.0, now=10.2)

    message = outbox.next_event(10.7)

    assert message is not None
    assert json.loads(message.body)["age_ms"] == 700
    assert message.expiry == 2
    assert not message.retained


def test_an_event_that_waited_until_the_end_of_its_life_is_dropped(outbox: Outbox, drops: list[Drop]) -> None:
    outbox.event(visit(), settled=10.0, now=10.2)

    assert outbox.next_event(12.0) is None
    assert [(drop.reason, drop.age) for drop in drops] == [(DropReason.TOO_OLD, 2.0)]


def test_an_event_settled_by_an_old_frame_does_not_even_wait(outbox: Outbox, drops: list[Drop]) -> None:
    outbox.event(visit(), settled=10.0, now=12.5)

    assert not outbox.events_wait
    assert drops[0].reason is DropReason.TOO_OLD


def test_an_event_without_a_connection_is_dropped_and_never_comes_back(drops: list[Drop]) -> None:
    outbox = Outbox(TOPICS, MAX_AGE, drops.append)

    outbox.event(visit(), settled=10.0, now=10.1)
    outbox.opened()

    assert outbox.next_event(10.2) is None
    assert [drop.reason for drop in drops] == [DropReason.OFFLINE]


def test_an_outage_ends_what_waits_and_what_was_not_confirmed(outbox: Outbox, drops: list[Drop]) -> None:
    outbox.event(visit(1), settled=10.0, now=10.0)
    handed_over = outbox.next_event(10.0)
    assert handed_over is not None
    outbox.sent(1, handed_over, 10.0)
    outbox.event(visit(2), settled=10.1, now=10.1)

    outbox.closed(10.2)
    outbox.opened()

    assert outbox.next_event(10.3) is None
    assert sorted(drop.reason for drop in drops) == [DropReason.OUTAGE, DropReason.UNCONFIRMED]


def test_the_broker_owes_an_answer_for_an_event_until_the_end_of_its_life(outbox: Outbox) -> None:
    outbox.event(visit(), settled=10.0, now=10.0)
    message = outbox.next_event(10.5)
    assert message is not None
    outbox.sent(7, message, 10.5)

    assert not outbox.overdue(11.9, patience=10.0)
    assert outbox.next_deadline() == 12.0
    assert outbox.overdue(12.0, patience=10.0)

    outbox.confirmed(7, 12.0)
    assert not outbox.overdue(99.0, patience=10.0)


def test_only_the_newest_state_of_a_topic_is_sent(outbox: Outbox) -> None:
    outbox.state(presence(1))
    outbox.state(presence(2))

    message = outbox.next_other()

    assert message is not None
    assert (json.loads(message.body)["faces"], message.retained, message.expiry) == (2, True, None)
    assert outbox.next_other() is None


def test_every_connection_begins_with_every_state(outbox: Outbox) -> None:
    outbox.state(presence(1))
    outbox.state(GalleryState(subjects=1, templates=1, generation=1, changed=NOW))
    sent = [outbox.next_other(), outbox.next_other()]
    outbox.closed(10.0)

    outbox.opened()

    again = [outbox.next_other(), outbox.next_other()]
    assert again == sent
    assert outbox.next_other() is None


def test_what_was_taken_away_is_taken_away_once_even_if_the_broker_was_gone(outbox: Outbox) -> None:
    outbox.retain("streamd/porch/subject/anna/last_seen", b"{}")
    outbox.closed(10.0)
    outbox.retain("streamd/porch/subject/anna/last_seen", b"")
    outbox.opened()

    message = outbox.next_other()
    assert message is not None
    assert (message.body, message.retained) == (b"", True)
    outbox.closed(11.0)
    outbox.opened()
    assert outbox.next_other() is None


def test_states_leave_half_of_the_window_to_events(outbox: Outbox) -> None:
    """A broker that takes four unconfirmed messages gets two states, then two events."""
    outbox.opened(window=4)
    for index in range(5):
        outbox.state(presence(1, camera=f"camera{index}"))
        outbox.event(visit(index), settled=10.0, now=10.0)

    kinds: list[str] = []
    while message := outbox.next_other() or outbox.next_event(10.0):
        outbox.sent(len(kinds), message, 10.0)
        kinds.append(message.kind)

    assert kinds == ["state", "state", "visit", "visit"]


def test_events_do_not_pile_up(outbox: Outbox, drops: list[Drop]) -> None:
    for index in range(EVENTS_WAITING + 1):
        outbox.event(visit(index), settled=10.0, now=10.0)

    assert [drop.reason for drop in drops] == [DropReason.FULL]


def test_a_prompt_for_a_person_who_has_waited_too_long_is_not_told_any_more(outbox: Outbox, drops: list[Drop]) -> None:
    prompt = EnrolPrompt(
        subject="anna", camera="door", step="left", prompt="turn_left", text="", done=1, of=3, finished=False, ok=None, at=NOW
    )
    outbox.event(prompt, settled=10.0, now=10.0)
    told = outbox.next_event(10.5)
    outbox.event(prompt, settled=10.0, now=10.5)
    late = outbox.next_event(12.5)

    assert told is not None
    assert (told.topic, told.kind, told.retained, told.expiry) == ("streamd/porch/enrol", "enrol_prompt", False, 2)
    assert late is None
    assert [drop.reason for drop in drops] == [DropReason.TOO_OLD]


def test_photos_that_were_judged_leave_half_of_the_places_to_decisions(outbox: Outbox, drops: list[Drop]) -> None:
    photo = GalleryEvent(photo="Anna/1.jpg", subject="anna", verdict=Verdict.ACCEPTED, generation=1, at=NOW)
    for _ in range(EVENTS_WAITING):
        outbox.event(photo, settled=10.0, now=10.0)
    assert [drop.reason for drop in drops] == [DropReason.FULL] * (EVENTS_WAITING // 2)

    for index in range(EVENTS_WAITING // 2):
        outbox.event(visit(index), settled=10.0, now=10.0)

    assert len(drops) == EVENTS_WAITING // 2


def test_an_event_that_the_broker_refuses_is_counted_as_such(outbox: Outbox) -> None:
    outbox.event(visit(), settled=10.0, now=10.0)
    message = outbox.next_event(10.0)
    assert message is not None
    outbox.sent(1, message, 10.0)

    outbox.confirmed(1, 10.1, refused=True)

    counters = outbox.counters()
    assert (counters.handed_over, counters.confirmed, counters.dropped) == ({"visit": 1}, 0, {DropReason.REFUSED: 1})


def test_a_lost_decision_may_be_made_anew_but_not_one_that_access_control_refuses() -> None:
    said = visit()
    anew = {reason for reason in DropReason if Drop("t", reason, 0.1, said).may_be_made_anew}

    assert anew == set(DropReason) - {DropReason.REFUSED}
    assert not Drop("t", DropReason.OFFLINE, 0.1, None).may_be_made_anew  # an answer to a command


def test_a_wrong_payload_fails_where_it_was_made_not_in_the_network(outbox: Outbox) -> None:
    spoilt = dataclasses.replace(visit(), decided=datetime(2026, 11, 25))  # noqa: DTZ001

    with pytest.raises(ValueError, match="has no zone"):
        outbox.event(spoilt, settled=10.0, now=10.0)
    assert not outbox.events_wait


def test_the_publisher_in_memory_follows_the_same_rules() -> None:
    now = 10.0
    publisher = MemoryPublisher(TOPICS, MAX_AGE, clock=lambda: now)

    publisher.publish_state(presence(1))
    publisher.publish_event(visit(1))
    publisher.disconnect()
    publisher.publish_event(visit(2))
    publisher.publish_state(presence(0))
    publisher.connect()
    publisher.publish_event(visit(3), settled=7.0)

    assert [message.topic.rpartition("/")[2] for message in publisher.messages] == ["presence", "visit", "presence"]
    assert list(publisher.retained) == ["streamd/porch/camera/door/presence"]
    assert [drop.reason for drop in publisher.drops] == [DropReason.OFFLINE, DropReason.TOO_OLD]
