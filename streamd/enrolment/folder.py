"""The enrolment folder as an immutable gallery that is rebuilt aside whenever something in it changes.

What a photo is worth by itself depends on its bytes, the model and the quality bounds alone (`photo.judge`); what it is worth
beside the others is the coach's. Both are rows of the vault, so that an unchanged photo is never read again, and one that
was moved or renamed is not judged again. The order of a change:

    list the folder ─▶ judge what is new, a little at a time ─▶ coach ─▶ commit to the vault ─▶ hand the new gallery out

so that a gallery in force is always one that was committed, and what comes back after a kill is one of these. Only where the
vault cannot be written (a full disk) a gallery is in force that is not committed; that is said, and tried again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from streamd.enrolment import notes, subject, words
from streamd.enrolment.coach import Coach, RelationalVerdict, UsablePhoto
from streamd.enrolment.coverage import Coverage, coverage, next_photo
from streamd.enrolment.images import PASSING, OpenedPhoto, PhotoReason, open_photo
from streamd.enrolment.listing import Listing, PersonFolder, PhotoFile, list_folder, printable, remembered
from streamd.enrolment.photo import ADVICE, PhotoVerdict
from streamd.enrolment.rows import Row
from streamd.enrolment.sidecar import Sidecars, remove_file
from streamd.enrolment.subject import SubjectSettings, read_settings
from streamd.enrolment.vault import Committed, Vault, VaultReason
from streamd.errors import ConfigError, GalleryError
from streamd.recognition.gallery import EXACT_NUMBERS, Enrolled, build, indexed, wants_index
from streamd.values import Gallery, Quality

log = logging.getLogger(__name__)

_BASIS: Final = "basis"
"""The name of the row that says by which rules the others were judged; photos have a slash in theirs."""

_COACHED_AHEAD: Final = 20_000
"""Photos up to which the coach is told of all of them while there is nothing to do, so that the next photo need not wait."""

_NOT_LOOKED_AT: Final = (PhotoReason.NAME_TAKEN, PhotoReason.NO_CONSENT)
_OUTDATED: Final = -1  # a size that no file has
_EMPTY: Final = "the file is empty; write the settings again, or delete it"
_NO_CONSENT: Final = "there is no consent that holds today in it; add it, or delete the folder to have the templates deleted"
_MISNAMED: Final = f"it is not read: settings are called {subject.FILE}; rename it, or delete it"
_RENAMED: Final = (
    "if this was {name}'s folder: the photos were not kept, and the templates went with its old name; photograph them anew, "
    "and give another name by `name` in subject.yaml instead"
)
_LOST: Final = "templates_deleted"
_TRUNCATED_GRACE_NS: Final = 10_000_000_000
"""How long a photo that ends too early may still be one that is being copied slowly."""


@dataclass(frozen=True, slots=True)
class FolderRules:
    """sidecars: write the verdict beside each photo. keep_photos: else photos are deleted once enrolled. require_consent:
    use nobody's photos without their consent in `subject.yaml`. cameras: the names that `subject.yaml` may use. basis: what a
    verdict depends on besides photo and model; when it changes, photos are judged again. read_only: nothing is written.
    exact_numbers: see `gallery.wants_index`.
    """

    sidecars: bool = True
    keep_photos: bool = True
    require_consent: bool = False
    cameras: tuple[str, ...] = ()
    basis: str = ""
    read_only: bool = False
    exact_numbers: int = EXACT_NUMBERS


@dataclass(frozen=True, slots=True)
class PhotoEvent:
    """What is said about one photo: used or not, why (codes), and one sentence of what to do. gain: 0..1, and beside: the
    whole verdict beside the others, for photos that are good by themselves.
    """

    subject: str
    photo: str
    accepted: bool
    reasons: tuple[str, ...]
    advice: str
    gain: float | None = None
    beside: RelationalVerdict | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The state of the folder: the gallery, the display name of each subject, what is not used, and what is wrong.

    waiting: photos that are still to be judged. confusable: one sentence for each pair of people whom the door may confuse.
    """

    gallery: Gallery
    names: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[PhotoEvent, ...] = ()
    problem: str | None = None
    waiting: int = 0
    confusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a look at the folder brought: photos whose verdict is news, and after how many seconds one that is still being
    written may have settled; None where there is none.
    """

    enrolment: Enrolment
    judged: tuple[PhotoEvent, ...]
    settles_in: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """A subject's photos, how they cover pose and light, what to photograph next, and a mistake in their settings."""

    subject: str
    name: str
    photos: tuple[PhotoEvent, ...]
    coverage: Coverage
    next_photo: str
    mistake: str


@dataclass(frozen=True, slots=True)
class _Passing:
    """A verdict that does not depend on the photo's bytes, or perhaps only on the moment; it is never kept."""

    file: PhotoFile
    reason: str

    @property
    def subject(self) -> str:
        return self.file.subject


