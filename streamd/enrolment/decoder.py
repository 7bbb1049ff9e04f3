"""The decoder process: reads one picture after another from descriptors that it is sent, and can do nothing else.

A program of its own that knows nothing of streamd, so that it starts in a fifth of a second and has 20 MB: images.Decoder
runs it by its path. What a hostile file can break is this process. It opens no file, no port and no program, has bounded
memory, is the first to go when memory runs out, and dies with its parent.

    parent -> child   one byte, the kind of picture, and the file's descriptor
    child  -> parent  HEADER: a refusal (empty for a picture), height, width, SHA-256 of the file; then the pixels, RGB
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import io
import os
import resource
import signal
import socket
import struct
import sys
from typing import Final

import pi_heif
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

HEADER: Final = struct.Struct("<16sII32s")
READY: Final = b"+"
# The hungriest picture of 24 megapixels, a 16-bit PNG with transparency, needed 462 MB.
_ADDRESS_SPACE: Final = 640_000_000
_CPU_SECONDS: Final = 20
_NICENESS: Final = 10
# A progressive JPEG has ten passes or so; thousands of empty ones cost minutes.
_JPEG_SCANS: Final = 64
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What lies behind a transparent picture: the grey that photo.py pads with. White or black would count as over-exposed or
# dark where they reach into the crop.
_BACKDROP: Final = (114, 114, 114, 255)
_READERS: Final[dict[bytes, type[ImageFile.ImageFile]]] = {
    b"J": JpegImagePlugin.JpegImageFile,
    b"P": PngImagePlugin.PngImageFile,
    b"W": WebPImagePlugin.WebPImageFile,
    b"B": BmpImagePlugin.BmpImageFile,
}


class RefusedError(Exception):
    """The picture is refused: the word says why (a value of images.PhotoReason)."""


def read_picture(data: bytes, kind: bytes, max_pixels: int, max_side: int) -> Image.Image:
    """The first frame, mode RGB, upright, its long side at most `max_side`.

    kind: J(PEG), P(NG), W(ebP), B(MP) or H(EIF). Raises RefusedError, or whatever the library raises for a damaged file.
    """
    if kind == b"J" and data.count(b"\xff\xda") > _JPEG_SCANS:
        raise RefusedError("damaged")
    if kind == b"W":
        _check(_webp_size(data), max_pixels)
    if kind == b"H":
        # Rotation is part of decoding there; the EXIF orientation beside it has been carried out already.
        heif = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
        _check(heif.size, max_pixels)
        image, orientation = heif.to_pillow(), 1
        _check(image.size, max_pixels)
    else:
        image = _READERS[kind](io.BytesIO(data))
        _check(image.size, max_pixels)
        image.draft("", _reduced(image.size, max_side))  # JPEG: decoded at a half, a quarter or an eighth
        orientation = _orientation(image)
        image.load()
    image = _rgb(image)
    if max(image.size) > max_side:
        image = image.resize(_reduced(image.size, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _check(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise RefusedError("too_large")


def _reduced(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The size (width, height) with its long side at `max_side`, or as it is when it is smaller."""
    share = min(1.0, max_side / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk, before the library reserves memory for them (RFC 9649, sections 2.5 to 2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise RefusedError("truncated")
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none that can be read: damaged EXIF does not make a photo worse."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, struct.error):
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bit by its upper byte, transparency over grey."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256) + 0).convert("L").convert("RGB")
    if image.has_transparency_data or image.mode == "RGBa":
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _BACKDROP), image).convert("RGB")
    return image.convert("RGB")


def _read(descriptor: int, max_bytes: int) -> bytes:
    """The whole file, by positions: the descriptor's own place is shared with the parent."""
    parts: list[bytes] = []
    place = 0
    while part := os.pread(descriptor, 1 << 22, place):
        parts.append(part)
        place += len(part)
        if place > max_bytes:
            raise RefusedError("too_many_bytes")
    return b"".join(parts)


