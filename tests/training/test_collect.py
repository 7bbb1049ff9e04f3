"""Pictures of a person are taken of every pose, where they are good enough, and become a data set."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING
from streamd.values import Quality, QualityReason
from training.collect import PAUSE, Collection, Step, annotated, negatives, pose, wanted, with_room


def quality(yaw: float = 0.0, *reasons: QualityReason) -> Quality:
    return Quality(1.0, 128.0, 60.0, yaw, 0.0, 0.0, 80.0, reasons)


@pytest.mark.parametrize("count", [1, 3, 4, 60])
def test_half_of_the_pictures_are_straight_and_all_together_are_as_many_as_asked(count: int) -> None:
    assert sum(wanted(count).values()) == count
    assert wanted(60) == {"straight": 30, "left": 15, "right": 15}


def test_a_turned_face_is_turned_to_the_persons_own_side() -> None:
    assert [pose(quality(yaw)) for yaw in (0, 11, -11, 20, -20)] == ["straight", "straight", "straight", "left", "right"]


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ([], "step before the camera"),
        ([quality(), quality()], "one person only, please"),
        ([quality(0, QualityReason.BLURRED)], "hold still"),
        ([quality(0, QualityReason.TOO_SMALL, QualityReason.DARK)], "come nearer"),
        ([quality()], None),
    ],
)
def test_what_keeps_a_face_from_being_taken_is_said(faces: list[Quality], said: str | None) -> None:
    assert Collection(4).look(0.0, faces) == said


def test_every_reason_has_its_words() -> None:
    assert all(Collection(4).look(0.0, [quality(0, reason)]) for reason in QualityReason)


def test_a_pose_of_which_there_are_enough_is_not_taken_again_and_the_next_one_is_asked_for() -> None:
    collection = Collection(4)
    now = 0.0
    for _ in range(2):
        assert collection.look(now, [quality()]) is None
        collection.take(now, quality())
        now += PAUSE

    assert collection.look(now, [quality()]) == "turn a little to your left (1 more)"
    assert collection.look(now, [quality(20)]) is None
    assert not collection.complete


def test_two_pictures_are_not_of_one_moment() -> None:
    collection = Collection(4)
    collection.take(10.0, quality())

    assert collection.look(10.0 + PAUSE / 2, [quality()]) == "good, go on moving a little"
    assert collection.look(10.0 + PAUSE, [quality()]) is None


def test_anchors_and_positives_take_turns() -> None:
    collection = Collection(4)

    assert [collection.take(n, quality(yaw)) for n, yaw in enumerate((0, 0, 20, -20))] == [
        "anchor-0001.jpg",
        "positive-0002.jpg",
        "anchor-0003.jpg",
        "positive-0004.jpg",
    ]
    assert collection.complete


def test_a_picture_keeps_room_around_the_face_and_ends_at_the_frame() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:120] = 7

    part = with_room(image, np.array([90, 40, 120, 60], np.float32))

    assert part.shape == (60, 90, 3)
    assert (part[20:40, 30:60] == 7).all()
    assert with_room(image, np.array([0, 80, 30, 100], np.float32)).shape == (40, 60, 3)


def test_the_window_says_what_is_said() -> None:
    image = np.full((200, 600, 3), 100, np.uint8)

    shown = annotated(Step(image, "come nearer", None), Collection(4))

    assert shown.shape == image.shape
    assert (shown[:60] == 255).any()
    assert (image == 100).all()


def test_negatives_of_a_flat_folder_are_of_as_many_people_and_those_in_folders_keep_their_names(tmp_path: Path) -> None:
    flat, named, out = tmp_path / "flat", tmp_path / "named", tmp_path / "out"
    (named / "Bert").mkdir(parents=True)
    flat.mkdir()
    for number in range(3):
        (flat / f"{number}.jpg").write_bytes(b"x")
        (named / "Bert" / f"{number}.jpg").write_bytes(b"y")

    assert negatives(flat, 2, out) == 2
    assert negatives(named, 9, out) == 3

    folders = sorted(one.name for one in out.iterdir())
    assert folders == ["Bert", "negative-00001", "negative-00002"]
    assert len(list((out / "Bert").iterdir())) == 3


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the face networks take the way to the network from the thread that opens them."""
    line = [sys.executable, "-m", "training.cli", "collect", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def test_pictures_of_a_man_before_a_camera_become_a_data_set(portraits: Path, tmp_path: Path) -> None:
    camera, out = tmp_path / "camera", tmp_path / "out"
    camera.mkdir()
    for number, one in enumerate((OFFICIAL, SPEAKING, STANDING)):
        shutil.copyfile(portraits / one.file, camera / f"{number}.jpg")

    done = command("--camera", camera, "--person", "obama", "--out", out, "--count", 2, "--headless")

    assert done.returncode == 0, done.stderr
    assert "taken: 1 of 2" in done.stdout
    files = sorted((out / "obama").iterdir())
    assert files[0].name == "anchor-0001.jpg"
    assert all(cv2.imread(str(file)) is not None for file in files)
    again = command("--camera", camera, "--person", "obama", "--out", out, "--headless")
    assert again.returncode == 1
    assert "is not empty; name another person or folder" in again.stderr


def test_without_a_screen_there_is_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)

    done = command("--camera", tmp_path, "--person", "anna", "--out", tmp_path / "out")

    assert done.returncode == 1
    assert "there is no screen for its window; say --headless" in done.stderr
