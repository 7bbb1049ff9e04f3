"""What lies in the enrolment folder: each person's photos and settings, by name, size and time of change; nothing is opened."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.enrolment import subject
from streamd.enrolment.images import SUFFIXES
from streamd.enrolment.words import SIDECAR_SUFFIX

# Pictures of kinds that are not read are looked at as well, so that they are refused aloud.
_LOOKED_AT: Final = SUFFIXES | {".jfif", ".jpe", ".gif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".dng", ".svg", ".pdf"}
_SLUG: Final = re.compile(r"[^a-z0-9_]+")
# As people and their editors call `subject.yaml`; not what an editor leaves beside it.
_MISNAMED: Final = re.compile(r"subjects?\.(yaml|yml)(\.txt)?", re.IGNORECASE)
# File systems of other machines, which tell no inotify watch what is written there.
_REMOTE: Final = re.compile(r"(cifs|smb3?|smbfs|nfs\d?|9p|afs|ceph|glusterfs|lustre|davfs2?|fuse\..*|virtiofs|vboxsf|prl_fs)")


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo on disk: `photo` names it for people, relative to the folder; size and time of change tell whether it is another.

    place: its path relative to the folder. changed_ns is the inode's change time: it moves with every write, rename and chmod,
    and `cp -p` cannot set it back.
    """

    subject: str
    name: str
    photo: str
    place: str
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """A person's folder: its id, its name, and the size and time of change of the settings in it, None where there are none."""

    subject: str
    name: str
    place: str
    settings: tuple[int, int] | None
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """The whole folder. inode: tells whether it is still the folder it was, or one that a disk was mounted over. orphans:
    places of photos that are gone and whose sidecars are there. loose: names of photos that lie in no person's folder.
    misnamed: settings under a name by which they are not read.
    """

    people: tuple[PersonFolder, ...]
    photos: tuple[PhotoFile, ...]
    inode: int
    orphans: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()


def slug(name: str) -> str:
    """A folder's name as the subject's id: lower-case letters, digits, `_` and `-`; empty when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _SLUG.sub("-", plain).strip("-")[:63]


def subject_id(name: str) -> str:
    """The id of the person whose folder has that name: its slug, and a digest where the slug alone would lose something.

    So Jörg and Jorg stay two people, and a name in any script has an id; only capitals, spaces and dashes make no difference.
    """
    plain = slug(name)
    if plain and plain == re.sub(r"[\s-]+", "-", name.lower()).strip("-"):
        return plain
    digest = hashlib.sha256(unicodedata.normalize("NFC", printable(name)).encode()).hexdigest()
    return f"{plain[:50] or 'person'}-{digest[:6]}"


def printable(name: str) -> str:
    """A file name as text that can be written anywhere; bytes that are not UTF-8 are spelt out, so that names stay apart."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def list_folder(folder: Path) -> Listing:
    """What lies in the folder, in order; hidden files, backups of editors and files of other kinds are passed over.

    A person's folder that cannot be read is listed as such, without photos. Raises OSError where the folder cannot be read.
    """
    people: list[PersonFolder] = []
    photos: list[PhotoFile] = []
    orphans: list[str] = []
    misnamed: list[str] = []
    with os.scandir(folder) as entries:
        everything = sorted(entries, key=lambda entry: entry.name)
    loose = tuple(printable(one.name) for one in everything if _is_photo(one.name) and one.is_file(follow_symlinks=False))
    for person in filter(_is_person, everything):
        who, name = subject_id(person.name), printable(person.name)
        settings = None
        readable = True
        try:
            with os.scandir(person.path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
            names = {entry.name for entry in inside}
            of_photos = (one.removesuffix(SIDECAR_SUFFIX) for one in names if one.endswith(SIDECAR_SUFFIX))
            orphans += [f"{person.name}/{photo}" for photo in of_photos if photo not in names]
            misnamed += [
                f"{name}/{printable(one)}" for one in sorted(names) if _MISNAMED.fullmatch(one) and one != subject.FILE
            ]
            for entry, status in _files(inside):
                if entry.name == subject.FILE:
                    settings = (status.st_size, status.st_ctime_ns)
                else:
                    place = f"{person.name}/{entry.name}"
                    photos.append(PhotoFile(who, name, printable(place), place, status.st_size, status.st_ctime_ns))
        except OSError:
            readable = False
        people.append(PersonFolder(who, name, person.name, settings, readable))
    return Listing(tuple(people), tuple(photos), folder.stat().st_ino, tuple(orphans), loose, tuple(misnamed))


def is_remote(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether the folder lies on another machine's file system, which tells nobody what is written there (proc(5))."""
    try:
        path = folder.resolve()
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split()[4]))
        if (path == point or point in path.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return _REMOTE.fullmatch(kind) is not None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def _is_person(entry: os.DirEntry[str]) -> bool:
    # A link to a folder elsewhere could lead anywhere: it is no person.
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def _files(inside: Iterable[os.DirEntry[str]]) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    for entry in inside:
        if entry.name != subject.FILE and not _is_photo(entry.name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # taken away meanwhile
        if not stat.S_ISDIR(status.st_mode):
            yield entry, status


def _is_photo(name: str) -> bool:
    """Whether a file is looked at: what it is is told by its content, but not of everything that lies there."""
    if name.startswith((".", "#")) or name.endswith("~"):
        return False
    suffix = os.path.splitext(name)[1].lower()
    return not suffix or suffix in _LOOKED_AT


def remembered(seen: Path) -> int | None:
    """The inode of the enrolment folder as it was last seen with people in it, from the file that holds it; None: never."""
    try:
        return int(seen.read_text())
    except (OSError, ValueError):
        return None
