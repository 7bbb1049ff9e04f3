"""Files that somebody may drop into the enrolment folder, by mistake or on purpose, each with what may come of it.

`python -m tests.enrolment.hostile` makes them all, puts each through the real decoder, and prints what was said, how long it
took and how much memory it cost this process.

The HEIC pictures in seeds/ were made with pillow-heif 1.8.1, since pi-heif cannot write: 32 x 48 pixels, each quarter of
its own colour (QUARTERS); turned.heic carries both a rotation and a mirror axis, which `turned_heic` sets.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import socket
import stat
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from streamd.enrolment.images import MAX_BYTES, Decoder, PhotoReason, open_photo

SEEDS = Path(__file__).with_name("seeds")
PICTURE = "picture"
SIZE = (48, 32)  # height, width
QUARTERS = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 240))
"""The colours of the seeds: upper left, upper right, lower left, lower right."""

R = PhotoReason
BROKEN = frozenset({R.TRUNCATED, R.DAMAGED})
KINDS = frozenset({R.NOT_A_PICTURE, R.GIF, R.AVIF, R.OTHER_PICTURE, R.DRAWING, R.VIDEO, R.DOCUMENT, R.ARCHIVE, R.TEXT})
ANYTHING = frozenset({PICTURE, R.TOO_LARGE, *BROKEN, *KINDS})
"""Whatever a damaged file may come to; never a decoder that crashes or hangs."""


@dataclass(frozen=True)
class Case:
    """A file below the folder and what may be said of it: PICTURE or reasons."""

    relative: str
    expected: frozenset[str]


def seed() -> Image.Image:
    """The picture behind most files, RGB: four quarters of one colour each."""
    height, width = SIZE
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = QUARTERS[0], QUARTERS[1]
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = QUARTERS[2], QUARTERS[3]
    return Image.fromarray(pixels)


def photo(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture (RGB) with detail everywhere, so that its file has bytes to damage."""
    low = np.random.default_rng(14).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file."""
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF with an orientation and nothing else."""
    return b"Exif\0\0" + b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(jpeg: bytes, body: bytes) -> bytes:
    """A JPEG with that APP1 segment."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def heic(name: str = "plain") -> bytes:
    """One of the seeds."""
    return (SEEDS / f"{name}.heic").read_bytes()


def turned_heic(quarters: int, axis: int) -> bytes:
    """The seed with a rotation (quarters counter-clockwise) and then a mirror axis (0: top to bottom, 1: left to right)."""
    data = bytearray(heic("turned"))
    data[data.index(b"irot") + 4], data[data.index(b"imir") + 4] = quarters, axis
    return bytes(data)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, data: bytes = b"", *, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG whose header says so, whatever its data are."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zero bytes, packed by zlib; never whole in memory."""
    packer, block = zlib.compressobj(6), bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])


