"""Putting photos into the enrolment folder, as a person does by hand: whole or not at all, and never over another."""

from __future__ import annotations

import itertools
import json
import secrets
from pathlib import Path

from streamd.enrolment import subject
from streamd.enrolment.disk import Disk
from streamd.enrolment.listing import list_folder, remembered, subject_id
from streamd.enrolment.subject import is_printable, read_settings
from streamd.errors import ConfigError, GalleryError


def person_folder(folder: Path, seen: Path, who: str, shown: str | None = None) -> str:
    """The name of a person's folder, by name or id; a new one is made for a new name. Raises GalleryError.

    seen: where it is written which folder the enrolment folder was; nobody's is made in an empty one in its place, where
    perhaps no disk is mounted: it would be taken for the gallery, and everybody else would be gone. shown: the name by which
    they are to be shown, written into their `subject.yaml` unless there is one.
    """
    settings = None if shown is None else _settings(shown)
    place = _made(folder, seen, who)
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


def _made(folder: Path, seen: Path, who: str) -> str:
    if not who.strip() or who.startswith(".") or "/" in who or not is_printable(who) or len(who.encode()) > 200:
        raise GalleryError(f"expected a name that a folder can have, found {who[:80]!r}")
    try:
        known = remembered(seen)
        if known is None:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.exists() or (folder.stat().st_ino != known and not list_folder(folder).people):
            raise GalleryError(
                f"{folder} is not the folder that it was, perhaps a disk is not mounted; mount it, and ask again"
            )
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
    stem = "".join(one if is_printable(one) else "_" for one in stem).encode()[:100].decode(errors="ignore") or "photo"
    for number in itertools.count(1):
        chosen = f"{stem}{'' if number == 1 else f'-{number}'}{dot}{suffix}"
        try:
            if not (folder / chosen).exists():
                _put(folder / chosen, data, disk or Disk())
                return chosen
        except FileExistsError:
            continue  # by somebody else, just now
        except OSError as error:
            why = (error.strerror or "error").lower()
            raise GalleryError(f"{folder / chosen}: {why}; make room, or run this as somebody who may write there") from None
    raise AssertionError


def _put(path: Path, data: bytes, disk: Disk) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            disk.sync(file.fileno())
        disk.name(temporary, path)
        disk.sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
