"""Data at rest, sealed: AES-256-GCM (NIST SP 800-38D) under one key, each blob bound to what it is for.

    header, 512 bytes    "streamd", version 1 byte · key id 8 · nonce 12 · label 484 (JSON, padded with spaces)
    body                 the ciphertext and its tag of 16 bytes

The whole header is associated data. It has fixed places, so that nothing of a file is parsed before the tag has been found
true: not the label, not one length. The nonce is random; SP 800-38D allows 2^32 of them under one key.

The key lies on the same disk as what it seals unless systemd gives it: the file beside the state protects copies of the vault
alone (a backup, a synchronised folder), a credential that systemd has sealed to the machine protects the disk too.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from streamd.enrolment.disk import Bytes, Disk, replace_whole
from streamd.errors import GalleryError

KEY_BYTES: Final = 32
CREDENTIAL: Final = "streamd-vault-key"
"""The name of the systemd credential that holds the key."""

KEY_FILE: Final = "vault.key"
"""The key's file in the state folder, where nobody gives another."""

MAGIC: Final = b"streamd\x01"
"""What every sealed file begins with; its last byte is the version of the format."""

HEADER: Final = 512
"""Bytes of a sealed file before what is sealed."""

_CHUNK: Final = 1 << 20  # bytes at once, some milliseconds: the library lets no other thread run meanwhile
_TAG: Final = 16
_KEY_ID: Final = slice(8, 16)
_NONCE: Final = slice(16, 28)
_LABEL: Final = slice(28, HEADER)

# About 0.4 s and 128 MB for one guess on this class of machine; OWASP's first recommendation for scrypt. They belong to the
# format and are not read from a file, which could otherwise ask for any amount of memory before anything is verified.
_SCRYPT: Final = {"n": 2**17, "r": 8, "p": 1}
_PASSPHRASE: Final = 12


@dataclass(frozen=True, slots=True)
class Label:
    """What a sealed blob is: its purpose and the version of what is inside, and for templates their model, dimension and
    generation. Readable without the key, trusted only after unsealing.
    """

    purpose: str
    version: int
    model: str = ""
    dimension: int = 0
    generation: int = 0


class SealFault(StrEnum):
    """Why a blob cannot be unsealed."""

    DAMAGED = "damaged"
    WRONG_KEY = "wrong_key"
    OTHER_PURPOSE = "other_purpose"


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A blob that is whole and was sealed under this key: its label and what was in it, read-only."""

    label: Label
    data: memoryview


class Seal:
    """Seals and unseals under one key of 32 bytes; holds nothing else, so any thread may use it."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES256(key)
        # Of a random key of 256 bits a digest tells nothing; it tells a wrong key from a damaged file.
        self._key_id = hashlib.sha256(b"streamd key id\0" + key).digest()[:8]

    def seal(self, label: Label, *parts: Bytes) -> tuple[bytes, memoryview]:
        """The header and the body of the sealed blob, to be written one after the other; `parts` are sealed as one.

        Raises ValueError for a label of more than 484 bytes.
        """
        text = json.dumps(asdict(label), separators=(",", ":")).encode()
        room = _LABEL.stop - _LABEL.start
        if len(text) > room:
            raise ValueError(f"expected a label of at most {room} bytes, found {len(text)}")
        nonce = os.urandom(12)
        header = MAGIC + self._key_id + nonce + text.ljust(room)
        encryptor = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(header)
        body = _room(sum(memoryview(part).nbytes for part in parts) + _TAG)
        end = _through(encryptor.update_into, parts, body)
        encryptor.finalize()
        body[end:] = encryptor.tag
        return header, body

    def unseal(self, blob: Bytes, purpose: str | None = None) -> Unsealed | SealFault:
        """What is in a blob of that purpose (None: of any), or why it cannot be had."""
        view = memoryview(blob)
        header = bytes(view[:HEADER])
        if len(view) < HEADER + _TAG or not header.startswith(MAGIC):
            return SealFault.DAMAGED
        decryptor = Cipher(self._algorithm, modes.GCM(header[_NONCE], bytes(view[-_TAG:]))).decryptor()
        decryptor.authenticate_additional_data(header)
        data = _room(len(view) - HEADER)
        end = _through(decryptor.update_into, [view[HEADER:-_TAG]], data)
        try:
            decryptor.finalize()
        except InvalidTag:
            return SealFault.DAMAGED if self.made(header) else SealFault.WRONG_KEY
        label = Label(**json.loads(header[_LABEL]))
        return Unsealed(label, data[:end].toreadonly()) if purpose in (None, label.purpose) else SealFault.OTHER_PURPOSE

    def made(self, header: bytes) -> bool:
        """Whether a blob says that it was sealed under this key; only a hint, as nothing is verified."""
        return header[_KEY_ID] == self._key_id


