"""What is kept of strangers: the good looks of visits that ended as `unknown`, sealed, for a configured time, by visitor.

Nothing is kept unless a time is configured. A visit that was identified never comes here, and nothing goes from here into the
gallery by itself: a person assigns a visitor to a subject, and the photos then go the way of every photo. An `ambiguous` visit
is not kept either: its evidence says that it is one of two people who are enrolled, and neither agreed to be collected.

    <visit>.looks      sealed: what the visit was, and its templates; read at start
    <visit>.photos     sealed: the face with a little of its surroundings, JPEG; read when somebody asks
    <visitor>.ignored  sealed: templates of a visitor who is not to be listed again; no photo
    names              sealed: which ids are aliases of which

Each visit has its own files, written once: what is removed is in no other file, and no older generation of one is left.
`.looks` comes last when a visit is written and goes first when it is removed; photos without it are swept up at the next start.

What is kept is a photo with room around the face, not the aligned crop, since it is to be enrolled as a photo: of 226 faces
of LFW, at full and at half size, `photo.judge` accepted 223 so, and 195 as aligned crops, where a face that was small in the
frame has been enlarged and counts as blurred.

A damaged file, or one under another key, is told in `problems`, hides no other, and is removed once it is older than what is
kept. Visits of another model stay and are listed, but are compared with nothing until they expire.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from streamd.enrolment.disk import TEMPORARY, Disk, replace_whole
from streamd.enrolment.grouping import Looks, Neighbours, Visitors, link_bound
from streamd.enrolment.seal import Label, Seal, SealFault
from streamd.errors import GalleryError
from streamd.recognition.calibration import Calibration
from streamd.recognition.decision import weight
from streamd.values import Float32, Quality
from streamd.vision.picture import Picture, jpeg

PURPOSE: Final = "unknown"
"""The purpose of what is sealed here, alone or followed by a dash and what of it."""

_VERSION: Final = 1
_MARGIN: Final = 0.3  # of the face's longer side, on every side; with 0.5 bystanders made 5 of 226 photos unclear
_SIDE: Final = 400  # pixels of the longer side at most: more adds nothing to a crop of 150
_IGNORED_VISITS: Final = 8  # of an ignored visitor that are kept to know them by
_VISIT: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,79}")
_LOOKS, _PHOTOS, _IGNORED, _NAMES = ".looks", ".photos", ".ignored", "names"

_NUMBERS: Final = 9  # beside a template: its quality in the order of Quality, its weight, seconds since the visit began
_EYES, _WEIGHT, _SECONDS = -3, -2, -1
_OVERHEAD: Final = 2048  # bytes of a visit's files beside photos and templates, at most
_UNIT_TOLERANCE: Final = 1e-3

_FAULTS: Final = {
    SealFault.DAMAGED: "is damaged and cannot be mended",
    SealFault.WRONG_KEY: "was sealed under another key; put that key back to read it",
    SealFault.OTHER_PURPOSE: "is something else under this name",
}


@dataclass(frozen=True, slots=True)
class UnknownRules:
    """keep: how long after a visit, 0 for not at all. max_visits, max_bytes: of all of them; the oldest go first. max_looks: of
    one visit. max_false_links: see `grouping.link_bound`. forget_bound: nats from which a visit is taken for one of a subject's
    who is to be forgotten; low, since to remove a stranger's visit costs little and to leave one of theirs breaks a promise.
    """

    keep: timedelta = timedelta(0)
    max_visits: int = 10_000
    max_bytes: int = 500_000_000
    max_looks: int = 5
    max_false_links: float = 0.1
    forget_bound: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One good look at a face: vector float32 (D,), unit length; photo: JPEG, as `surroundings` makes it; wall: UTC."""

    vector: Float32
    quality: Quality
    photo: bytes
    wall: datetime

    @property
    def worth(self) -> tuple[float, float]:
        """What it is worth among others: size and pose first, then sharpness; never whom it is like."""
        return weight(self.quality), self.quality.sharpness


@dataclass(frozen=True, slots=True, eq=False)
class UnknownVisit:
    """A visit that ended as `unknown`. visit: unique over restarts, of letters, digits, `-` and `_`; times UTC."""

    visit: str
    camera: str
    started: datetime
    ended: datetime
    looks: tuple[Look, ...]


