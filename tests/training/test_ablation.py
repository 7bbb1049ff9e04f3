"""What each part of the shipped recipe is worth: the table, and the other way to align."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.demo.portraits import SPEAKING
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from training.ablation import VARIANTS, KeyPointAnalyser, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamd.demo.portraits import Portrait
    from streamd.values import UInt8


def test_each_variant_is_another_network() -> None:
    assert len({repr(one) for one in VARIANTS.values()}) == len(VARIANTS)


def test_the_table_has_a_line_for_each_variant_and_for_each_way_to_align() -> None:
    figures = {"hard": 0.8571, "as_taken": 0.99, "race": 6.81, "race_and_sex": 8.83}
    figures |= {f"fnir_{photos}_photos_{rate}": 0.0029 for photos in (1, 3) for rate in ("0.01", "0.003")}

    lines = table({"both": figures}, {"key points": {"as_taken": 0.98, "at_12_pixels": 0.9}}).splitlines()

    assert lines[2] == "| both | 0.8571 | 0.9900 | 0.0029 | 0.0029 | 0.0029 | 0.0029 | 6.8 | 8.8 |"
    assert len({line.count("|") for line in lines[:3]}) == 1
    assert lines[-1] == "| key points | 0.9800 | 0.9000 |"


def test_key_points_put_the_face_to_the_same_place(portrait: Callable[[Portrait], UInt8]) -> None:
    """The same face at the same place, and yet not the same numbers; all else that is seen of it is equal."""
    image = portrait(SPEAKING)

    def seen(kind: type[FaceAnalyser]) -> AnalysedFace:
        with kind() as analyser:
            return analyser.analyse(image)[0]

    with ThreadPoolExecutor(1) as thread:  # which can open no socket afterwards
        by_landmarks, by_points = (thread.submit(seen, kind).result() for kind in (FaceAnalyser, KeyPointAnalyser))

    alike = np.corrcoef(by_landmarks.crop.ravel().astype(float), by_points.crop.ravel().astype(float))[0, 1]
    assert 0.7 < alike < 0.999  # turned about or mirrored, it gives less than 0.4
    assert by_points.quality == by_landmarks.quality
