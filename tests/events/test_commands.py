"""Commands: which are carried out, which are refused and why, and where the answer goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from streamd.events.commands import MAX_COMMAND_BYTES, Command, Commands, Letter, answer_to, judge
from streamd.events.contract import CommandResult, Refusal, Topics

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
TOPICS = Topics("streamd/porch")


def letter(name: str = "reload", body: bytes = b"", *, retained: bool = False, response_topic: str | None = None) -> Letter:
    return Letter(name, body, retained, NOW, response_topic, b"42" if response_topic else None)


def handlers(**found: Callable[[Command], CommandResult]) -> dict[str, Callable[[Command], CommandResult]]:
    return {"reload": lambda command: command.done("reloaded"), "enable": lambda command: command.done("enabled")} | found


@pytest.mark.parametrize(
    ("sent", "refusal", "words"),
    [
        (letter(retained=True), Refusal.RETAINED, "retain"),
        (letter("open_the_door"), Refusal.UNKNOWN_COMMAND, "known are: enable, reload"),
        (letter(body=b" " * (MAX_COMMAND_BYTES + 1)), Refusal.TOO_LARGE, "65537 bytes, at most 65536"),
        (letter(body=b"PRESS"), Refusal.INVALID_PAYLOAD, "JSON object"),
        (letter(body=b"[1]"), Refusal.INVALID_PAYLOAD, "JSON object"),
        (letter(body=b"\xff\xfe"), Refusal.INVALID_PAYLOAD, "JSON object"),
        (letter(body=b"[" * 60_000), Refusal.INVALID_PAYLOAD, "JSON object"),
    ],
    ids=["retained", "unknown", "too large", "no JSON", "no object", "no UTF-8", "nested beyond reason"],
)
def test_a_command_is_refused_with_a_reason(sent: Letter, refusal: Refusal, words: str) -> None:
    answer = judge(sent, handlers())

    assert isinstance(answer, CommandResult)
    assert (answer.ok, answer.refusal) == (False, refusal)
    assert words in answer.message


@pytest.mark.parametrize(("body", "payload"), [(b"", {}), (b" \n", {}), (b'{"camera": "door"}', {"camera": "door"})])
def test_a_command_carries_an_object_or_nothing(body: bytes, payload: dict[str, str]) -> None:
    command = judge(letter("enable", body), handlers())

    assert isinstance(command, Command)
    assert command.payload == payload


def test_a_handler_that_fails_is_answered_for_and_harms_no_other() -> None:
    answers: list[CommandResult] = []

    def break_it(_command: Command) -> CommandResult:
        raise RuntimeError("the shelf is empty")

    commands = Commands(TOPICS, handlers(break_it=break_it), lambda _topic, answer, _data: answers.append(answer), lambda: 0.0)

    commands.receive(letter("break_it"))
    commands.receive(letter("reload"))

    assert [(answer.ok, answer.refusal) for answer in answers] == [(False, Refusal.FAILED), (True, None)]
    assert "the shelf is empty" in answers[0].message
    assert commands.outcomes() == {"failed": 1, "done": 1}


def test_a_job_that_finds_no_room_elsewhere_is_answered_as_busy() -> None:
    jobs: list[Callable[[], None]] = []
    answers: list[CommandResult] = []

    def run(job: Callable[[], None]) -> bool:
        jobs.append(job)
        return len(jobs) < 2

    commands = Commands(TOPICS, handlers(), lambda _topic, answer, _data: answers.append(answer), lambda: 0.0, run)
    commands.receive(letter())
    commands.receive(letter())
    assert [answer.refusal for answer in answers] == [Refusal.BUSY]

    jobs[0]()
    assert answers[-1].ok


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (None, ("streamd/porch/cmd/reload/result", None)),
        ("clients/7/answers", ("clients/7/answers", b"42")),
        ("streamd/porch/cmd/reload/answers/7", ("streamd/porch/cmd/reload/answers/7", b"42")),
        ("streamd/porch/camera/door/visit", ("streamd/porch/cmd/reload/result", None)),
        ("streamd/porch", ("streamd/porch/cmd/reload/result", None)),
        ("clients/#", ("streamd/porch/cmd/reload/result", None)),
    ],
)
def test_the_answer_goes_where_it_was_asked_for_but_never_speaks_as_the_daemon(
    asked: str | None, target: tuple[str, bytes | None]
) -> None:
    assert answer_to(letter(response_topic=asked), TOPICS) == target


def test_a_command_whose_name_cannot_stand_in_a_topic_is_counted_and_not_answered() -> None:
    answers: list[str] = []
    commands = Commands(TOPICS, handlers(), lambda topic, _answer, _data: answers.append(topic), lambda: 0.0)

    commands.receive(letter("re\x07load"))

    assert answers == []
    assert commands.outcomes() == {"unknown_command": 1}
