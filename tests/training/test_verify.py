"""The tutorials' verification, before real photographs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.assembly import SHIPPED_CARD
from streamd.demo import story
from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING, STRANGER
from streamd.demo.rtsp_server import RtspServer, encode, read_clip
from training.prepare import DataError
from training.verify import Verdict, of_model, of_run, verdict


def test_a_reference_is_detected_above_its_threshold_and_the_share_of_them_verifies() -> None:
    scores = np.array([0.2, 0.5, 0.6, 0.9], np.float32)

    assert verdict(scores, 0.5, 0.4) == Verdict(0.5, pytest.approx(0.9), True)
    assert verdict(scores, 0.5, 0.5) == Verdict(0.5, pytest.approx(0.9), False)
    assert verdict(scores, 0.95, 0.0) == Verdict(0.0, pytest.approx(0.9), False)


def command(camera: Path | str, references: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["verify", "--camera", str(camera), "--references", str(references), "--model", str(SHIPPED_CARD), *more]
    return subprocess.run([sys.executable, "-m", "training.cli", *arguments], capture_output=True, text=True, timeout=120)


def test_the_man_of_the_references_is_verified_and_the_stranger_is_not(portraits: Path, tmp_path: Path) -> None:
    known, camera = tmp_path / "known", tmp_path / "camera"
    for folder, shown in ((known, [OFFICIAL]), (camera, [SPEAKING, STANDING, STRANGER])):
        folder.mkdir()
        for number, one in enumerate(shown):
            shutil.copyfile(portraits / one.file, folder / f"{number}.jpg")

    done = command(camera, known)

    told = [line.split("  ")[1].split(":")[0] for line in done.stdout.splitlines() if "best score" in line]
    assert done.returncode == 0, done.stderr
    assert told == ["verified", "verified", "not verified"]


def test_a_camera_on_the_network_is_seen(portraits: Path, tmp_path: Path) -> None:
    """The networks that find faces take the way to the network away from the thread that makes them."""
    (tmp_path / "known").mkdir()
    shutil.copyfile(portraits / OFFICIAL.file, tmp_path / "known" / "1.jpg")
    visit = story.Visit((SPEAKING,), 0.0, 2.0, walks=False)
    encode(tmp_path / "door.mp4", story.pictures(portraits, (visit,), 2.0), story.FPS, bitrate=2_000_000)

    with RtspServer({"door": read_clip(tmp_path / "door.mp4")}) as server:
        done = command(f"rtsp://127.0.0.1:{server.port}/door", tmp_path / "known", "--seconds", "3")

    assert done.returncode == 0, done.stderr
    assert "  verified: " in done.stdout
    assert "not verified" not in done.stdout


def test_pictures_without_a_face_are_no_references(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall.jpg"), np.full((300, 300, 3), 128, np.uint8))

    done = command(tmp_path, tmp_path)

    assert done.returncode == 1
    assert f"{tmp_path}: no face of 1 pictures can be used" in done.stderr


def test_a_file_without_a_card_wants_a_threshold(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    shutil.copyfile(next(SHIPPED_CARD.parent.glob(f"{SHIPPED_CARD.stem}.tflite")), file)

    with pytest.raises(DataError, match="say --detection-threshold"):
        of_model(file, None)
    assert of_model(file, 0.4).detection_threshold == 0.4


def test_a_folder_without_a_training_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the folder of a training that has ended"):
        of_run(tmp_path)
