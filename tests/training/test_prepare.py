"""Prepare and the command line: where pictures come from, and what is said when they are not there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from streamd.demo.portraits import OFFICIAL, Portrait
from streamd.values import UInt8
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from training import cli
from training.prepare import DataError, middle_face, pictures, reduced

if TYPE_CHECKING:
    from tests.conftest import NetworkThread


def picture() -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for person, file in (("bob", "2.png"), ("ada", "1.png"), ("bob", "1.png")):
        (tmp_path / "faces" / person).mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / person / file).write_bytes(picture())
    (tmp_path / "faces" / "pairs.txt").write_text("not a picture")
    return tmp_path / "faces"


def test_a_folder_and_a_tar_file_of_it_hold_the_same_pictures_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "faces.tar", "w") as archive:
        archive.add(folder, "lfw")

    found = list(pictures(folder))

    assert [name for name, _ in found] == ["ada/1.png", "bob/1.png", "bob/2.png"]
    assert list(pictures(tmp_path / "faces.tar")) == found


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        list(pictures(tmp_path))


def test_a_reduced_picture_has_fewer_pixels() -> None:
    small = reduced(np.full((250, 200, 3), 90, np.uint8), 0.25)

    assert small.shape == (62, 50, 3)
    assert small.dtype == np.uint8
    assert abs(int(small.mean()) - 90) <= 2


class OneSided(FaceAnalyser):
    """Sees what `analyser` sees, but no face before the picture is mirrored."""

    def __init__(self, analyser: FaceAnalyser, mirrored: UInt8) -> None:
        self._analyser = analyser
        self._mirrored = mirrored

    def analyse(self, image: UInt8) -> list[AnalysedFace]:
        return self._analyser.analyse(image) if np.array_equal(image, self._mirrored) else []


def test_a_face_that_is_found_only_in_the_mirrored_picture_is_the_one_of_the_picture(
    networks: NetworkThread, portrait: Callable[[Portrait], UInt8]
) -> None:
    image = portrait(OFFICIAL)[:560, 220:780]
    mirrored = np.ascontiguousarray(image[:, ::-1])

    direct = networks.call(lambda analyser: middle_face(analyser, image))
    found = networks.call(lambda analyser: middle_face(OneSided(analyser, mirrored), image))

    assert direct is not None
    assert found is not None
    width = direct.face.box[2] - direct.face.box[0]
    for one, other in (
        (found.points, direct.points),
        (found.face.box, direct.face.box),
        (found.face.keypoints, direct.face.keypoints),
    ):
        assert np.abs(one - other).max() < 0.08 * width
    assert np.abs(found.crop.astype(float) - direct.crop).mean() < 10
    assert abs(found.quality.yaw - direct.quality.yaw) < 5
    assert abs(found.quality.roll - direct.quality.roll) < 3


def test_data_that_is_not_there_is_one_sentence_and_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["evaluate", "--data", str(tmp_path), "--json"])

    assert status == 1
    assert f"{tmp_path}/lfw-view2.tar: not found" in capsys.readouterr().err


@pytest.mark.parametrize(("protocol", "missing"), [("robustness", "needs --cache"), ("groups", "needs --cache")])
def test_a_protocol_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, missing: str) -> None:
    status = cli.main(["evaluate", "--protocol", protocol, "--data", str(tmp_path)])

    assert status == 1
    assert missing in capsys.readouterr().err


def test_measuring_does_not_need_tensorflow() -> None:
    program = "import sys, training.cli, training.evaluate, training.calibrate; print('tensorflow' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
