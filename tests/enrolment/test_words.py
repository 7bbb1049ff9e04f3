"""The coach's words: what was seen and what to do, in the sidecar and on the terminal."""

from __future__ import annotations

import json

import pytest

from streamd.enrolment.coach import CoachReason, CoachWarning, Confusable, Likeness, RelationalVerdict
from streamd.enrolment.coverage import coverage
from streamd.enrolment.images import SUFFIXES
from streamd.enrolment.words import (
    ADVICE,
    COVERED,
    advice,
    confusable_sentence,
    is_sidecar,
    sidecar,
    sidecar_name,
    subject_lines,
    worth,
)


def name(subject: str) -> str:
    return {"anna": "Anna", "ben": "Ben"}[subject]


def verdict(
    reason: CoachReason | None = None,
    like: Likeness | None = None,
    repeated: str | None = None,
    warnings: tuple[CoachWarning, ...] = (),
) -> RelationalVerdict:
    return RelationalVerdict("anna", "anna/1.jpg", (reason,) if reason else (), warnings, 0.8, -2.25, repeated, like)


def test_a_photo_in_the_wrong_folder_says_whose_it_is_and_how_sure_that_is() -> None:
    like = Likeness("ben", "ben/1.jpg", 14.23, 3.1, misplaced=True)

    assert advice(verdict(CoachReason.LOOKS_LIKE, like), name) == (
        "this looks more like Ben than like Anna (evidence 14.2 against 3.1); move it to Ben's folder or delete it"
    )


def test_a_newcomers_first_photo_says_that_the_folders_may_be_one_person_or_relatives() -> None:
    said = advice(verdict(CoachReason.LOOKS_LIKE, Likeness("ben", "ben/1.jpg", 12, None, misplaced=False)), name)

    assert "looks like Ben (evidence 12.0)" in said
    assert "one person" in said
    assert "relatives" in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (verdict(CoachReason.LOOKS_LIKE, Likeness("ben", "b", 12, 12, misplaced=False)), "as much like Ben as like Anna"),
        (verdict(CoachReason.DUPLICATE, repeated="anna/0.jpg"), "this repeats anna/0.jpg"),
        (verdict(warnings=(CoachWarning.ODD_ONE,)), "unlike the other photos of Anna"),
    ],
)
def test_every_verdict_that_is_no_plain_yes_says_what_to_do(given: RelationalVerdict, words: str) -> None:
    said = advice(given, name)

    assert words in said
    assert "; " in said


def test_every_code_has_a_sentence_that_says_what_was_seen_and_what_to_do() -> None:
    assert set(ADVICE) == {COVERED, *CoachReason, *CoachWarning}
    assert all("; " in sentence for sentence in ADVICE.values())


def test_a_plain_yes_needs_no_advice() -> None:
    assert advice(verdict(), name) == ""


def test_the_sidecar_begins_with_a_sentence_and_names_the_numbers_behind_it() -> None:
    told = json.loads(sidecar(verdict(), (), "", name))

    assert next(iter(told)) == "verdict"
    assert told["verdict"] == "Used: it adds much."
    assert (told["used"], told["gain"], told["evidence_of_own_photos"]) == (True, 0.8, -2.2)


def test_the_sidecar_of_a_photo_refused_by_itself_says_why() -> None:
    told = json.loads(sidecar(None, ["blurred"], "the face is blurred; use a sharper photo", name))

    assert told == {"verdict": "Not used: the face is blurred; use a sharper photo.", "used": False, "reasons": ["blurred"]}


def test_a_sidecar_is_known_by_what_it_says() -> None:
    """So that a file of somebody's own is never taken for one."""
    refused = sidecar(None, ["blurred"], "the face is blurred; use a sharper photo", name)

    assert is_sidecar(sidecar(verdict(), (), "", name).encode())
    assert is_sidecar(refused.encode())
    assert not any(map(is_sidecar, (b"", b"[]", b"\xff", refused[:-9].encode(), refused.replace("Not used", "Used").encode())))


def test_the_sidecar_is_taken_for_no_photo() -> None:
    """Neither by the enrolment folder nor by a viewer: both go by the last suffix."""
    assert sidecar_name("anna/1.jpg") == "anna/1.jpg.verdict.json"
    assert not any(sidecar_name("anna/1.jpg").endswith(suffix) for suffix in SUFFIXES)


def test_gain_has_words() -> None:
    assert [worth(gain) for gain in (1.0, 0.5, 0.2, 0.0)] == [
        "it adds much",
        "it adds something",
        "it adds a little",
        "it adds next to nothing",
    ]


def test_a_subject_is_a_few_lines_of_text_the_last_of_which_says_what_to_do() -> None:
    lines = subject_lines("anna", coverage([]), name)

    assert lines[0] == "Anna: 0 photos in use"
    assert lines[1] == "  turn    left -  half-left -  front -  half-right -  right -"
    assert lines[-1].startswith("  No photo is in use yet")


def test_two_who_are_easily_confused_are_one_sentence() -> None:
    said = confusable_sentence(Confusable(("anna", "ben"), ("anna/1", "ben/2"), 9.24, 8.0), name)

    assert said.startswith("Anna and Ben can be taken for each other (evidence 9.2, 8.0 identifies; anna/1 and ben/2)")
