"""What may be said of one person beside their photos, and how mistakes in it are told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamd.enrolment.subject import SubjectSettings, read_settings
from streamd.errors import ConfigError
from streamd.values import SubjectRules

FILE = "anna/subject.yaml"
CAMERAS = ("front", "garage")


def settings(text: str) -> SubjectSettings:
    return read_settings(text.encode(), FILE, CAMERAS)


@pytest.fixture(autouse=True)
def _berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("text", ["", "  \n", "# nothing yet\n", "---\n", "name: Anna\n"])
def test_where_nothing_special_is_said_nothing_special_holds(text: str) -> None:
    assert settings(text).rules is None


def test_every_key_is_understood() -> None:
    found = settings(
        "name: ' Anna Müller '\nmax_false_accepts: 0.0001\ncameras: [front]\nvalid_from: 2026-12-01\n"
        "valid_until: 2026-12-31T18:00:00Z\n"
        "consent: {by: Anna Müller, date: 2026-11-25, purpose: opening the door, until: 2027-11-25}\n"
    )

    assert found.name == "Anna Müller"
    assert found.rules == SubjectRules(
        0.0001,
        frozenset({"front"}),
        datetime(2026, 11, 30, 23, tzinfo=UTC),  # midnight in Berlin
        datetime(2026, 12, 31, 18, tzinfo=UTC),
    )


def test_a_day_is_included_whole_in_the_zone_of_this_machine() -> None:
    rules = settings("valid_until: 2026-07-31").rules

    assert rules is not None
    last = datetime(2026, 7, 31, 21, 59, 59, tzinfo=UTC)  # a second before midnight in Berlin, where it is summer
    assert rules.admits("front", last)
    assert not rules.admits("front", last + timedelta(seconds=1))


def test_consent_holds_from_its_day_to_the_end_of_its_last() -> None:
    consent = settings("consent: {by: Anna, date: 2026-11-25, purpose: the door, until: 2027-11-25}").consent

    assert consent is not None
    assert not consent.holds(datetime(2026, 11, 24, 22, tzinfo=UTC))
    assert consent.holds(datetime(2026, 11, 25, 8, tzinfo=UTC))
    assert consent.holds(datetime(2027, 11, 25, 22, tzinfo=UTC))
    assert not consent.holds(datetime(2027, 11, 25, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nmae: Anna", "1: nmae: unknown key; did you mean 'name'?"),
        ("name: Anna\ncameras: [frnt]", "2: cameras: there is no camera 'frnt'; did you mean 'front'?"),
        ("cameras: front", "1: cameras: expected a list such as [a, b], found 'front'"),
        ("cameras: []", "1: cameras: expected at least one entry, found a list"),
        ("valid_until: soon", "1: valid_until: expected a day such as 2026-12-31 or a time, found 'soon'"),
        ("valid_until: 9999-12-31", "1: valid_until: expected a year from 1970 to 9000, found 9999"),
        (
            "valid_from: 2026-12-31\nvalid_until: 2026-12-01",
            "2: valid_until: expected a time after valid_from (2026-12-31), found 2026-12-01",
        ),
        ("max_false_accepts: 1", "1: max_false_accepts: expected a number above 0 and at most 0.1 or null, found 1"),
        ("consent: {by: Anna, date: 2026-01-01}", "1: consent.purpose: missing; expected what for, in a few words"),
        ("name: ''", "1: name: expected text of at least 1 characters, found ''"),
        ('name: "An\\e[31mna"', r"1: name: expected a name without control characters, found 'An\x1b[31mna'"),
        ("name: |\n  An\n  na", r"1: name: expected a name without control characters, found 'An\nna'"),
        ("[Anna]", "1: expected a section of keys and values, found a list"),
        ("[" * 50_000, "1: nested too deeply; expected a few levels of keys and values"),
        ("name: *x", "1: aliases (*name) are not supported; write the value again"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_mend(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        settings(text)

    assert str(told.value).splitlines()[-1].startswith(f"{FILE}:{sentence}")


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        settings("nmae: Anna\ncameras: [frnt]\nvalid_from: soon\n")

    assert len(str(told.value).splitlines()) == 3


_PIECES = st.sampled_from(
    ["name", "cameras", "valid_until", "consent", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "front", "2026-12-31", "null",
     "'", "!!python/object:os.system", "&a", "*a", "? ", ">", "\t", "\0", "ü", "1e309", ".nan", "0x", "---",
     "<<: ", "#", '"\\x']
)  # fmt: skip


@given(st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=40).map(lambda parts: "".join(parts).encode())))
@example(b"valid_from: 2026-13-40")
@example(b"valid_from: 0001-01-01")
@example(b"name: \xff")
@example(b"<<: {name: x}")
@example(b"? [a]\n: b")
def test_whatever_the_file_holds_it_is_settings_or_a_sentence(content: bytes) -> None:
    try:
        sentences = [f"{FILE}: settings {read_settings(content, FILE, CAMERAS)}"]
    except ConfigError as told:
        sentences = str(told).splitlines()

    assert all(line.startswith(f"{FILE}:") for line in sentences)
