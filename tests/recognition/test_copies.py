"""Copies of model files: whole or not there, found by what templates are marked with, and removed when nothing needs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.errors import ModelError
from streamd.recognition.copies import copy_of, drop_copies, keep_copy
from streamd.recognition.embedding import golden_crop, open_embedder
from tests.models import doubled_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = doubled_model(tmp_path_factory.mktemp("package"))
    path.with_name("doubled.attributes.json").write_text("{}")
    return path


def test_a_copy_gives_the_same_templates_once_the_original_is_gone(card: Path, tmp_path: Path) -> None:
    embedder = open_embedder(card)

    assert keep_copy(tmp_path / "models", card)
    assert not keep_copy(tmp_path / "models", card)
    path, backend = copy_of(tmp_path / "models", embedder.model)

    copied = open_embedder(path, backend)
    assert copied.model == embedder.model
    assert (copied.embed([golden_crop()]) == embedder.embed([golden_crop()])).all()
    assert path.with_name("card.attributes.json").read_text() == "{}"


def test_copies_of_other_models_and_halves_of_a_copy_are_removed_and_nothing_else(card: Path, tmp_path: Path) -> None:
    digest = json.loads(card.read_text())["sha256"][:16]
    keep_copy(tmp_path, card)
    (tmp_path / ".copying-x" / "copy").mkdir(parents=True)
    (tmp_path / "sface-0123-1-tf2.21").mkdir()  # a graph of TensorFlow's

    drop_copies(tmp_path, but=[f"doubled:{digest}/litert"])
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"doubled-{digest}", "sface-0123-1-tf2.21"]
    drop_copies(tmp_path, but=["sface:0123456789abcdef/litert"])
    assert [one.name for one in tmp_path.iterdir()] == ["sface-0123-1-tf2.21"]


def test_a_model_that_is_shipped_needs_no_copy(card: Path, tmp_path: Path) -> None:
    assert copy_of(tmp_path, open_embedder(card).model, [SHIPPED_CARD, card]) == (card, "litert")


@pytest.mark.parametrize("model", ["stub", "sface:0123456789abcdef/litert", "../x:0123456789abcdef/litert", "a:b/c"])
def test_what_has_no_copy_is_said(model: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        copy_of(tmp_path, model, [SHIPPED_CARD])
