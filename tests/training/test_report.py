"""Figures of a report come from scores alone, and agree with counting; the page shows what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs streamd[training]", exc_type=ImportError)

from training.report import Comparisons, Measured, area_under_curve, comparisons, hardest, report, verification

PEOPLE = ["anna"] * 3 + ["bert"] * 2 + ["carl"]


def vectors() -> np.ndarray:
    """Photographs of one person lie near each other, but for Bert's, who are nearly opposite."""
    angles = np.array([0.0, 0.1, 0.2, 2.0, 5.0, 0.3])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def measured(name: str, seed: int) -> Measured:
    """A model that tells 40 people apart, more or less."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(40), 4)
    own = random.normal(size=(40, 16))[people] + random.normal(scale=0.4, size=(160, 16))
    unit = (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32)
    rates = {"as_taken": 0.9, "12px": 0.8, "9px": 0.7, "6px": 0.5, "motion_blur": 0.6, "low_light": 0.4}
    found = {"rank_one": 0.99, "fnir_at_fpir_0.01": 0.01234, "fnir_at_fpir_0.003": 0.02}
    races = {"A": 0.001, "B": 0.003}
    group = {
        "largest_over_smallest": 3.21,
        "fmr": races,
        "fmr_interval": {key: [rate / 2, 2 * rate] for key, rate in races.items()},
    }
    told: dict[str, Any] = {
        "name": name,
        "search": {"enrolled_with_3": found},
        "robustness": {"tar_at_fmr_1e-3": rates, "mean_of_hard_views": 0.6},
        "groups": {"race": group, "sex": group, "race_and_sex": group},
    }
    return Measured(comparisons([str(person) for person in people], unit), json.loads(json.dumps(told)))


def test_every_photograph_meets_every_other_once() -> None:
    found = comparisons(PEOPLE, vectors())

    seen = {(int(a), int(b)): float(score) for a, b, score in zip(*found.pairs, found.scores, strict=True)}
    assert set(seen) == {(a, b) for a in range(6) for b in range(a + 1, 6)}
    assert all(score == pytest.approx(float(vectors()[a] @ vectors()[b]), abs=1e-6) for (a, b), score in seen.items())
    assert int(found.same.sum()) == 4


def test_the_area_is_the_chance_of_a_genuine_score_above_an_impostor_one() -> None:
    random = np.random.default_rng(3)
    genuine, impostor = random.integers(0, 9, 40) / 8, random.integers(0, 7, 50) / 8

    counted = np.mean([(g > i) + 0.5 * (g == i) for g in genuine for i in impostor])

    assert area_under_curve(genuine.astype(np.float32), impostor.astype(np.float32)) == pytest.approx(float(counted))


def test_an_interval_holds_its_rate_and_is_wider_for_fewer_people() -> None:
    def width(people: int) -> float:
        random = np.random.default_rng(1)
        owners = np.repeat(np.arange(people), 3)
        scores = random.normal(size=3 * people * (3 * people - 1) // 2).astype(np.float32)
        rows, columns = np.triu_indices(3 * people, 1)
        scores[owners[rows] == owners[columns]] += np.repeat(random.normal(3, 1.5, people), 3)[
            : int((owners[rows] == owners[columns]).sum())
        ]
        figures = verification(Comparisons(scores, owners.astype(np.int32)))
        low, high = figures["tar_at_fmr_1e-2_interval"]
        assert low <= figures["tar_at_fmr_1e-2"] <= high
        return float(high - low)

    assert width(20) > 1.5 * width(200)


def test_the_hardest_pairs_are_the_least_alike_of_one_person_and_the_most_alike_of_two() -> None:
    low, high = hardest(comparisons(PEOPLE, vectors()), 1)

    assert (low[0].first, low[0].second) == (3, 4)  # Bert's
    assert (high[0].first, high[0].second) == (2, 5)  # Anna and Carl
    assert high[0].score == pytest.approx(np.cos(0.1), abs=1e-6)


def test_the_page_tells_and_draws_what_was_measured(tmp_path: Path) -> None:
    models = [measured("ours", 1), measured("theirs", 2)]
    crops = np.full((160, 150, 150, 3), 90, np.uint8)

    text = report(models, crops, [f"{n}/{n}.jpg" for n in range(160)], tmp_path).read_text()

    figures = verification(models[0].compared)
    row = next(line for line in text.splitlines() if line.startswith("| ours | "))
    assert f"{figures['auc']:.5f}" in row
    assert f"{figures['tar_at_fmr_1e-3']:.4f}" in row
    assert "| theirs | 0.0123, 0.0200 | 0.9900 |" in text
    assert "| ours | 3.21 | 3.21 | 3.21 |" in text
    low, _ = hardest(models[0].compared)
    assert f"- {low[0].score:.3f}: {low[0].first}/{low[0].first}.jpg, {low[0].second}/{low[0].second}.jpg" in text
    for name in ("det.png", "robustness.png", "groups.png", "one-person.png", "two-people.png"):
        assert f"({name})" in text
        assert cv2.imread(str(tmp_path / name)) is not None
