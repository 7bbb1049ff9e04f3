"""Photos as people have them: judged on real portraits by the networks that frames go through."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.demo.portraits import CUT_OFF, OFFICIAL, SPEAKING, STANDING, STRANGER, Portrait
from streamd.enrolment.images import Decoder, PhotoReason, open_photo
from streamd.enrolment.photo import ADVICE, PhotoVerdict, judge
from streamd.recognition.embedding import open_embedder
from streamd.values import QualityReason, Template, UInt8

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NetworkThread

Read = Callable[[Portrait], UInt8]


def jpeg(image: UInt8, orientation: int | None = None) -> bytes:
    """A picture (RGB) as a JPEG file, with an EXIF orientation (TIFF tag 0x0112) if one is given."""
    data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    if orientation is None:
        return data
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


class Judging:
    """Judges photos on the networks' thread; `crops` are those that would have been embedded."""

    def __init__(self, networks: NetworkThread, decoder: Decoder, folder: Path) -> None:
        self._networks = networks
        self._decoder = decoder
        self._folder = folder
        self.crops: list[UInt8] = []

    def decode(self, data: bytes) -> UInt8 | PhotoReason:
        (self._folder / "photo").write_bytes(data)
        photo = open_photo(self._folder, "photo")
        if isinstance(photo, PhotoReason):
            return photo
        with photo:
            return self._decoder.decode(photo)

    def __call__(self, data: bytes) -> PhotoVerdict:
        image = self.decode(data)
        return self._networks.call(lambda analyser: judge(image, analyser, self._embed))

    def _embed(self, crop: UInt8) -> Template:
        self.crops.append(crop)
        return Template(np.array([1, 0], np.float32), "model")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture
def judging(networks: NetworkThread, decoder: Decoder, tmp_path: Path) -> Judging:
    return Judging(networks, decoder, tmp_path)


@pytest.mark.parametrize("who", [OFFICIAL, SPEAKING, STANDING, STRANGER], ids=lambda one: one.file)
def test_a_portrait_is_accepted_as_it_comes(judging: Judging, portraits: Path, who: Portrait) -> None:
    verdict = judging((portraits / who.file).read_bytes())

    assert (verdict.reasons, verdict.advice) == ((), "")
    assert verdict.vector is not None
    assert [crop.shape for crop in judging.crops] == [(150, 150, 3)]


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (6, 1), (3, 2), (8, 3)])
def test_a_photo_that_a_phone_saved_lying_is_seen_upright(
    judging: Judging, portrait: Read, orientation: int, quarters: int
) -> None:
    """EXIF 6 says: turn it a quarter clockwise to look at it; so its pixels are stored a quarter turned the other way."""
    upright = portrait(OFFICIAL)
    stored = jpeg(np.ascontiguousarray(np.rot90(upright, quarters)), orientation)

    seen = judging.decode(stored)
    verdict = judging(stored)

    assert not isinstance(seen, PhotoReason)
    assert seen.shape == upright.shape
    assert float(np.abs(seen.astype(int) - upright.astype(int)).mean()) < 3
    assert verdict.reasons == ()


def test_a_photo_cut_tight_around_the_face_is_accepted(judging: Judging, portrait: Read) -> None:
    """As a door's own camera or a passport office cuts it; the detector alone wants room around a face."""
    x0, y0, x1, y1 = OFFICIAL.face
    edge = (x1 - x0) // 10
    tight = portrait(OFFICIAL)[y0 - edge : y1 + edge, x0 - edge : x1 + edge]

    assert judging(jpeg(np.ascontiguousarray(tight))).vector is not None


def test_two_people_in_a_photo_are_refused_since_nobody_says_which(judging: Judging, portrait: Read) -> None:
    pair = [cv2.resize(portrait(who)[: 3 * who.face[3] // 2], (400, 500)) for who in (OFFICIAL, STRANGER)]

    assert judging(jpeg(np.hstack(pair))).reasons == (PhotoReason.SEVERAL_FACES,)


def test_somebody_small_in_the_background_does_not_make_a_photo_unclear(judging: Judging, portrait: Read) -> None:
    """A fifth of the person's width."""
    image = portrait(OFFICIAL).copy()
    x0, y0, x1, y1 = STRANGER.face
    edge = (x1 - x0) // 4
    other = portrait(STRANGER)[y0 - edge : y1 + edge, x0 - edge : x1 + edge]
    image[30:130, 780:880] = cv2.resize(other, (100, 100), interpolation=cv2.INTER_AREA)

    assert judging(jpeg(image)).reasons == ()
    assert len(judging.crops) == 1


def test_what_is_wrong_with_a_photo_is_told(judging: Judging, portrait: Read, portraits: Path) -> None:
    official = portrait(OFFICIAL)

    assert judging((portraits / CUT_OFF.file).read_bytes()).reasons == (QualityReason.CUT_OFF,)
    assert judging(jpeg(np.asarray(cv2.GaussianBlur(official, (0, 0), 10), np.uint8))).reasons == (QualityReason.BLURRED,)
    assert judging(jpeg(np.ascontiguousarray(official[600:]))).reasons == (PhotoReason.NO_FACE,)
    assert judging.crops == []


@pytest.mark.parametrize(("data", "reason"), [(b"", PhotoReason.EMPTY), (b"\0" * 10_000, PhotoReason.NOT_A_PICTURE)])
def test_why_there_is_no_picture_is_the_verdict(judging: Judging, data: bytes, reason: PhotoReason) -> None:
    assert judging(data).reasons == (reason,)
    assert judging(data).advice == ADVICE[reason]


def test_half_a_photo_is_refused_as_that(judging: Judging, portrait: Read) -> None:
    """A copy that was broken off in the middle of the face."""
    data = jpeg(portrait(OFFICIAL))

    assert judging(data[: len(data) // 6]).reasons == (PhotoReason.TRUNCATED,)


def test_a_photo_of_twelve_megapixels_gives_the_template_of_a_small_one(judging: Judging, portrait: Read) -> None:
    """It is reduced on the way."""
    small = portrait(OFFICIAL)
    top, side = (2668 - small.shape[0]) // 2, (4000 - small.shape[1]) // 2
    large = np.full((2668, 4000, 3), 114, np.uint8)
    large[top : top + small.shape[0], side : side + small.shape[1]] = small
    for image in (small, large):
        assert judging(jpeg(image)).reasons == ()
    one, other = open_embedder(SHIPPED_CARD, "litert").embed(judging.crops)

    assert float(one @ other) > 0.98


def test_every_reason_has_its_advice() -> None:
    assert ADVICE.keys() == {*PhotoReason, *QualityReason}


def test_a_model_that_gives_no_template_is_a_reason_too(networks: NetworkThread, portrait: Read) -> None:
    verdict = networks.call(lambda analyser: judge(portrait(OFFICIAL), analyser, lambda _: None))

    assert verdict.reasons == (PhotoReason.NO_TEMPLATE,)
