"""Sidecars: the verdict beside each photo, so that whoever dropped it sees it without a command (`words.py` says what)."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.enrolment import words

if TYPE_CHECKING:
    from streamd.enrolment.folder import PhotoEvent

log = logging.getLogger(__name__)


class Sidecars:
    """Writes and removes the sidecars of one folder; a folder that cannot be written is named once."""

    def __init__(self, folder: Path, name: Callable[[str], str]) -> None:
        """name: a subject's display name."""
        self._folder = folder
        self._name = name
        self._told = False

    def write(self, events: Mapping[str, PhotoEvent]) -> None:
        """The sidecars of photos, by their place below the folder."""
        for place, event in events.items():
            text = words.sidecar(event.beside, event.reasons, event.advice, self._name)
            try:
                self._write(place, text.encode())
            except OSError as error:
                if not self._told:
                    log.warning(
                        "%s: verdicts cannot be written beside the photos (%s); make it writable for streamd, or set "
                        "gallery.sidecars to false",
                        self._folder,
                        (error.strerror or "error").lower(),
                    )
                self._told = True
                return

    def remove(self, places: Iterable[str]) -> None:
        """The sidecars of photos that are gone."""
        for place in places:
            remove_file(self._folder, words.sidecar_name(place))

    def _write(self, place: str, data: bytes) -> None:
        with _parent(self._folder, place) as (parent, photo):
            name = words.sidecar_name(photo)
            temporary = f".{name}.tmp"
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


@contextlib.contextmanager
def _parent(folder: Path, place: str) -> Iterator[tuple[int, str]]:
    person, _, name = place.rpartition("/")
    parent = os.open(folder / person, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield parent, name
    finally:
        os.close(parent)
