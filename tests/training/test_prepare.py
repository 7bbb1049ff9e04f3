"""Prepare and the command line: where pictures come from, and what is said when they are not there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import cli
from training.prepare import DataError, pictures, reduced


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
