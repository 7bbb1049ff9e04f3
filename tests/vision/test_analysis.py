"""Detection, landmarks and quality on real photographs: what is good, and the one reason why something is not."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.demo.portraits import CUT_OFF, OFFICIAL, SPEAKING, STANDING, STRANGER, Portrait
from streamd.values import Face, QualityReason, UInt8
from streamd.vision.alignment import TEMPLATE, similarity
from streamd.vision.analysis import AnalysedFace
from streamd.vision.detection import DetectionRules, FaceDetector, distinct, overlap, tiles
from streamd.vision.mediapipe_tasks import silence
from streamd.vision.picture import RgbPicture

if TYPE_CHECKING:
    from tests.conftest import NetworkThread

Read = Callable[[Portrait], UInt8]

everyone = pytest.mark.parametrize("who", [OFFICIAL, SPEAKING, STANDING, STRANGER], ids=lambda one: one.file)


def width(who: Portrait) -> int:
    """Of the face in the portrait, pixels."""
    return who.face[2] - who.face[0]


def scaled(image: UInt8, factor: float) -> UInt8:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def head(image: UInt8, who: Portrait, side: int) -> UInt8:
    """The face with a quarter of its size around it, `side` pixels square."""
    x0, y0, x1, y1 = who.face
    edge = width(who) // 4
    part = image[max(0, y0 - edge) : y1 + edge, max(0, x0 - edge) : x1 + edge]
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def only(faces: list[AnalysedFace]) -> AnalysedFace:
    assert len(faces) == 1
    return faces[0]


@everyone
def test_a_good_portrait_is_good_and_its_face_is_where_it_is(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    seen = only(networks.analyse(portrait(who)))

    assert seen.quality.reasons == ()
    assert overlap(seen.face.box, np.array(who.face, np.float32)) > 0.7
    assert seen.quality.eye_distance == pytest.approx(float(np.linalg.norm(seen.points[0] - seen.points[1])))


@everyone
def test_the_five_points_lie_near_the_template_in_the_crop(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    """They cannot lie on it, since faces differ; 10 pixels of 150 bound what a mix-up of two points would exceed."""
    points = only(networks.analyse(portrait(who))).points
    matrix = similarity(points)
    landed = points @ matrix[:, :2].T + matrix[:, 2]

    assert float(np.linalg.norm(landed - TEMPLATE, axis=1).max()) < 10
    assert points[0, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]


def test_a_face_that_the_edge_cuts_is_cut_off(networks: NetworkThread, portrait: Read) -> None:
    assert only(networks.analyse(portrait(CUT_OFF))).quality.reasons == (QualityReason.CUT_OFF,)


@everyone
def test_half_a_face_is_never_good(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    """Cut at the nose; whether landmarks are found then differs from face to face, so the reason does."""
    middle = (who.face[0] + who.face[2]) // 2
    faces = networks.analyse(np.ascontiguousarray(portrait(who)[:, middle - width(who) // 12 :]))

    assert all(set(seen.quality.reasons) & {QualityReason.CUT_OFF, QualityReason.NO_LANDMARKS} for seen in faces)


@everyone
@pytest.mark.parametrize("along", ["x", "y"])
def test_a_face_that_moved_during_the_exposure_is_blurred(
    networks: NetworkThread, portrait: Read, who: Portrait, along: str
) -> None:
    """By a seventh of its width, as of somebody who walks past in poor light."""
    length = width(who) // 7 | 1
    kernel = np.zeros((length, length), np.float32)
    kernel[(length // 2, slice(None)) if along == "x" else (slice(None), length // 2)] = 1 / length
    seen = only(networks.analyse(np.asarray(cv2.filter2D(portrait(who), -1, kernel), np.uint8)))

    assert seen.quality.reasons == (QualityReason.BLURRED,)


@everyone
def test_being_small_is_not_being_blurred(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    """40 pixels between the eyes of the portrait's hundred: sharpness is judged at the size that the face has."""
    large = only(networks.analyse(portrait(who))).quality
    small = only(networks.analyse(scaled(portrait(who), 40 / large.eye_distance))).quality

    assert small.reasons == ()
    assert small.eye_distance == pytest.approx(40, rel=0.08)


