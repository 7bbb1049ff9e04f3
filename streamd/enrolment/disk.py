"""Replacing a file whole: by a temporary file, fsync, rename, and fsync of the folder, so that no crash leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

Bytes = bytes | bytearray | memoryview

TEMPORARY: Final = ".tmp"
"""What the name of a file ends with that is not whole yet; one that is found is what a crash left."""


class Disk:
    """The steps of it, each on its own, so that any of them can fail in a test. All raise OSError."""

    def write(self, path: Path, parts: Iterable[Bytes]) -> None:
        """Make a file that nobody else can read (0600), with these parts in it one after the other, and wait for the disk."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            self.sync(descriptor)

    def sync(self, descriptor: int) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of the one that had it."""
        source.replace(target)

    def name(self, source: Path, target: Path) -> None:
        """Give a file a name that nobody has; it loses its own. Raises FileExistsError."""
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:  # a disk that knows no links, as that of a memory card
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            self.rename(source, target)
        else:
            source.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Take a file away, if it is there."""
        path.unlink(missing_ok=True)


def replace_whole(disk: Disk, path: Path, parts: Iterable[Bytes]) -> None:
    """Put these parts into `path`, in a folder of streamd's own; raises OSError, and then it holds what it held, or all of the
    new where only its name may not be on the disk yet.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    disk.remove(temporary)
    _replace(disk, temporary, path, parts)


def write_among_others(disk: Disk, path: Path, parts: Iterable[Bytes]) -> None:
    """The same in a folder of whoever asked, where no file that is there is taken for what a crash left."""
    _replace(disk, path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}"), path, parts)


def _replace(disk: Disk, temporary: Path, path: Path, parts: Iterable[Bytes]) -> None:
    try:
        disk.write(temporary, parts)
        disk.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync_folder(path.parent)