@dataclass(frozen=True, slots=True)
class _Settings:
    """What is said of a person: None with the `mistake` where their file cannot be understood. text: the file's content.

    agreed: a consent of theirs was read, though it may not hold. ended: it has ended or was taken back, which no mistake says.
    """

    person: PersonFolder
    said: SubjectSettings | None
    mistake: str = ""
    text: str = ""
    consented: bool = False
    agreed: bool = False
    ended: bool = False

    @property
    def unread(self) -> bool:
        """Whether they are the first ones of the person, and still being written."""
        return self.said is None and not self.mistake

    @property
    def name(self) -> str:
        """As the person is shown."""
        return self.said.name if self.said is not None and self.said.name is not None else self.person.name


@dataclass(frozen=True, slots=True)
class _Plan:
    """gone: photos to be taken out. todo: photos to be judged."""

    gone: tuple[str, ...]
    todo: tuple[PhotoFile, ...]


class _StillWritten:
    """Which files have been left alone for long enough to be read, by their stamps or, where those are by a clock ahead of
    ours, by when they were first seen as they are.
    """

    def __init__(self) -> None:
        self._now = self._settle = 0
        self._before: dict[str, tuple[object, int]] = {}
        self._seen: dict[str, tuple[object, int]] = {}
        self.settles_in: int | None = None
        """After how many nanoseconds the first of those that were asked about since `look` may have settled."""

    def look(self, now_ns: int, settle_ns: int) -> None:
        """Begin another look; what is not asked about during it is forgotten with the next."""
        self._now, self._settle = now_ns, settle_ns
        self._before, self._seen = self._seen, {}
        self.settles_in = None

    def has_settled(self, place: str, stamp: tuple[int, int] | None) -> bool:
        """Whether a file may be read that is other than before. stamp: its size and time of change; None: it is gone."""
        left = self._settle if stamp is None else stamp[1] + self._settle - self._now
        if left > 0:
            found, since = self._before.get(place, (None, self._now))
            if found != stamp or since > self._now:
                since = self._now
            self._seen[place] = (stamp, since)
            left = min(left, since + self._settle - self._now)
        if left > 0:
            self.settles_in = left if self.settles_in is None else min(left, self.settles_in)
        return left <= 0

    def age(self, file: PhotoFile) -> int:
        """For how many nanoseconds a file has been left alone, as far as is known."""
        return self._now - self._seen.get(file.place, (None, file.changed_ns))[1]


