"""The rows of the vault, one for each photo, and their bytes: columns, so that a hundred thousand are read in no time.

Little-endian, each column from a multiple of 64 bytes on. Text is UTF-8 with the rows parted by NUL, and templates are float32
as they are in memory, so that a search of the bytes for somebody's name or template finds it (`proof.py`).
"""

from __future__ import annotations

import contextlib
import gc
import math
import operator
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamd.enrolment.disk import Bytes
from streamd.values import Float32

_UNIT_TOLERANCE: Final = 1e-3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_COUNTS: Final = struct.Struct("<QQ")  # rows, rows with a template
_NUMBERS: Final = (
    ("size", "<i8"),
    ("changed_ns", "<i8"),
    ("sequence", "<i8"),
    ("enrolled", "<i8"),
    ("flags", "u1"),
)
_ALIGNMENT: Final = 64
_AT_ONCE: Final = 1000  # templates copied while no other thread runs
_TRAITS: Final = 9
_HAS_TEMPLATE, _HAS_TRAITS, _PHOTO_KEPT = 1, 2, 4
_TEXTS: Final = 5  # subject, name, photo, reasons, notes
_REASONS_PARTED: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Traits:
    """How the face looks in a photo, units as in `values.Quality`; glasses, covered: share 0..1, None where it is not known."""

    sharpness: float
    brightness: float
    contrast: float
    yaw: float
    pitch: float
    roll: float
    eye_distance: float
    glasses: float | None = None
    covered: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The verdict on one photo, and what it takes to use it again without reading the photo.

    photo: relative to the enrolment folder. digest: SHA-256 of its bytes, 64 hexadecimal digits. size, changed_ns: of the
    file, as in `folder.PhotoFile`. reasons: why it is refused, empty where it is not. template: float32 (D,), unit length, None
    where the photo gave none. sequence: rises with each enrolment, so that the senior of two photos is known. enrolled: UTC.
    photo_kept: False where the photo was deleted on purpose once it was enrolled. notes: the verdict beside others, free text.
    """

    subject: str
    name: str
    photo: str
    digest: str
    size: int
    changed_ns: int
    reasons: tuple[str, ...]
    template: Float32 | None
    traits: Traits | None
    sequence: int
    enrolled: datetime
    photo_kept: bool = True
    notes: str = ""


def encode(rows: Sequence[Row], dimension: int) -> Iterator[Bytes]:
    """The payload in parts. Raises ValueError for a template that is no unit vector of that dimension."""
    templates = [row.template for row in rows if row.template is not None]
    block = np.empty((len(templates), dimension), "<f4")
    for start in range(0, len(templates), _AT_ONCE):
        block[start : start + _AT_ONCE] = templates[start : start + _AT_ONCE]
    _check_unit(block)
    nothing = (np.nan,) * _TRAITS
    measured = operator.attrgetter(*Traits.__slots__)
    # None becomes NaN.
    traits = np.array([nothing if row.traits is None else measured(row.traits) for row in rows], "<f8")
    flags = [
        _HAS_TEMPLATE * (row.template is not None) + _HAS_TRAITS * (row.traits is not None) + _PHOTO_KEPT * row.photo_kept
        for row in rows
    ]
    texts = (
        [row.subject for row in rows],
        [row.name for row in rows],
        [row.photo for row in rows],
        [_REASONS_PARTED.join(row.reasons) for row in rows],
        [row.notes for row in rows],
    )
    encoded = [_joined(column).encode("utf-8", "surrogatepass") for column in texts]
    yield from _column(_COUNTS.pack(len(rows), len(templates)) + struct.pack(f"<{_TEXTS}Q", *map(len, encoded)))
    yield from _column(block.data)
    yield from _column(traits.tobytes())
    yield from _column(b"".join([bytes.fromhex(row.digest) for row in rows]))
    numbers = {
        "size": [row.size for row in rows],
        "changed_ns": [row.changed_ns for row in rows],
        "sequence": [row.sequence for row in rows],
        "enrolled": [(row.enrolled - _EPOCH) // _MICROSECOND for row in rows],
        "flags": flags,
    }
    for name, kind in _NUMBERS:
        yield from _column(np.array(numbers[name], kind).tobytes())
    for column in encoded:
        yield from _column(column)


def _joined(column: list[str]) -> str:
    joined = "\0".join(column)
    if joined.count("\0") >= max(len(column), 1):  # a NUL of their own would shift the rows
        joined = "\0".join([text.replace("\0", "\ufffd") for text in column])
    return joined


def _column(data: Bytes) -> tuple[Bytes, bytes]:
    return data, b"\0" * (-memoryview(data).nbytes % _ALIGNMENT)


def decode(data: Bytes, dimension: int) -> list[Row]:
    """The rows of a payload that has been authenticated; templates are views of its bytes and cannot be written to."""
    with _no_collection():
        return _decode(memoryview(data), dimension)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Half a million new objects, none of them garbage: the collector would look through them again and again, which takes as
    long as making them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _decode(view: memoryview, dimension: int) -> list[Row]:
    position = 0

    def column(length: int) -> memoryview:
        nonlocal position
        start, position = position, position + length + -length % _ALIGNMENT
        return view[start : start + length]

    head = column(_COUNTS.size + 8 * _TEXTS)
    count, templated = _COUNTS.unpack_from(head)
    lengths = struct.unpack_from(f"<{_TEXTS}Q", head, _COUNTS.size)
    block = np.frombuffer(column(4 * templated * dimension), "<f4").reshape(templated, dimension)
    measures = np.frombuffer(column(8 * count * _TRAITS), "<f8").reshape(count, _TRAITS)
    digests = bytes(column(32 * count)).hex()
    numbers: dict[str, NDArray[np.int64]] = {
        name: np.frombuffer(column(count * np.dtype(kind).itemsize), kind) for name, kind in _NUMBERS
    }
    texts = [bytes(column(length)).decode("utf-8", "surrogatepass").split("\0")[:count] for length in lengths]
    flags = numbers["flags"]
    templates, traits = iter(block), map(Traits, *_measured(measures))
    columns = (
        *texts[:3],
        [digests[i : i + 64] for i in range(0, len(digests), 64)],
        numbers["size"].tolist(),
        numbers["changed_ns"].tolist(),
        [tuple(joined.split(_REASONS_PARTED)) if joined else () for joined in texts[3]],
        [next(templates) if has else None for has in (flags & _HAS_TEMPLATE).tolist()],
        [one if has else None for one, has in zip(traits, (flags & _HAS_TRAITS).tolist(), strict=True)],
        numbers["sequence"].tolist(),
        [_EPOCH + count * _MICROSECOND for count in numbers["enrolled"].tolist()],
        (flags & _PHOTO_KEPT).astype(bool).tolist(),
        texts[4],
    )
    return list(map(Row, *columns))


def _measured(measures: NDArray[np.float64]) -> Iterator[list[float | None]]:
    """The columns of the traits, None where one is not known."""
    for column in measures.T:
        known: list[float] = column.tolist()
        yield [None if math.isnan(one) else one for one in known]


def _check_unit(block: NDArray[np.float32]) -> None:
    # NaN fails the comparison too.
    if not (np.abs(np.sqrt(np.vecdot(block, block)) - 1) < _UNIT_TOLERANCE).all():
        raise ValueError("expected templates of unit length, found one that is not")
