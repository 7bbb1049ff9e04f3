"""Photos from disk: what is opened, what becomes of every kind of file, and a decoder that may fail without harm to us."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from streamd.enrolment import images
from streamd.enrolment.images import MAX_SIDE, Decoder, OpenedPhoto, PhotoReason, kind_of, open_photo
from streamd.values import UInt8
from tests.enrolment import hostile

MAX_PARENT_MEGABYTES = 64


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture
def good(tmp_path: Path) -> Iterator[OpenedPhoto]:
    (tmp_path / "good.jpg").write_bytes(hostile.encoded(hostile.seed(), "JPEG", quality=95, subsampling=0))
    photo = open_photo(tmp_path, "good.jpg")
    assert isinstance(photo, OpenedPhoto)
    with photo:
        yield photo


def decoded(decoder: Decoder, folder: Path, data: bytes) -> UInt8 | PhotoReason:
    """What becomes of a file with that content."""
    (folder / "photo").write_bytes(data)
    photo = open_photo(folder, "photo")
    if isinstance(photo, PhotoReason):
        return photo
    with photo:
        return decoder.decode(photo)


def pixels(decoder: Decoder, folder: Path, data: bytes) -> UInt8:
    image = decoded(decoder, folder, data)
    assert not isinstance(image, PhotoReason), image
    return image


def quarters(image: UInt8) -> list[int]:
    """Which of the seed's colours the four quarters of a picture have."""
    height, width = image.shape[:2]
    centres = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    colours = np.array(hostile.QUARTERS, int)
    return [int(np.abs(colours - centre.astype(int)).sum(axis=1).argmin()) for centre in centres]


