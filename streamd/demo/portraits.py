"""Portraits in the public domain, as they come with a Python package: the people of the demonstration and of the tests.

The source distribution of `face_recognition` 1.3.0 carries official White House photographs among its tests. pip brings the
archive once, its digest is checked, and the photographs are kept in the user's cache folder; nothing of it is run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.errors import UnavailableError

_PACKAGE: Final = "face_recognition==1.3.0"
_ARCHIVE: Final = "face_recognition-1.3.0.tar.gz"
_SHA256: Final = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
_INSIDE: Final = "face_recognition-1.3.0/tests/test_images"


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph of one person; `face` is the box x0 y0 x1 y1 of the face in it, pixels."""

    person: str
    file: str
    face: tuple[int, int, int, int]


OFFICIAL: Final = Portrait("Barack Obama", "obama.jpg", (355, 133, 640, 417))
SPEAKING: Final = Portrait("Barack Obama", "obama2.jpg", (142, 272, 489, 619))
STANDING: Final = Portrait("Barack Obama", "obama3.jpg", (646, 313, 952, 620))
STRANGER: Final = Portrait("Joe Biden", "biden.jpg", (420, 224, 753, 558))
CUT_OFF: Final = Portrait("Barack Obama", "obama_partial_face.jpg", (0, 128, 286, 414))
_ALL: Final = (OFFICIAL, SPEAKING, STANDING, STRANGER, CUT_OFF)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where what was fetched or made once is kept: $XDG_CACHE_HOME/streamd, else ~/.cache/streamd."""
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "streamd"


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds the photographs, fetched by pip if they are not there yet. Raises UnavailableError."""
    target = cache_folder(environ) / "portraits"
    if not all((target / portrait.file).is_file() for portrait in _ALL):
        _fetch(target)
    return target


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "face_recognition"]
        done = subprocess.run([*command, "--dest", temporary, _PACKAGE], capture_output=True, text=True, check=False)
        archive = Path(temporary) / _ARCHIVE
        if done.returncode != 0 or not archive.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UnavailableError(
                f"pip could not download {_PACKAGE}, whose portraits are needed ({last}); is the network there?"
            )
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != _SHA256:
            raise UnavailableError(f"{_ARCHIVE} has the digest {digest}, expected {_SHA256}; it was altered, do not use it")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as bundle:
            for portrait in _ALL:
                member = bundle.extractfile(f"{_INSIDE}/{portrait.file}")
                if member is None:
                    raise UnavailableError(f"{_ARCHIVE} lacks {portrait.file}")
                part = target / f".{os.getpid()}.{portrait.file}"
                part.write_bytes(member.read())
                part.replace(target / portrait.file)
