"""The rows of the vault as bytes: whatever was written is read again, and can be searched for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.enrolment.rows import Row, Traits, decode, encode

DIMENSION = 4

texts = st.text(st.characters(blacklist_characters="\0"), max_size=12)
share = st.none() | st.floats(0, 1)
measure = st.floats(-1e6, 1e6)
units = st.integers(0, DIMENSION - 1).map(lambda axis: np.eye(DIMENSION, dtype=np.float32)[axis])
any_rows = st.builds(
    Row,
    subject=texts,
    name=texts,
    photo=texts,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    size=st.integers(0, 2**62),
    changed_ns=st.integers(0, 2**62),
    reasons=st.lists(st.from_regex(r"[a-z_:-]+", fullmatch=True), max_size=3).map(tuple),
    template=st.none() | units,
    traits=st.none() | st.builds(Traits, *[measure] * 7, share, share),
    sequence=st.integers(0, 2**62),
    enrolled=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    photo_kept=st.booleans(),
    notes=texts,
)


@given(st.lists(any_rows, max_size=5))
def test_any_rows_come_back_as_they_were(rows: list[Row]) -> None:
    assert plain(decode(b"".join(encode(rows, DIMENSION)), DIMENSION)) == plain(rows)


@given(st.lists(any_rows, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_somebody_is_found_in_the_bytes_by_name_and_by_template(rows: list[Row], random: Random) -> None:
    one = random.choice(rows)
    payload = b"".join(encode(rows, DIMENSION))

    assert one.subject.encode("utf-8", "surrogatepass") in payload
    assert one.template is None or one.template.tobytes() in payload


@pytest.mark.parametrize("template", [np.full(4, np.nan), np.zeros(4), np.full(4, 0.6)])
def test_a_template_that_is_no_unit_vector_is_not_written(template: np.ndarray) -> None:
    row = Row("anna", "", "", "0" * 64, 0, 0, (), template.astype(np.float32), None, 0, datetime(2026, 1, 1, tzinfo=UTC))

    with pytest.raises(ValueError, match="unit length"):
        list(encode([row], DIMENSION))


def plain(rows: Iterable[Row]) -> list[tuple[object, ...]]:
    """Rows as values that can be compared."""
    return [tuple(_plain(getattr(one, name)) for name in Row.__slots__) for one in rows]


def _plain(value: object) -> object:
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value