class EnrolmentFolder:
    """Turns the folder into galleries; one owner thread, which `look` judges an opened photo on."""

    def __init__(
        self,
        folder: Path,
        vault: Vault,
        coach: Coach,
        look: Callable[[OpenedPhoto], PhotoVerdict],
        rules: FolderRules,
        *,
        model: str,
        dimension: int,
        seen: Path,
        utc: Callable[[], datetime],
    ) -> None:
        """model: digest of the model behind the templates. seen: a file that remembers which folder this is over a restart.
        utc: the wall clock. Raises GalleryError.
        """
        self._folder = folder
        self._vault = vault
        self._coach = coach
        self._look = look
        self._rules = rules
        self._model = model
        self._dimension = dimension
        self._seen = seen
        self._utc = utc
        self._basis = hashlib.sha256(rules.basis.encode()).hexdigest()
        self._known: dict[str, Row | _Passing] = {}
        self._older: tuple[Row, ...] = ()
        self._followed: dict[str, Row] = {}
        """The rows of the folder of another model that this one is to follow, by photo."""
        self._settings: dict[str, _Settings] = {}
        self._arrived: frozenset[str] = frozenset()
        """The people whose folders were not there at the look before."""
        self._awaited: frozenset[str] = frozenset()
        """The people whose settings are being written; their new photos wait for them."""
        self._lost: dict[str, str] = {}
        """What is said where a person's folder lies, and the templates of photos that were not kept are gone."""
        self._still_written = _StillWritten()
        self._arrivals: dict[str, int] = {}
        """With which look each of the photos came that wait to be judged."""
        self._places: dict[str, str] = {}
        self._loose: tuple[str, ...] = ()
        self._misnamed: tuple[str, ...] = ()
        self._sidecars = Sidecars(folder, self.name) if rules.sidecars else None
        self._owes_removal = False
        """Whether older generations may hold what was taken out, since a commit failed or is still to come."""
        self._owes_aside = False
        """Whether what was set aside is to go as well: it may hold somebody who asked for all to go, or whose consent ended."""
        self._loaded = self._coached = self._committed = False
        self._enrolment = Enrolment(build((), 0, model, dimension))
        try:
            if not rules.read_only:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GalleryError(
                f"{folder}: the enrolment folder cannot be made ({error.strerror}); make it or set gallery.folder"
            ) from None

    @property
    def enrolment(self) -> Enrolment:
        """What is in force."""
        return self._enrolment

    def refresh(self, now_ns: int, settle_ns: int, out_of_time: Callable[[], bool]) -> Refreshed:
        """Look at the folder: what went and what was set is in force when it returns; what is new is judged while time lasts.

        now_ns: wall clock, as files are stamped. settle_ns: how long a photo, and what is said of a person, must have been left
        alone; what is replaced stays in force as it was until the new one is whole. out_of_time: asked before each photo; call
        again at once while `enrolment.waiting` is not 0. A folder that is gone leaves the last gallery in force, with the
        problem said.
        """
        if not self._loaded:
            self._load()
        try:
            listing = list_folder(self._folder)
        except OSError as error:
            return self._troubled(
                f"{self._folder} cannot be read ({error.strerror}); make it or mount its disk; the last gallery serves on"
            )
        if not listing.people and self._known and remembered(self._seen) not in (None, listing.inode):
            return self._troubled(
                f"{self._folder} is empty and not the folder that it was, perhaps a disk is not mounted; the last gallery "
                "stays in force; to remove everybody, make a person's folder there and delete it"
            )
        if listing.people and not self._rules.read_only:
            self._remember(listing.inode)
        self._places = {file.photo: file.place for file in listing.photos}
        self._still_written.look(now_ns, settle_ns)
        settled = self._read_settings(listing.people) or (listing.loose, listing.misnamed) != (self._loose, self._misnamed)
        self._loose, self._misnamed = listing.loose, listing.misnamed
        plan = self._plan(listing)
        judged, on_their_way = self._judge(plan, out_of_time)
        waiting = len(plan.todo) - len(judged) - on_their_way
        settles_in = self._still_written.settles_in
        if on_their_way and settles_in is None:
            settles_in = settle_ns
        self._name_lost(plan.gone, judged)
        news: tuple[PhotoEvent, ...] = ()
        if plan.gone or judged or settled or not self._committed or self._enrolment.problem is not None:
            # The first commit, and one after another failed: what lies there may have been kept until now.
            lying = () if self._committed else tuple(file.photo for file in listing.photos if self._is_current(file))
            news = self._put_in_force(plan.gone, judged, waiting, lying)
        elif waiting != self._enrolment.waiting:
            self._enrolment = dataclasses.replace(self._enrolment, waiting=waiting)
        elif not waiting and wants_index(self._enrolment.gallery, self._rules.exact_numbers):
            self._enrolment = dataclasses.replace(self._enrolment, gallery=indexed(self._enrolment.gallery))
        elif not waiting and len(self._known) <= _COACHED_AHEAD:
            self._ensure_coached()
        if self._sidecars is not None:
            # By what lies there, so that none is left of a photo that went or was renamed while nobody looked.
            self._sidecars.remove(place for place in listing.orphans if not self._is_enrolled_without_photo(place))
        if wants_index(self._enrolment.gallery, self._rules.exact_numbers):
            settles_in = 0  # nothing is left to be judged: the next look makes the index
        return Refreshed(self._enrolment, news, None if settles_in is None else max(0, settles_in) / 1e9)

    # What may be asked about it, between two looks

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all photos that were judged by what they show."""
        return tuple(self._rows())

    @property
    def vault_rows(self) -> tuple[Row, ...]:
        """All that a generation of the vault holds: the photos' rows, what is said of people, by what photos were judged."""
        basis = Row("", "", _BASIS, self._basis, 0, 0, (), None, None, 0, self._utc())
        return (basis, *self._rows(), *self._setting_rows())

    def write_sidecars(self) -> None:
        """Write the verdict beside every photo, whether it is news or not."""
        if self._sidecars is not None:
            self._sidecars.write({self._places[photo]: self._event(photo) for photo in self._known if photo in self._places})

    def verdict(self, photo: str) -> PhotoEvent | None:
        """What is said about a photo; None where it was not judged yet."""
        return self._event(photo) if photo in self._known else None

    def name(self, who: str) -> str:
        """A subject's name as it is shown."""
        settings = self._settings.get(who)
        if settings is not None:
            return settings.name
        return next((row.name for row in self._rows() if row.subject == who), who)

    def follow(self, rows: Iterable[Row]) -> None:
        """What the folder that this one is to follow knows: its photos keep their seniority, and the day of their enrolment."""
        self._followed = {row.photo: row for row in rows}

    def forget(self, who: str) -> None:
        """Take a subject out of the gallery and the vault, whatever lies in the folder. Raises GalleryError.

        Photos of others that are not used since they look like them stay out: nothing else would tell any more that they do.
        """
        self._ensure_coached()
        gone = [photo for photo, known in self._known.items() if known.subject == who]
        verdicts = self._coach.verdicts.items()
        like = [photo for photo, one in verdicts if one.looks_like is not None and one.looks_like.subject == who]
        of_them = {
            row.photo: dataclasses.replace(
                row, reasons=(PhotoReason.LOOKED_LIKE_FORGOTTEN,), template=None, traits=None, notes="", photo_kept=True
            )
            for row in map(self._known.get, like)
            if isinstance(row, Row) and row.subject != who
        }
        self._settings.pop(who, None)
        self._owes_removal = self._owes_aside = True  # also of somebody of whom no photo was ever good
        self._put_in_force(gone, of_them, self._enrolment.waiting)
        if not self._committed:
            raise GalleryError(f"{who} is not forgotten: {self._enrolment.problem}; mend that and ask again")

    def overview(self) -> tuple[Overview, ...]:
        """Everybody who has a folder or a photo, in order: what is used, what not and why, what is missing."""
        self._ensure_coached()
        photos: dict[str, list[PhotoEvent]] = {who: [] for who in self._settings}
        for photo, known in self._known.items():
            photos.setdefault(known.subject, []).append(self._event(photo))
        found = []
        for who in sorted(photos):
            covered = coverage(self._coach.used(who))
            settings = self._settings.get(who)
            mistake = settings.mistake if settings is not None else ""
            found.append(Overview(who, self.name(who), tuple(photos[who]), covered, next_photo(covered), mistake))
        return tuple(found)

    @property
    def confusable(self) -> tuple[str, ...]:
        """One sentence for each pair of people whom the door may confuse."""
        self._ensure_coached()
        return tuple(words.confusable_sentence(pair, self.name) for pair in self._coach.confusable())

    # What is known, and which folder this is

    def _load(self) -> None:
        loaded = self._vault.load(self._model, self._dimension)
        if loaded.problem is not None and loaded.reason is not VaultReason.MISSING:
            log.warning("%s", loaded.problem)
        if loaded.in_force is not None:
            rows = loaded.in_force.rows
            outdated = not any(row.photo == _BASIS and row.digest == self._basis for row in rows)
            if outdated and rows:
                log.info("what photos are judged by has changed; they are judged again, and serve as they are meanwhile")
            for row in rows:
                place, _, file = row.photo.rpartition("/")
                if file == subject.FILE:
                    # What could not be read then is read again.
                    person = PersonFolder(row.subject, row.name, place, (row.size if row.notes else _OUTDATED, row.changed_ns))
                    self._settings[row.subject] = self._today(self._understood(person, row.notes), None)
                elif row.photo != _BASIS:
                    again = outdated and row.photo_kept
                    self._known[row.photo] = dataclasses.replace(row, size=_OUTDATED) if again else row
        elif loaded.older is not None:
            self._older = loaded.older.rows
        self._loaded = True

    def _troubled(self, problem: str) -> Refreshed:
        if not self._enrolment.gallery.names and self._known:
            self._put_in_force((), {}, 0)  # what the vault holds is the last good gallery
        self._enrolment = dataclasses.replace(self._enrolment, problem=problem)
        return Refreshed(self._enrolment, (), None)

    def _remember(self, inode: int) -> None:
        if remembered(self._seen) != inode:
            with contextlib.suppress(OSError):  # a full disk: then a folder that vanishes over a restart is not noticed
                self._seen.write_text(f"{inode}\n")

    # Settings

    def _read_settings(self, people: Sequence[PersonFolder]) -> bool:
        """Bring the settings of all people up to date; whether anything is other than before."""
        first = self._holders(people)
        found: dict[str, _Settings] = {}
        awaited: set[str] = set()
        for person in first.values():
            known = self._settings.get(person.subject)
            if known is not None and known.unread:
                known = None
            file = f"{person.place}/{subject.FILE}"
            if known is not None and (known.person.place, known.person.settings) == (person.place, person.settings):
                pass
            elif (known, person.settings) == (None, None) or self._still_written.has_settled(file, person.settings):
                known = self._settings_of(person)
            else:
                awaited.add(person.subject)
                if known is not None:  # they stay in force until the new ones are whole
                    person = dataclasses.replace(person, settings=known.person.settings)
            known = known or _Settings(person, None)
            found[person.subject] = self._today(dataclasses.replace(known, person=person), self._settings.get(person.subject))
        concerned = {known.subject for known in self._known.values()}
        concerned |= {who for who, one in (*found.items(), *self._settings.items()) if one.mistake}
        arrived = found.keys() - self._settings.keys()
        left = {who for who, one in self._settings.items() if who not in found and one.person.settings is not None}
        self._owes_removal = self._owes_removal or bool(left)  # the vault holds what was said of them
        changed = any(self._settings.get(who) != found.get(who) for who in concerned | left)
        self._settings = found
        self._awaited = frozenset(awaited)
        self._arrived = frozenset(arrived)
        return changed

    def _holders(self, people: Sequence[PersonFolder]) -> dict[str, PersonFolder]:
        """The folder that has each id: the one that had it before, or else the first by name; no newcomer takes it away."""
        before = {known.subject: known.name for known in self._rows() if known.template is not None}
        before |= {who: one.person.name for who, one in self._settings.items()}
        holders: dict[str, PersonFolder] = {}
        for person in people:
            if person.subject not in holders or person.name == before.get(person.subject):
                holders[person.subject] = person
        return holders

    def _today(self, settings: _Settings, before: _Settings | None) -> _Settings:
        """With what becomes of the consent by now; before: what was said of the person until then."""
        now, said = self._utc(), settings.said
        agreed = before is not None and before.agreed
        if said is None:
            return dataclasses.replace(settings, consented=False, agreed=agreed, ended=False)
        if said.consent is not None:
            consented, ended = said.consent.holds(now), said.consent.has_ended(now)
            return dataclasses.replace(settings, consented=consented, agreed=True, ended=ended)
        # A file that is not there, or not yet again, says nothing.
        ended = agreed and settings.person.settings is not None
        return dataclasses.replace(settings, consented=False, agreed=agreed, ended=ended)

    def _settings_of(self, person: PersonFolder) -> _Settings:
        if person.settings is None:
            return self._understood(person, "")
        shown = f"{person.name}/{subject.FILE}"
        opened = open_photo(self._folder, f"{person.place}/{subject.FILE}")
        if isinstance(opened, PhotoReason):
            if opened is PhotoReason.EMPTY:
                return _Settings(person, None, f"{shown}: {_EMPTY}")
            return _Settings(person, None, f"{shown}: {ADVICE[opened]}")
        with opened:
            content = os.pread(opened.descriptor, subject.MAX_BYTES + 1, 0)
        if len(content) > subject.MAX_BYTES:
            return _Settings(person, None, f"{shown}: more than {subject.MAX_BYTES} bytes; expected a few lines")
        return self._understood(person, content.decode("utf-8", "surrogateescape"))

    def _understood(self, person: PersonFolder, text: str) -> _Settings:
        if person.settings is not None and not text.strip():
            return _Settings(person, None, f"{person.name}/{subject.FILE}: {_EMPTY}")
        try:
            content = text.encode("utf-8", "surrogateescape")
            said = read_settings(content, f"{person.name}/{subject.FILE}", self._rules.cameras)
        except ConfigError as error:
            return _Settings(person, None, "; ".join(str(error).splitlines()), text)
        return _Settings(person, said, text=text)

    # Judging

    def _plan(self, listing: Listing) -> _Plan:
        listed = {file.photo for file in listing.photos}
        # A photo that is gone may be one that has another name by now: it stays in force until that one is looked at.
        other = [file for file in listing.photos if not self._is_current(file)]
        settled = [self._still_written.has_settled(file.place, (file.size, file.changed_ns)) for file in other]
        arriving = {file.size for file, whole in zip(other, settled, strict=True) if not whole}
        unreadable = {person.subject for person in listing.people if not person.readable}
        gone = tuple(
            photo
            for photo, known in self._known.items()
            if photo not in listed
            and known.subject not in unreadable
            and not self._is_kept_without_photo(known)
            and not (isinstance(known, Row) and known.size in arriving)
        )
        whole = [file for file, whole in zip(other, settled, strict=True) if whole]
        return _Plan(gone, self._in_turn([file for file in whole if file.subject not in self._awaited]))

    def _in_turn(self, todo: Sequence[PhotoFile]) -> tuple[PhotoFile, ...]:
        """What came last first, so that nobody waits for thousands that lay there before; what came together as it is listed,
        since the photo that is judged first is the senior one.
        """
        now = max(self._arrivals.values(), default=0) + 1
        self._arrivals = {file.photo: self._arrivals.get(file.photo, now) for file in todo}
        return tuple(sorted(todo, key=lambda file: (-self._arrivals[file.photo], -self._sequence(file.photo))))

    def _sequence(self, photo: str) -> int:
        """Of a photo that is judged again: junior ones first, so that the coach need not be told of many others each time."""
        known = self._known.get(photo)
        return known.sequence if isinstance(known, Row) else 0

    def _name_lost(self, gone: Iterable[str], judged: Mapping[str, Row | _Passing]) -> None:
        """Say whose templates are deleted that no photo brings back."""
        found = {row.digest for row in judged.values() if isinstance(row, Row)}
        left: dict[str, str] = {}
        for photo in gone:
            row = self._known[photo]
            if not isinstance(row, Row) or row.photo_kept or row.template is None or row.digest in found:
                continue
            who, settings = row.subject, self._settings.get(row.subject)
            if settings is None:
                left[who] = row.name
            elif who not in self._lost:
                self._lost[who] = (
                    "their consent has ended, and their photos were not kept; with a new one, photograph them anew"
                )
                log.warning("%s: %s", settings.name, self._lost[who])
        known = {one.subject for one in self._known.values()}
        for name in left.values():
            log.warning("%s: the folder is gone, and the templates of photos that were not kept with it", name)
            # Of who was removed nothing is said in public; a folder that came as the other went may be that one, renamed.
            for who in self._arrived - known:
                self._lost[who] = _RENAMED.format(name=name)
        enrolled = {row.subject for row in judged.values() if isinstance(row, Row) and row.template is not None}
        self._lost = {who: said for who, said in self._lost.items() if who in self._settings and who not in enrolled}

    def _is_enrolled_without_photo(self, place: str) -> bool:
        known = self._known.get(printable(place))
        return isinstance(known, Row) and not known.photo_kept

    def _is_kept_without_photo(self, known: Row | _Passing) -> bool:
        """Whether a template is to stay though its photo is gone: while the person has a folder and did not take it back."""
        if not isinstance(known, Row) or known.photo_kept or known.subject not in self._settings:
            return False
        return not self._has_ended(known.subject)

    def _is_current(self, file: PhotoFile) -> bool:
        known = self._known.get(file.photo)
        if isinstance(known, Row):
            same = (known.size, known.changed_ns) == (file.size, file.changed_ns)
            return same and self._unused_for(file) is None
        unused_for = self._unused_for(file)
        if known is None or known.file != file:
            return False
        return known.reason == unused_for if unused_for or known.reason in _NOT_LOOKED_AT else True

    def _has_ended(self, who: str) -> bool:
        """Whether the consent that somebody needs is over."""
        settings = self._settings.get(who)
        return settings is not None and settings.ended and self._rules.require_consent

    def _may_use(self, who: str) -> bool:
        settings = self._settings.get(who)
        return settings is not None and (settings.consented or not self._rules.require_consent)

    def _may_open(self, who: str) -> bool:
        """Whether somebody who is enrolled is recognised; where there is no folder to ask, by what the vault holds of them."""
        settings = self._settings.get(who)
        if settings is None:
            return not self._rules.require_consent
        return settings.said is not None and self._may_use(who)

    def _unused_for(self, file: PhotoFile) -> str | None:
        """Why a photo is not even looked at."""
        settings = self._settings[file.subject]
        if settings.person.name != file.name:
            return PhotoReason.NAME_TAKEN
        return None if self._may_use(file.subject) else PhotoReason.NO_CONSENT

    def _judge(self, plan: _Plan, out_of_time: Callable[[], bool]) -> tuple[dict[str, Row | _Passing], int]:
        """Verdicts while there is time, and how many photos turned out to be still on their way."""
        known = (*self._older, *self._rows()) if plan.todo else ()
        by_digest = {row.digest: row for row in known if row.size != _OUTDATED and not _stays_out(row)}
        taken = {row.sequence: row.photo for row in self._rows()}
        sequence = max((row.sequence for row in (*known, *self._followed.values())), default=0)
        left = {row.digest: row for row in map(self._known.get, plan.gone) if isinstance(row, Row)}
        judged: dict[str, Row | _Passing] = {}
        on_their_way = 0
        for file in plan.todo:
            if out_of_time():
                break
            found = self._verdict(file, by_digest, sequence + 1)
            if isinstance(found, Row):
                before = self._before(found, left)
                if before is not None and _stays_out(before) and before.changed_ns == found.changed_ns:
                    found = dataclasses.replace(found, reasons=before.reasons, template=None, traits=None)
                if before is not None and taken.get(before.sequence, file.photo) in (file.photo, before.photo):
                    found = dataclasses.replace(found, sequence=before.sequence, enrolled=before.enrolled)
                    left.pop(found.digest, None)
                taken[found.sequence] = file.photo
                sequence = max(sequence, found.sequence)
                by_digest.setdefault(found.digest, found)
                copied_slowly = PhotoReason.TRUNCATED in found.reasons and self._still_written.age(file) < _TRUNCATED_GRACE_NS
                if copied_slowly:
                    on_their_way += 1
                    continue
            judged[file.photo] = found
        return judged, on_their_way

    def _before(self, row: Row, left: Mapping[str, Row]) -> Row | None:
        """The same photo as it was known before: touched, judged by other rules or another model, or under a name that went.

        It stays as senior as it was, or a photo that was out because it looks like this one would take its place.
        """
        candidates = (self._known.get(row.photo), self._followed.get(row.photo), left.get(row.digest))
        return next((one for one in candidates if isinstance(one, Row) and one.digest == row.digest), None)

    def _verdict(self, file: PhotoFile, by_digest: Mapping[str, Row], sequence: int) -> Row | _Passing:
        reason = self._unused_for(file)
        if reason is not None:
            return _Passing(file, reason)
        opened = open_photo(self._folder, file.place)
        if isinstance(opened, PhotoReason):
            return _Passing(file, opened)
        with opened:
            try:
                digest = opened.digest
                known = by_digest.get(digest)
                verdict = self._look(opened) if known is None else PhotoVerdict(known.reasons, known.template, known.traits)
            except OSError:
                return _Passing(file, PhotoReason.UNREADABLE)
        passing = next((reason for reason in verdict.reasons if reason in PASSING), None)
        if passing is not None:
            return _Passing(file, passing)
        return Row(
            subject=file.subject, name=file.name, photo=file.photo, digest=digest, size=file.size, changed_ns=file.changed_ns,
            reasons=verdict.reasons, template=verdict.vector, traits=verdict.traits, sequence=sequence, enrolled=self._utc(),
        )  # fmt: skip

    # Putting in force

    def _rows(self) -> Iterator[Row]:
        return (known for known in self._known.values() if isinstance(known, Row))

    def _put_in_force(
        self, gone: Sequence[str], judged: Mapping[str, Row | _Passing], waiting: int, lying: Iterable[str] = ()
    ) -> tuple[PhotoEvent, ...]:
        """Take out, add, coach, commit, and make it the enrolment; the photos whose verdict is news. lying: photos that were
        enrolled before and are there still, to be deleted where photos are not kept.
        """
        leaving = [photo for photo in (*gone, *judged) if isinstance(self._known.get(photo), Row)]
        if leaving or judged:
            self._ensure_coached()
        self._owes_removal = self._owes_removal or any(self._takes_away(photo, judged) for photo in leaving)
        self._owes_aside = self._owes_aside or any(self._has_ended(self._known[photo].subject) for photo in leaving)
        for photo in gone:
            del self._known[photo]
        self._known.update(judged)
        self._older = ()
        new = list(_usable(row for row in judged.values() if isinstance(row, Row)))
        lowest = min((one.sequence for one in new), default=0)
        above = (row for row in self._rows() if row.photo not in judged and row.sequence > lowest)
        junior = list(_usable(above)) if new else []  # the coach takes photos in the order of their seniority alone
        away = (*leaving, *(one.photo for one in junior))
        changed = self._coach.change(away, [*new, *junior]) if away or new else frozenset()
        moved = set()  # a number that moved a little is written beside the photo; only another verdict is news
        for photo in changed.union(one.photo for one in new):
            row, verdict = self._known.get(photo), self._coach.verdicts.get(photo)
            if isinstance(row, Row) and verdict is not None:  # none where it is refused by what it shows itself, by now
                if row.notes and _stands(notes.read(row.notes, row.subject, photo)) == _stands(verdict):
                    moved.add(photo)
                self._known[photo] = dataclasses.replace(row, notes=notes.write(verdict))
        enrolled = []
        for photo in changed.union(judged, lying) if not self._rules.keep_photos else ():
            row = self._known.get(photo)
            if isinstance(row, Row) and self._is_used(photo):
                self._known[photo] = dataclasses.replace(row, photo_kept=False)
                enrolled.append(photo)
        # No other generation may hold what was taken out.
        committed = self._commit()
        self._committed = committed.problem is None
        self._owes_removal = self._owes_removal and not self._committed
        self._owes_aside = self._owes_aside and not self._committed
        generation = committed.generation or self._enrolment.gallery.generation + 1
        self._enrolment = self._state(generation, waiting, committed.problem)
        if committed.generation is not None:
            self._delete(enrolled)
        others = sorted(changed.difference(judged).intersection(self._known))
        events = {photo: self._event(photo) for photo in (*judged, *others)}
        if self._sidecars is not None:
            self._sidecars.write({self._places[photo]: event for photo, event in events.items() if photo in self._places})
        return tuple(event for photo, event in events.items() if photo not in moved)

    def _takes_away(self, photo: str, judged: Mapping[str, Row | _Passing]) -> bool:
        """Whether anything known of a person leaves with a photo's row, were it no more than a digest and their name."""
        row, now = self._known.get(photo), judged.get(photo)
        if not isinstance(row, Row):
            return False
        return row.template is not None or not isinstance(now, Row) or now.digest != row.digest

    def _ensure_coached(self) -> None:
        """Tell the coach what is known; only a change needs it, so that a start does not wait for it."""
        if not self._coached:
            self._coach.change(new=list(_usable(self._rows())))
            self._coached = True

    def _commit(self) -> Committed:
        if self._rules.read_only:
            return Committed(None)
        committed = self._vault.commit(
            self.vault_rows, self._model, self._dimension, drop_older=self._owes_removal, drop_aside=self._owes_aside
        )
        if committed.problem is not None and committed.problem != self._enrolment.problem:
            log.error("%s", committed.problem)
        return committed

    def _setting_rows(self) -> Iterator[Row]:
        """What is said of people, kept beside the rows of their photos: it must hold where the folder cannot be read."""
        for who, settings in self._settings.items():
            person = settings.person
            if person.settings is not None:
                size, changed_ns = person.settings
                digest = hashlib.sha256(settings.text.encode("utf-8", "surrogateescape")).hexdigest()
                file = f"{person.place}/{subject.FILE}"
                yield Row(who, person.name, file, digest, size, changed_ns, (), None, None, 0, self._utc(), notes=settings.text)

    def _state(self, generation: int, waiting: int, problem: str | None) -> Enrolment:
        names: dict[str, str] = {}
        rules = {who: one.said.rules for who, one in self._settings.items() if one.said and one.said.rules}
        wrong = {who for who, one in self._settings.items() if one.mistake}
        lost = PhotoReason.NO_PERSON
        refused = [PhotoEvent("", photo, False, (lost,), ADVICE[lost]) for photo in self._loose]
        refused += [PhotoEvent("", file, False, ("settings",), _MISNAMED) for file in self._misnamed]
        for who in sorted(wrong):
            one = self._settings[who]
            refused.append(PhotoEvent(who, f"{one.person.name}/{subject.FILE}", False, ("settings",), one.mistake))
        enrolled = []
        closed: set[str] = set()
        for photo, known in self._known.items():
            if isinstance(known, Row) and self._is_used(photo):
                if known.subject not in names:
                    names[known.subject] = self.name(known.subject)
                if not self._may_open(known.subject):
                    if not known.photo_kept:
                        closed.add(known.subject)
                elif known.template is not None:
                    enrolled.append(Enrolled(known.subject, photo, known.template))
            else:
                refused.append(self._event(photo))
        for who in sorted(closed - wrong - self._awaited):
            file = f"{self._settings[who].person.name}/{subject.FILE}"
            refused.append(PhotoEvent(who, file, False, (PhotoReason.NO_CONSENT,), _NO_CONSENT))
        for who, sentence in self._lost.items():
            if who in self._settings and who not in names:
                refused.append(PhotoEvent(who, f"{self._settings[who].person.name}/", False, (_LOST,), sentence))
        gallery = build(enrolled, generation, self._model, self._dimension, rules)
        confusable = self._enrolment.confusable
        if self._coached and not waiting:
            confusable = self.confusable
        return Enrolment(gallery, names, tuple(refused), problem, waiting, confusable)

    def _is_used(self, photo: str) -> bool:
        known = self._known[photo]
        return isinstance(known, Row) and not known.reasons and notes.is_used(known.notes)

    def _event(self, photo: str) -> PhotoEvent:
        known = self._known[photo]
        if isinstance(known, _Passing):
            return PhotoEvent(known.subject, photo, False, (known.reason,), ADVICE[known.reason])
        if known.reasons:
            advised = "; ".join(ADVICE[reason] for reason in known.reasons)
            return PhotoEvent(known.subject, photo, False, known.reasons, advised)
        verdict = notes.read(known.notes, known.subject, photo)
        reasons = (*verdict.reasons, *verdict.warnings)
        return PhotoEvent(
            known.subject, photo, verdict.accepted, reasons, words.advice(verdict, self.name), verdict.gain, verdict
        )

    def _delete(self, photos: Sequence[str]) -> None:
        """Photos that are enrolled and not to be kept: from here on only their templates are."""
        for photo in photos:
            place = self._places.get(photo)
            if place is not None and not remove_file(self._folder, place):
                log.warning("%s is enrolled but cannot be deleted; delete it yourself", photo)


def _stands(verdict: RelationalVerdict) -> tuple[object, ...]:
    return verdict.reasons, verdict.warnings, verdict.duplicate_of, verdict.looks_like and verdict.looks_like.subject


def _stays_out(row: Row) -> bool:
    """Whether a photo is out for a reason that nothing but a person can take back, by copying it there again."""
    return PhotoReason.LOOKED_LIKE_FORGOTTEN in row.reasons


def _usable(rows: Iterable[Row]) -> Iterator[UsablePhoto]:
    """The photos that passed their own judgement, senior first, as the coach takes them."""
    for row in sorted(rows, key=lambda row: row.sequence):
        if row.template is not None and row.traits is not None and not row.reasons:
            traits = row.traits
            quality = Quality(
                traits.sharpness, traits.brightness, traits.contrast, traits.yaw, traits.pitch, traits.roll, traits.eye_distance
            )
            glasses = None if traits.glasses is None else traits.glasses >= 0.5
            yield UsablePhoto(row.subject, row.photo, row.digest, row.template, quality, glasses, row.sequence)