class Filing(StrEnum):
    """What became of a visit."""

    KEPT = "kept"
    IGNORED = "ignored"
    NOT_KEPT = "not_kept"
    NO_LOOKS = "no_looks"
    NOT_WRITTEN = "not_written"


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a visit: the visitor it belongs to, the ids that became aliases of that one, the visits that had to go to
    make room, and a sentence where something went wrong.
    """

    filing: Filing
    visitor: str | None = None
    merged: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Visitor:
    """One stranger: how often, when first and last, and where they were seen. comparable: by the model in force."""

    id: str
    aliases: tuple[str, ...]
    visits: int
    first_seen: datetime
    last_seen: datetime
    cameras: tuple[str, ...]
    comparable: bool


@dataclass(frozen=True, slots=True)
class IgnoredVisitor:
    """A stranger who is not listed: only templates are kept. comparable: by the model in force; if not, they come up again."""

    id: str
    aliases: tuple[str, ...]
    since: datetime
    comparable: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A file to hand out or to drop into a subject's folder: its name, without a folder, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone for good: ids of visitors, ids of ignored ones, visits, and files that nobody could read; problems: one
    sentence for each file that could not be removed.
    """

    visitors: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A visit in memory; `order` lists its looks, the best first, as they lie in the photos' file."""

    visit: str
    camera: str
    started: datetime
    ended: datetime
    model: str
    rows: Float32  # (N, D + _NUMBERS), as in the file: as objects of their own they would take most of the start
    size: int

    @property
    def looks(self) -> Looks:
        return Looks(self.rows[:, :-_NUMBERS], self.rows[:, _EYES], self.rows[:, _WEIGHT])

    @property
    def qualities(self) -> tuple[Quality, ...]:
        return tuple(Quality(*row) for row in self.rows[:, -_NUMBERS:_WEIGHT].tolist())

    def wall(self, place: int) -> datetime:
        return self.started + timedelta(seconds=float(self.rows[place, _SECONDS]))


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """What was sealed in a file of `size` bytes: a line of JSON, and what follows it."""

    label: Label
    facts: dict[str, Any]
    rest: bytes
    size: int

    def rows(self, more: int = 0) -> Float32:
        """float32 (N, dimension + more)."""
        return np.frombuffer(self.rest, np.float32).reshape(-1, self.label.dimension + more)


@dataclass(frozen=True, slots=True, eq=False)
class _Ignored:
    id: str
    aliases: tuple[str, ...]
    since: datetime
    model: str
    visits: tuple[Looks, ...]


def surroundings(picture: Picture, box: Float32) -> bytes:
    """A face (float32 (4,), pixels x0 y0 x1 y1) with a little room around it, as JPEG of at most 400 pixels a side."""
    x0, y0, x1, y1 = (float(edge) for edge in box)
    room = _MARGIN * max(x1 - x0, y1 - y0)
    left, top = max(int(x0 - room), 0), max(int(y0 - room), 0)
    part = picture.crop(left, top, min(math.ceil(x1 + room), picture.width), min(math.ceil(y1 + room), picture.height))
    height, width = part.shape[:2]
    factor = _SIDE / max(height, width)
    if factor < 1:
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(part)


class VisitLooks:
    """The best looks of visits that go on, which may turn out to be a stranger's; not thread-safe."""

    def __init__(self, most: int) -> None:
        """most: looks of one visit."""
        self._most = most
        self._looks: dict[int, tuple[Look, ...]] = {}
        self._dropped: frozenset[int] = frozenset()

    def add(self, visit: int, look: Look) -> None:
        """A good look of a visit; passed over where the visit was dropped."""
        if visit not in self._dropped:
            self._looks[visit] = best_looks((*self._looks.get(visit, ()), look), self._most)

    def ended(self, going_on: frozenset[int]) -> dict[int, tuple[Look, ...]]:
        """The looks of visits that are not among those that go on, handed out once."""
        self._dropped &= going_on
        return {visit: self._looks.pop(visit) for visit in self._looks.keys() - going_on}

    def drop(self, going_on: frozenset[int]) -> None:
        """Let go of every look, and take none of these visits: somebody was forgotten, and may be in one of them, recognised or
        not. A crop of theirs may still be on its way.
        """
        self._dropped |= going_on
        self._looks.clear()

    def clear(self) -> None:
        """Let go of every look, such as of a model that serves no more."""
        self._looks.clear()


