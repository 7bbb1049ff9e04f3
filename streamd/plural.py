"""How many of what, as a person says it."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 photo`, `2 photos`; with `many` where an s is not all: `1 person`, `2 people`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
