"""Photos from disk: opened without being led astray, decoded in a process that may crash, or refused with the reason."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Final

import numpy as np

from streamd.values import UInt8

log = logging.getLogger(__name__)

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".heic", ".heif", ".hif"})
MAX_BYTES: Final = 40_000_000
# 24 megapixels as makers round them: an iPhone's 5712 x 4284 are 24.47 million.
MAX_PIXELS: Final = 24_500_000
# The smallest face that the detector finds in a large photo still has 50 pixels between the eyes then. Portraits laid into
# frames 3000 to 6000 wide: the same faces found at full size and reduced, templates at 0.991 or more by cosine, which is what
# the larger frame alone does to them (0.992).
MAX_SIDE: Final = 2560

_HEAD_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1 << 18
# The child's answer, as decoder.py writes it: refusal, height, width, SHA-256.
_HEADER: Final = struct.Struct("<16sII32s")
_READY: Final = b"+"
_DECODER: Final = Path(__file__).with_name("decoder.py")
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class PhotoReason(StrEnum):
    """Why a photo is refused before or besides its quality (values.QualityReason)."""

    # The file
    OUTSIDE = "outside"
    LINK = "link"
    NOT_A_FILE = "not_a_file"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    CHANGED = "changed"
    # Its kind
    NOT_A_PICTURE = "not_a_picture"
    GIF = "gif"
    AVIF = "avif"
    OTHER_PICTURE = "other_picture"
    DRAWING = "drawing"
    VIDEO = "video"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    TEXT = "text"
    # The picture
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMED_OUT = "decoder_timed_out"
    DECODER_UNAVAILABLE = "decoder_unavailable"
    # What it shows
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    COVERED = "covered"
    NO_TEMPLATE = "no_template"
    # Whose it is
    NAME_TAKEN = "name_taken"
    NO_CONSENT = "no_consent"
    NO_PERSON = "no_person"
    LOOKED_LIKE_FORGOTTEN = "looked_like_forgotten"


PASSING: Final = frozenset(
    {
        PhotoReason.CHANGED,
        PhotoReason.UNREADABLE,
        PhotoReason.DECODER_CRASHED,
        PhotoReason.DECODER_TIMED_OUT,
        PhotoReason.DECODER_UNAVAILABLE,
        PhotoReason.NO_TEMPLATE,
    }
)
"""Reasons that say something about the moment, perhaps, and not about the photo: never kept over a restart."""

_FROM_DECODER: Final = {
    reason.encode(): reason
    for reason in (PhotoReason.TOO_MANY_BYTES, PhotoReason.TOO_LARGE, PhotoReason.TRUNCATED, PhotoReason.DAMAGED)
}


class OpenedPhoto:
    """A regular file below the enrolment folder, open for reading; its bytes never come into this process as a whole.

    kind: one byte for decoder.py (J, P, W, B, H), or the reason why it is no picture that is read; by content, never by name.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._opened = _identity(os.fstat(descriptor))
        self.kind: bytes | PhotoReason = kind_of(os.pread(descriptor, _HEAD_BYTES, 0))
        self._digest: str | None = None

    def __enter__(self) -> OpenedPhoto:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal; read once, in pieces. Raises OSError."""
        if self._digest is None:
            sha256, buffer, place = hashlib.sha256(), bytearray(_CHUNK_BYTES), 0
            while read := os.preadv(self.descriptor, [buffer], place):
                sha256.update(memoryview(buffer)[:read])
                place += read
                if place > MAX_BYTES:
                    break  # it grows while it is read: `changed` says so
            self._digest = sha256.hexdigest()
        return self._digest

    @property
    def changed(self) -> bool:
        """Whether the file was written to since it was opened."""
        return _identity(os.fstat(self.descriptor)) != self._opened


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    # The change time moves with renaming too, which harms nothing: such a photo is looked at again.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def open_photo(folder: Path, relative: PurePath | str) -> OpenedPhoto | PhotoReason:
    """A file below the folder, or why it is none; nothing here blocks and nothing but a regular file is opened.

    No symbolic link below the folder is followed, not even one that stays inside: it could be turned while it is looked at.
    The folder itself may be one, since that is the owner's own setting.
    """
    name = os.fspath(relative)
    parts = PurePath(name).parts
    if not parts or os.path.isabs(name) or ".." in parts or "\0" in name:
        return PhotoReason.OUTSIDE
    try:
        with contextlib.ExitStack() as opened:
            where = _hold(opened, os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            status = os.fstat(where)
            for part in parts:
                # O_PATH touches neither a device nor a FIFO; with O_NOFOLLOW a link is held itself.
                where = _hold(opened, os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where))
                status = os.fstat(where)
                if stat.S_ISLNK(status.st_mode):
                    return PhotoReason.LINK
            if not stat.S_ISREG(status.st_mode):
                return PhotoReason.NOT_A_FILE
            if status.st_size == 0:
                return PhotoReason.EMPTY
            if status.st_size > MAX_BYTES:
                return PhotoReason.TOO_MANY_BYTES
            # The very file that is held, whatever its name stands for by now.
            descriptor = os.open(f"/proc/self/fd/{where}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return OpenedPhoto(descriptor)
        except OSError:
            os.close(descriptor)
            raise
    except (OSError, ValueError):  # ValueError: a name that the file system's encoding cannot hold
        return PhotoReason.UNREADABLE


def _hold(opened: contextlib.ExitStack, descriptor: int) -> int:
    opened.callback(os.close, descriptor)
    return descriptor


_MAGIC: Final[Mapping[bytes, bytes | PhotoReason]] = {
    b"\xff\xd8\xff": b"J",
    b"\x89PNG\r\n\x1a\n": b"P",
    b"GIF8": PhotoReason.GIF,
    b"II*\0": PhotoReason.OTHER_PICTURE,  # TIFF, and most cameras' raw files
    b"MM\0*": PhotoReason.OTHER_PICTURE,
    b"II+\0": PhotoReason.OTHER_PICTURE,  # BigTIFF
    b"MM\0+": PhotoReason.OTHER_PICTURE,
    b"IIRO": PhotoReason.OTHER_PICTURE,  # Olympus
    b"IIU\0": PhotoReason.OTHER_PICTURE,  # Panasonic
    b"FUJIFILMCCD-RAW": PhotoReason.OTHER_PICTURE,
    b"8BPS": PhotoReason.OTHER_PICTURE,  # Photoshop
    b"\0\0\1\0": PhotoReason.OTHER_PICTURE,  # Windows icon
    b"\xff\x0a": PhotoReason.OTHER_PICTURE,  # JPEG XL
    b"\0\0\0\x0cJXL ": PhotoReason.OTHER_PICTURE,
    b"\0\0\0\x0cjP  ": PhotoReason.OTHER_PICTURE,  # JPEG 2000
    b"\xff\x4f\xff\x51": PhotoReason.OTHER_PICTURE,
    b"%PDF": PhotoReason.DOCUMENT,
    b"%!PS": PhotoReason.DOCUMENT,
    b"\xd0\xcf\x11\xe0": PhotoReason.DOCUMENT,  # Office before 2007
    b"PK\3\4": PhotoReason.ARCHIVE,
    b"PK\5\6": PhotoReason.ARCHIVE,
    b"\x1f\x8b": PhotoReason.ARCHIVE,
    b"BZh": PhotoReason.ARCHIVE,
    b"\xfd7zXZ\0": PhotoReason.ARCHIVE,
    b"7z\xbc\xaf": PhotoReason.ARCHIVE,
    b"Rar!": PhotoReason.ARCHIVE,
    b"\x28\xb5\x2f\xfd": PhotoReason.ARCHIVE,
    b"\x1aE\xdf\xa3": PhotoReason.VIDEO,  # Matroska, WebM
    b"\0\0\1\xba": PhotoReason.VIDEO,
    b"\0\0\1\xb3": PhotoReason.VIDEO,
    b"OggS": PhotoReason.VIDEO,
    b"FLV\1": PhotoReason.VIDEO,
}
_HEVC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})


def kind_of(head: bytes) -> bytes | PhotoReason:
    """What a file is, by its first bytes: one byte for decoder.py, or the reason why it is not read."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            return b"W"
        return PhotoReason.VIDEO if head[8:12] == b"AVI " else PhotoReason.NOT_A_PICTURE
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return b"B"
    if head[4:8] == b"ftyp":
        return _kind_of_boxes(head)
    return _kind_of_text(head)