def ends_early(data: bytes, kind: bytes) -> bool:
    """Whether a file that could not be decoded lacks its end, as its own container counts; False where that says nothing."""
    if kind == b"J":
        return b"\xff\xd9" not in data[-64:]
    if kind == b"P":
        return b"IEND" not in data[-64:]
    if kind == b"W":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if kind == b"B":
        return len(data) < int.from_bytes(data[2:6], "little")
    place = 0
    while place + 8 <= len(data):  # the boxes of ISO/IEC 14496-12
        size, start = int.from_bytes(data[place : place + 4], "big"), place
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if size == 0:
            return False
        if size < 8:
            return False
        place = start + size
    return place != len(data)


def confine(parent: int) -> None:
    """Give up everything that decoding does not need. Ends the process if its parent is gone already."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # no /proc in some containers
        file.write("1000")
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_pdeathsig, pr_set_dumpable, pr_set_no_new_privs = 1, 4, 38
    libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    libc.prctl(pr_set_no_new_privs, 1, 0, 0, 0)
    libc.prctl(pr_set_dumpable, 0, 0, 0, 0)
    # When the service stops, the parent says when this process ends.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # the service's filter of system calls forbids it
        os.nice(_NICENESS)
    _shut_files_and_ports(libc)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    space = _ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(_ADDRESS_SPACE, hard)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))


def _shut_files_and_ports(libc: ctypes.CDLL) -> None:
    """No path can be opened, made or run, and no TCP port used, from here on (Landlock; kernels before 5.13 have none)."""
    create_ruleset, restrict_self = 444, 446  # the same on every architecture
    version = libc.syscall(create_ruleset, None, 0, 1)
    if version < 1:
        if ctypes.get_errno() == errno.EPERM:
            sys.stderr.write("a filter of system calls forbids Landlock: photos are decoded with files and ports in reach\n")
        return
    file_rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    rights = struct.pack("<QQQ", (1 << file_rights) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(create_ruleset, rights, size, 0)
    if ruleset >= 0:
        libc.syscall(restrict_self, ruleset, 0)
        os.close(ruleset)


def _answer(channel: socket.socket, descriptor: int, kind: bytes, limits: tuple[int, int, int]) -> None:
    max_bytes, max_pixels, max_side = limits
    data = b""
    try:
        data = _read(descriptor, max_bytes)
        image = read_picture(data, kind, max_pixels, max_side)
        pixels = image.tobytes()
    except RefusedError as refusal:
        word = str(refusal)
    except MemoryError:
        word = "too_large"
    except Exception:  # noqa: BLE001  # the outermost loop: a library may raise anything over a damaged file
        word = "truncated" if ends_early(data, kind) else "damaged"
    else:
        channel.sendall(HEADER.pack(b"", image.height, image.width, hashlib.sha256(data).digest()))
        channel.sendall(pixels)
        return
    channel.sendall(HEADER.pack(word.encode(), 0, 0, bytes(32)))


def main(descriptor: int, parent: int, *limits: int) -> None:
    """Serve on the socket with that descriptor until the parent closes it; limits: bytes, pixels, long side."""
    max_bytes, max_pixels, max_side = limits
    channel = socket.socket(fileno=descriptor)
    Image.MAX_IMAGE_PIXELS = None  # ours is checked before anything is decoded
    pi_heif.options.DECODE_THREADS = 1
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    PngImagePlugin.MAX_TEXT_MEMORY = 4_000_000  # unpacked, of all comments together: nobody reads them here
    TiffImagePlugin.READ_LIBTIFF = False  # imported for EXIF alone, now: later no module can be loaded
    confine(parent)
    channel.sendall(READY)
    while True:
        kind, received, _, _ = socket.recv_fds(channel, 1, 1)
        if not kind:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(
            resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + _CPU_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1])
        )
        try:
            _answer(channel, received[0], kind, (max_bytes, max_pixels, max_side))
        finally:
            os.close(received[0])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