def label_of(blob: Bytes) -> Label | None:
    """What a sealed blob says that it is, by its first 512 bytes: a hint, as nothing is verified. None: it says nothing."""
    header = bytes(memoryview(blob)[:HEADER])
    try:
        return Label(**json.loads(header[_LABEL])) if header.startswith(MAGIC) else None
    except (ValueError, TypeError):
        return None


def _room(size: int) -> memoryview:
    """So many bytes to be written to; not cleared at once, which would hold up other threads."""
    return np.empty(size, np.uint8).data


def _through(update_into: Callable[[memoryview, memoryview], int], parts: Iterable[Bytes], out: memoryview) -> int:
    """Send parts through a cipher into `out`, which has room for one block more; returns where they end."""
    end = 0
    for part in parts:
        if not memoryview(part).nbytes:
            continue  # has no bytes to cast to
        view = memoryview(part).cast("B")
        for start in range(0, len(view), _CHUNK):
            end += update_into(view[start : start + _CHUNK], out[end:])
    return end


def vault_key(
    state: Path,
    environ: Mapping[str, str],
    configured: Path | None = None,
    disk: Disk | None = None,
    *,
    make: bool = True,
) -> bytes:
    """The key, 32 bytes: of the configured file, of the systemd credential, or else of the file in the state folder, which
    is made at the first start. Not `make`: where there is none yet, a key that nothing was sealed with, and no file.

    Raises GalleryError where it cannot be had, has another length, or others may read it.
    """
    if configured is not None:
        return _read_key(configured, others=0o077)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / CREDENTIAL).exists():
        # systemd lets the service read it by an access list, which shows as the group's bits; its folder is the service's own.
        return _read_key(Path(credentials) / CREDENTIAL, others=0o007)
    path = state / KEY_FILE
    if not path.exists():
        if not make:
            return os.urandom(KEY_BYTES)
        try:
            replace_whole(disk or Disk(), path, [os.urandom(KEY_BYTES)])
        except OSError as error:
            raise GalleryError(
                f"{path}: the key of the vault cannot be made ({error.strerror}); make room or mend the permissions of {state}"
            ) from None
    return _read_key(path, others=0o077)


def passphrase_key(passphrase: str, salt: bytes) -> bytes:
    """The key that a passphrase stands for (scrypt, RFC 7914). Raises GalleryError for one of fewer than 12 characters."""
    if len(passphrase) < _PASSPHRASE:
        raise GalleryError(
            f"the passphrase has {len(passphrase)} characters; expected at least {_PASSPHRASE}, such as five words"
        )
    return Scrypt(salt=salt, length=KEY_BYTES, **_SCRYPT).derive(passphrase.encode())


def read_key(path: Path) -> bytes:
    """The key in a file, 32 bytes. Raises GalleryError where it cannot be had, or others may read it."""
    return _read_key(path, others=0o077)


def _read_key(path: Path, others: int) -> bytes:
    made = f"head -c {KEY_BYTES} /dev/urandom"
    try:
        # Not to wait for ever where it is a FIFO.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_BYTES + 1) if stat.S_ISREG(mode) else b""
    except PermissionError as error:
        raise GalleryError(
            f"{path}: the key of the vault cannot be read ({error.strerror}); let the user as whom "
            f"streamd runs own it, such as chown streamd {path}"
        ) from None
    except OSError as error:
        raise GalleryError(
            f"{path}: the key of the vault cannot be read ({error.strerror}); "
            f"expected a file of {KEY_BYTES} random bytes, such as {made} gives"
        ) from None
    if mode & others:
        raise GalleryError(f"{path}: others may read the key of the vault (mode {mode & 0o777:04o}); run chmod 600 {path}")
    if len(key) != KEY_BYTES:
        found = "more" if len(key) > KEY_BYTES else f"{len(key)}"
        raise GalleryError(
            f"{path}: the key of the vault has {found} bytes, expected {KEY_BYTES} random ones; put the right key back, "
            f"or a new one ({made}): photos are then enrolled anew, and what was kept without photos is set aside"
        )
    return key
