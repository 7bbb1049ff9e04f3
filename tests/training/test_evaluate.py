"""Evaluate: View 2's pairs and the figures made of their scores."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluate import FAILED, Pairs, equal_error_rate, pair_scores, read_pairs, tar_at_fmr, verify
from training.prepare import DataError, Faces

TEXT = "2\t1\nAda\t1\t3\nAda\t2\tBob\t1\nCy\t1\t2\nBob\t4\tCy\t12\n"


def scored(genuine: list[float], impostor: list[float]) -> tuple[np.ndarray, Pairs]:
    """Two folds; each gets every second score."""
    scores = np.array(genuine + impostor, np.float32)
    same = np.array([True] * len(genuine) + [False] * len(impostor))
    return scores, Pairs((("a/1", "b/1"),) * len(scores), same, np.arange(len(scores)) % 2)


def test_pairs_name_pictures_and_folds() -> None:
    pairs = read_pairs(TEXT)

    assert pairs.pictures[0] == ("Ada/Ada_0001.jpg", "Ada/Ada_0003.jpg")
    assert pairs.pictures[3] == ("Bob/Bob_0004.jpg", "Cy/Cy_0012.jpg")
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("text", ["", "2\t1\nAda\t1\t3\n", "1\t1\nAda\t1\nAda\t2\tBob\t1\n"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"pairs\.txt"):
        read_pairs(text)


def test_a_pair_with_a_picture_without_a_face_is_a_failed_comparison() -> None:
    faces = Faces(
        np.zeros((3, 150, 150, 3), np.uint8),
        np.ones(3, np.float32),
        np.ones(3, bool),
        ("Ada/Ada_0001.jpg", "Ada/Ada_0003.jpg", "Bob/Bob_0001.jpg"),
        ("Ada/Ada_0002.jpg",),
    )
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)

    scores = pair_scores(read_pairs(TEXT), faces, vectors)

    assert scores.tolist() == pytest.approx([0.6, FAILED, FAILED, FAILED])


def test_scores_that_lie_apart_make_no_error() -> None:
    found = verify(*scored([0.6, 0.7, 0.8, 0.9], [0.0, 0.1, 0.2, 0.3]))

    assert (found.accuracy, found.eer) == (1.0, 0.0)
    assert found.accuracy_interval == (1.0, 1.0)
    assert found.tar_at_fmr == {"1e-2": 1.0, "1e-3": 1.0}


def test_the_threshold_of_a_fold_is_picked_on_the_others() -> None:
    """Fold 0 lies a whole unit above fold 1: each fold's threshold is worthless for the other, half the pairs are wrong."""
    scores = np.array([0.9, 0.8, -0.1, -0.2], np.float32)
    pairs = Pairs((("a/1", "b/1"),) * 4, np.array([True, False, True, False]), np.array([0, 0, 1, 1]))

    assert verify(scores, pairs).accuracy == 0.5


def test_true_accepts_are_counted_where_that_share_of_impostors_passes() -> None:
    """Of 1,000 impostors 0.000 ... 0.999 one passes at FMR 1e-3, that of 0.999; what lies above 0.998 is accepted."""
    impostor = np.arange(1000, dtype=np.float32) / 1000
    genuine = np.array([0.9975, 0.9985, 0.9995, 2.0], np.float32)

    assert tar_at_fmr(genuine, impostor, 1e-3) == 0.75


def test_the_equal_error_rate_is_where_both_errors_meet() -> None:
    """Two of ten genuine scores lie below the impostors' best two of ten."""
    genuine = np.array([0.1, 0.2, *np.linspace(0.6, 0.9, 8)], np.float32)
    impostor = np.array([0.4, 0.5, *np.linspace(-0.9, 0.0, 8)], np.float32)

    assert equal_error_rate(genuine, impostor) == pytest.approx(0.2, abs=0.01)