def running(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    until = time.monotonic() + 10
    while running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not running(pid)


# Every file that somebody may drop


def test_no_file_harms_us_and_each_is_told_apart(tmp_path: Path) -> None:
    """At most 64 MB of our memory, no process and no open file left, and not one file that the decoder breaks over."""
    folder = tmp_path / "gallery"
    cases = hostile.build(folder)
    with Decoder() as decoder:
        assert hostile.outcome(folder, "real.jpg", decoder) == hostile.PICTURE
        first, descriptors = decoder.pid, psutil.Process().num_fds()
        memory = hostile.PeakMemory()

        said = {case.relative: hostile.outcome(folder, case.relative, decoder) for case in cases}

        grown = memory.megabytes
        assert psutil.Process().num_fds() == descriptors
        assert decoder.pid == first

    assert len(cases) >= 200
    assert {case.relative: said[case.relative] for case in cases if said[case.relative] not in case.expected} == {}
    assert grown < MAX_PARENT_MEGABYTES
    assert first is not None
    assert not running(first)
    assert psutil.Process().children() == []


# Opening


def test_a_photo_is_read_through_its_own_name_only(tmp_path: Path) -> None:
    """A folder that is a link itself is the owner's setting; a link below it is not followed, wherever it leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "1.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "real" / "2.jpg").symlink_to("1.jpg")
    (tmp_path / "gallery").symlink_to("real")

    photo = open_photo(tmp_path / "gallery", "1.jpg")

    assert isinstance(photo, OpenedPhoto)
    photo.close()
    assert open_photo(tmp_path / "gallery", "2.jpg") is PhotoReason.LINK


def test_hashing_reads_in_pieces(tmp_path: Path) -> None:
    with (tmp_path / "big.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(images.MAX_BYTES)
    photo = open_photo(tmp_path, "big.jpg")
    assert isinstance(photo, OpenedPhoto)
    memory = hostile.PeakMemory()

    with photo:
        assert len(photo.digest) == 64

    assert memory.megabytes < 4


@pytest.mark.parametrize("whole", [True, False], ids=["another picture", "half a picture"])
def test_a_file_that_is_written_to_between_hashing_and_decoding_is_told(decoder: Decoder, tmp_path: Path, whole: bool) -> None:
    """Else a verdict would be kept under the digest of another picture."""
    other = hostile.encoded(hostile.photo(), "JPEG")
    path = tmp_path / "1.jpg"
    path.write_bytes(hostile.encoded(hostile.seed(), "JPEG"))
    photo = open_photo(tmp_path, "1.jpg")
    assert isinstance(photo, OpenedPhoto)
    with photo:
        assert photo.digest
        path.write_bytes(other if whole else other[: len(other) // 2])

        assert photo.changed
        assert decoder.decode(photo) is PhotoReason.CHANGED


def test_what_is_decoded_is_what_was_hashed_even_if_the_clock_of_the_files_stands(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems stamp to the second, so that time and size may tell nothing."""
    monkeypatch.setattr(OpenedPhoto, "changed", False)
    path = tmp_path / "1.jpg"
    path.write_bytes(hostile.encoded(hostile.seed(), "JPEG"))
    photo = open_photo(tmp_path, "1.jpg")
    assert isinstance(photo, OpenedPhoto)
    with photo:
        assert photo.digest
        path.write_bytes(hostile.encoded(hostile.seed(), "JPEG") + b" ")

        assert decoder.decode(photo) is PhotoReason.CHANGED


@given(st.binary(max_size=100))
def test_any_beginning_is_some_kind(head: bytes) -> None:
    assert isinstance(kind_of(head), PhotoReason) or kind_of(head) in {b"J", b"P", b"W", b"B", b"H"}


# Pictures as they should be seen


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (0, [0, 1, 2, 3]),
        (1, [0, 1, 2, 3]),
        (2, [1, 0, 3, 2]),
        (3, [3, 2, 1, 0]),
        (4, [2, 3, 0, 1]),
        (5, [0, 2, 1, 3]),
        (6, [2, 0, 3, 1]),
        (7, [3, 1, 2, 0]),
        (8, [1, 3, 0, 2]),
        (9, [0, 1, 2, 3]),
    ],
)
def test_the_orientation_is_carried_out(
    decoder: Decoder, tmp_path: Path, kind: str, orientation: int, expected: list[int]
) -> None:
    """EXIF 2.32, 4.6.4: which corner of what is seen the first row and column are."""
    seen = pixels(decoder, tmp_path, hostile.encoded(hostile.seed(), kind, exif=hostile.exif(orientation)))

    assert quarters(seen) == expected
    assert seen.shape == ((32, 48, 3) if 5 <= orientation <= 8 else (48, 32, 3))


@pytest.mark.parametrize(
    ("turns", "axis", "expected"),
    [
        (0, 0, [2, 3, 0, 1]),
        (0, 1, [1, 0, 3, 2]),
        (1, 0, [0, 2, 1, 3]),
        (1, 1, [3, 1, 2, 0]),
        (2, 0, [1, 0, 3, 2]),
        (2, 1, [2, 3, 0, 1]),
        (3, 0, [3, 1, 2, 0]),
        (3, 1, [0, 2, 1, 3]),
    ],
)
def test_a_heic_picture_is_turned_and_mirrored_by_its_own_properties(
    decoder: Decoder, tmp_path: Path, turns: int, axis: int, expected: list[int]
) -> None:
    """ISO/IEC 23008-12, 6.5.10 and 6.5.12: rotation counter-clockwise, then a mirror; the EXIF beside it says it once more."""
    assert quarters(pixels(decoder, tmp_path, hostile.turned_heic(turns, axis))) == expected


@pytest.mark.parametrize("name", ["plain", "ten-bit"])
def test_a_phones_heic_photo_is_read(decoder: Decoder, tmp_path: Path, name: str) -> None:
    assert quarters(pixels(decoder, tmp_path, hostile.heic(name))) == [0, 1, 2, 3]


