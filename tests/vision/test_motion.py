"""The motion gate: it opens for somebody who moves, and not for noise or light."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.values import UInt8
from streamd.vision.motion import CELLS, MotionGate, MotionRules
from streamd.vision.picture import RgbPicture

FPS = 15
NOISE = 8.0
"""Standard deviation of a camera's noise at night, grey levels a pixel; the gate sees the average of 16x16 of them."""


class Scene:
    """What a camera of 1280x720 shows: a still room with sensor noise, with light and a person in it on request."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        y, x = np.mgrid[0:720, 0:1280]
        self._room = (90 + 40 * np.sin(x / 97) + 30 * np.cos(y / 61)).astype(np.float32)
        self._noise = self._random.standard_normal((8, 720, 1280), np.float32) * NOISE

    def grey(self, light: float = 0.0, person_at: int | None = None, side: int = 80) -> UInt8:
        """The gate's grey copy; `light` grey levels are added everywhere, a person is a patch 40 levels brighter."""
        image = self._room + self._noise[self._random.integers(8)] + light
        if person_at is not None:
            image[300 : 300 + side, person_at : person_at + side] += 40
        pixels = image.clip(0, 255).astype(np.uint8)
        return RgbPicture(np.broadcast_to(pixels[:, :, None], (720, 1280, 3))).grey(CELLS)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def closed_gate(scene: Scene) -> tuple[MotionGate, float]:
    """A gate that has seen a still room for three seconds, and the time."""
    gate = MotionGate(MotionRules())
    for i in range(3 * FPS):
        open_ = gate.moving(scene.grey(), i / FPS)
    assert not open_
    return gate, 3.0


def test_the_gate_is_open_at_first_and_closes_on_a_still_noisy_room(scene: Scene) -> None:
    gate = MotionGate(MotionRules(hold_seconds=2.0))
    seen = [gate.moving(scene.grey(), i / FPS) for i in range(6 * FPS)]

    assert seen[: 2 * FPS] == [True] * (2 * FPS)
    assert seen[2 * FPS + 1 :] == [False] * (4 * FPS - 1)


@pytest.mark.parametrize("side", [60, 200])
def test_somebody_who_moves_opens_it_in_the_same_frame(scene: Scene, side: int) -> None:
    """Also where a face is the smallest that detection finds, 60 pixels of 1280."""
    gate, now = closed_gate(scene)

    assert gate.moving(scene.grey(person_at=500, side=side), now + 1 / FPS)


def test_it_stays_open_for_the_hold_time_after_the_last_motion_and_no_longer(scene: Scene) -> None:
    gate = MotionGate(MotionRules(hold_seconds=1.0))
    room = scene.grey()
    person = room.copy()
    person[20:30, 40:50] += 40
    for i in range(45):
        gate.moving(room, i / FPS)

    assert gate.moving(person, 3.0)
    moved_until = max(t for t in np.arange(3.05, 9, 0.05) if gate.moving(room, float(t)))

    # What the person left behind in the remembered scene (a fraction 1/30 of it) is no motion.
    assert 3.9 <= moved_until <= 4.05


def test_light_that_changes_everywhere_at_once_is_no_motion(scene: Scene) -> None:
    """A cloud, a lamp, the camera's own exposure: 30 levels from one frame to the next, and slowly back."""
    gate, now = closed_gate(scene)

    assert not any(gate.moving(scene.grey(light=30 - i), now + i / FPS) for i in range(30))


def test_somebody_who_comes_while_the_light_changes_is_still_seen(scene: Scene) -> None:
    gate, now = closed_gate(scene)

    assert gate.moving(scene.grey(light=30, person_at=500, side=120), now + 1 / FPS)


def test_what_was_put_down_and_stays_becomes_part_of_the_room(scene: Scene) -> None:
    """The memory of the scene follows with a time constant of 2 s, so a parcel is forgotten within 10 s and the hold time."""
    gate, now = closed_gate(scene)
    seen = [gate.moving(scene.grey(person_at=500), now + i / FPS) for i in range(12 * FPS)]

    assert seen[0]
    assert not any(seen[-FPS:])


def test_a_picture_of_another_size_is_a_new_scene(scene: Scene) -> None:
    gate, now = closed_gate(scene)

    assert gate.moving(np.zeros((10, 10), np.uint8), now + 1 / FPS)
