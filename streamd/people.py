"""What a person may ask for: to be forgotten, with a proof, and to be handed everything that is kept of them.

Every place that keeps something of people is a `PersonalStore`, and `assembly.personal_stores` is the one list of them: a
new store that is not in it is found by nobody's request. What the broker keeps (`last_seen`) goes with the enrolment; what
was written to the system's journal is the system's to delete (docs/privacy.md).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from streamd.enrolment.folder import EnrolmentFolder
from streamd.enrolment.listing import list_folder, printable
from streamd.enrolment.proof import PICTURE, Sought, search
from streamd.enrolment.rows import Row
from streamd.enrolment.seal import Seal
from streamd.enrolment.unknown import UnknownVisits
from streamd.errors import GalleryError
from streamd.plural import counted
from streamd.values import Float32


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is kept of people, opened: who is enrolled, and the unknown, None where none are kept. successor: the same people
    by another model, while they are embedded anew.
    """

    folder: EnrolmentFolder
    unknown: UnknownVisits | None
    successor: EnrolmentFolder | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody of whom something is kept. subject: their id. folders: the names of their folders. rows: their photos', of the
    model in force; coming: of the one that follows it. photos: how many they have, refused ones and deleted ones too.
    """

    subject: str
    name: str
    folders: tuple[str, ...]
    rows: tuple[Row, ...]
    coming: tuple[Row, ...] = ()
    photos: int = 0

    @property
    def shown(self) -> str:
        """Who it is, for whoever is to be sure of it."""
        where = f"folder {', '.join(self.folders)}" if self.folders else "no folder"
        return f"{self.name} ({self.subject}, {where}, {counted(self.photos, 'photo')})"

    @property
    def templates(self) -> tuple[Float32, ...]:
        """Their templates of the model in force, float32 (D,) each."""
        return tuple(row.template for row in self.rows if row.template is not None)


Documents = Mapping[str, bytes | Path]
"""What is handed out: by its name in the folder that it is put into, its content or the file that it is copied from."""

PART: Final = 4 << 20
"""Bytes of a document that are handed out at once: a photo may have 40 MB, a folder more."""


class PersonalStore(Protocol):
    """A place that keeps something of people. Errors of the disk are raised as OSError.

    grows: whether the daemon adds to it while somebody stands at the door.
    """

    grows: bool

    def forget(self, person: Person) -> list[str]:
        """Delete everything of a person; what was deleted, in words."""

    def export(self, person: Person) -> Documents:
        """Everything of a person."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """That somebody was forgotten. removed: what was deleted. found: where something of theirs still is, which must be nowhere;
    sealed: those of them that hold others too. named: what is another's and names them. files: how many were searched; unread:
    those that could not be, which prove nothing.
    """

    subject: str
    removed: tuple[str, ...]
    found: tuple[str, ...]
    files: int
    unread: tuple[str, ...]
    sealed: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The result in words."""
        plain = [path for path in self.found if path not in self.sealed]
        told = [f"{', '.join(plain)}: delete it by hand"] if plain else []
        if self.sealed:
            told.append(
                f"{', '.join(self.sealed)}, sealed, with others in it: a backup is to be written anew, and for anything else "
                "ask again"
            )
        rest = f"; named by what is another's: {', '.join(self.named)}" if self.named else ""
        if self.unread:
            rest += f"; {len(self.unread)} could not be searched and may hold them: {', '.join(self.unread)}"
        if told:
            return f"{self.subject}: something is still there: {'; '.join(told)}{rest}"
        searched = counted(self.files, "file")
        return f"{self.subject} is forgotten: neither name nor template is in any file of the state ({searched} searched){rest}"