def test_every_way_to_store_colours_gives_the_same_picture(decoder: Decoder, tmp_path: Path) -> None:
    seed = hostile.seed()
    adobe = hostile.encoded(seed.convert("CMYK"), "JPEG", quality=95)
    files = {
        "palette": hostile.encoded(seed.quantize(4), "PNG"),
        "palette, 8 bits of BMP": hostile.encoded(seed.quantize(4), "BMP"),
        "CMYK": adobe,
        "lossless": hostile.encoded(seed, "WEBP", lossless=True),
        "progressive": hostile.encoded(seed, "JPEG", progressive=True, quality=95),
        "animated WebP": hostile.encoded(seed, "WEBP", save_all=True, append_images=[seed.rotate(180)], duration=9),
        "animated PNG": hostile.encoded(seed, "PNG", save_all=True, append_images=[seed.rotate(180)], duration=9),
        "several in a JPEG": hostile.encoded(seed, "MPO", save_all=True, append_images=[seed.rotate(180)]),
    }

    seen = {name: quarters(pixels(decoder, tmp_path, data)) for name, data in files.items()}

    assert [name for name, colours in seen.items() if colours != [0, 1, 2, 3]] == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_grey_stays_grey(decoder: Decoder, tmp_path: Path, kind: str) -> None:
    ramp = np.tile(np.arange(0, 256, 4, np.uint8), (16, 1))
    seen = pixels(decoder, tmp_path, hostile.encoded(Image.fromarray(ramp), kind))

    assert np.abs(seen.astype(int) - ramp[:, :, None]).max() <= 6


def test_sixteen_bits_become_the_upper_eight(decoder: Decoder, tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 65536, 1024, np.uint16), (16, 1))
    seen = pixels(decoder, tmp_path, hostile.encoded(Image.fromarray(ramp), "PNG"))

    assert np.abs(seen.astype(int) - (ramp >> 8)[:, :, None]).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_lies_over_grey_whatever_colour_hides_there(decoder: Decoder, tmp_path: Path, kind: str) -> None:
    image = hostile.seed().convert("RGBA")
    image.paste((255, 0, 255, 0), (0, 0, 16, 24))
    seen = pixels(decoder, tmp_path, hostile.encoded(image, kind, lossless=True))

    assert seen[12, 8].tolist() == [114, 114, 114]
    assert quarters(seen)[1:] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_picture_larger_than_a_face_needs_is_reduced(decoder: Decoder, tmp_path: Path, kind: str) -> None:
    seen = pixels(decoder, tmp_path, hostile.encoded(hostile.seed().resize((2000, 3000), Image.Resampling.NEAREST), kind))

    assert seen.shape == (MAX_SIDE, round(2000 * MAX_SIDE / 3000), 3)
    assert quarters(seen) == [0, 1, 2, 3]


def test_twenty_four_megapixels_are_taken_and_no_more(decoder: Decoder, tmp_path: Path) -> None:
    """An iPhone's 24 megapixels are 5712 x 4284."""
    assert pixels(decoder, tmp_path, hostile.encoded(Image.new("L", (5712, 4284)), "JPEG")).shape == (1920, 2560, 3)
    assert decoded(decoder, tmp_path, hostile.encoded(Image.new("L", (5000, 5000)), "JPEG")) is PhotoReason.TOO_LARGE


# A decoder that fails


class Script:
    """A decoder that answers with what a test gives it."""

    def __init__(self, body: str) -> None:
        ready = "import os, socket, sys, time; channel = socket.socket(fileno=int(sys.argv[1])); "
        self.command = (sys.executable, "-c", f"{ready}channel.sendall(b'+'); channel.recv(1); {body}")


