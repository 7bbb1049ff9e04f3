"""The demonstration: as a whole, as the reader runs it, and the words that it finds for each message."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import cv2
import pytest

from streamd.demo.play import as_it_should_be
from streamd.demo.words import describe, read
from streamd.events.contract import (
    TOPICS,
    CameraCondition,
    CameraState,
    CommandResult,
    EnrolPrompt,
    GalleryEvent,
    GalleryState,
    LastSeen,
    Left,
    NodeState,
    Payload,
    Presence,
    Status,
    Topics,
    Verdict,
    VisitEvent,
)
from streamd.values import Decision, Outcome, SubjectEvidence

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
BOUND, MARGIN = 6.9, 3.0
ANNA, BERTA = SubjectEvidence("anna", 16.1, 0.62, "Anna/1.jpg"), SubjectEvidence("berta", -2.3, 0.2, "Berta/1.jpg")


def visit(decision: Decision, name: str | None = None) -> VisitEvent:
    return VisitEvent.from_decision(
        decision, visit="b-1", seq=1, boot="b", camera="door", name=name, others_in_view=0, unknown_in_view=0, captured=NOW,
        clock_synchronised=True, started=NOW, decided=NOW, max_age=2.0, latency=0.31, model="m", gallery_generation=1,
    )  # fmt: skip


IDENTIFIED = visit(Decision(Outcome.IDENTIFIED, ANNA, BERTA, BOUND, MARGIN, 3, 2.1), "Anna")
UNKNOWN = visit(Decision(Outcome.UNKNOWN, BERTA, None, BOUND, MARGIN, 8, 4.0, ("evidence_below_bound",)))
UNDECIDED = visit(Decision(Outcome.UNDECIDED, None, None, BOUND, MARGIN, 1, 1.0, ("too_few_good_frames", "too_small")))
# e^16.1 is 10^7.0 and e^6.9 is 992; e^-2.3 is 10^-1.0.
SAID: list[tuple[Payload, str]] = [
    (Status(state=NodeState.ONLINE, version="1.0", boot="b", since=NOW), "streamd 1.0 is online"),
    (
        CameraState(camera="door", state=CameraCondition.OK, frames_per_second=15.0, last_frame_age=0.1, at=NOW),
        "camera door: delivers pictures",
    ),
    (
        CameraState(
            camera="door", state=CameraCondition.PROBLEM, reason="refused", detail="refused the connection",
            frames_per_second=0.0, last_frame_age=None, at=NOW,
        ),
        "camera door: refused the connection",
    ),
    (
        CameraState(
            camera="door", state=CameraCondition.PROBLEM, enabled=False, reason="disabled", frames_per_second=0.0,
            last_frame_age=None, at=NOW,
        ),
        "camera door: disabled",
    ),
    (Presence(camera="door", faces=0, at=NOW), "camera door: no faces in view"),
    (Presence(camera="door", faces=1, at=NOW), "camera door: 1 face in view"),
    (
        IDENTIFIED,
        "Anna: best score 0.62, evidence 10^7.0 to 1 where 992 to 1 is asked for; photo Anna/1.jpg matched best; "
        "0.31 s after the first good frame, from 3 frames",
    ),
    (
        UNKNOWN,
        "unknown: nobody enrolled is like them (best score 0.20, evidence 1 to 10^1.0 where 992 to 1 is asked for); "
        "0.31 s after the first good frame, from 8 frames",
    ),
    (
        replace(UNDECIDED, latency_ms=None, frames_used=0),
        "undecided: too few good frames; too small; no frame of the face was good",
    ),
    (UNDECIDED, "undecided: too few good frames; too small; 0.31 s after the first good frame, from 1 frame"),
    (
        Left(
            visit="b-1", boot="b", camera="door", decision=Outcome.IDENTIFIED, subject="anna", started=NOW,
            left=NOW + timedelta(seconds=4), duration=4.0,
        ),
        "anna left after 4.0 s",
    ),
    (
        Left(
            visit="b-2", boot="b", camera="door", decision=Outcome.UNKNOWN, subject=None, started=NOW,
            left=NOW + timedelta(seconds=4), duration=4.0,
        ),
        "the unknown visitor left after 4.0 s",
    ),
    (LastSeen(subject="anna", name="Anna", camera="door", visit="b-1", at=NOW), "Anna was last seen by camera door"),
    (
        EnrolPrompt(
            subject="anna", camera="door", step="left", prompt="turn_left", text="Good. Please turn a little.", done=1, of=3,
            finished=False, ok=None, at=NOW,
        ),
        "camera door, 1 of 3 pictures of anna: Good. Please turn a little.",
    ),
    (GalleryState(subjects=1, templates=2, generation=1, changed=NOW), "gallery: 1 person, 2 photos"),
    (
        GalleryEvent(photo="Anna/1.jpg", subject="anna", verdict=Verdict.ACCEPTED, generation=1, at=NOW),
        "photo Anna/1.jpg: accepted",
    ),
    (
        GalleryEvent(
            photo="Anna/2.jpg", subject="anna", verdict=Verdict.REFUSED, reasons=("blurred",),
            advice="the face is blurred; use a sharper photo", generation=1, at=NOW,
        ),
        "photo Anna/2.jpg: refused, the face is blurred; use a sharper photo",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "words"), SAID)
def test_a_message_is_told_in_words(payload: Payload, words: str) -> None:
    """As it comes from the broker: found again by its topic alone."""
    topics = Topics("streamd/demo")

    assert describe(payload) == words
    assert describe(read(topics, topics.of(payload), payload.to_json()) or payload) == words


def test_there_are_words_for_every_message_that_is_not_an_answer() -> None:
    assert {type(payload) for payload, _ in SAID} == {topic.payload for topic in TOPICS} - {CommandResult}


@pytest.mark.parametrize("topic", ["homeassistant/device/demo/config", "streamd/demo/cmd/reload/result", "streamd/demo"])
def test_what_is_no_message_of_the_contract_is_passed_over(topic: str) -> None:
    assert read(Topics("streamd/demo"), topic, b"{}") is None


@pytest.mark.parametrize(
    ("decisions", "right"),
    [
        ([IDENTIFIED, UNKNOWN], True),
        ([UNDECIDED, IDENTIFIED, UNKNOWN], True),
        ([], False),
        ([IDENTIFIED], False),
        ([UNKNOWN], False),
        ([IDENTIFIED, UNDECIDED], False),
        ([IDENTIFIED, UNKNOWN, replace(IDENTIFIED, subject="berta", name="Berta")], False),
    ],
)
def test_the_demonstration_fails_where_the_person_or_the_stranger_is_missing_or_mistaken(
    decisions: list[VisitEvent], right: bool
) -> None:
    assert as_it_should_be(decisions, "Anna") is right


@pytest.mark.process
def test_the_demonstration_shows_a_person_and_a_stranger_and_ends_by_itself(tmp_path: Path, portraits: Path) -> None:
    assert portraits.is_dir()

    done = subprocess.run(
        [sys.executable, "-m", "streamd", "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    # He has left only when he has not come back for a while, and the stranger may have come by then.
    for order in (
        ("is online", "Barack Obama: best score", "barack-obama left after"),
        ("Barack Obama: best score", "unknown: nobody enrolled", "unknown visitor left"),
    ):
        places = [told.find(words) for words in order]
        assert -1 not in places, told
        assert places == sorted(places), told
    assert "the stranger stayed unknown" in told
    pictures = sorted((tmp_path / "demo-output" / "pictures").glob("*.jpg"))
    assert [path.stem.rpartition("-")[2] for path in pictures] == ["identified", "unknown"]
    for path in pictures:
        assert str(path.relative_to(tmp_path)) in told
        assert cv2.imread(str(path)).shape == (720, 1280, 3)


@pytest.mark.process
def test_a_camera_that_gives_no_picture_is_named_with_its_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamd", "demo", "--camera", "/dev/video99", "--seconds", "6"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 69
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("streamd: door: /dev/video99")
    assert "; " in sentence
