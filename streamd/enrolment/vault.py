"""The vault: every verdict and template of the gallery, sealed, one file for each generation.

    <state>/vault/gallery-<generation>.sealed   the newest, and two before it
    <state>/vault/witness-1.sealed, -2.sealed   the newest generation that was ever committed, twice
    <state>/vault/aside-*                       what was not in force when it would have been written over

The order of a commit, and why no crash and no older file deceives it:

    0  the witness of generation 0, before the first generation, so that generations without a witness are never a crash's work
    1  gallery-<g>: temporary file, fsync, rename, fsync of the folder
    2  both witnesses of g, each by the same steps
    3  the commit is acknowledged, and generations older than the two before it are removed

In force is the newest generation that is authentic, if it is no older than the witness. Killed before 1 ends, that is g - 1,
which the witness knows; between 1 and 2 it is g, newer than the witness, which only this key can have made: the next commit
writes both witnesses anew, and every start of the daemon makes one. The other order would refuse g - 1 after a crash between
the two. Whoever only reads, beside the daemon, writes nothing, and looks again where a commit came between. A generation put
back after g was acknowledged is older than the witness and refused. Whoever puts the whole folder back as it was, witnesses
included, is not noticed: for that a counter outside of this disk would be needed.

A damaged newest generation does not bring the one before it into force: whoever can flip a bit could otherwise bring back
somebody who was removed. Its rows are handed out as `older`: good as verdicts on photos that lie in the folder today with the
same digest, so that a rebuild costs no embedding, and never as enrolments by themselves. What has no photo any more is told,
and comes back only by a deliberate `restore` of that file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from streamd.enrolment.disk import TEMPORARY, Disk, replace_whole, write_among_others
from streamd.enrolment.rows import Row, decode, encode
from streamd.enrolment.seal import HEADER, Label, Seal, SealFault, Unsealed, label_of, passphrase_key
from streamd.errors import GalleryError

GALLERY: Final = "gallery"
WITNESS: Final = "witness"
BACKUP: Final = "backup"
"""What the blobs of the vault are sealed for."""

_FORMAT: Final = 1
_KEPT_BEFORE: Final = 2  # generations before the newest: verdicts to rebuild from where that is damaged
_WITNESSES: Final = ("witness-1.sealed", "witness-2.sealed")  # two, so that one bad sector refuses nobody's enrolment
_LOOKS: Final = 10  # at a vault that another process commits to meanwhile
_GENERATION: Final = re.compile(r"gallery-(\d{1,18})\.sealed")
_ASIDE: Final = "aside-"
_PASSPHRASE_MAGIC: Final = b"streamd-passphrase\x01"
_SALT: Final = 16
_CHUNK: Final = 1 << 20


class VaultReason(StrEnum):
    """Why nothing of the vault is in force."""

    MISSING = "missing"
    DAMAGED = "damaged"
    WRONG_KEY = "wrong_key"
    ROLLED_BACK = "rolled_back"
    OTHER_MODEL = "other_model"
    OTHER_DIMENSION = "other_dimension"
    UNREADABLE = "unreadable"
    UNWRITABLE = "unwritable"


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """All rows of one generation, in the order they were committed in; their templates are of `model`, float32 (dimension,)."""

    rows: tuple[Row, ...]
    number: int
    model: str
    dimension: int


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What the vault holds: the generation in force, or the reason why there is none.

    problem: one sentence for people, also where something was mended. older: authentic, but not in force: verdicts on photos
    that are in the folder with the same digest, never enrolments by themselves.
    """

    in_force: Generation | None
    reason: VaultReason | None = None
    problem: str | None = None
    older: Generation | None = None

    def for_model(self, model: str, dimension: int) -> Loaded:
        """The same for who compares by this model: a generation of another is not in force (and no `older` one either)."""
        older = self.older if self.older is not None and self.older.model == model else None
        found = self.in_force
        if found is None or (found.model, found.dimension) == (model, dimension):
            return replace(self, older=older)
        if found.model != model:
            problem = f"the vault holds templates of another model ({found.model[:12]}, now {model[:12]}); they are made anew"
            return Loaded(None, VaultReason.OTHER_MODEL, problem)
        problem = f"the vault holds templates of dimension {found.dimension}, expected {dimension}; they are made anew"
        return Loaded(None, VaultReason.OTHER_DIMENSION, problem)


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a commit: the generation that is in force now, or None where the one before still is; and what went
    wrong, one sentence for people.
    """

    generation: int | None
    problem: str | None = None


class Vault:
    """The sealed store in a folder of its own; one owner thread. Raises GalleryError where the folder cannot be made."""

    def __init__(self, folder: Path, seal: Seal, disk: Disk | None = None) -> None:
        self._folder = folder
        self._seal = seal
        self._disk = disk or Disk()
        self._newest = 0
        """The highest generation that this process knows of, acknowledged or not."""
        self._to_set_aside: Callable[[str], bool] | None = None
        """Whether what lies there is set aside by a commit for a model; None before the first look."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as error:
            raise GalleryError(
                f"{folder}: the vault's folder cannot be made ({error.strerror}); mend the permissions of {folder.parent}"
            ) from None

    def model_hint(self) -> str | None:
        """The model that the newest generation says it is of, read without opening it: a hint, as nothing is verified."""
        try:
            for number in reversed(self._numbers()):
                with self._path(number).open("rb") as file:
                    label = label_of(file.read(HEADER))
                return None if label is None else label.model
        except OSError:
            return None
        return None

    def load(self, model: str, dimension: int) -> Loaded:
        """What is in force for this model; `load_any` says what another model's generation holds."""
        return self.load_any().for_model(model, dimension)

    def load_any(self) -> Loaded:
        """What is in force, of whatever model: it may serve, compared by that model, until it is embedded anew."""
        loaded = self._load_at_rest()
        if loaded.reason is VaultReason.UNREADABLE:
            return loaded
        found = loaded.in_force
        if found is None:
            self._to_set_aside = lambda _model: loaded.reason is not VaultReason.MISSING
        elif all(row.photo_kept for row in found.rows):
            self._to_set_aside = lambda _model: False
        else:
            # They cannot be embedded anew, and are all there is should the model come back.
            self._to_set_aside = lambda model: model != found.model
        return loaded

    def commit(
        self, rows: Sequence[Row], model: str, dimension: int, *, drop_older: bool = False, drop_aside: bool = False
    ) -> Committed:
        """Write these rows as the next generation.

        drop_older: no other generation is left, as it could hold what was taken out. drop_aside: nor what was set aside, which
        may hold anybody, and is all that is left of some: for who was forgotten. Older generations go first, so that there is
        room on a full disk.
        """
        payload = tuple(encode(rows, dimension))
        if self._to_set_aside is None:
            self.load_any()
        try:
            if not drop_aside and (self._to_set_aside is None or self._to_set_aside(model)):
                self._set_aside()
            newest = self._witnessed_or_begun()
            self._to_set_aside = lambda _model: False
        except OSError as error:
            return Committed(None, self._unwritten(error))
        problem = self._remove(lambda number: number < newest, aside=drop_aside) if drop_older else None
        self._newest = max(self._newest, newest) + 1
        try:
            path = self._path(self._newest)
            replace_whole(self._disk, path, self._seal.seal(_label(GALLERY, model, dimension, self._newest), *payload))
        except OSError as error:
            return Committed(None, self._unwritten(error))
        problem = self._witness(self._newest) or problem
        kept = 0 if drop_older else _KEPT_BEFORE
        problem = self._remove(lambda number: not self._newest - kept <= number <= self._newest, aside=drop_aside) or problem
        return Committed(self._newest, problem)

    def backup(self, path: Path, passphrase: str | None = None, *, replace_it: bool = False) -> str | None:
        """Write what is in force into one sealed file; returns why not, one sentence, or None.

        replace_it: also where that file is there already.

        Without a passphrase it opens by the vault's key alone, which has to be kept elsewhere. With one it is sealed by a key
        derived from that: the vault's key is then not in it, so that a guessed passphrase opens this file and no other.

        Raises GalleryError for a passphrase that is too short.
        """
        if not replace_it and os.path.lexists(path):
            return f"{path} is there already; name another file, or replace it with --force"
        salt = os.urandom(_SALT)
        seal = self._seal if passphrase is None else Seal(passphrase_key(passphrase, salt))
        loaded = self.load_any()
        found = loaded.in_force
        if found is None:
            return f"nothing to back up: {loaded.problem}"
        label = _label(BACKUP, found.model, found.dimension, found.number)
        sealed = seal.seal(label, *encode(found.rows, found.dimension))
        try:
            write_among_others(self._disk, path, sealed if passphrase is None else (_PASSPHRASE_MAGIC, salt, *sealed))
        except OSError as error:
            return f"{path}: the backup cannot be written ({error.strerror})"
        return None

    def restore(
        self,
        path: Path,
        *,
        passphrase: str | None = None,
        key: bytes | None = None,
        fit: Callable[[Sequence[Row]], Sequence[Row]] = lambda rows: rows,
    ) -> Loaded:
        """Commit what a backup or a file of the vault holds as the next generation; nothing is touched before all is verified.

        key: that it was sealed under, where it is not the vault's own. fit: what becomes of its rows here. Raises GalleryError
        for a passphrase that is too short.
        """
        try:
            blob = path.read_bytes()
        except OSError as error:
            return Loaded(None, VaultReason.UNREADABLE, f"{path}: the backup cannot be read ({error.strerror})")
        seal = self._seal if key is None else Seal(key)
        start = 0
        if blob.startswith(_PASSPHRASE_MAGIC):
            if passphrase is None:
                return Loaded(
                    None, VaultReason.WRONG_KEY, f"{path}: the backup was sealed by a passphrase; give it (`--passphrase-file`)"
                )
            start = len(_PASSPHRASE_MAGIC) + _SALT
            seal = Seal(passphrase_key(passphrase, blob[len(_PASSPHRASE_MAGIC) : start]))
        opened = seal.unseal(memoryview(blob)[start:])
        if isinstance(opened, Unsealed) and (opened.label.purpose not in (BACKUP, GALLERY) or opened.label.version != _FORMAT):
            opened = SealFault.OTHER_PURPOSE
        if opened is SealFault.WRONG_KEY:
            given = "passphrase" if start else "key; give the one that it was sealed by (`--key-file`)"
            return Loaded(None, VaultReason.WRONG_KEY, f"{path}: the backup was sealed by another {given}")
        if not isinstance(opened, Unsealed):
            return Loaded(None, VaultReason.DAMAGED, f"{path}: no whole backup of the gallery; nothing was changed")
        backup = _generation(opened)
        rows = tuple(fit(backup.rows))
        committed = self.commit(rows, backup.model, backup.dimension)
        if committed.generation is None:
            return Loaded(None, VaultReason.UNWRITABLE, committed.problem)
        return Loaded(replace(backup, rows=rows, number=committed.generation), problem=committed.problem)

    def _load_at_rest(self) -> Loaded:
        """As `_load`; again where nothing is in force while a commit of another process changed what lies there."""
        for left in reversed(range(_LOOKS)):
            numbers = None
            try:
                numbers = self._numbers()
                loaded = self._load()
            except OSError as error:
                sentence = f"{self._folder}: the vault cannot be read ({error.strerror}); mend the disk or the permissions"
                loaded = Loaded(None, VaultReason.UNREADABLE, sentence)
            with contextlib.suppress(OSError):
                if left and loaded.in_force is None and self._numbers() != numbers:
                    continue
            break
        return loaded

    def _load(self) -> Loaded:
        """Nothing is written: the one who does may be another process."""
        opened: Unsealed | None = None
        bad: list[Path] = []
        foreign = True
        numbers = self._numbers()
        for number in reversed(numbers):
            found = self._open(self._path(number), GALLERY)
            if isinstance(found, Unsealed) and (found.label.generation, found.label.version) == (number, _FORMAT):
                opened = found
                break
            foreign = foreign and found is SealFault.WRONG_KEY
            bad.append(self._path(number))
        witnessed, faults = self._witnesses()
        foreign = foreign and opened is None and witnessed is None and SealFault.DAMAGED not in faults
        self._newest = max(self._newest, witnessed or 0, opened.label.generation if opened else 0)
        if not numbers and (witnessed == 0 or (witnessed is None and not faults)):
            return Loaded(None, VaultReason.MISSING, "the vault is empty")
        if foreign and (numbers or faults):
            sentence = (
                f"{self._folder}: the vault was sealed by another key; put that back, or go on: what has a photo is enrolled "
                f"anew, what has none is set aside until somebody is forgotten"
            )
            return Loaded(None, VaultReason.WRONG_KEY, sentence)
        generation = _generation(opened) if opened is not None else None
        if generation is not None and witnessed is not None and generation.number >= witnessed:
            notes = [f"{path}: damaged and never acknowledged; it is passed over" for path in bad]
            notes += (
                [f"{self._folder}: a witness of the newest generation was damaged or missing; the next commit writes it anew"]
                if faults
                else []
            )
            return Loaded(generation, problem="; ".join(notes) or None)
        if witnessed and self._path(witnessed) not in bad:
            reason = VaultReason.ROLLED_BACK
            seen = f"generation {generation.number} was put back" if generation else "no generation is there"
            sentence = f"{self._folder}: {seen}, but {witnessed} had been committed; it is not used"
        else:
            reason = VaultReason.DAMAGED
            what = ", ".join(path.name for path in bad) or "both witnesses of the newest generation"
            sentence = f"{self._folder}: {what} damaged or missing; it is not used"
        return Loaded(
            None,
            reason,
            f"{sentence}: what has a photo is enrolled anew, what has none is set aside until somebody is forgotten",
            generation,
        )

    def _open(self, path: Path, purpose: str) -> Unsealed | SealFault:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return SealFault.DAMAGED
            # A sector that cannot be read is an error to read() and a SIGBUS to a mapping: so once through, then mapped.
            chunk = bytearray(min(size, _CHUNK))
            while file.readinto(chunk):
                pass
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                return self._seal.unseal(view, purpose)

    def _witnesses(self) -> tuple[int | None, list[SealFault]]:
        """The newest generation that was committed, if any witness says so, and what is wrong with the others."""
        numbers, faults = [], []
        for name in _WITNESSES:
            try:
                found = self._open(self._folder / name, WITNESS)
            except FileNotFoundError:
                continue
            if isinstance(found, Unsealed):
                numbers.append(found.label.generation)
            else:
                faults.append(found)
        if len(numbers) + len(faults) == 1:
            faults.append(SealFault.DAMAGED)  # the other is missing
        return max(numbers, default=None), faults

    def _witness(self, witnessed: int) -> str | None:
        """Write down that this generation was committed; returns what went wrong."""
        try:
            self._write_witnesses(witnessed)
        except OSError as error:
            return f"{self._folder}: that generation {witnessed} was committed cannot be written down ({error.strerror})"
        return None

    def _write_witnesses(self, witnessed: int) -> None:
        for name in _WITNESSES:
            replace_whole(self._disk, self._folder / name, self._seal.seal(_label(WITNESS, "", 0, witnessed)))

    def _witnessed_or_begun(self) -> int:
        """The newest generation that was committed; a vault that begins says first that there is none."""
        witnessed, _ = self._witnesses()
        if witnessed is None:
            self._write_witnesses(0)
        return witnessed or 0

    def _numbers(self) -> list[int]:
        found = (_GENERATION.fullmatch(name) for name in os.listdir(self._folder))
        return sorted(int(match[1]) for match in found if match is not None and match[0] == f"gallery-{int(match[1])}.sealed")

    def _path(self, number: int) -> Path:
        return self._folder / f"gallery-{number}.sealed"

    def _set_aside(self) -> None:
        """Give every file another name: a person may still put its key back, or restore it."""
        names = [name for name in os.listdir(self._folder) if _GENERATION.fullmatch(name) or name in _WITNESSES]
        own = [name for name in names if isinstance(self._open(self._folder / name, WITNESS), Unsealed)]
        for name in (name for name in names if name not in own):
            count = 1
            while (target := self._folder / f"{_ASIDE}{count}-{name}").exists():
                count += 1
            self._disk.rename(self._folder / name, target)
        self._disk.sync_folder(self._folder)

    def _remove(self, unwanted: Callable[[int], bool], *, aside: bool) -> str | None:
        """Remove generations, what a crash left, and if so told what was set aside; returns what could not be."""
        failed: OSError | None = None
        names: Iterable[str] = ()
        with contextlib.suppress(OSError):
            names = os.listdir(self._folder)
        for name in names:
            match = _GENERATION.fullmatch(name)
            if not ((match and unwanted(int(match[1]))) or name.endswith(TEMPORARY) or (aside and name.startswith(_ASIDE))):
                continue
            try:
                self._disk.remove(self._folder / name)
            except OSError as error:
                failed = error
        try:
            self._disk.sync_folder(self._folder)
        except OSError as error:
            failed = error
        return (
            f"{self._folder}: an older generation cannot be removed ({failed.strerror}); it is tried again" if failed else None
        )

    def _unwritten(self, error: OSError) -> str:
        return f"{self._folder}: the vault cannot be written ({error.strerror}); it is tried again"


def _label(purpose: str, model: str, dimension: int, generation: int) -> Label:
    return Label(purpose, _FORMAT, model, dimension, generation)


def _generation(opened: Unsealed) -> Generation:
    label = opened.label
    return Generation(tuple(decode(opened.data, label.dimension)), label.generation, label.model, label.dimension)