def best_looks(looks: Iterable[Look], count: int) -> tuple[Look, ...]:
    """The best by quality, the best first; to be called while a visit goes on too, so that few photos are held."""
    return tuple(sorted(looks, key=lambda look: look.worth, reverse=True)[:count])


class UnknownVisits:
    """The strangers' visits in one folder, which is theirs alone; one owner thread.

    Once it is made, a fault of the disk or of a file raises nothing: it is a sentence in the answer, or in `problems`.
    """

    def __init__(
        self,
        folder: Path,
        seal: Seal,
        model: str,
        dimension: int,
        calibration: Calibration,
        rules: UnknownRules,
        disk: Disk | None = None,
    ) -> None:
        """Reads what is there. Raises GalleryError when the folder cannot be made or listed."""
        self._folder = folder
        self._seal = seal
        self._model = model
        self._dimension = dimension
        self._rules = rules
        self._disk = disk or Disk()
        self._bound = link_bound(rules.max_visits, rules.max_false_links)
        self._visits: dict[str, _Kept] = {}
        self._ignored: dict[str, _Ignored] = {}
        self._visitors = Visitors()
        self._near = Neighbours(calibration, dimension)
        self._near_ignored = Neighbours(calibration, dimension)
        self._unreadable: dict[str, str] = {}
        self._bytes = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._load()
        except OSError as error:
            raise GalleryError(
                f"{folder}: the visits of strangers cannot be read ({error.strerror}); mend the permissions of the folder"
            ) from None

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file that cannot be read."""
        return tuple(self._unreadable.values())

    @property
    def bytes_kept(self) -> int:
        """What the visits take on the disk."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._visits)

    def add(self, visit: UnknownVisit, now: datetime) -> Filed:
        """Keep a visit that ended as `unknown`, unless nothing is kept or the visitor is ignored."""
        if not _VISIT.fullmatch(visit.visit):
            raise ValueError(f"expected letters, digits, - and _ to name a visit, found {visit.visit!r}")
        if self._rules.keep <= timedelta(0) or visit.ended + self._rules.keep <= now:
            return Filed(Filing.NOT_KEPT)
        chosen = best_looks(filter(self._sound, visit.looks), self._rules.max_looks)
        if not chosen:
            return Filed(Filing.NO_LOOKS)
        looks = Looks.of([look.vector for look in chosen], [look.quality for look in chosen])
        ignored = self._near_ignored.linked(looks, self._bound)
        if ignored:
            nearest = max(ignored, key=lambda key: (ignored[key], key))
            return Filed(Filing.IGNORED, nearest.partition("/")[0])
        if visit.visit in self._visits:
            self._remove([visit.visit])
        dropped = self._make_room(_OVERHEAD + sum(len(look.photo) + look.vector.nbytes for look in chosen))
        taken = [name for one in self._ignored.values() for name in (one.id, *one.aliases)]
        placed = self._visitors.place(visit.visit, visit.started, self._near.linked(looks, self._bound), taken)
        facts: dict[str, Any] = {
            "camera": visit.camera,
            "started": visit.started.isoformat(),
            "ended": visit.ended.isoformat(),
            "visitor": placed.visitor,
            "born": placed.born.isoformat(),
            "merged": placed.merged,
        }
        numbers = np.array(
            [(*_values(one.quality), weight(one.quality), (one.wall - visit.started).total_seconds()) for one in chosen],
            np.float32,
        )
        rows = np.hstack([looks.vectors, numbers])
        try:
            photos = {"lengths": [len(look.photo) for look in chosen]}
            facts["photos"] = self._write(visit.visit + _PHOTOS, "photos", photos, b"".join(look.photo for look in chosen))
            size = self._write(visit.visit + _LOOKS, "", facts, rows.tobytes())
        except OSError as error:
            self._unlink([visit.visit + _LOOKS, visit.visit + _PHOTOS])
            problem = f"{self._folder}: the visit cannot be kept ({error.strerror}); make room on the disk"
            return Filed(Filing.NOT_WRITTEN, dropped=dropped, problem=problem)
        self._take_up([_kept(visit.visit, facts, rows, self._model, size)])
        self._visitors.take(visit.visit, placed)
        problem = self._write_names() if placed.merged else ""
        return Filed(Filing.KEPT, placed.visitor, placed.merged, dropped, problem)

    def expire(self, now: datetime) -> Removed:
        """Remove for good what was kept long enough, and what nobody can read and is as old; ignored visitors stay."""
        keep = max(self._rules.keep, timedelta(0))
        gone = self._remove([visit for visit, kept in self._visits.items() if kept.ended + keep <= now])
        old = []
        for name in self._unreadable:
            try:
                changed = (self._folder / name).stat().st_mtime
            except OSError:
                continue
            if datetime.fromtimestamp(changed, UTC) + keep <= now:
                old.append(name)
        return _both(gone, self._remove_unreadable(old))

    def listing(self) -> tuple[Visitor, ...]:
        """Everybody who is not ignored, whoever was seen last first."""
        everybody = []
        for visitor in self._visitors:
            visits = self._of(visitor)
            everybody.append(
                Visitor(
                    id=visitor,
                    aliases=self._visitors.aliases(visitor),
                    visits=len(visits),
                    first_seen=min(kept.started for kept in visits),
                    last_seen=max(kept.ended for kept in visits),
                    cameras=tuple(sorted({kept.camera for kept in visits})),
                    comparable=any(kept.model == self._model for kept in visits),
                )
            )
        return tuple(sorted(everybody, key=lambda one: (one.last_seen, one.id), reverse=True))

    def ignored(self) -> tuple[IgnoredVisitor, ...]:
        """Everybody who is ignored, by id."""
        return tuple(
            IgnoredVisitor(one.id, one.aliases, one.since, one.model == self._model) for _, one in sorted(self._ignored.items())
        )

    def photos(self, visitor: str, count: int = 5) -> tuple[Document, ...]:
        """The best photos of a visitor (id or alias) by quality, the best first, from as many visits as there are; to be
        dropped into a subject's folder under their names. Empty for nobody. Once they lie there, `forget` the visitor.
        """
        # The best of each visit before the second of any: other light, other clothes.
        ranked = sorted(
            (-place, weight(quality), quality.sharpness, kept.visit)
            for kept in self._of(visitor)
            for place, quality in enumerate(kept.qualities)
        )[::-1]
        visitor = self._visitors.resolve(visitor)
        found: list[Document] = []
        for place, *_, visit in ranked:
            if len(found) == count:
                break
            photos = self._read_photos(visit)
            if len(photos) > -place:
                taken = self._visits[visit].wall(-place).astimezone(UTC)
                found.append(Document(f"{visitor}-{taken:%Y%m%dT%H%M%S}-{visit}-{1 - place}.jpg", photos[-place]))
        return tuple(found)

    def ignore(self, visitor: str, now: datetime) -> Removed | None:
        """Never list a visitor (id or alias) again: only templates of their best visits are kept, until `forget`.

        None when there is nobody of that id. Where the templates cannot be written nothing is removed, and told.
        """
        visitor = self._visitors.resolve(visitor)
        if not self._of(visitor):
            return None
        visits = [kept for kept in self._of(visitor) if kept.model == self._model]
        if not visits:
            problem = f"{visitor} was seen by another model only and could not be known again; forget them instead"
            return Removed(problems=(problem,))
        best = sorted(visits, key=lambda kept: (float(kept.looks.weights.sum()), kept.visit), reverse=True)[:_IGNORED_VISITS]
        aliases = self._visitors.aliases(visitor)
        entry = _Ignored(visitor, aliases, now, self._model, tuple(kept.looks for kept in best))
        facts = {
            "id": visitor,
            "aliases": aliases,
            "since": now.isoformat(),
            "visits": [[looks.eye_distances.tolist(), looks.weights.tolist()] for looks in entry.visits],
        }
        try:
            vectors = np.concatenate([looks.vectors for looks in entry.visits])
            self._write(visitor + _IGNORED, "ignored", facts, vectors.tobytes())
        except OSError as error:
            return Removed(problems=(f"{self._folder}: {visitor} cannot be ignored ({error.strerror}); make room on the disk",))
        gone = self._remove([kept.visit for kept in self._of(visitor)])
        self._take_up_ignored(entry)
        return gone

    def forget(self, visitor: str) -> Removed | None:
        """Remove a visitor, listed or ignored (id or alias), for good; None when there is nobody of that id."""
        ignored = [one.id for one in self._ignored.values() if visitor in (one.id, *one.aliases)]
        visits = [kept.visit for kept in self._of(visitor)]
        if not visits and not ignored:
            return None
        return _both(self._remove(visits), self._remove_ignored(ignored))

    def forget_like(self, templates: Float32) -> Removed:
        """Remove whoever may be the person of these templates (float32 (N, D), unit rows, of the model in force).

        A visitor goes whole when one visit's evidence against one of the templates reaches `forget_bound`; an ignored one
        too. What cannot be compared, being unreadable or of another model, cannot be shown to be somebody else's: it goes too.
        """
        visitors = {self._visitors.of(visit) for visit, kept in self._visits.items() if kept.model != self._model}
        ignored = {one.id for one in self._ignored.values() if one.model != self._model}
        visitors.update(self.like(templates))
        ignored.update(key.partition("/")[0] for key in self._linked(self._near_ignored, templates))
        gone = self._remove([kept.visit for visitor in visitors for kept in self._of(visitor)])
        return _both(_both(gone, self._remove_ignored(sorted(ignored))), self._remove_unreadable(list(self._unreadable)))

    def like(self, templates: Float32) -> tuple[str, ...]:
        """The visitors who may be the person of these templates (float32 (N, D), unit rows, of the model in force), as
        `forget_like` judges; visits of another model cannot be compared.
        """
        return tuple(sorted({self._visitors.of(visit) for visit in self._linked(self._near, templates)}))

    def _linked(self, near: Neighbours, templates: Float32) -> set[str]:
        ample, found = np.full(1, 1e3, np.float32), set[str]()
        for vector in np.asarray(templates, np.float32):
            found.update(near.linked(Looks(vector[None], ample, np.ones(1, np.float32)), self._rules.forget_bound))
        return found

    def export(self, visitor: str) -> tuple[Document, ...]:
        """All that is kept of a visitor (id or alias): every photo, and visits and templates as JSON. Empty for nobody."""
        visits = self._of(visitor)
        if not visits:
            return ()
        documents = []
        told = []
        for kept in visits:
            names = []
            for place, data in enumerate(self._read_photos(kept.visit)):
                names.append(f"{kept.visit}-{place + 1}.jpg")
                documents.append(Document(names[-1], data))
            told.append(
                {
                    "visit": kept.visit,
                    "camera": kept.camera,
                    "started": kept.started.isoformat(),
                    "ended": kept.ended.isoformat(),
                    "photos": names,
                    "qualities": [asdict(quality) for quality in kept.qualities],
                    "model": kept.model,
                    "templates": kept.looks.vectors.tolist(),
                }
            )
        visitor = self._visitors.resolve(visitor)
        summary = {"visitor": visitor, "aliases": self._visitors.aliases(visitor), "visits": told}
        return (Document("visits.json", json.dumps(summary, indent=1).encode()), *documents)

    def _of(self, visitor: str) -> list[_Kept]:
        """The visits of a visitor, in the order in which they began."""
        visits = [self._visits[visit] for visit in self._visitors.visits(visitor)]
        return sorted(visits, key=lambda kept: (kept.started, kept.visit))

    def _sound(self, look: Look) -> bool:
        """Whether a look may be compared: of good quality, and its template the unit vector that it should be."""
        fits = look.vector.shape == (self._dimension,)
        # A NaN fails the comparison too.
        return look.quality.good and fits and abs(float(np.linalg.norm(look.vector)) - 1) < _UNIT_TOLERANCE

    def _take_up(self, visits: Sequence[_Kept]) -> None:
        self._visits.update({kept.visit: kept for kept in visits})
        self._bytes += sum(kept.size for kept in visits)
        self._near.add({kept.visit: kept.looks for kept in visits if kept.model == self._model})

    def _take_up_ignored(self, entry: _Ignored) -> None:
        self._ignored[entry.id] = entry
        if entry.model == self._model:
            self._near_ignored.add({f"{entry.id}/{place}": looks for place, looks in enumerate(entry.visits)})

    def _make_room(self, size: int) -> tuple[str, ...]:
        """Let the oldest go, so that one more of that size is within the bounds; their names."""
        if len(self._visits) < self._rules.max_visits and self._bytes + size <= self._rules.max_bytes:
            return ()
        oldest = [(kept.ended, kept.visit) for kept in self._visits.values()]
        heapq.heapify(oldest)
        gone: list[str] = []
        count, total = len(self._visits) + 1, self._bytes + size
        while oldest and (count > self._rules.max_visits or total > self._rules.max_bytes):
            gone.append(heapq.heappop(oldest)[1])
            count, total = count - 1, total - self._visits[gone[-1]].size
        return self._remove(gone).visits

    def _remove(self, visits: Iterable[str]) -> Removed:
        """Remove visits for good; one whose files cannot be removed stays, and is told."""
        gone: list[str] = []
        problems: list[str] = []
        for visit in visits:
            told = self._unlink([visit + _LOOKS, visit + _PHOTOS])
            problems += told
            if not told:
                gone.append(visit)
        touched = {self._visitors.of(visit) for visit in gone}
        named = any(self._visitors.aliases(visitor) for visitor in touched)
        for visit in gone:
            self._bytes -= self._visits.pop(visit).size
            self._unreadable.pop(visit + _PHOTOS, None)
        self._near.remove(gone)
        self._visitors.remove(gone)
        visitors = tuple(sorted(visitor for visitor in touched if not self._visitors.visits(visitor)))
        if named and (problem := self._write_names()):
            problems.append(problem)
        return Removed(visitors=visitors, visits=tuple(gone), problems=(*problems, *self._sync(gone)))

    def _remove_ignored(self, ids: Iterable[str]) -> Removed:
        gone: list[str] = []
        problems: list[str] = []
        for one in ids:
            told = self._unlink([one + _IGNORED])
            problems += told
            if not told:
                gone.append(one)
                entry = self._ignored.pop(one)
                self._near_ignored.remove(f"{one}/{place}" for place in range(len(entry.visits)))
        return Removed(ignored=tuple(gone), problems=(*problems, *self._sync(gone)))

    def _remove_unreadable(self, names: Iterable[str]) -> Removed:
        gone = [name for name in names if not self._unlink([name, Path(name).stem + _PHOTOS])]
        for name in gone:
            del self._unreadable[name]
        return Removed(unreadable=tuple(gone), problems=self._sync(gone))

    def _sync(self, gone: Sequence[str]) -> tuple[str, ...]:
        try:
            if gone:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            return (f"{self._folder}: what was removed may come back after a power failure ({error.strerror})",)
        return ()

    def _unlink(self, names: Iterable[str]) -> list[str]:
        try:
            for name in names:
                self._disk.remove(self._folder / name)
        except OSError as error:
            return [f"{self._folder / name} cannot be removed ({error.strerror}); remove it by hand"]
        return []

    def _write(self, name: str, kind: str, facts: Mapping[str, object], rest: bytes = b"") -> int:
        """Seal and write one file; its size. Raises OSError."""
        label = Label(_purpose(kind), _VERSION, self._model, self._dimension)
        # The name goes inside: a file that was given another's name is noticed.
        line = json.dumps({"file": name, **facts}, separators=(",", ":")).encode()
        parts = self._seal.seal(label, line + b"\n" + rest)
        replace_whole(self._disk, self._folder / name, parts)
        self._unreadable.pop(name, None)
        return sum(map(len, parts))

    def _write_names(self) -> str:
        """Write down which names are aliases; a sentence when it fails. The visit that joined them says so too, while kept."""
        names = {
            visitor: {"born": self._visitors.born(visitor).isoformat(), "aliases": aliases}
            for visitor in self._visitors
            if (aliases := self._visitors.aliases(visitor))
        }
        try:
            self._write(_NAMES, "names", names)
        except OSError as error:
            return (
                f"{self._folder}: who was found to be one visitor cannot be written ({error.strerror}); make room on the disk"
            )
        return ""

    def _load(self) -> None:
        """Read every file of the folder; raises OSError only when the folder itself cannot be listed."""
        files = set(os.listdir(self._folder))
        visits: list[_Kept] = []
        unions: list[tuple[str, str]] = []
        for name in sorted(files):
            if name.endswith(TEMPORARY) or (name.endswith(_PHOTOS) and name.removesuffix(_PHOTOS) + _LOOKS not in files):
                self._unlink([name])  # a crash came between
            elif name.endswith(_LOOKS) and (found := self._read(name, "")) is not None:
                facts = found.facts
                visit = name.removesuffix(_LOOKS)
                visits.append(_kept(visit, facts, found.rows(_NUMBERS), found.label.model, found.size))
                self._visitors.restore(visit, facts["visitor"], _time(facts["born"]))
                unions += [(facts["visitor"], merged) for merged in facts["merged"]]
            elif name.endswith(_IGNORED) and (found := self._read(name, "ignored")) is not None:
                self._take_up_ignored(_ignored_of(found))
        found = self._read(_NAMES, "names") if _NAMES in files else None
        for visitor, told in (found.facts if found is not None else {}).items():
            self._visitors.name(visitor, _time(told["born"]))
            unions += [(visitor, alias) for alias in told["aliases"]]
        for pair in unions:
            self._visitors.unite(pair)
        self._visitors.settle()
        self._take_up(visits)
        # Where a crash came after somebody was ignored and before their visits were gone.
        self._remove([kept.visit for ignored in self._ignored for kept in self._of(ignored)])

    def _read(self, name: str, kind: str) -> _File | None:
        """What is in a file, or None where it cannot be had, and then `problems` says why."""
        try:
            # With pathlib a fifth of the start went into joining names.
            with open(f"{self._folder}/{name}", "rb", buffering=0) as file:
                blob = file.read()
        except OSError as error:
            self._unreadable[name] = f"{self._folder / name} cannot be read ({error.strerror})"
            return None
        found = self._seal.unseal(blob, _purpose(kind))
        if not isinstance(found, SealFault) and found.label.version == _VERSION:
            # Sealed by this program under this key: what is inside is whole, and as it was written.
            line, _, rest = bytes(found.data).partition(b"\n")
            facts = json.loads(line.decode())
            if facts.pop("file") == name:
                return _File(found.label, facts, rest, len(blob))
            found = SealFault.OTHER_PURPOSE
        fault = _FAULTS[found] if isinstance(found, SealFault) else f"is of version {found.label.version}, expected {_VERSION}"
        self._unreadable[name] = f"{self._folder / name} {fault}; it is removed once it is older than what is kept"
        return None

    def _read_photos(self, visit: str) -> list[bytes]:
        found = self._read(visit + _PHOTOS, "photos")
        if found is None:
            return []
        lengths = found.facts["lengths"]
        return [found.rest[end - length : end] for end, length in zip(np.cumsum(lengths), lengths, strict=True)]