def _bombs() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    large = frozenset({R.TOO_LARGE})
    # Whole and true: 900 million pixels in 110 kB.
    yield "gigapixel.png", png(30_000, 30_000, zeros(30_000 * 3_751), depth=1, colour=0), large
    for side in (5_000, 16_384, 65_535, 100_000, 2**31 - 1):
        yield f"says-{side}.png", png(side, side), large
    yield "says-zero.png", png(0, 0), BROKEN
    yield "one-row.png", png(2**31 - 1, 1), large
    yield "one-column.png", png(1, 2**31 - 1), large
    yield "long-row.png", png(24_000_000, 1, zeros(72_000_001)), frozenset({PICTURE, *BROKEN, R.TOO_LARGE})
    yield "more-data-than-said.png", png(32, 32, zeros(64 << 20)), frozenset({PICTURE, *BROKEN})
    yield "less-data-than-said.png", png(4_000, 4_000, zeros(1_000)), BROKEN
    for name, body in {
        "iCCP": b"p\0\0" + zeros(64 << 20),
        "zTXt": b"k\0\0" + zeros(64 << 20),
        "iTXt": b"k\0\1\0\0\0" + zeros(64 << 20),
        "eXIf": bytes(5_000_000),
        "tEXt": b"k\0" + b"x" * 5_000_000,
    }.items():
        plain = encoded(seed(), "PNG")
        yield f"{name}.png", plain[:33] + chunk(name.encode(), body) + plain[33:], frozenset({PICTURE, *BROKEN})
    half = zeros(1 << 19)
    texts = b"".join(chunk(b"zTXt", b"k%d\0\0" % number + half) for number in range(300))
    yield "many-texts.png", encoded(seed(), "PNG")[:33] + texts + encoded(seed(), "PNG")[33:], frozenset({PICTURE, *BROKEN})
    frames = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    yield "frames.png", encoded(seed(), "PNG")[:33] + frames + encoded(seed(), "PNG")[33:], frozenset({PICTURE, *BROKEN})

    jpeg = encoded(photo(), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((65_535, 65_535), (30_000, 30_000), (5_000, 5_000)):
        yield f"says-{height}.jpg", jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :], large
    yield "says-zero.jpg", jpeg[:at] + bytes(4) + jpeg[at + 4 :], BROKEN
    yield "lies-within-bounds.jpg", jpeg[:at] + struct.pack(">HH", 4_000, 6_000) + jpeg[at + 4 :], frozenset({PICTURE, *BROKEN})
    progressive = encoded(photo((4_000, 3_000)), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    yield "scans.jpg", progressive[:last] + progressive[last:-2][:200] * 5_000 + b"\xff\xd9", BROKEN
    restarts = jpeg[:2] + b"\xff\xdd\0\4\0\1" + jpeg[2:]
    yield "restarts.jpg", restarts, frozenset({PICTURE, *BROKEN})
    yield "comments.jpg", jpeg[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 400 + jpeg[2:], frozenset({PICTURE, *BROKEN})
    yield "profiles.jpg", jpeg[:2] + (b"\xff\xe2\xff\xffICC_PROFILE\0\1\1" + bytes(65_519)) * 255 + jpeg[2:], ANYTHING

    canvas = b"\x10\0\0\0" + (16_383).to_bytes(3, "little") * 2
    lossless = encoded(seed(), "WEBP", lossless=True)
    inner = b"VP8X" + struct.pack("<I", 10) + canvas + lossless[12:]
    yield "canvas.webp", b"RIFF" + struct.pack("<I", len(inner) + 4) + b"WEBP" + inner, large
    yield "lossless.webp", lossless[:21] + b"\xff\xff\xff\x0f" + lossless[25:], large
    lossy = encoded(seed(), "WEBP")
    yield "lossy.webp", lossy[:26] + b"\xff\x3f\xff\x3f" + lossy[30:], large

    bmp = encoded(seed(), "BMP")
    for width, height in ((50_000, 50_000), (2**31 - 1, 2**31 - 1), (50_000, -50_000)):
        yield f"says{height}.bmp", bmp[:18] + struct.pack("<ii", width, height) + bmp[26:], frozenset({R.TOO_LARGE, *BROKEN})
    yield "says-zero.bmp", bmp[:18] + bytes(8) + bmp[26:], BROKEN
    yield "packed.bmp", bmp[:28] + struct.pack("<HI", 8, 1) + bmp[34:], ANYTHING
    yield "no-bits.bmp", bmp[:28] + struct.pack("<H", 0) + bmp[30:], BROKEN
    yield "offset.bmp", bmp[:10] + b"\xff\xff\xff\x7f" + bmp[14:], BROKEN
    yield "colours.bmp", bmp[:46] + b"\xff\xff\xff\x7f" + bmp[50:], ANYTHING

    whole = heic()
    at = whole.index(b"ispe") + 8
    for side in (5_000, 60_000, 2**32 - 1):
        lying = whole[:at] + struct.pack(">II", side, side) + whole[at + 8 :]
        yield f"says-{side}.heic", lying, frozenset({PICTURE, R.TOO_LARGE, *BROKEN})
    yield "box.heic", whole[:32] + b"\xff\xff\xff\xff" + whole[36:], ANYTHING
    yield "nested.heic", whole[:32] + b"".join(struct.pack(">I4sI", 0, b"meta", 0) for _ in range(20_000)), BROKEN
    yield "items.heic", whole.replace(b"iloc", b"iinf", 1), BROKEN


def _odd_but_good() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    good = frozenset({PICTURE})
    plain = seed()
    jpeg = encoded(plain, "JPEG")
    for value in range(10):
        yield f"turned-{value}.jpg", with_exif(jpeg, exif(value)), good
        yield f"turned-{value}.png", encoded(plain, "PNG", exif=exif(value)), good
        yield f"turned-{value}.webp", encoded(plain, "WEBP", exif=exif(value)), good
    for quarters in range(4):
        for axis in range(2):
            yield f"turned-{quarters}-{axis}.heic", turned_heic(quarters, axis), good
    for name in ("plain", "alpha", "ten-bit", "grey"):
        yield f"{name}.heic", heic(name), good

    grey = plain.convert("L")
    deep = np.asarray(grey).astype(np.uint16) * 257
    yield "16-bit-grey.png", encoded(Image.fromarray(deep), "PNG"), good
    colours = np.repeat(np.asarray(plain).astype(">u2") * 257, 1, axis=1).tobytes()
    row = SIZE[1] * 6
    rows = b"".join(b"\0" + colours[place : place + row] for place in range(0, len(colours), row))
    yield "16-bit.png", png(SIZE[1], SIZE[0], zlib.compress(rows), depth=16), good
    for mode in ("1", "L", "LA", "P", "PA", "RGBA"):
        yield f"{mode}.png", encoded(plain.convert("RGBA").convert(mode) if mode != "PA" else plain.convert("P"), "PNG"), good
    yield "colour-key.png", encoded(plain.convert("P"), "PNG", transparency=0), good
    yield "interlaced.png", png(8, 8, zlib.compress(bytes(8 * 25 + 15))).replace(b"\x08\2\0\0\0", b"\x08\2\0\0\0"), good
    for mode in ("1", "L", "P", "RGBA"):
        yield f"{mode}.bmp", encoded(plain.convert(mode), "BMP"), good
    yield "alpha.webp", encoded(plain.convert("RGBA"), "WEBP", lossless=True), good
    for mode in ("L", "CMYK", "YCbCr"):
        yield f"{mode}.jpg", encoded(plain.convert(mode), "JPEG"), good
    yield "progressive.jpg", encoded(photo(), "JPEG", progressive=True), good
    cmyk = encoded(plain.convert("CMYK"), "JPEG")
    for transform in (0, 1, 2, 3, 255):
        adobe = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
        marker = b"\xff\xee" + struct.pack(">H", len(adobe) + 2) + adobe
        yield f"adobe-{transform}-cmyk.jpg", cmyk[:2] + marker + cmyk[2:], frozenset({PICTURE, R.DAMAGED})
        yield f"adobe-{transform}-rgb.jpg", jpeg[:2] + marker + jpeg[2:], frozenset({PICTURE, R.DAMAGED})
    yield "adobe-short.jpg", jpeg[:2] + b"\xff\xee\0\7Adobe" + jpeg[2:], frozenset({PICTURE, R.DAMAGED})
    frames = [plain.rotate(90 * turn) for turn in range(3)]
    yield "animated.webp", encoded(plain, "WEBP", save_all=True, append_images=frames, duration=40), good
    yield "animated.png", encoded(plain, "PNG", save_all=True, append_images=frames, duration=40), good
    yield "phone.jpg", encoded(plain, "MPO", save_all=True, append_images=frames), good
    yield "trailing.jpg", jpeg + b"left over" * 1_000, good
    yield "one-pixel.png", encoded(Image.new("RGB", (1, 1)), "PNG"), good
    yield "thin.png", encoded(Image.new("L", (10_000, 1)), "PNG"), good
    with io.BytesIO() as packed:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("hidden.exe", b"MZ" * 100)
        yield "polyglot.jpg", jpeg + packed.getvalue(), good

    loop = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)
    yield "exif-loop.jpg", with_exif(jpeg, loop), good
    many = (
        b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5_000) + b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in range(5_000))
    )
    yield "exif-many.jpg", with_exif(jpeg, many), good
    yield "exif-far.jpg", with_exif(jpeg, b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0)), good
    wrong = b"Exif\0\0II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 4, b"six\0", 0)
    yield "exif-word.jpg", with_exif(jpeg, wrong), good
    yield "exif-short.jpg", with_exif(jpeg, b"Exif\0\0II"), good


