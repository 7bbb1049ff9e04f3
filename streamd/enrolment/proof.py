"""The proof that somebody was forgotten: every file of the state searched for their name and their templates.

What is sealed is opened and its rows compared field by field; a name as a word in bytes would accuse whoever is called alike.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from streamd.enrolment.images import SUFFIXES
from streamd.enrolment.rows import Row, decode
from streamd.enrolment.seal import KEY_FILE, MAGIC, Seal, Unsealed
from streamd.enrolment.vault import BACKUP, GALLERY

PICTURE: Final = re.compile(r"\d{8}T\d{6}-(?P<camera>.+?)-visit\d+-(?P<subject>.+)-identified\.jpg")
"""The picture of a decision, as debug.py names it; a subject's name may end like another's."""

_MODELS: Final = "models"  # copies of networks and what is compiled of them: of nobody here
_SEALED: Final = re.compile(rb"streamd(-passphrase)?[\0-\x1f]")  # of this or another version of the format
_SEALED_SUFFIXES: Final = {".sealed", ".looks", ".photos", ".ignored"}
_PACKED: Final = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, zip, bzip2, xz, zstd
_WORD: Final = rb"[0-9A-Za-z_-]"


@dataclass(frozen=True)
class Sought:
    """Whom a search is for. names: as they are shown. folders: theirs. templates: float32 bytes (`vector.tobytes()`). digests:
    of their photos, SHA-256 in hexadecimal. others: ids, folders and names of everybody else, who may be called alike.
    """

    subject: str
    names: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    templates: frozenset[bytes] = frozenset()
    digests: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def is_named_in(self, text: bytes | mmap.mmap) -> bool:
        """Whether one of their names is a word of it, and no part of another's name."""
        return self._words is not None and any(match.lastgroup == "theirs" for match in self._words.finditer(text))

    def is_exactly_in(self, data: bytes | mmap.mmap) -> bool:
        """Whether a template or digest of theirs is in it, bit for bit."""
        return any(data.find(one) >= 0 for one in (*self.templates, *map(bytes.fromhex, self.digests)))

    def owns(self, row: Row) -> bool:
        """Whether a row of a vault is theirs, or made of a photo of theirs."""
        if row.subject == self.subject or row.name in self.folders or row.digest in self.digests:
            return True
        return row.template is not None and row.template.tobytes() in self.templates

    @cached_property
    def _words(self) -> re.Pattern[bytes] | None:
        shared = {one.casefold() for one in self.others}
        own = {one for one in (self.subject, *self.names, *self.folders) if one and one.casefold() not in shared}
        longer = {one for one in self.others if any(mine.casefold() in one.casefold() for mine in own)}
        if not own:
            return None
        parts = [(b"theirs", own)] if not longer else [(b"others", longer), (b"theirs", own)]
        told = [b"(?P<%s>%s)" % (group, b"|".join(_escaped(words))) for group, words in parts]
        return re.compile(rb"(?<!%s)(?:%s)(?!%s)" % (_WORD, b"|".join(told), _WORD), re.IGNORECASE)


def _escaped(words: set[str]) -> list[bytes]:
    return [re.escape(os.fsencode(one)) for one in sorted(words, key=len, reverse=True)]


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something was found; `sealed` where it lies inside a sealed file, which holds others too. owner: whose it is, where
    it is another's that merely names them.
    """

    path: Path
    sealed: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found: theirs, and another's that names them; in how many files it looked, and those that it could not look
    into: they prove nothing.
    """

    found: tuple[Finding, ...]
    named: tuple[Finding, ...]
    files: int
    unread: tuple[Path, ...]


@dataclass(slots=True)
class _Searching:
    sought: Sought
    gallery: Path
    seals: Sequence[Seal]
    findings: set[Finding] = field(default_factory=set)
    unread: list[Path] = field(default_factory=list)
    files: int = 0


