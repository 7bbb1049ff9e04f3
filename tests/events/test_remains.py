"""What an earlier run left at the broker: cleared when it is sure that who or what it names is gone."""

from __future__ import annotations

from streamd.events.contract import LastSeen, Presence, Topics
from streamd.events.remains import Remains

TOPICS = Topics("streamd/porch")
ANNA, BEN = (TOPICS.at(LastSeen, subject=name) for name in ("anna", "ben"))


def found(*topics: str) -> Remains:
    remains = Remains(TOPICS, ["front"])
    assert all(remains.found(topic) for topic in topics)
    return remains


def test_whoever_is_enrolled_no_more_is_cleared_once_that_is_known() -> None:
    remains = found(ANNA, BEN)
    assert remains.take() == []

    remains.enrolled(["ben"])

    assert remains.take() == [ANNA]
    assert remains.take() == []


def test_nobody_is_judged_while_photos_are_still_being_judged() -> None:
    """After a change of model everybody is enrolled anew, one after the other."""
    remains = found(ANNA)
    remains.enrolled(["ben"])
    remains.enrolled(None)

    assert remains.take() == []
    remains.enrolled(["anna", "ben"])
    assert remains.take() == []


def test_a_camera_that_is_not_configured_is_cleared_at_once() -> None:
    gone, here = (TOPICS.at(Presence, camera=name) for name in ("back", "front"))

    assert found(gone, here).take() == [gone]


def test_a_topic_of_another_kind_is_not_its_business() -> None:
    assert not Remains(TOPICS, ["front"]).found(f"{TOPICS.base}/gallery")