def _other_kinds() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    plain = seed()
    jpeg = encoded(plain, "JPEG")
    for name, data in {
        "png": encoded(plain, "PNG"),
        "webp": encoded(plain, "WEBP"),
        "heic": heic(),
        "bmp": encoded(plain, "BMP"),
    }.items():
        yield f"really-{name}.jpg", data, frozenset({PICTURE})
        yield f"really-jpg.{name}", jpeg, frozenset({PICTURE})
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    svg = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]><svg xmlns="http://www.w3.org/2000/svg">&l9;</svg>'
    mp4 = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 0, b"isom", b"mp42") + bytes(5_000)
    with io.BytesIO() as packed:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("photo.jpg", jpeg)
        zipped = packed.getvalue()
    rows: dict[str, tuple[bytes, PhotoReason]] = {
        "zeros": (bytes(10_000), R.NOT_A_PICTURE),
        "noise": (random.Random(14).randbytes(10_000), R.NOT_A_PICTURE),
        "empty": (b"", R.EMPTY),
        "one-byte": (b"\xff", R.NOT_A_PICTURE),
        "newline": (b"\n", R.NOT_A_PICTURE),
        "text": (b"no picture", R.TEXT),
        "umlauts": ("Schöne Grüße\n".encode() * 1_000, R.TEXT),
        "latin-1": ("Schöne Grüße".encode("latin-1"), R.NOT_A_PICTURE),
        "begins-bm": (b"BMW is a make of car", R.TEXT),
        "html": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", R.TEXT),
        "json": (b'{"error": "login"}', R.TEXT),
        "laughs": (svg.encode(), R.DRAWING),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", R.DRAWING),
        "svgz": (gzip.compress(svg.encode(), mtime=0), R.ARCHIVE),
        "gz": (gzip.compress(jpeg, mtime=0), R.ARCHIVE),
        "zip": (zipped, R.ARCHIVE),
        "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + jpeg, R.DOCUMENT),
        "word": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000), R.DOCUMENT),
        "mp4": (mp4, R.VIDEO),
        "mkv": (b"\x1aE\xdf\xa3" + bytes(1_000), R.VIDEO),
        "avi": (b"RIFF\0\1\0\0AVI LIST" + bytes(1_000), R.VIDEO),
        "wav": (b"RIFF\0\1\0\0WAVEfmt " + bytes(1_000), R.NOT_A_PICTURE),
        "gif": (encoded(plain.convert("P"), "GIF"), R.GIF),
        "animated-gif": (encoded(plain.convert("P"), "GIF", save_all=True, append_images=[plain.rotate(90)]), R.GIF),
        "avif": (encoded(plain, "AVIF"), R.AVIF),
        "tiff": (encoded(plain, "TIFF"), R.OTHER_PICTURE),
        "ico": (encoded(plain, "ICO"), R.OTHER_PICTURE),
        "jp2": (encoded(plain, "JPEG2000"), R.OTHER_PICTURE),
        "jxl": (b"\xff\x0a" + bytes(100), R.OTHER_PICTURE),
        "psd": (b"8BPS\0\1" + bytes(100), R.OTHER_PICTURE),
        "cr3": (struct.pack(">I4s4sI4s", 20, b"ftyp", b"crx ", 1, b"crx ") + bytes(1_000), R.OTHER_PICTURE),
        "elf": (b"\x7fELF\2\1\1" + bytes(1_000), R.NOT_A_PICTURE),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", R.DOCUMENT),
        "xpm": (b'/* XPM */\nstatic char *x[] = {"1 1 1 1"};', R.TEXT),
        "ppm": (b"P3 1 1 255 0 0 0", R.TEXT),
        "fits": (b"SIMPLE  =                    T", R.TEXT),
    }
    for name, (data, reason) in rows.items():
        yield f"{name}.jpg", data, frozenset({reason})