def find(kept: Kept, path: Path, who: str) -> Person:
    """The person with this id, folder or name, of the enrolment folder at `path`: a shown name counts where nobody has it as id
    or folder and nobody shares it. Raises GalleryError where there is none, or no one.
    """
    folder = kept.folder
    try:
        listing = list_folder(path)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise GalleryError(f"{path}: the enrolment folder cannot be read ({why}); mount its disk, and ask again") from None
    places: dict[str, list[str]] = {}
    for person in listing.people:
        places.setdefault(person.subject, []).append(person.place)
    rows = folder.rows
    names = {subject: folder.name(subject) for subject in {row.subject for row in rows} | places.keys()}
    named = {(row.subject, row.name) for row in rows} | {(person.subject, person.name) for person in listing.people}
    found = sorted({subject for subject, place in named if who in (subject, place)})
    found = found or sorted(subject for subject, name in names.items() if who == name)
    if not found:
        known = ", ".join(sorted(names)) or "nobody"
        raise GalleryError(f"there is no {who!r} in {path}; there is: {known}")
    if len(found) > 1:
        told = " or ".join(f"{one} (folder {', '.join(places.get(one, ())) or 'gone'})" for one in found)
        raise GalleryError(f"{who!r} may be {told}; name the id")
    subject = found[0]
    coming = kept.successor.rows if kept.successor is not None else ()
    of_them, to_come = (tuple(row for row in some if row.subject == subject) for some in (rows, coming))
    photos = {file.photo for file in listing.photos if file.subject == subject} | {row.photo for row in of_them}
    return Person(subject, names[subject], tuple(places.get(subject, ())), of_them, to_come, len(photos))


def forget(
    person: Person, stores: Sequence[PersonalStore], state: Path, seals: Sequence[Seal], gallery: Path, others: Set[str]
) -> Forgotten:
    """Delete a person from every store, then search every file of the state for their name and templates.

    gallery: the enrolment folder. others: what everybody else is called, see `others`. Raises GalleryError where something
    cannot be deleted; it can be asked again then, and after a kill, for photos and templates, by which a person is found, go
    last. What grows meanwhile is emptied once more after them.
    """
    removed: list[str] = []
    growing, lasting = ([store for store in stores if store.grows is grows] for grows in (True, False))
    for store in (*growing, *lasting, *growing):
        try:
            removed += store.forget(person)
        except OSError as error:
            why = f"{error.filename}: {(error.strerror or 'error').lower()}"
            raise GalleryError(f"{person.subject} is not forgotten: {why}; mend that and ask again") from None
    rows = (*person.rows, *person.coming)
    sought = Sought(
        person.subject,
        frozenset({person.name}),
        frozenset(person.folders),
        frozenset(row.template.tobytes() for row in rows if row.template is not None),
        frozenset(row.digest for row in rows),
        frozenset(others),
    )
    searched = search(state, sought, seals, gallery)
    return Forgotten(
        person.subject,
        tuple(removed),
        tuple(sorted({str(one.path) for one in searched.found})),
        searched.files,
        tuple(str(path) for path in searched.unread),
        tuple(sorted({str(one.path) for one in searched.found if one.sealed})),
        tuple(sorted({f"{one.path} (belongs to {one.owner})" for one in searched.named})),
    )


def others(kept: Kept, path: Path, person: Person) -> frozenset[str]:
    """Ids, folders and shown names of everybody but a person."""
    listed = [(one.subject, one.name) for one in list_folder(path).people]
    found = {pair for pair in (*listed, *((row.subject, row.name) for row in kept.folder.rows)) if pair[0] != person.subject}
    return frozenset(word for subject, place in found for word in (subject, place, kept.folder.name(subject)))


def export(person: Person, stores: Sequence[PersonalStore]) -> Documents:
    """Everything that is kept of a person. Raises GalleryError."""
    try:
        return {name: document for store in stores for name, document in store.export(person).items()}
    except OSError as error:
        raise GalleryError(f"{error.filename}: {(error.strerror or 'error').lower()}; mend that and ask again") from None