def search(state: Path, sought: Sought, seals: Sequence[Seal] = (), gallery: Path | None = None) -> Search:
    """Search the name and the bytes of every file under a folder but `models`, and what these seals can open of them.

    gallery: the enrolment folder, where it is below: what lies in another's folder is theirs. Text that a file holds in another
    form, such as escaped, is not found; what is packed counts as unread. Symbolic links are not followed.
    """
    run = _Searching(sought, gallery or state / "gallery", seals)

    def fail(error: OSError) -> None:
        run.unread.append(Path(error.filename))

    for parent, folders, names in os.walk(state, onerror=fail):
        if Path(parent) == state and _MODELS in folders:
            folders.remove(_MODELS)
        # A link to a folder counts as a file, and is not entered.
        links = [one for one in folders if (Path(parent) / one).is_symlink()]
        for name in sorted((*folders, *names)):
            _look_at_name(run, Path(parent) / name)
        for name in sorted((*names, *links)):
            path = Path(parent) / name
            run.files += 1
            try:
                _look_into(run, path)
            except (OSError, ValueError):  # also one that was emptied before it could be mapped
                run.unread.append(path)
    ordered = sorted(run.findings, key=lambda one: (one.path, one.owner))
    return Search(
        tuple(one for one in ordered if not one.owner),
        tuple(one for one in ordered if one.owner),
        run.files,
        tuple(run.unread),
    )


def _owner(run: _Searching, path: Path) -> str:
    """Whose folder of the gallery a path is in, or is; empty for theirs and outside."""
    if run.gallery not in path.parents:
        return ""
    place = path.relative_to(run.gallery).parts[0]
    loose = path.parent == run.gallery and not path.is_dir()
    return "" if loose or place in run.sought.folders else place


def _look_at_name(run: _Searching, path: Path) -> None:
    picture = PICTURE.fullmatch(path.name)
    owner = _owner(run, path)
    if picture is not None and not owner:
        if picture["subject"] == run.sought.subject:
            run.findings.add(Finding(path))
    elif path.name != owner and run.sought.is_named_in(os.fsencode(path.name)):  # who is called alike is somebody else
        run.findings.add(Finding(path, owner=owner))
    elif run.gallery in path.parents and not owner and path.relative_to(run.gallery).parts[0] in run.sought.folders:
        run.findings.add(Finding(path))


def _look_into(run: _Searching, path: Path) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        if run.sought.is_named_in(os.fsencode(path.readlink())):
            run.findings.add(Finding(path, owner=_owner(run, path)))
        return
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return  # a socket or a FIFO holds nothing
    with path.open("rb") as file, _bytes(run, path, file) as mapped:
        if run.sought.is_exactly_in(mapped):
            run.findings.add(Finding(path))
        if mapped[: len(MAGIC)] == MAGIC:
            with memoryview(mapped) as view:
                opened = next((one for one in (seal.unseal(view) for seal in run.seals) if isinstance(one, Unsealed)), None)
            if opened is None:
                run.unread.append(path)
            else:
                run.findings.update(_inside(run.sought, path, opened))
        elif _SEALED.match(mapped[:32]) or path.suffix in _SEALED_SUFFIXES or mapped[:8].startswith(_PACKED):
            run.unread.append(path)
        elif path.suffix.lower() not in SUFFIXES and path.name != KEY_FILE and run.sought.is_named_in(mapped):
            # What a camera wrote into a photo is not read as text.
            run.findings.add(Finding(path, owner=_owner(run, path)))


@contextlib.contextmanager
def _bytes(run: _Searching, path: Path, file: BinaryIO) -> Iterator[bytes | mmap.mmap]:
    """What a file holds: mapped, for a vault may be large, or read where anybody may cut the file short, which under a mapping
    would end the process.
    """
    if run.gallery in path.parents:
        yield file.read()
    else:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _inside(sought: Sought, path: Path, opened: Unsealed) -> Iterator[Finding]:
    data = bytes(opened.data)
    if sought.is_exactly_in(data):
        yield Finding(path, sealed=True)
    if opened.label.purpose not in (GALLERY, BACKUP):
        return  # unknown visitors have no names
    try:
        rows = decode(opened.data, opened.label.dimension)
    except (ValueError, struct.error):  # of another version
        if sought.is_named_in(data):
            yield Finding(path, sealed=True)
        return
    for row in rows:
        if sought.owns(row):
            yield Finding(path, sealed=True)
        elif sought.is_named_in(row.notes.encode("utf-8", "surrogatepass")):
            yield Finding(path, sealed=True, owner=row.name)