def _purpose(kind: str) -> str:
    return f"{PURPOSE}-{kind}" if kind else PURPOSE


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _values(quality: Quality) -> tuple[float, ...]:
    """A good look's quality without its reasons: it has none."""
    one = quality
    return one.sharpness, one.brightness, one.contrast, one.yaw, one.pitch, one.roll, one.eye_distance


def _kept(visit: str, facts: Mapping[str, Any], rows: Float32, model: str, size: int) -> _Kept:
    started, ended = _time(facts["started"]), _time(facts["ended"])
    return _Kept(visit, facts["camera"], started, ended, model, rows, facts["photos"] + size)


def _ignored_of(found: _File) -> _Ignored:
    facts, vectors = found.facts, found.rows()
    visits, start = [], 0
    for eyes, weights in facts["visits"]:
        part = vectors[start : start + len(eyes)]
        visits.append(Looks(part, np.array(eyes, np.float32), np.array(weights, np.float32)))
        start += len(eyes)
    return _Ignored(facts["id"], tuple(facts["aliases"]), _time(facts["since"]), found.label.model, tuple(visits))


def _both(one: Removed, other: Removed) -> Removed:
    return Removed(
        one.visitors + other.visitors,
        one.ignored + other.ignored,
        one.visits + other.visits,
        one.unreadable + other.unreadable,
        one.problems + other.problems,
    )
