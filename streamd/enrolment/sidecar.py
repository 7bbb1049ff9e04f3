"""Sidecars: the verdict beside each photo, so that whoever dropped it sees it without a command (`words.py` says what).

A file under such a name that is no verdict is somebody's own: it is neither written over nor removed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamd.enrolment import words
from streamd.enrolment.listing import printable

if TYPE_CHECKING:
    from streamd.enrolment.folder import PhotoEvent

_LONGEST: Final = 250  # bytes of a sidecar's name, so that its temporary file can have one too (NAME_MAX is 255)
_TEMPORARY: Final = f".{words.SIDECAR_SUFFIX}.tmp"
_MOST: Final = 1 << 16  # bytes of a verdict

_OF_THE_NAME: Final = {
    errno.ENAMETOOLONG: "the name is too long for a verdict beside the photo; give it a shorter one",
    errno.EEXIST: "the verdict cannot be written beside the photo, as a file of yours has its name; give that another name",
}
"""What is said of a photo whose name stands in the way, by the error."""

log = logging.getLogger(__name__)


class Sidecars:
    """Writes and removes the sidecars of one folder; what cannot be written is said once, a name that cannot be once each."""

    def __init__(self, folder: Path, name: Callable[[str], str]) -> None:
        """name: a subject's display name."""
        self._folder = folder
        self._name = name
        self._told = False
        self._named: set[str] = set()

    def write(self, events: Mapping[str, PhotoEvent]) -> None:
        """The sidecars of photos, by their place below the folder."""
        for place, event in events.items():
            text = words.sidecar(event.beside, event.reasons, event.advice, self._name)
            try:
                self._write(place, text.encode())
            except OSError as error:
                self._tell(place, error)

    def remove(self, places: Iterable[str]) -> None:
        """The sidecars of photos that are gone."""
        for place in places:
            with contextlib.suppress(OSError), _parent(self._folder, words.sidecar_name(place)) as (parent, name):
                if words.is_sidecar(_content(parent, name)):
                    os.unlink(name, dir_fd=parent)

    def _tell(self, place: str, error: OSError) -> None:
        if error.errno in _OF_THE_NAME:
            if place not in self._named:
                log.warning("%s: %s", printable(place), _OF_THE_NAME[error.errno])
            self._named.add(place)
        elif not self._told:
            log.warning(
                "%s: verdicts cannot be written beside the photos (%s); make it writable for streamd, or set "
                "gallery.sidecars to false",
                self._folder / printable(place.rpartition("/")[0]),
                (error.strerror or "error").lower(),
            )
            self._told = True

    def _write(self, place: str, data: bytes) -> None:
        with _parent(self._folder, place) as (parent, photo):
            name = words.sidecar_name(photo)
            # One that is empty was left so by a power failure.
            if (found := _content(parent, name)) and not words.is_sidecar(found):
                raise _anothers(name)
            temporary = f".{name}.tmp" if len(os.fsencode(name)) <= _LONGEST else _TEMPORARY
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o664, dir_fd=parent), "wb") as file:
                file.write(data)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)


def remove_file(folder: Path, place: str) -> bool:
    """Delete a file in a person's folder, never through a link; whether it is gone."""
    try:
        with _parent(folder, place) as (parent, name):
            os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _content(parent: int, name: str) -> bytes:
    """What is in a file, nothing where none is there. Raises FileExistsError for a link, a device, or what cannot be read."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _anothers(name) if error.errno in (errno.ELOOP, errno.ENXIO, errno.EACCES) else error from None
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _anothers(name)
        return file.read(_MOST)


def _anothers(name: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


@contextlib.contextmanager
def _parent(folder: Path, place: str) -> Iterator[tuple[int, str]]:
    person, _, name = place.rpartition("/")
    parent = os.open(folder / person, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield parent, name
    finally:
        os.close(parent)
