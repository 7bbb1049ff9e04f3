"""Glasses and coverings: what the shipped rules say of real portraits, bare and painted upon, and what they refuse to be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamd.demo.portraits import OFFICIAL, SPEAKING, STANDING, STRANGER, Portrait
from streamd.enrolment.attributes import DRAWING, AttributeModel, drawing, features, judge, read_attributes
from streamd.errors import ModelError
from streamd.recognition.card import read_card
from streamd.recognition.embedding import Embedder, open_embedder
from streamd.values import UInt8
from training import coverings

if TYPE_CHECKING:
    from tests.conftest import NetworkThread

MODELS = Path(__file__).resolve().parents[2] / "streamd" / "models"
CARD = read_card(MODELS / "pair.json")
SHIPPED = MODELS / "pair.attributes.json"
PEOPLE = [OFFICIAL, SPEAKING, STANDING, STRANGER]


@pytest.fixture(scope="module")
def rules() -> AttributeModel:
    return read_attributes(SHIPPED, CARD.sha256)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder(MODELS / "pair.json", "litert")


@pytest.fixture(scope="module")
def crops(networks: NetworkThread, portrait: Callable[[Portrait], UInt8]) -> list[UInt8]:
    return [networks.analyse(portrait(who))[0].crop for who in PEOPLE]


def test_the_shipped_rules_belong_to_the_shipped_model_and_say_how_good_they_are(rules: AttributeModel) -> None:
    figures = {figure.name: figure for figure in rules.figures}

    assert (rules.dimension, rules.alignment) == (CARD.dimension, CARD.alignment)
    assert {"glasses_recall", "dark_glasses_recall_at_0.0025_false_refusals", "mask_painted_recall"} <= figures.keys()
    assert all(figure.interval is not None for figure in figures.values())


def test_portraits_are_neither_covered_nor_wear_glasses(rules: AttributeModel, embedder: Embedder, crops: list[UInt8]) -> None:
    seen = [judge(rules, vector, crop) for vector, crop in zip(embedder.embed(crops), crops, strict=True)]

    assert not any(one.covered for one in seen)
    assert not any(one.glasses for one in seen)


@pytest.mark.parametrize("paint", [coverings.mask, coverings.scarf, coverings.sunglasses], ids=lambda paint: paint.__name__)
def test_a_painted_covering_is_noticed_on_most_of_them(
    rules: AttributeModel, embedder: Embedder, crops: list[UInt8], paint: coverings.Paint
) -> None:
    random = np.random.default_rng(7)
    painted = [paint(crop, random) for crop in crops for _ in range(3)]

    seen = [judge(rules, vector, crop) for vector, crop in zip(embedder.embed(painted), painted, strict=True)]

    assert sum(one.covered for one in seen) > len(painted) / 2


def test_a_drawing_is_of_the_face_and_not_of_its_light() -> None:
    random = np.random.default_rng(1)
    crop = random.integers(0, 120, (150, 150, 3), np.uint8)

    drawn, brighter = drawing(crop), drawing(crop * 2)

    assert drawn.shape == (DRAWING,)
    assert np.isfinite(drawn).all()
    assert float(np.abs(drawn[: 8 * 64] - brighter[: 8 * 64]).mean()) < 0.05  # grey levels are whole numbers
    assert np.isfinite(drawing(np.zeros((150, 150, 3), np.uint8))).all()
    assert len(features(np.ones(4, np.float32) / 2, crop)) == 4 + DRAWING


def test_rules_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"made for the model {CARD.sha256[:12]}, found 000000000000"):
        read_attributes(SHIPPED, "0" * 64)

    broken = json.loads(SHIPPED.read_text())
    broken["glasses"]["weights"] = broken["glasses"]["weights"][1:]
    (tmp_path / "a.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match="must have 1088 weights, has 1087"):
        read_attributes(tmp_path / "a.json", CARD.sha256)
    with pytest.raises(ModelError, match="cannot be read"):
        read_attributes(tmp_path / "none.json", CARD.sha256)
