"""The photo made of a camera's frame: one face with room around it, nobody else's in it, and as good as the frame itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.assembly import SHIPPED_CARD
from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING, STRANGER, Portrait
from streamd.enrolment.photo import judge
from streamd.enrolment.portrait import cut, cut_area, photo_name
from streamd.recognition.embedding import open_embedder
from streamd.values import Float32, Template, UInt8
from streamd.vision.detection import overlap
from streamd.vision.picture import jpeg

if TYPE_CHECKING:
    from tests.conftest import NetworkThread


def box(x0: float, y0: float, x1: float, y1: float) -> Float32:
    return np.array([x0, y0, x1, y1], np.float32)


FACE = box(100, 100, 200, 200)


def test_a_face_alone_has_its_own_size_of_room_on_every_side() -> None:
    assert cut_area(FACE, ()) == (0, 0, 300, 300)


def test_another_face_is_left_out_on_the_side_that_costs_least() -> None:
    """It lies right and a little above; its box 250..290 is taken for a head of 244..296. To cut it off on the right costs 56
    of 300 columns, above it would cost 126 of 300 rows."""
    assert cut_area(FACE, [box(250, 80, 290, 120)]) == pytest.approx((0, 0, 244, 300))


def test_a_face_far_away_costs_nothing() -> None:
    assert cut_area(FACE, [box(400, 100, 500, 200)]) == (0, 0, 300, 300)


def test_a_face_that_touches_makes_the_frame_useless() -> None:
    assert cut_area(FACE, [box(190, 90, 260, 160)]) is None
    assert cut(np.zeros((300, 300, 3), np.uint8), FACE, [box(190, 90, 260, 160)]) is None


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(10, 150)), max_size=5))
def test_no_other_face_is_ever_in_the_cut_and_the_face_always_is(places: list[tuple[int, int, int]]) -> None:
    others = [box(x, y, x + side, y + side) for x, y, side in places]

    area = cut_area(FACE, others)

    if area is not None:
        assert area[0] <= 75
        assert area[1] <= 75
        assert area[2] >= 225
        assert area[3] >= 225
        assert all(overlap(np.array(area, np.float32), other) == 0 for other in others)


def test_the_cut_ends_with_the_picture_and_is_a_copy() -> None:
    image = np.zeros((240, 250, 3), np.uint8)

    part = cut(image, FACE)

    assert part is not None
    assert part.shape == (240, 250, 3)
    assert not np.shares_memory(part, image)


def test_the_name_tells_where_it_came_from_when_and_what_it_shows() -> None:
    wall = datetime(2026, 11, 25, 18, 42, 1, tzinfo=timezone(timedelta(hours=1)))

    assert photo_name("door", "straight", wall) == "camera-door-20261125T174201Z-straight.jpg"
    assert photo_name("door", "left", wall.astimezone(UTC)) == "camera-door-20261125T174201Z-left.jpg"


@pytest.mark.parametrize("who", [OFFICIAL, SPEAKING, STANDING, STRANGER], ids=lambda one: one.file)
@pytest.mark.parametrize("crowded", [False, True])
def test_a_cut_is_accepted_as_a_photo_and_gives_the_template_of_its_frame(
    networks: NetworkThread, portrait: Callable[[Portrait], UInt8], who: Portrait, crowded: bool
) -> None:
    """Also as the JPEG that is written, and where it had to be narrowed for somebody close beside."""
    image = portrait(who)
    seen = networks.analyse(image)[0]
    x0, y0, x1, _ = seen.face.box
    beside = [box(x1 + 0.4 * (x1 - x0), y0, x1 + 0.8 * (x1 - x0), y0 + 0.4 * (x1 - x0))] if crowded else []
    part = cut(image, seen.face.box, beside)
    assert part is not None
    photo = np.ascontiguousarray(cv2.imdecode(np.frombuffer(jpeg(part), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
    embedder = open_embedder(SHIPPED_CARD, "litert")

    verdict = networks.call(lambda analyser: judge(photo, analyser, lambda crop: Template(embedder.embed([crop])[0], "model")))

    assert verdict.reasons == ()
    assert verdict.vector is not None
    assert float(verdict.vector @ embedder.embed([seen.crop])[0]) > 0.98
