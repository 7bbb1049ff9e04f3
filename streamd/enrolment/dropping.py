"""Putting photos into the enrolment folder, as a person does by hand: whole or not at all, and never over another."""

from __future__ import annotations

from pathlib import Path

from streamd.enrolment.listing import list_folder, subject_id
from streamd.enrolment.subject import is_printable
from streamd.errors import GalleryError


def person_folder(folder: Path, who: str) -> str:
    """The name of a person's folder, by name or id; a new one is made for a new name. Raises GalleryError."""
    if not who.strip() or who.startswith(".") or "/" in who or not is_printable(who) or len(who.encode()) > 200:
        raise GalleryError(f"expected a name that a folder can have, found {who[:80]!r}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        subject = subject_id(who)
        for person in list_folder(folder).people:
            if who == person.name or subject == person.subject:
                return person.place
        (folder / who).mkdir()
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{folder}: {why}; run this as somebody who may write there") from None
    return who


def drop(folder: Path, name: str, data: bytes) -> str:
    """Put a photo into a person's folder; its name there, with a number where that name is taken. Raises GalleryError."""
    # What came in a message may hold half of a pair, which no answer could name.
    stem, dot, suffix = name.encode(errors="replace").decode().replace("/", "_").lstrip(".#").rpartition(".")
    stem = stem[:100] or "photo"
    chosen, number = f"{stem}{dot}{suffix}", 1
    while (folder / chosen).exists():
        number += 1
        chosen = f"{stem}-{number}{dot}{suffix}"
    temporary = folder / f".{chosen}.part"
    try:
        temporary.write_bytes(data)
        temporary.rename(folder / chosen)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{folder / chosen}: {why}; make room, or run this as somebody who may write there") from None
    return chosen
