"""Any model file is measured the same way, and what is no model is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamd.assembly import SHIPPED_CARD
from streamd.errors import ModelError
from streamd.recognition.card import read_card
from streamd.recognition.embedding import golden_crop
from training.scores import of_file, templates_of_crops

CARD = read_card(SHIPPED_CARD)


def test_a_card_and_the_file_that_it_describes_give_the_same_templates() -> None:
    pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)
    crops = np.stack([golden_crop(), golden_crop()[:, ::-1]])

    by_card, digest = of_file(SHIPPED_CARD)
    by_file, other = of_file(SHIPPED_CARD.parent / CARD.file)

    assert digest == other == CARD.sha256
    assert (by_card(crops) * by_file(crops)).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["absent.tflite", "other.onnx"])
def test_what_is_no_model_is_named(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnx", reason="needs streamd[training]")
    (tmp_path / "other.onnx").write_bytes(b"another network")

    with pytest.raises(ModelError, match=rf"{name}: .*expected a model's card"):
        of_file(tmp_path / name)


def test_templates_of_many_crops_are_kept_in_parts_and_not_made_twice(tmp_path: Path) -> None:
    crops = np.zeros((2100, 1, 1, 3), np.uint8)
    calls: list[int] = []

    def embed(part: np.ndarray) -> np.ndarray:
        calls.append(len(part))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.full((len(part), 2), len(calls), np.float32)

    with pytest.raises(KeyboardInterrupt):
        templates_of_crops(crops, embed, "cut-off", tmp_path)
    found = templates_of_crops(crops, embed, "cut-off", tmp_path)

    assert calls == [1000, 1000, 1000, 100]
    assert found[[0, 1000, 2099], 0].tolist() == [1, 3, 4]
