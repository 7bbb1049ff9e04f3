"""The enrolment folder, `<folder>/<subject>/<photo>`, as an immutable gallery that is rebuilt aside whenever it changes.

Verdicts are kept by the digest of a photo's bytes, in memory and in a cache file, so that an unchanged photo is never
judged twice; the model, the alignment and the quality bounds are part of the cache's key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from streamd.enrolment.images import PASSING, SUFFIXES, OpenedPhoto, PhotoReason, open_photo
from streamd.enrolment.photo import PhotoVerdict
from streamd.errors import GalleryError
from streamd.recognition.gallery import Enrolled, build
from streamd.values import Gallery
from streamd.vision.alignment import VERSION
from streamd.vision.quality import QualityRules

log = logging.getLogger(__name__)

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_UNIT_TOLERANCE: Final = 1e-3
_SLUG: Final = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo on disk: `photo` names it for people, relative to the folder; size and time of change tell whether it is another.

    changed_ns is the inode's change time: it moves with every write, rename and chmod, and `cp -p` cannot set it back.
    """

    subject: str
    name: str
    photo: str
    path: Path
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class PhotoEvent:
    """One photo judged: accepted, or refused with its reasons and what to do."""

    subject: str
    photo: str
    accepted: bool
    reasons: tuple[str, ...]
    advice: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The state of the folder: the gallery, the display name of each subject, and every photo that is not used."""

    gallery: Gallery
    names: dict[str, str] = field(default_factory=dict)
    refused: tuple[PhotoEvent, ...] = ()
    problem: str | None = None


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
    digest = hashlib.sha256(unicodedata.normalize("NFC", _printable(name)).encode()).hexdigest()
    return f"{plain[:50] or 'person'}-{digest[:6]}"


def list_photos(folder: Path) -> list[PhotoFile]:
    """The photos of every subject, in order; hidden files and files of other kinds are passed over. Raises OSError.

    A person's folder that cannot be read stands in the list itself, in place of its photos.
    """
    photos = []
    for person in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        try:
            files = list(_files(person))
        except OSError:
            files = [person]
        for file in files:
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue  # taken away meanwhile
            photo = _printable(f"{person.name}/{file.name if file is not person else ''}")
            name = _printable(person.name)
            photos.append(PhotoFile(subject_id(person.name), name, photo, file, stat.st_size, stat.st_ctime_ns))
    return photos


def _printable(name: str) -> str:
    """A file name that is not UTF-8 as text that can be written anywhere."""
    return os.fsencode(name).decode("utf-8", "replace")


def _files(person: Path) -> Iterator[Path]:
    for file in sorted(person.iterdir()):
        if not file.name.startswith(".") and not file.name.endswith("~") and file.suffix.lower() in SUFFIXES and file.is_file():
            yield file


def cache_key(model: str, quality: QualityRules) -> str:
    """What a verdict depends on besides the photo: the model, the alignment and the quality bounds."""
    return f"{model} {VERSION} {quality}"


class VerdictCache:
    """Verdicts by digest, in one file that is replaced whole; one owner thread. `keep` False never writes."""

    def __init__(self, path: Path, key: str, dimension: int, *, keep: bool = True) -> None:
        self._path = path
        self._keep = keep
        self._key = key
        self._dimension = dimension
        self._verdicts: dict[str, PhotoVerdict] = {}
        self._saved: frozenset[str] = frozenset()
        try:
            # From memory: numpy leaves the file open where it finds it damaged.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                if str(stored["key"]) == key:
                    vectors = stored["vectors"].astype(np.float32)
                    for digest, reasons, vector in zip(stored["digests"], stored["reasons"], vectors, strict=True):
                        refused = tuple(filter(None, str(reasons).split(",")))
                        # NaN fails the comparison too; whatever else is no unit vector was not written here.
                        if refused or abs(float(np.linalg.norm(vector)) - 1) < _UNIT_TOLERANCE:
                            self._verdicts[str(digest)] = PhotoVerdict(refused, None if refused else vector)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            log.warning("%s: the cache cannot be read (%s); every photo is judged anew", path, error)
        self._saved = frozenset(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, digest: str) -> PhotoVerdict | None:
        """The verdict on the photo with this SHA-256, if it was judged before."""
        return self._verdicts.get(digest)

    def put(self, digest: str, verdict: PhotoVerdict) -> None:
        """Remember a verdict; `save` writes it down."""
        self._verdicts[digest] = verdict

    def save(self, used: frozenset[str]) -> None:
        """Write down the verdicts in use, by temporary file, fsync and rename; nothing when nothing changed."""
        self._verdicts = {digest: self._verdicts[digest] for digest in used}
        used = frozenset(digest for digest in used if _DIGEST.fullmatch(digest))
        if used == self._saved or not self._keep:
            return
        digests = sorted(used)
        rows = [self._verdicts[digest] for digest in digests]
        empty = np.zeros(self._dimension, np.float32)
        vectors = np.array([empty if row.vector is None else row.vector for row in rows], np.float32)
        temporary = self._path.with_suffix(".tmp")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                np.savez(
                    file,
                    key=np.array(self._key),
                    digests=np.array(digests, "U64"),
                    reasons=np.array([",".join(row.reasons) for row in rows], "U256"),
                    vectors=vectors.reshape(-1, self._dimension),
                )
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.warning("%s: the cache cannot be written (%s); photos are judged again at the next start", self._path, error)
            return
        self._saved = used


class EnrolmentFolder:
    """Turns the folder into galleries; one owner thread. `judge` gives the verdict on an opened photo."""

    def __init__(
        self, folder: Path, cache: VerdictCache, judge: Callable[[OpenedPhoto], PhotoVerdict], model: str, dimension: int
    ) -> None:
        self._folder = folder
        self._cache = cache
        self._judge = judge
        self._model = model
        self._dimension = dimension
        self._digests: dict[PhotoFile, str] = {}
        self._generation = 0
        self._enrolment = Enrolment(build((), 0, model, dimension))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalleryError(
                f"{folder}: the enrolment folder cannot be made ({error.strerror}); make it or set gallery.folder"
            ) from None

    @property
    def enrolment(self) -> Enrolment:
        """What was found last."""
        return self._enrolment

    def refresh(
        self, settled_before_ns: int, progress: Callable[[int, int], None] = lambda _done, _of: None
    ) -> tuple[Enrolment, tuple[PhotoEvent, ...], bool]:
        """Look at the folder: the state now, the photos that are news, and whether some are still being written.

        At the first look only those are news that were not judged before a restart.

        settled_before_ns: photos changed later than this (wall clock, as files are stamped) are left for the next look.
        A folder that is gone leaves the last gallery in force, with the problem said.
        """
        try:
            photos = list_photos(self._folder)
        except OSError as error:
            problem = f"{self._folder} cannot be read ({error.strerror}); the last gallery stays in force"
            if problem != self._enrolment.problem:
                self._enrolment = dataclasses.replace(self._enrolment, problem=problem)
            return self._enrolment, (), False
        ready = [photo for photo in photos if photo in self._digests or photo.changed_ns <= settled_before_ns]
        pending = len(ready) < len(photos)
        # A photo that is being replaced stays in force as it was until the new one is whole.
        unsettled = {photo.photo for photo in photos} - {photo.photo for photo in ready}
        kept = [photo for photo in self._digests if photo.photo in unsettled]
        new = [photo for photo in ready if photo not in self._digests]
        names: dict[str, str] = {}
        for photo in photos:
            names.setdefault(photo.subject, photo.name)
        verdicts: dict[PhotoFile, PhotoVerdict] = {}
        news: list[PhotoEvent] = []
        for done, photo in enumerate(new):
            progress(done, len(new))
            known = len(self._cache)
            verdicts[photo] = self._verdict(photo, taken=names[photo.subject] != photo.name)
            if self._generation or len(self._cache) > known:
                news.append(_event(photo, verdicts[photo]))
        gone = self._digests.keys() - {*ready, *kept}
        if not new and not gone and self._enrolment.problem is None and self._generation:
            return self._enrolment, (), pending
        for photo in gone:
            del self._digests[photo]
        self._cache.save(frozenset(self._digests.values()))
        self._generation += 1
        self._enrolment = self._state([*ready, *kept], verdicts)
        return self._enrolment, tuple(news), pending

    def _verdict(self, photo: PhotoFile, *, taken: bool) -> PhotoVerdict:
        relative = photo.path.relative_to(self._folder)
        # In place of its photos stands a person's folder that cannot be read.
        opened = open_photo(self._folder, relative) if len(relative.parts) > 1 else PhotoReason.UNREADABLE
        if isinstance(opened, PhotoReason):
            digest, verdict = f"unread:{photo.photo}", PhotoVerdict((opened,), None)
        elif taken:
            opened.close()
            digest, verdict = f"taken:{photo.photo}", PhotoVerdict((PhotoReason.NAME_TAKEN,), None)
        else:
            with opened:
                try:
                    digest = opened.digest
                    verdict = self._cache.get(digest) or self._judge(opened)
                except OSError:
                    digest, verdict = "", PhotoVerdict((PhotoReason.UNREADABLE,), None)
            if PASSING.intersection(verdict.reasons):
                digest = f"untold:{photo.photo}"  # perhaps because the program ends: judged again at the next start
        self._cache.put(digest, verdict)
        self._digests[photo] = digest
        return verdict

    def _state(self, photos: list[PhotoFile], fresh: dict[PhotoFile, PhotoVerdict]) -> Enrolment:
        enrolled, refused = [], []
        names: dict[str, str] = {}
        for photo in photos:
            verdict = fresh.get(photo) or self._cache.get(self._digests[photo])
            if verdict is None:
                continue
            names.setdefault(photo.subject, photo.name)
            if verdict.vector is None:
                refused.append(_event(photo, verdict))
            else:
                enrolled.append(Enrolled(photo.subject, photo.photo, verdict.vector))
        gallery = build(enrolled, self._generation, self._model, self._dimension)
        return Enrolment(gallery, names, tuple(refused))


def _event(photo: PhotoFile, verdict: PhotoVerdict) -> PhotoEvent:
    return PhotoEvent(photo.subject, photo.photo, verdict.vector is not None, verdict.reasons, verdict.advice)