@pytest.mark.parametrize("who", [OFFICIAL, SPEAKING, STANDING], ids=lambda one: one.file)
def test_a_face_in_the_dark_is_dark(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    seen = only(networks.analyse((portrait(who) * 0.12).astype(np.uint8)))

    assert QualityReason.DARK in seen.quality.reasons


@everyone
def test_a_face_in_glaring_light_is_overexposed(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    seen = only(networks.analyse(np.clip(portrait(who).astype(int) + 150, 0, 255).astype(np.uint8)))

    assert QualityReason.OVEREXPOSED in seen.quality.reasons


@pytest.mark.parametrize("who", [OFFICIAL, SPEAKING, STANDING], ids=lambda one: one.file)
def test_a_face_behind_a_veil_is_flat(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    seen = only(networks.analyse((portrait(who) * 0.12 + 120).astype(np.uint8)))

    assert seen.quality.reasons == (QualityReason.FLAT,)


@everyone
def test_a_face_far_away_is_too_small(networks: NetworkThread, portrait: Read, who: Portrait) -> None:
    """30 pixels wide, some 11 between the eyes."""
    seen = only(networks.analyse(scaled(portrait(who), 30 / width(who))))

    assert seen.quality.reasons == (QualityReason.TOO_SMALL,)


@pytest.mark.parametrize(
    ("who", "yaw", "pitch"),
    [(SPEAKING, -15, None), (STANDING, 12, 14), (STRANGER, 13, None)],
    ids=lambda one: getattr(one, "file", one),
)
def test_where_a_face_looks_has_a_sign_that_a_mirror_turns(
    networks: NetworkThread, portrait: Read, who: Portrait, yaw: float, pitch: float | None
) -> None:
    """Seen by eye: one speaks towards the left of the picture, the others look right; the one who stands lifts his chin."""
    seen = only(networks.analyse(portrait(who))).quality
    mirrored = only(networks.analyse(np.ascontiguousarray(portrait(who)[:, ::-1]))).quality

    assert seen.yaw == pytest.approx(yaw, abs=6)
    assert mirrored.yaw == pytest.approx(-seen.yaw, abs=4)
    assert mirrored.roll == pytest.approx(-seen.roll, abs=3)
    assert mirrored.pitch == pytest.approx(seen.pitch, abs=4)
    if pitch is not None:
        assert seen.pitch == pytest.approx(pitch, abs=6)


@pytest.mark.parametrize("degrees", [-25, 25])
def test_a_head_that_leans_is_measured_and_put_upright(networks: NetworkThread, portrait: Read, degrees: int) -> None:
    """OpenCV turns against the clock for positive angles; the crop of the leaning head is that of the upright one."""
    image = portrait(OFFICIAL)
    x0, y0, x1, y1 = OFFICIAL.face
    turn = cv2.getRotationMatrix2D(((x0 + x1) / 2, (y0 + y1) / 2), -degrees, 1)
    upright = only(networks.analyse(image))
    leaning = only(networks.analyse(np.asarray(cv2.warpAffine(image, turn, image.shape[1::-1]), np.uint8)))

    assert leaning.quality.roll == pytest.approx(upright.quality.roll + degrees, abs=3)
    difference = np.abs(leaning.crop.astype(int) - upright.crop.astype(int))[20:130, 30:120]
    assert float(difference.mean()) < 12


def test_a_picture_without_faces_gives_none(networks: NetworkThread, portrait: Read) -> None:
    """Nothing, noise, and a suit and tie."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    suit = np.ascontiguousarray(portrait(OFFICIAL)[600:])

    for image in (np.zeros((480, 640, 3), np.uint8), noise, suit):
        assert networks.analyse(image) == []


def test_two_faces_side_by_side_each_get_their_own_landmarks(networks: NetworkThread, portrait: Read) -> None:
    """So near to each other that each is in the picture that the landmark network is shown of the other."""
    left, right = head(portrait(OFFICIAL), OFFICIAL, 260), head(portrait(STRANGER), STRANGER, 260)
    together = networks.analyse(np.ascontiguousarray(np.hstack([left, right])))
    first, second = sorted(together, key=lambda seen: float(seen.face.box[0]))

    for seen, alone, x0 in ((first, left, 0), (second, right, 260)):
        assert seen.quality.reasons == ()
        apart = only(networks.analyse(alone))
        assert seen.points == pytest.approx(np.add(apart.points, [x0, 0]), abs=6)


def test_a_neighbours_landmarks_are_never_taken_for_those_of_a_face_that_has_none(
    networks: NetworkThread, portrait: Read
) -> None:
    """A detection beside the face, whose surroundings show the face: its eyes are not where the detector saw any."""
    image = portrait(OFFICIAL)
    face = only(networks.analyse(image)).face
    beside = 0.6 * (face.box[2] - face.box[0])
    shift = np.array([beside, 0], np.float32)
    false = Face(face.box + np.tile(shift, 2), face.keypoints + shift, face.score)

    seen = networks.call(lambda analyser: analyser.look(RgbPicture(image), false))

    assert seen.quality.reasons == (QualityReason.NO_LANDMARKS,)
    assert not seen.crop.any()


def test_tiles_find_faces_that_the_whole_picture_hides_and_give_their_place_in_it(
    networks: NetworkThread, portrait: Read
) -> None:
    """22 pixels of 1280, as sharp as no camera shows them; and 90, of which the place can be told to a few pixels."""

    def frame(size: int) -> RgbPicture:
        image = np.full((720, 1280, 3), 100, np.uint8)
        face = scaled(portrait(OFFICIAL), size / width(OFFICIAL))[:300]
        image[301 : 301 + face.shape[0], 901 : 901 + face.shape[1]] = face
        return RgbPicture(image)

    def detect(_: object) -> tuple[int, int, list[Face]]:
        with FaceDetector(DetectionRules(tiles=1)) as whole, FaceDetector(DetectionRules(tiles=3)) as tiled:
            return len(whole.detect(frame(22))), len(tiled.detect(frame(22))), tiled.detect(frame(90))

    hidden, found, faces = networks.call(detect)

    assert (hidden, found) == (0, 1)
    expected = np.array(OFFICIAL.face, np.float32) * (90 / width(OFFICIAL)) + [901, 301, 901, 301]
    assert overlap(faces[0].box, expected.astype(np.float32)) > 0.6
    eyes = faces[0].keypoints[:2].mean(0)
    assert (faces[0].box[:2] < eyes).all()
    assert (eyes < faces[0].box[2:]).all()


def test_tiles_are_squares_that_cover_the_long_side() -> None:
    """1280 - 720 = 560 is left over: three squares 280 apart."""
    assert tiles(1280, 720, 1) == [(0, 0, 1280, 720)]
    assert tiles(1280, 720, 3) == [(0, 0, 720, 720), (280, 0, 1000, 720), (560, 0, 1280, 720)]
    assert tiles(720, 1280, 3) == [(0, 0, 720, 720), (0, 280, 720, 1000), (0, 560, 720, 1280)]


def test_a_face_found_by_two_tiles_is_one_and_the_largest_comes_first() -> None:
    """Boxes of 100 that are 20 apart overlap by 80 / 120 = 0.67."""

    def face(x: float, side: float, score: float) -> Face:
        return Face(np.array([x, 0, x + side, side], np.float32), np.zeros((6, 2), np.float32), score)

    small, unsure, sure = face(500, 50, 0.8), face(20, 100, 0.6), face(0, 100, 0.9)

    assert overlap(sure.box, unsure.box) == pytest.approx(2 / 3)
    assert distinct([small, unsure, sure]) == [sure, small]


def test_the_thread_of_the_networks_can_open_no_socket_and_every_other_can(networks: NetworkThread) -> None:
    """Where the kernel has no such filter, a proxy that is not there stands in (and the daemon says so)."""
    silent = networks.call(lambda _: silence())
    if not silent:
        pytest.skip("this kernel refuses the filter")

    def open_one(_: object) -> None:
        socket.socket().close()

    with pytest.raises(PermissionError):
        networks.call(open_one)
    socket.socket().close()


def test_the_networks_bring_neither_tensorflow_nor_matplotlib_with_them() -> None:
    """Where these are installed, MediaPipe would load them: 400 MB and seconds that a door has no use for."""
    program = (
        "import sys\n"
        "from streamd.vision.analysis import FaceAnalyser\n"
        "with FaceAnalyser() as analyser: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'matplotlib', 'jax', 'torch', 'keras'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == []
    assert done.stderr == ""  # nor its chatter