HEADER = "import struct; channel.sendall(struct.pack('<16sII32s', {word}, {height}, {width}, bytes(32)))"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.abort()", PhotoReason.DECODER_CRASHED),
        ("sys.exit(0)", PhotoReason.DECODER_CRASHED),
        ("time.sleep(60)", PhotoReason.DECODER_TIMED_OUT),
        ("channel.sendall(b'half a header'); time.sleep(60)", PhotoReason.DECODER_TIMED_OUT),
        (HEADER.format(word="b''", height=100, width=100) + "; channel.sendall(bytes(1000))", PhotoReason.DECODER_CRASHED),
        (HEADER.format(word="b''", height=2**32 - 1, width=2**32 - 1), PhotoReason.DECODER_CRASHED),
        (HEADER.format(word="b''", height=0, width=9), PhotoReason.DECODER_CRASHED),
        (HEADER.format(word="b'no_face'", height=0, width=0), PhotoReason.DECODER_CRASHED),
        (HEADER.format(word="b'\\xff' * 16", height=0, width=0), PhotoReason.DECODER_CRASHED),
        (HEADER.format(word="b''", height=1, width=1) + "; channel.sendall(b'abc')", PhotoReason.CHANGED),
    ],
    ids=[
        "aborts",
        "ends",
        "hangs",
        "stops in its answer",
        "sends too little",
        "claims a giant",
        "claims nothing",
        "says what is not its own to say",
        "babbles",
        "answers for other bytes",
    ],
)
def test_whatever_the_decoder_does_is_a_reason_for_that_photo(good: OpenedPhoto, body: str, reason: PhotoReason) -> None:
    memory = hostile.PeakMemory()
    with Decoder(seconds=0.5, command=Script(body).command) as decoder:
        assert decoder.decode(good) is reason
        assert (decoder.pid is None) == (reason is not PhotoReason.CHANGED)

    assert memory.megabytes < MAX_PARENT_MEGABYTES


@pytest.mark.parametrize("command", [("/no/such/program",), (sys.executable, "-c", "raise SystemExit(1)")])
def test_a_decoder_that_does_not_start_is_a_reason_too(good: OpenedPhoto, command: tuple[str, ...]) -> None:
    with Decoder(command=command) as decoder:
        assert decoder.decode(good) is PhotoReason.DECODER_UNAVAILABLE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_the_next_photo_has_a_decoder_whatever_befell_the_last(good: OpenedPhoto, how: signal.Signals) -> None:
    with Decoder(seconds=0.5) as decoder:
        assert not isinstance(decoder.decode(good), PhotoReason)
        first = decoder.pid
        assert first is not None
        os.kill(first, how)
        if how is not signal.SIGSTOP:
            assert gone(first)
            # It died between two photos, which is neither's fault.
            assert not isinstance(decoder.decode(good), PhotoReason)
        else:
            assert decoder.decode(good) is PhotoReason.DECODER_TIMED_OUT
            assert not isinstance(decoder.decode(good), PhotoReason)
        assert decoder.pid != first
        assert not running(first)


def test_the_process_lives_from_the_first_photo_to_the_end(good: OpenedPhoto) -> None:
    decoder = Decoder()
    assert decoder.pid is None
    decoder.decode(good)
    first = decoder.pid
    decoder.decode(good)
    assert decoder.pid == first

    decoder.close_if_idle(3600)
    assert decoder.pid == first
    decoder.close_if_idle(0)
    assert decoder.pid is None

    decoder.decode(good)
    second = decoder.pid
    assert second is not None
    decoder.close()
    decoder.close()
    assert not running(second)


def test_an_idle_decoder_takes_no_time_and_little_memory(good: OpenedPhoto) -> None:
    with Decoder() as decoder:
        decoder.decode(good)
        process = psutil.Process(decoder.pid)
        before = process.cpu_times()
        time.sleep(0.3)

        assert process.cpu_times() == before
        assert process.memory_info().rss < 60_000_000
        assert process.nice() == min(os.nice(0) + 10, 19)


