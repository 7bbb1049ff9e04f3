"""The seal and its key: what is sealed opens whole or not at all, and a key that cannot be trusted is told in one sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from streamd.enrolment.seal import CREDENTIAL, KEY_FILE, Label, Seal, SealFault, Unsealed, passphrase_key, vault_key
from streamd.errors import GalleryError

KEY = bytes(range(32))
LABEL = Label("unknown visitors", 1, "model", 4, 7)


def sealed(data: bytes = b"a face", label: Label = LABEL) -> bytes:
    return b"".join(Seal(KEY).seal(label, data))


def test_what_was_sealed_comes_back_with_its_label() -> None:
    assert Seal(KEY).unseal(sealed(), "unknown visitors") == Unsealed(LABEL, b"a face")


def test_nothing_of_it_can_be_read_in_the_file() -> None:
    assert b"face" not in sealed()


def test_the_same_data_is_never_sealed_to_the_same_bytes() -> None:
    assert sealed() != sealed()


def test_a_byte_changed_anywhere_is_noticed() -> None:
    blob = sealed()

    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        assert isinstance(Seal(KEY).unseal(changed), SealFault), position


def test_a_blob_cut_short_anywhere_is_noticed() -> None:
    blob = sealed()

    assert {Seal(KEY).unseal(blob[:length]) for length in range(len(blob))} == {SealFault.DAMAGED}


def test_a_wrong_key_is_told_from_damage() -> None:
    assert Seal(bytes(32)).unseal(sealed()) is SealFault.WRONG_KEY


def test_a_blob_does_not_pass_for_what_it_was_not_sealed_for() -> None:
    assert Seal(KEY).unseal(sealed(), "consent") is SealFault.OTHER_PURPOSE


def test_a_label_that_has_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="label of at most 484 bytes"):
        Seal(KEY).seal(Label("p" * 500, 1), b"")


def test_the_first_start_makes_a_key_that_stays_and_that_nobody_else_can_read(tmp_path: Path) -> None:
    key = vault_key(tmp_path, {})

    assert vault_key(tmp_path, {}) == key
    assert len(key) == 32
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [KEY_FILE]


def test_where_nothing_is_to_be_written_no_key_is_made_and_one_that_is_there_is_read(tmp_path: Path) -> None:
    assert len(vault_key(tmp_path / "state", {}, make=False)) == 32
    assert not (tmp_path / "state").exists()

    key = vault_key(tmp_path, {})

    assert vault_key(tmp_path, {}, make=False) == key


def test_the_key_of_systemd_goes_before_the_file(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_bytes(KEY)
    (credentials / CREDENTIAL).chmod(0o440)  # as an access list for the service shows

    assert vault_key(tmp_path, {"CREDENTIALS_DIRECTORY": str(credentials)}) == KEY
    assert not (tmp_path / KEY_FILE).exists()


def test_credentials_without_a_key_leave_it_to_the_file(tmp_path: Path) -> None:
    assert vault_key(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == (tmp_path / KEY_FILE).read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    vault_key(tmp_path, {})
    (tmp_path / KEY_FILE).chmod(mode)

    with pytest.raises(GalleryError, match=f"others may read the key of the vault \\(mode 0{mode:o}\\); run chmod 600"):
        vault_key(tmp_path, {})


@pytest.mark.parametrize(("length", "found"), [(0, "0"), (31, "31"), (33, "more"), (44, "more")])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int, found: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(length))
    key.chmod(0o600)

    with pytest.raises(GalleryError, match=f"has {found} bytes, expected 32"):
        vault_key(tmp_path, {}, key)


def test_a_configured_key_that_is_missing_is_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="cannot be read \\(No such file or directory\\)"):
        vault_key(tmp_path, {}, tmp_path / "key")

    assert os.listdir(tmp_path) == []


def test_a_fifo_in_the_place_of_the_key_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)

    with pytest.raises(GalleryError, match="has 0 bytes"):
        vault_key(tmp_path, {}, tmp_path / "key")


def test_a_passphrase_stands_for_a_key_by_its_salt() -> None:
    one = passphrase_key("correct horse battery", b"salt of 16 bytes")

    assert len(one) == 32
    assert passphrase_key("correct horse battery", b"another 16 bytes") != one


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(GalleryError, match="has 6 characters; expected at least 12"):
        passphrase_key("secret", bytes(16))