def _kind_of_boxes(head: bytes) -> bytes | PhotoReason:
    """HEIF, AVIF, a raw file or a video: all are ISO/IEC 14496-12 and name their brands."""
    listed = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    brands = {listed[place : place + 4] for place in range(0, len(listed), 4) if place != 4}
    if brands & _HEVC_BRANDS:
        return b"H"
    if brands & {b"avif", b"avis"}:
        return PhotoReason.AVIF
    if b"crx " in brands:  # Canon
        return PhotoReason.OTHER_PICTURE
    return b"H" if brands & {b"mif1", b"msf1"} else PhotoReason.VIDEO


def _kind_of_text(head: bytes) -> PhotoReason:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"<svg" in text and text.startswith(b"<"):
        return PhotoReason.DRAWING
    try:
        # The last character may be cut by the end of the head.
        plain = text.decode("utf-8", "strict" if len(head) < _HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return PhotoReason.NOT_A_PICTURE
    printable = all(letter.isprintable() or letter in "\r\n\t\f" for letter in plain[:512])
    return PhotoReason.TEXT if plain and printable and b"\0" not in head else PhotoReason.NOT_A_PICTURE


class Decoder:
    """One decoder process, started with the first photo and used for all; one owner thread, whose end ends it too.

    seconds: for one picture, after which the process is replaced. start_seconds: until it is ready. command: what to run,
    for tests of what a decoder can do wrong.
    """

    def __init__(
        self,
        *,
        seconds: float = 15.0,
        start_seconds: float = 30.0,
        command: Sequence[str] = (sys.executable, "-P", str(_DECODER)),
    ) -> None:
        self._seconds = seconds
        self._start_seconds = start_seconds
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ready = False
        self._used = time.monotonic()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process, or None while there is none."""
        return None if self._process is None else self._process.pid

    def warm(self) -> None:
        """Start the process, unless it runs; returns at once, while it loads its libraries. Raises OSError."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*self._command, *map(str, (theirs.fileno(), os.getpid(), MAX_BYTES, MAX_PIXELS, MAX_SIDE))],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    # No credentials; and memory goes back to the system after every picture.
                    env={
                        **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                        "MALLOC_ARENA_MAX": "1",
                        "MALLOC_MMAP_THRESHOLD_": "1000000",
                    },
                )
            except OSError:
                ours.close()
                raise
        self._channel = ours

    def close(self) -> None:
        """End the process, at once; the next photo starts another."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._channel = None
        self._ready = False

    def close_if_idle(self, seconds: float) -> None:
        """End the process if no photo came for that long."""
        if self._process is not None and time.monotonic() - self._used >= seconds:
            self.close()

    def decode(self, photo: OpenedPhoto) -> UInt8 | PhotoReason:
        """The picture, uint8 (H, W, 3) RGB, upright, its long side at most MAX_SIDE; or why there is none.

        It is made from the very bytes that `photo.digest` stands for: if those were written to meanwhile, the reason says so.
        """
        if isinstance(photo.kind, PhotoReason):
            return photo.kind
        try:
            digest = photo.digest
            answer, decoded = self._ask(photo.descriptor, photo.kind)
            if photo.changed or (decoded is not None and decoded != digest):
                return PhotoReason.CHANGED
        except OSError:
            return PhotoReason.UNREADABLE
        return answer

    def _ask(self, descriptor: int, kind: bytes) -> tuple[UInt8 | PhotoReason, str | None]:
        """The child's answer, with the digest of the bytes that a picture was made from."""
        try:
            channel = self._channel_when_ready()
        except (OSError, EOFError) as error:
            log.error("the picture decoder does not start (%s); try it by hand: %s", error, " ".join(self._command))
            self.close()
            return PhotoReason.DECODER_UNAVAILABLE, None
        until = time.monotonic() + self._seconds
        try:
            channel.settimeout(self._seconds)
            socket.send_fds(channel, [kind], [descriptor])
            header = bytearray(_HEADER.size)
            _receive(channel, memoryview(header), until)
            word, height, width, digest = _HEADER.unpack(header)
            if word.strip(b"\0"):
                return _FROM_DECODER[word.strip(b"\0")], None
            if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
                raise LookupError(f"a picture of {width}x{height}")
            image = np.empty((height, width, 3), np.uint8)
            _receive(channel, memoryview(image.data).cast("B"), until)
        except TimeoutError:
            self.close()
            return PhotoReason.DECODER_TIMED_OUT, None
        except (OSError, EOFError, LookupError) as error:
            log.warning("the picture decoder failed (%s); it is started anew", error)
            self.close()
            return PhotoReason.DECODER_CRASHED, None
        finally:
            self._used = time.monotonic()
        return image, digest.hex()

    def _channel_when_ready(self) -> socket.socket:
        self.warm()
        assert self._channel is not None
        if not self._ready:
            _receive(self._channel, memoryview(bytearray(_READY)), time.monotonic() + self._start_seconds)
            self._ready = True
        return self._channel


def _receive(channel: socket.socket, rest: memoryview, until: float) -> None:
    """Fill the buffer. Raises TimeoutError at the deadline (monotonic seconds) and EOFError when the other end is gone."""
    while rest:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(left)
        read = channel.recv_into(rest)
        if read == 0:
            raise EOFError("it ended")
        rest = rest[read:]