def _damaged() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    """Cut at many places, and with bits turned over, each kind alike; the picture may survive what hits its last bytes."""
    turn = random.Random(14)
    files = {
        "jpg": encoded(photo(), "JPEG"),
        "png": encoded(photo(), "PNG"),
        "webp": encoded(photo(), "WEBP"),
        "bmp": encoded(photo((64, 48)), "BMP"),
        "heic": heic(),
    }
    for kind, data in files.items():
        for share in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995):
            place = max(1, int(len(data) * share))
            expected = BROKEN | KINDS if place < 64 else BROKEN
            yield f"cut-{place}.{kind}", data[:place], expected
        yield f"cut-last.{kind}", data[:-1], frozenset({PICTURE, *BROKEN})
        for number in range(14):
            broken = bytearray(data)
            # Half of them hit the header, where the lies that hurt are.
            for _ in range(1 + number % 3):
                broken[turn.randrange(min(len(data), 200) if number % 2 else len(data))] ^= 1 << turn.randrange(8)
            yield f"flipped-{number}.{kind}", bytes(broken), ANYTHING
        yield f"holes.{kind}", data[:200] + bytes(len(data) // 2) + data[200 + len(data) // 2 :], ANYTHING


def _odd_files(folder: Path) -> Iterator[Case]:
    """Things that are no ordinary file, and names that are no ordinary name; made where they are to lie."""
    good = encoded(seed(), "JPEG")
    (folder / "real.jpg").write_bytes(good)
    outside = folder.parent / "outside.jpg"
    outside.write_bytes(good)
    (folder / "subject").mkdir()
    (folder / "subject" / "1.jpg").write_bytes(good)
    links = {
        "link-in.jpg": "real.jpg",
        "link-out.jpg": str(outside),
        "link-up.jpg": "../outside.jpg",
        "link-loop.jpg": "link-loop.jpg",
        "link-nowhere.jpg": "nothing.jpg",
        "link-zero.jpg": "/dev/zero",
        "link-passwd.jpg": "/etc/passwd",
        "link-descriptor.jpg": "/proc/self/fd/0",
        "link-folder": "subject",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
        yield Case(name, frozenset({R.LINK}))
    yield Case("link-folder/1.jpg", frozenset({R.LINK}))
    yield Case("subject/1.jpg", frozenset({PICTURE}))
    os.mkfifo(folder / "fifo.jpg")
    yield Case("fifo.jpg", frozenset({R.NOT_A_FILE}))
    directory = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/socket.jpg")  # the path itself may be too long
    os.close(directory)
    yield Case("socket.jpg", frozenset({R.NOT_A_FILE}))
    if os.geteuid() == 0:
        os.mknod(folder / "device.jpg", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        yield Case("device.jpg", frozenset({R.NOT_A_FILE}))
    (folder / "folder.jpg").mkdir()
    yield Case("folder.jpg", frozenset({R.NOT_A_FILE}))
    with (folder / "sparse.jpg").open("wb") as file:
        file.truncate(1 << 40)
    yield Case("sparse.jpg", frozenset({R.TOO_MANY_BYTES}))
    with (folder / "full.jpg").open("wb") as file:
        file.write(good)
        file.truncate(MAX_BYTES)
    yield Case("full.jpg", frozenset({PICTURE}))
    (folder / "shut.jpg").write_bytes(good)
    (folder / "shut.jpg").chmod(0)
    yield Case("shut.jpg", frozenset({PICTURE if os.geteuid() == 0 else R.UNREADABLE}))
    names = (
        "new\nline.jpg",
        os.fsdecode(b"M\xfcller.jpg"),
        "n" * 251 + ".jpg",
        ".hidden.jpg",
        "-rf.jpg",
        "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe.jpg",
        "\N{SMILING FACE WITH SUNGLASSES}.jpg",
        "..jpg",
        "...",
        "%2e%2e%2f.jpg",
        "a\\..\\b.jpg",
        " ",
        "$(reboot).jpg",
        "C:photo.jpg",
        "e\N{COMBINING ACUTE ACCENT}.jpg",
        "\x1b[31mred.jpg",
    )
    for name in names:
        (folder / name).write_bytes(good)
        yield Case(name, frozenset({PICTURE}))
    for name in (
        "../outside.jpg",
        str(outside),
        "subject/../../outside.jpg",
        "..",
        ".",
        "",
        "/",
        "real.jpg\0.png",
        "//etc/passwd",
    ):
        yield Case(name, frozenset({R.OUTSIDE}))
    for name in ("nothing.jpg", "n" * 300, "a/" * 3_000 + "b.jpg", "real.jpg/1.jpg", "\ud800.jpg"):
        yield Case(name, frozenset({R.UNREADABLE}))


def build(folder: Path) -> list[Case]:
    """Make every file below the folder, the same ones each time; its parent gets one file that lies outside."""
    cases = []
    for group in (_bombs, _odd_but_good, _other_kinds, _damaged):
        below = folder / group.__name__.strip("_")
        below.mkdir(parents=True)
        for name, data, expected in group():
            (below / name).write_bytes(data)
            cases.append(Case(f"{below.name}/{name}", expected))
    return [*cases, *_odd_files(folder)]


def outcome(folder: Path, relative: str, decoder: Decoder) -> str:
    """What becomes of a file: PICTURE or the reason."""
    photo = open_photo(folder, relative)
    if isinstance(photo, PhotoReason):
        return photo
    with photo:
        image = decoder.decode(photo)
    return image if isinstance(image, PhotoReason) else PICTURE


class PeakMemory:
    """How far the resident memory of this process rises above where it stood, in MB (proc(5): clear_refs, VmHWM)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._megabytes("VmRSS")

    @property
    def megabytes(self) -> float:
        return self._megabytes("VmHWM") - self._before

    @staticmethod
    def _megabytes(name: str) -> float:
        return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) / 1024


def _report(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")


def main() -> None:
    """The table of every file: what was said, milliseconds, megabytes of this process; then the worst of each."""
    with tempfile.TemporaryDirectory() as root, Decoder() as decoder:
        folder = Path(root) / "gallery"
        cases = build(folder)
        outcome(folder, "real.jpg", decoder)
        rows = []
        for case in cases:
            memory, started = PeakMemory(), time.perf_counter()
            said = outcome(folder, case.relative, decoder)
            seconds = time.perf_counter() - started
            rows.append((case, said, 1000 * seconds, memory.megabytes))
        width = 44
        _report(
            f"{ascii(case.relative)[1:-1][:width]:{width}} {said:18} {took:8.1f} ms {grown:6.1f} MB"
            + ("" if said in case.expected else f"  expected {', '.join(sorted(case.expected))}")
            for case, said, took, grown in rows
        )
        refused = [(took, grown) for _, said, took, grown in rows if said != PICTURE]
        slow = sorted(took for took, _ in refused)
        wrong = sum(said not in case.expected for case, said, _, _ in rows)
        most = max(grown for _, grown in refused)
        _report(
            [
                f"{len(rows)} files, {len(refused)} refused, {wrong} unexpected",
                f"refused in {slow[len(slow) // 2]:.1f} ms (median), {slow[-1]:.1f} ms at most, {most:.1f} MB at most",
            ]
        )


if __name__ == "__main__":
    main()