def test_a_decoder_dies_with_us_even_if_we_are_killed() -> None:
    script = (
        "import os, signal; from streamd.enrolment.images import Decoder; decoder = Decoder(); decoder.warm(); "
        "print(decoder.pid, flush=True); decoder._channel_when_ready(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

    assert gone(pid)


def test_a_decoder_knows_no_secrets(good: OpenedPhoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    with Decoder() as decoder:
        decoder.warm()
        assert decoder.pid is not None
        environment = Path(f"/proc/{decoder.pid}/environ").read_bytes()

    assert b"CREDENTIALS" not in environment


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open('written', 'w')",
        "os.listdir('/')",
        "os.execv('/bin/true', ['true'])",
        "socket.create_connection(('127.0.0.1', PORT))",
        "bytearray(1 << 30)",
        "[os.dup(1) for _ in range(30)]",
    ],
)
def test_a_decoder_that_was_taken_over_can_do_nothing(tmp_path: Path, attempt: str) -> None:
    """Files and ports by Landlock, so on kernels that have it; memory and descriptors by limits."""
    if "dup" not in attempt and "bytearray" not in attempt and not _landlock():
        pytest.skip("this kernel has no Landlock")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempt = attempt.replace("PORT", str(server.getsockname()[1]))
        script = (
            "import os, socket, sys, runpy\n"
            f"confine = runpy.run_path({str(Path(images.__file__).with_name('decoder.py'))!r})['confine']\n"
            "confine(os.getppid())\n"
            f"try:\n    {attempt}\nexcept (OSError, MemoryError):\n    print('refused')\n"
        )
        said = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30)

    assert said.stdout == "refused\n", said.stderr
    assert list(tmp_path.iterdir()) == []


def _landlock() -> bool:
    probe = "import ctypes; raise SystemExit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 4)"
    return subprocess.run([sys.executable, "-c", probe], timeout=30).returncode == 0


# Files that nobody thought of


SEEDS = (
    hostile.encoded(hostile.photo((64, 48)), "JPEG"),
    hostile.encoded(hostile.photo((64, 48)), "JPEG", progressive=True, exif=hostile.exif(6)),
    hostile.encoded(hostile.photo((64, 48)).convert("CMYK"), "JPEG"),
    hostile.encoded(hostile.photo((64, 48)), "PNG"),
    hostile.encoded(hostile.photo((64, 48)).quantize(16), "PNG", transparency=3),
    hostile.encoded(hostile.photo((64, 48)), "WEBP"),
    hostile.encoded(hostile.photo((64, 48)).convert("RGBA"), "WEBP", lossless=True, exif=hostile.exif(3)),
    hostile.encoded(hostile.seed(), "WEBP", save_all=True, append_images=[hostile.seed().rotate(90)]),
    hostile.encoded(hostile.photo((64, 48)), "BMP"),
    hostile.encoded(hostile.photo((64, 48)).quantize(16), "BMP"),
    hostile.heic(),
    hostile.heic("turned"),
    hostile.heic("alpha"),
    hostile.heic("ten-bit"),
)
SPLICES = (b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1", b"\xff\xda", b"\xff\xd9")
DAMAGE = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 200), st.integers(0, 20_000)),  # most lies that hurt are near the beginning
        st.integers(0, 8),  # bytes that go
        st.one_of(st.sampled_from(SPLICES), st.binary(min_size=1, max_size=4)),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data: bytes, damage: list[tuple[int, int, bytes]]) -> bytes:
    for place, lost, put in damage:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + lost :]
    return data


def _fuzz(decoder: Decoder, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = decoded(decoder, Path(folder), data)
    if isinstance(image, PhotoReason):
        assert image in hostile.ANYTHING | {PhotoReason.EMPTY}
    else:
        assert image.dtype == np.uint8
        assert max(image.shape[:2]) <= MAX_SIDE


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.sampled_from(SEEDS), damage=DAMAGE)
def test_no_damage_breaks_the_decoder(decoder: Decoder, seed: bytes, damage: list[tuple[int, int, bytes]]) -> None:
    _fuzz(decoder, damaged(seed, damage))


@pytest.mark.slow
@settings(max_examples=30_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.sampled_from(SEEDS), damage=DAMAGE)
def test_no_damage_breaks_the_decoder_in_an_hour(decoder: Decoder, seed: bytes, damage: list[tuple[int, int, bytes]]) -> None:
    _fuzz(decoder, damaged(seed, damage))
