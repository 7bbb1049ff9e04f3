"""The proof that somebody was forgotten: every file of the state searched for their name and their templates."""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamd.enrolment.seal import MAGIC, Seal, Unsealed

Needle = bytes | re.Pattern[bytes]
"""What is looked for: these bytes, or what a pattern matches, such as a name as a whole word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Where something was found: `needle` is its place in what was looked for; `sealed` where it lies inside a sealed file."""

    path: Path
    needle: int
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found, in how many files it looked, and those that it could not look into: they prove nothing."""

    found: tuple[Finding, ...]
    files: int
    unread: tuple[Path, ...]


def contains(folder: Path, needles: Sequence[Needle], seals: Sequence[Seal] = ()) -> Search:
    """Search the name and the bytes of every file under a folder, and what these seals can open of them.

    needles: a template's float32 bytes (`vector.tobytes()`), a name in UTF-8. Text that a file holds in another form, such as
    escaped or compressed, is not found. Symbolic links are not followed.
    """
    found: list[Finding] = []
    unread: list[Path] = []
    files = 0

    def fail(error: OSError) -> None:
        unread.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=fail):
        for name in sorted((*folders, *names)):
            path = Path(parent) / name
            found += [Finding(path, i) for i, needle in enumerate(needles) if _is_in(needle, os.fsencode(name))]
        # A link to a folder counts as one, but is not entered.
        for name in sorted((*names, *(one for one in folders if (Path(parent) / one).is_symlink()))):
            path = Path(parent) / name
            files += 1
            try:
                found += _search(path, needles, seals, unread)
            except OSError:
                unread.append(path)
    return Search(tuple(found), files, tuple(unread))


def _search(path: Path, needles: Sequence[Needle], seals: Sequence[Seal], unread: list[Path]) -> list[Finding]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(path.readlink())
        return [Finding(path, i) for i, needle in enumerate(needles) if _is_in(needle, target)]
    if not stat.S_ISREG(status.st_mode):
        return []  # a socket or a FIFO holds nothing
    if status.st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = [Finding(path, i) for i, needle in enumerate(needles) if _is_in(needle, mapped)]
        if mapped[: len(MAGIC)] == MAGIC:
            with memoryview(mapped) as view:
                opened = next((one for one in (seal.unseal(view) for seal in seals) if isinstance(one, Unsealed)), None)
            if opened is None:
                unread.append(path)
            else:
                inside = bytes(opened.data)
                found += [Finding(path, i, sealed=True) for i, needle in enumerate(needles) if _is_in(needle, inside)]
    return found


def _is_in(needle: Needle, data: bytes | mmap.mmap) -> bool:
    return data.find(needle) >= 0 if isinstance(needle, bytes) else needle.search(data) is not None
