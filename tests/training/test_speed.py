"""Networks are timed in turn, and what the page promises of them is computed from these times."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.assembly import SHIPPED_CARD
from streamd.recognition.card import read_card
from streamd.recognition.embedding import golden_crop
from training.speed import Speed, litert, ratios, speeds


def test_calls_are_made_in_turn_and_counted_for_each_face() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        order.append(name)
        time.sleep(0.004)

    found = speeds({"a": lambda: call("a"), "b": lambda: call("b")}, faces=2, rounds=3, seconds=0.001)

    assert "".join(order) == "ab" + "ab" * 3  # the first time to warm up
    assert all(one.p99 >= one.median >= 2 for one in found.values())  # milliseconds; a sleep is never shorter


def test_a_model_is_held_against_retail_alone_and_against_dlib() -> None:
    found = {"pair": Speed(20, 25), "retail-0095, LiteRT float32": Speed(8, 9), "dlib": Speed(150, 170)}

    assert ratios("here", found, ["pair"]) == {"here; pair over retail-0095 alone": 2.5, "here; dlib over pair": 7.5}


def test_a_model_file_runs_a_whole_batch_in_one_call() -> None:
    file = SHIPPED_CARD.parent / read_card(SHIPPED_CARD).file

    litert(file, np.repeat(golden_crop()[None], 3, 0).astype(np.float32), 1)()
