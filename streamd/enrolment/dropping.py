"""Putting photos into the enrolment folder, as a person does by hand: whole or not at all, and never over another."""

from __future__ import annotations

import json
from pathlib import Path

from streamd.enrolment import subject
from streamd.enrolment.disk import Disk
from streamd.enrolment.listing import list_folder, subject_id
from streamd.enrolment.subject import is_printable, read_settings
from streamd.errors import ConfigError, GalleryError


def person_folder(folder: Path, who: str, shown: str | None = None) -> str:
    """The name of a person's folder, by name or id; a new one is made for a new name. Raises GalleryError.

    shown: the name by which they are to be shown, written into their `subject.yaml` unless there is one.
    """
    settings = None if shown is None else _settings(shown)
    place = _made(folder, who)
    if settings is not None:
        _say(folder / place, settings)
    return place


def _settings(shown: str) -> bytes:
    """A `subject.yaml` with no more than a name; what JSON writes is YAML too."""
    settings = f"name: {json.dumps(shown, ensure_ascii=False)}\n".encode(errors="surrogateescape")
    try:
        read_settings(settings, subject.FILE, ())
    except ConfigError as error:
        raise GalleryError(str(error)) from None
    return settings


def _say(person: Path, settings: bytes) -> None:
    """Write somebody's first settings; what is said of them already is theirs who wrote it."""
    file = person / subject.FILE
    try:
        if file.exists():
            if file.read_bytes() != settings:
                raise GalleryError(f"{file} is there already; write the name into it by hand")
        else:
            _put(file, settings, Disk())
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{file}: {why}; run this as somebody who may write there") from None


def _made(folder: Path, who: str) -> str:
    if not who.strip() or who.startswith(".") or "/" in who or not is_printable(who) or len(who.encode()) > 200:
        raise GalleryError(f"expected a name that a folder can have, found {who[:80]!r}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = subject_id(who)
        for person in list_folder(folder).people:
            if who == person.name or wanted == person.subject:
                return person.place
        (folder / who).mkdir()
        Disk().sync_folder(folder)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{folder}: {why}; run this as somebody who may write there") from None
    return who


def drop(folder: Path, name: str, data: bytes, disk: Disk | None = None) -> str:
    """Put a photo into a person's folder, and wait for the disk; its name there, with a number where that name is taken. Raises
    GalleryError.
    """
    # What came in a message may hold half of a pair, which no answer could name.
    stem, dot, suffix = name.encode(errors="replace").decode().replace("/", "_").lstrip(".#").rpartition(".")
    stem = stem[:100] or "photo"
    chosen, number = f"{stem}{dot}{suffix}", 1
    while (folder / chosen).exists():
        number += 1
        chosen = f"{stem}-{number}{dot}{suffix}"
    try:
        _put(folder / chosen, data, disk or Disk())
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{folder / chosen}: {why}; make room, or run this as somebody who may write there") from None
    return chosen


def _put(path: Path, data: bytes, disk: Disk) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            disk.sync(file.fileno())
        disk.rename(temporary, path)
        disk.sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