def part(document: bytes | Path, start: int) -> bytes:
    """So much of a document as is handed out at once, from there on; empty at its end. Raises GalleryError."""
    if isinstance(document, bytes):
        return document[start : start + PART]
    try:
        with open(os.open(document, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            file.seek(start)
            return file.read(PART)
    except (OSError, ValueError) as error:  # also a name that no file has
        why = getattr(error, "strerror", None) or "no file has that name"
        raise GalleryError(f"{printable(str(document))}: {why.lower()}; mend that and export again") from None


class PhotoStore:
    """The photos, sidecars and settings in a person's folder."""

    grows = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def forget(self, person: Person) -> list[str]:
        """See `PersonalStore`."""
        gone = []
        for place in person.folders:
            path = self._folder / place
            gone += [printable(str(one.relative_to(self._folder))) for one in path.rglob("*")]
            shutil.rmtree(path)
        return gone

    def export(self, person: Person) -> Documents:
        """See `PersonalStore`; a link is left out, as what it leads to is not in their folder."""
        files = [one for place in person.folders for one in sorted((self._folder / place).rglob("*"))]
        return {
            f"photos/{printable(str(one.relative_to(self._folder)))}": one
            for one in files
            if one.is_file() and not one.is_symlink()
        }


class TemplateStore:
    """The rows of a vault: templates, verdicts and settings. file: what they are handed out as."""

    grows = False

    def __init__(self, folder: EnrolmentFolder, file: str = "templates.json") -> None:
        self._folder = folder
        self._file = file

    def forget(self, person: Person) -> list[str]:
        """See `PersonalStore`; the photos must be gone before."""
        rows = self._of(person)
        self._folder.forget(person.subject)
        templates = sum(row.template is not None for row in rows)
        return [f"{counted(len(rows), 'verdict')}, {counted(templates, 'template')}"]

    def export(self, person: Person) -> Documents:
        """See `PersonalStore`."""
        told = [
            {
                "photo": row.photo,
                "sha256": row.digest,
                "enrolled": row.enrolled.isoformat(),
                "used": verdict is not None and verdict.accepted,
                "reasons": row.reasons if verdict is None else verdict.reasons,
                "template": None if row.template is None else [round(float(value), 6) for value in row.template],
            }
            for row, verdict in ((row, self._folder.verdict(row.photo)) for row in self._of(person))
        ]
        return {self._file: (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode()}

    def _of(self, person: Person) -> list[Row]:
        return [row for row in self._folder.rows if row.subject == person.subject]


class UnknownStore:
    """Visits of strangers that look like the person."""

    grows = True

    def __init__(self, unknown: UnknownVisits) -> None:
        self._unknown = unknown

    def forget(self, person: Person) -> list[str]:
        """See `PersonalStore`. Raises GalleryError where one of the files cannot be deleted."""
        if not person.templates:
            return []
        removed = self._unknown.forget_like(np.stack(person.templates))
        if removed.problems:
            raise GalleryError(f"{person.subject} is not forgotten: {'; '.join(removed.problems)}; mend that and ask again")
        return [f"unknown visit {visit}" for visit in removed.visits]

    def export(self, person: Person) -> Documents:  # noqa: ARG002
        """See `PersonalStore`: nothing, since nobody has said that a visit of a stranger was theirs, and it may be somebody
        else's. What was assigned to them is among their photos.
        """
        return {}


class PictureStore:
    """Annotated pictures of decisions (`debug.pictures`), which are named by whom they show."""

    grows = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def forget(self, person: Person) -> list[str]:
        """See `PersonalStore`."""
        gone = self._of(person)
        for path in gone:
            path.unlink(missing_ok=True)
        return [str(path) for path in gone]

    def export(self, person: Person) -> Documents:
        """See `PersonalStore`."""
        return {f"pictures/{path.name}": path for path in self._of(person)}

    def _of(self, person: Person) -> list[Path]:
        named = ((path, PICTURE.fullmatch(path.name)) for path in self._folder.glob("*-identified.jpg"))
        return sorted(path for path, match in named if match is not None and match["subject"] == person.subject)
