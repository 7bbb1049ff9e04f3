"""A backup of the gallery on a machine that may not have the photos: who is in it is known by their templates all the same.

A person is in the gallery as long as their folder is there, so folders and `subject.yaml` are laid out again from the backup.
What lies there already is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamd.enrolment import subject
from streamd.enrolment.listing import list_folder
from streamd.enrolment.rows import Row
from streamd.errors import GalleryError


@dataclass(frozen=True, slots=True)
class Fitted:
    """The rows of a backup as they suit a folder: by_template: the people of whom a photo is known by its template alone."""

    rows: tuple[Row, ...]
    by_template: tuple[str, ...]


def fit(rows: Sequence[Row], folder: Path) -> Fitted:
    """Bring the rows of a backup and an enrolment folder together, which gets the folders and settings that it lacks.

    Photos that are refused and not there are left out. Raises GalleryError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = {file.photo for file in list_folder(folder).photos}
        for row in rows:
            person, _, file = row.photo.rpartition("/")
            if "/" in person or person.startswith("."):
                continue  # no name that a person's folder has
            if person and (row.template is not None or file == subject.FILE):
                (folder / person).mkdir(exist_ok=True)
            if file == subject.FILE and not (folder / row.photo).exists():
                (folder / row.photo).write_bytes(row.notes.encode("utf-8", "surrogateescape"))
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{error.filename or folder}: {why}; run this as somebody who may write there") from None
    fitted = []
    alone = set()
    for row in rows:
        if row.template is not None and row.photo not in there:
            fitted.append(replace(row, photo_kept=False))
            alone.add(row.name)
        elif row.template is not None or row.photo in there or row.photo.rpartition("/")[2] == subject.FILE or not row.subject:
            fitted.append(row)
    return Fitted(tuple(fitted), tuple(sorted(alone)))
