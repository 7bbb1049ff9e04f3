"""The vault: what was committed comes back whole, or the reason why not; no crash, older file or flipped bit deceives it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from streamd.enrolment.disk import Disk
from streamd.enrolment.proof import Finding, Sought, search
from streamd.enrolment.rows import Row, Traits
from streamd.enrolment.seal import Label, Seal
from streamd.enrolment.vault import Loaded, Vault, VaultReason
from streamd.errors import GalleryError

MODEL, DIMENSION = "sha256-of-a-model", 4
SEAL = Seal(bytes(range(32)))
NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
TRAITS = Traits(0.5, 120.25, 30.0, -3.5, 2.0, 0.1, 61.0, None, 0.25)


class QuickDisk(Disk):
    """A disk that nobody waits for, where it is not about crashes."""

    def sync(self, descriptor: int) -> None:
        pass


KILLS = int(os.environ.get("STREAMD_TEST_KILLS", "60"))


def row(subject: str, sequence: int = 0, **changes: object) -> Row:
    template = np.eye(DIMENSION, dtype=np.float32)[sequence % DIMENSION]
    values = {
        "subject": subject,
        "name": subject.title(),
        "photo": f"{subject}/{sequence}.jpg",
        "digest": f"{sequence:064x}",
        "size": 1000 + sequence,
        "changed_ns": 1_700_000_000_000_000_000 + sequence,
        "reasons": (),
        "template": template,
        "traits": TRAITS,
        "sequence": sequence,
        "enrolled": NOW,
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]


def plain(rows: Iterable[Row]) -> list[tuple[object, ...]]:
    """Rows as values that can be compared."""
    return [tuple(_plain(getattr(one, name)) for name in Row.__slots__) for one in rows]


def _plain(value: object) -> object:
    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def committed(folder: Path, *generations: list[Row]) -> Vault:
    vault = Vault(folder, SEAL, QuickDisk())
    for rows in generations:
        assert vault.commit(rows, MODEL, DIMENSION).problem is None
    return vault


def load(folder: Path, seal: Seal = SEAL) -> Loaded:
    return Vault(folder, seal, QuickDisk()).load(MODEL, DIMENSION)


def subjects(loaded: Loaded) -> list[str] | None:
    return None if loaded.in_force is None else [one.subject for one in loaded.in_force.rows]


def old_and_new(loaded: Loaded) -> tuple[VaultReason | None, list[str] | None]:
    """The reason why nothing is in force, and whose rows are handed out as `older`."""
    return loaded.reason, None if loaded.older is None else [one.subject for one in loaded.older.rows]


# What is kept


def test_a_vault_that_begins_is_empty(folder: Path) -> None:
    assert load(folder).reason is VaultReason.MISSING


def test_what_was_committed_is_in_force_after_a_restart(folder: Path) -> None:
    rows = [row("anna"), row("bert", 1, reasons=("blurred", "dark"), template=None, traits=None, photo_kept=False)]
    committed(folder, rows)
    found = load(folder).in_force

    assert found is not None
    assert (found.number, found.model, found.dimension) == (1, MODEL, DIMENSION)
    assert plain(found.rows) == plain(rows)


@pytest.mark.parametrize("rows", [[], [row("anna", template=None)]])
def test_nobody_and_nothing_to_compare_with_come_back_too(folder: Path, rows: list[Row]) -> None:
    committed(folder, rows)
    found = load(folder).in_force

    assert found is not None
    assert plain(found.rows) == plain(rows)


def test_a_name_with_a_nul_neither_stops_a_commit_nor_shifts_another_row(folder: Path) -> None:
    committed(folder, [row("an\0na"), row("bert")])

    assert subjects(load(folder)) == ["an\ufffdna", "bert"]


def test_a_template_that_is_no_unit_vector_is_not_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="unit length"):
        Vault(folder, SEAL).commit([row("anna", template=np.full(4, np.nan, np.float32))], MODEL, DIMENSION)

    assert load(folder).reason is VaultReason.MISSING


def test_templates_cannot_be_written_to(folder: Path) -> None:
    committed(folder, [row("anna")])
    found = load(folder).in_force

    assert found is not None
    assert found.rows[0].template is not None
    with pytest.raises(ValueError, match="read-only"):
        found.rows[0].template[0] = 0


def test_nobody_else_can_read_the_vault(folder: Path) -> None:
    committed(folder, [row("anna")])

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_two_generations_are_kept_before_the_newest(folder: Path) -> None:
    committed(folder, *[[row(name)] for name in "abcde"])

    assert sorted(file.name for file in folder.glob("gallery-*")) == [f"gallery-{number}.sealed" for number in (3, 4, 5)]


def test_numbers_go_on_rising_after_a_restart(folder: Path) -> None:
    committed(folder, [row("anna")], [row("bert")])

    assert Vault(folder, SEAL).commit([row("cleo")], MODEL, DIMENSION).generation == 3


# What deceives nobody


def test_a_byte_flipped_anywhere_in_the_newest_generation_is_noticed(folder: Path) -> None:
    """It brings nothing into force; the generation before is handed out as verdicts on photos, not as enrolments."""
    committed(folder, [row("removed")], [row("anna")])
    path = folder / "gallery-2.sealed"
    blob = path.read_bytes()

    for position in range(len(blob)):
        path.write_bytes(_flipped(blob, position))
        assert old_and_new(load(folder)) == (VaultReason.DAMAGED, ["removed"]), position


def test_a_byte_flipped_anywhere_in_a_witness_is_noticed_and_mended(folder: Path) -> None:
    committed(folder, [row("anna")])
    path = folder / "witness-1.sealed"
    blob = path.read_bytes()

    for position in range(len(blob)):
        path.write_bytes(_flipped(blob, position))
        loaded = load(folder)
        assert subjects(loaded) == ["anna"], position
        assert "witness" in (loaded.problem or "")
    committed(folder, [row("anna")])
    assert load(folder).problem is None


def test_a_byte_flipped_anywhere_in_the_key_is_noticed(folder: Path) -> None:
    committed(folder, [row("anna")])

    for position in range(32):
        assert load(folder, Seal(_flipped(bytes(range(32)), position))).reason is VaultReason.WRONG_KEY, position


@pytest.mark.parametrize("name", ["gallery-1.sealed", "witness-1.sealed"])
def test_a_file_cut_short_is_noticed(folder: Path, name: str) -> None:
    committed(folder, [row("anna")])
    blob = (folder / name).read_bytes()

    for length in range(0, len(blob), 7):
        (folder / name).write_bytes(blob[:length])
        loaded = load(folder)
        assert loaded.problem, length
        assert loaded.reason is (VaultReason.DAMAGED if name.startswith("gallery") else None), length


def test_an_older_generation_put_back_is_refused(folder: Path) -> None:
    committed(folder, [row("removed")], [row("anna")])
    (folder / "gallery-2.sealed").unlink()

    assert old_and_new(load(folder)) == (VaultReason.ROLLED_BACK, ["removed"])


def test_an_older_generation_under_a_newer_name_is_refused(folder: Path) -> None:
    committed(folder, [row("removed")], [row("anna")])
    for name in ("gallery-2.sealed", "gallery-3.sealed"):
        (folder / name).write_bytes((folder / "gallery-1.sealed").read_bytes())

    assert old_and_new(load(folder)) == (VaultReason.DAMAGED, ["removed"])


def test_an_older_generation_without_witnesses_is_refused(folder: Path) -> None:
    committed(folder, [row("removed")], [row("anna")])
    for name in ("gallery-2.sealed", "witness-1.sealed", "witness-2.sealed"):
        (folder / name).unlink()

    assert old_and_new(load(folder)) == (VaultReason.DAMAGED, ["removed"])


def test_a_gallery_that_is_gone_is_told_from_one_that_never_was(folder: Path) -> None:
    committed(folder, [row("anna")])
    (folder / "gallery-1.sealed").unlink()

    assert load(folder).reason is VaultReason.ROLLED_BACK


def test_a_file_of_nobody_with_a_newer_number_stops_nothing(folder: Path) -> None:
    committed(folder, [row("anna")])
    (folder / "gallery-999.sealed").write_bytes(b"rubbish")
    loaded = load(folder)

    assert subjects(loaded) == ["anna"]
    assert "gallery-999.sealed: damaged" in (loaded.problem or "")


def test_a_backup_file_is_no_generation(folder: Path, tmp_path: Path) -> None:
    vault = committed(folder, [row("anna")])
    vault.backup(tmp_path / "backup")
    (folder / "gallery-1.sealed").write_bytes((tmp_path / "backup").read_bytes())

    assert load(folder).reason is VaultReason.DAMAGED


def test_reading_writes_nothing_also_where_a_witness_is_damaged_or_behind(folder: Path) -> None:
    """`streamd gallery` and `streamd backup` read beside a daemon that may be between a generation and its witnesses."""
    committed(folder, [row("removed")], [row("anna")])
    behind = {name: (folder / name).read_bytes() for name in ("witness-1.sealed", "witness-2.sealed")}
    committed(folder, [row("ben")])

    for damaged in (False, True):
        for name, blob in behind.items():
            (folder / name).write_bytes(blob)
        if damaged:
            (folder / "witness-1.sealed").write_bytes(b"rubbish")
        before = {path: (path.stat().st_ino, path.stat().st_ctime_ns, path.read_bytes()) for path in folder.iterdir()}
        assert subjects(load(folder)) == ["ben"]
        assert {path: (path.stat().st_ino, path.stat().st_ctime_ns, path.read_bytes()) for path in folder.iterdir()} == before

    committed(folder, [row("carl")])
    (folder / "gallery-4.sealed").unlink()
    assert load(folder).reason is VaultReason.ROLLED_BACK


def test_a_commit_between_two_looks_of_a_reader_is_no_fault(folder: Path) -> None:
    """The reader finds a witness of a generation that was not there when it listed what is."""
    vault = committed(folder, [row("anna")])
    reader = Vault(folder, SEAL)
    witnesses = reader._witnesses

    def late() -> object:
        reader._witnesses = witnesses  # type: ignore[method-assign]
        assert vault.commit([row("ben")], MODEL, DIMENSION, drop_older=True).problem is None
        return witnesses()

    reader._witnesses = late  # type: ignore[method-assign, assignment]

    assert subjects(reader.load(MODEL, DIMENSION)) == ["ben"]


def test_a_folder_that_others_could_look_into_is_closed(tmp_path: Path) -> None:
    """As one that was copied back from elsewhere."""
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault").chmod(0o755)

    Vault(tmp_path / "vault", SEAL)

    assert (tmp_path / "vault").stat().st_mode & 0o777 == 0o700


# What happens then


@pytest.mark.parametrize("fault", ["damaged", "rolled_back", "wrong_key"])
def test_what_is_not_in_force_is_set_aside_by_the_next_commit_and_never_lost(folder: Path, fault: str, tmp_path: Path) -> None:
    """The photos of `before` may be gone: a person can still restore what was set aside."""
    committed(folder, [row("before")], [row("before"), row("anna")])
    seal = Seal(bytes(32)) if fault == "wrong_key" else SEAL
    if fault == "damaged":
        (folder / "gallery-2.sealed").write_bytes(b"?")
    elif fault == "rolled_back":
        (folder / "gallery-2.sealed").unlink()
    vault = Vault(folder, seal)
    assert vault.load(MODEL, DIMENSION).reason == fault
    for name in "cdef":
        assert vault.commit([row(name)], MODEL, DIMENSION).problem is None

    assert subjects(load(folder, seal)) == ["f"]
    restored = vault.restore(folder / "aside-1-gallery-1.sealed", key=bytes(range(32)))
    assert subjects(restored) == ["before"]
    assert subjects(load(folder, seal)) == ["before"]


def test_a_commit_looks_first_at_what_is_there(folder: Path) -> None:
    """A caller that does not load still overwrites nothing that another key may open."""
    committed(folder, [row("anna")])
    Vault(folder, Seal(bytes(32))).commit([row("bert")], MODEL, DIMENSION)

    assert (folder / "aside-1-gallery-1.sealed").exists()


# Models


def test_rows_of_another_model_are_not_in_force_but_can_be_had_to_serve_by_that_model(folder: Path) -> None:
    committed(folder, [row("anna")])
    vault = Vault(folder, SEAL)
    any_model = vault.load_any()

    assert vault.load("another", DIMENSION).reason is VaultReason.OTHER_MODEL
    assert vault.load(MODEL, 8).reason is VaultReason.OTHER_DIMENSION
    assert subjects(any_model) == ["anna"]
    assert any_model.in_force is not None
    assert any_model.in_force.model == MODEL


@pytest.mark.parametrize("photo_kept", [True, False])
def test_what_cannot_be_embedded_anew_outlives_a_change_of_the_model(folder: Path, photo_kept: bool) -> None:
    committed(folder, [row("anna", photo_kept=photo_kept)])
    vault = Vault(folder, SEAL)
    vault.load("another", DIMENSION)
    for name in "cdef":
        vault.commit([row(name)], "another", DIMENSION)

    assert (folder / "aside-1-gallery-1.sealed").exists() is not photo_kept


# Forgetting


def test_after_forgetting_no_file_holds_the_person_any_more(folder: Path, tmp_path: Path) -> None:
    template = np.array([0.1, 0.7, -0.5, 0.5], np.float32)
    jörg = row("jörg", 1, template=template)
    vault = committed(folder, [row("anna"), jörg], [jörg])
    (folder / "gallery-9.sealed.tmp").write_bytes(b"".join(SEAL.seal(Label("gallery", 1), b"J\xc3\xb6rg")))
    (folder / "aside-1-gallery-1.sealed").write_bytes((folder / "gallery-1.sealed").read_bytes())
    sought = Sought("jörg", frozenset({"Jörg"}), templates=frozenset({template.tobytes()}))
    before = search(tmp_path, sought, [SEAL])
    held = {"gallery-1.sealed", "gallery-2.sealed", "gallery-9.sealed.tmp", "aside-1-gallery-1.sealed"}
    assert {one.path.name for one in before.found if one.sealed} == held

    assert vault.commit([row("anna")], MODEL, DIMENSION, drop_older=True, drop_aside=True).problem is None

    after = search(tmp_path, sought, [SEAL])
    assert (after.found, after.unread, after.files) == ((), (), 3)
    assert subjects(load(folder)) == ["anna"]


@pytest.mark.parametrize("before", [True, False])
def test_what_is_taken_out_leaves_alone_what_is_set_aside(folder: Path, before: bool) -> None:
    """It is of another key, which may be put back, and all that is left of who has no photo."""
    committed(folder, [row("anna", photo_kept=False)])
    vault = Vault(folder, Seal(bytes(32)))
    if before:
        vault.commit([row("bert")], MODEL, DIMENSION)

    assert vault.commit([row("carl")], MODEL, DIMENSION, drop_older=True).problem is None

    generations = [name for name in sorted(os.listdir(folder)) if "gallery" in name]
    assert generations == ["aside-1-gallery-1.sealed", f"gallery-{1 + before}.sealed"]


def test_forgetting_leaves_nothing_that_another_key_opens(folder: Path) -> None:
    committed(folder, [row("anna")])
    vault = Vault(folder, Seal(bytes(32)))

    vault.commit([row("bert")], MODEL, DIMENSION, drop_older=True, drop_aside=True)

    assert sorted(os.listdir(folder)) == ["gallery-1.sealed", "witness-1.sealed", "witness-2.sealed"]
    assert subjects(load(folder, Seal(bytes(32)))) == ["bert"]


def test_the_proof_looks_at_names_at_plain_files_and_says_what_it_could_not_open(tmp_path: Path) -> None:
    (tmp_path / "gallery" / "anna").mkdir(parents=True)
    (tmp_path / "list.txt").write_text("bert, anna")
    (tmp_path / "empty").touch()
    (tmp_path / "other.sealed").write_bytes(b"".join(Seal(bytes(32)).seal(Label("consent", 1), b"anna")))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("gallery/anna")

    found = search(tmp_path, Sought("anna", folders=frozenset({"anna"})), [SEAL])

    assert set(found.found) == {Finding(tmp_path / name) for name in ("gallery/anna", "list.txt", "link")}
    assert found.unread == (tmp_path / "other.sealed",)


# Backup


@pytest.mark.parametrize("passphrase", [None, "correct horse battery"])
def test_a_backup_brings_everything_back(folder: Path, tmp_path: Path, passphrase: str | None) -> None:
    """Onto a machine with a key of its own: by the passphrase, or by the old key given separately."""
    rows = [row("anna"), row("bert", 1, photo_kept=False)]
    assert committed(folder, rows).backup(tmp_path / "backup", passphrase) is None
    other = tmp_path / "other"
    vault = Vault(other, Seal(bytes(32)))
    vault.commit([row("cleo")], MODEL, DIMENSION)

    restored = vault.restore(tmp_path / "backup", passphrase=passphrase, key=None if passphrase else bytes(range(32)))

    assert restored.in_force is not None
    assert plain(restored.in_force.rows) == plain(rows)
    again = load(other, Seal(bytes(32))).in_force
    assert again is not None
    assert (again.number, plain(again.rows)) == (2, plain(rows))


def test_a_backup_is_restored_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    vault = committed(folder, [row("anna")])
    vault.backup(tmp_path / "backup")
    blob = (tmp_path / "backup").read_bytes()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    for position in range(len(blob)):
        (tmp_path / "backup").write_bytes(_flipped(blob, position))
        assert vault.restore(tmp_path / "backup").reason in (VaultReason.DAMAGED, VaultReason.WRONG_KEY), position

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_wrong_passphrase_or_key_is_told(folder: Path, tmp_path: Path) -> None:
    vault = committed(folder, [row("anna")])
    vault.backup(tmp_path / "locked", "correct horse battery")
    vault.backup(tmp_path / "plain")

    assert "another passphrase" in (vault.restore(tmp_path / "locked", passphrase="wrong horse battery").problem or "")
    assert "give it" in (vault.restore(tmp_path / "locked").problem or "")
    assert "another key" in (vault.restore(tmp_path / "plain", key=bytes(32)).problem or "")
    assert vault.restore(tmp_path / "none").reason is VaultReason.UNREADABLE


def test_a_backup_replaces_nothing_but_what_it_is_told_to(folder: Path, tmp_path: Path) -> None:
    """Neither a file of its name, nor one that is named as its unfinished self might be."""
    vault = committed(folder, [row("anna")])
    (tmp_path / "backup").write_text("mine")
    (tmp_path / "backup.tmp").write_text("mine too")

    refused = vault.backup(tmp_path / "backup")
    left = (tmp_path / "backup").read_text()
    done = vault.backup(tmp_path / "backup", replace_it=True)

    assert (refused, left) == (f"{tmp_path / 'backup'} is there already; name another file, or replace it with --force", "mine")
    assert (done, vault.restore(tmp_path / "backup").reason) == (None, None)
    assert (tmp_path / "backup.tmp").read_text() == "mine too"
    assert sorted(path.name for path in tmp_path.iterdir() if path != folder) == ["backup", "backup.tmp"]


def test_an_empty_vault_has_nothing_to_back_up(folder: Path, tmp_path: Path) -> None:
    assert Vault(folder, SEAL).backup(tmp_path / "backup") == "nothing to back up: the vault is empty"
    assert not (tmp_path / "backup").exists()


# Faults of the disk


class FailingDisk(QuickDisk):
    """A disk that fails at one of its steps, counted from 1; `dies`: the process ends there, so nothing is tidied up."""

    def __init__(self, step: int, error: int = errno.EIO, *, dies: bool = False) -> None:
        self.left = step
        self._error = error
        self._dies = dies

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0 or (self._dies and self.left < 0):
            raise KeyboardInterrupt if self._dies else OSError(self._error, os.strerror(self._error))

    def write(self, path: Path, parts: object) -> None:
        self._step()
        super().write(path, parts)  # type: ignore[arg-type]

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_commit_that_fails_at_any_step_says_so_and_leaves_one_generation_whole(tmp_path: Path, error: int) -> None:
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        committed(folder, [row("anna")], [row("anna")], [row("anna")])
        disk = FailingDisk(step, error)
        vault = Vault(folder, SEAL, disk)

        result = vault.commit([row("bert")], MODEL, DIMENSION)

        if disk.left > 0:
            assert step > 12
            return
        assert os.strerror(error) in (result.problem or ""), step
        found = subjects(load(folder))
        assert found == (["bert"] if result.generation is not None else found), step
        assert found in (["anna"], ["bert"]), step
        again = vault.commit([row("cleo")], MODEL, DIMENSION)
        assert again.problem is None, step
        assert subjects(load(folder)) == ["cleo"], step


@pytest.mark.parametrize("first", [True, False])
def test_a_process_that_ends_at_any_step_leaves_one_generation_whole(tmp_path: Path, first: bool) -> None:
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        committed(folder, *([] if first else [[row("anna")]]))
        disk = FailingDisk(step, dies=True)
        vault = Vault(folder, SEAL, disk)

        with contextlib.suppress(KeyboardInterrupt):
            vault.commit([row("bert")], MODEL, DIMENSION)

        if disk.left > 0:
            assert step > 12
            return
        loaded = load(folder)
        assert subjects(loaded) in ([None, ["bert"]] if first else [["anna"], ["bert"]]), step
        assert loaded.reason in (None, VaultReason.MISSING), step
        committed(folder, [row("cleo")])
        assert [file.name for file in folder.iterdir() if file.name.endswith(".tmp")] == [], step


def test_a_forgotten_person_stays_forgotten_though_a_step_fails(tmp_path: Path) -> None:
    """Whatever step fails, the result says so, and trying again leaves nothing."""
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        committed(folder, [row("jörg")], [row("anna"), row("jörg")])
        disk = FailingDisk(step)
        vault = Vault(folder, SEAL, disk)

        result = vault.commit([row("anna")], MODEL, DIMENSION, drop_older=True)

        if disk.left > 0:
            assert step > 12
            return
        if result.problem is not None:
            assert vault.commit([row("anna")], MODEL, DIMENSION, drop_older=True).problem is None
        assert search(folder, Sought("jörg"), [SEAL]).found == (), step


def test_a_folder_that_cannot_be_made_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(GalleryError, match="the vault's folder cannot be made"):
        Vault(tmp_path / "file" / "vault", SEAL)


def test_a_vault_that_cannot_be_read_is_told(folder: Path) -> None:
    committed(folder, [row("anna")])
    (folder / "gallery-1.sealed").unlink()
    (folder / "gallery-1.sealed").mkdir()

    assert load(folder).reason is VaultReason.UNREADABLE


def test_killed_at_random_moments_it_holds_what_was_acknowledged_or_one_more(folder: Path) -> None:
    """STREAMD_TEST_KILLS sets how often; the moments are those of the seed."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("committing.py")), str(folder), str(KILLS), "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + KILLS,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["newest"] > KILLS / 2  # it did commit
    assert found | {"newest": 0} == {
        "kills": KILLS,
        "generations_lost": 0,
        "not_committed": 0,
        "refused": 0,
        "newest": 0,
    }


def _flipped(blob: bytes, position: int) -> bytes:
    changed = bytearray(blob)
    changed[position] ^= 0x10
    return bytes(changed)
