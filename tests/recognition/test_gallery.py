"""The gallery: exact search, the best score of each person, whatever the order in which photos came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.recognition.gallery import Enrolled, best_photo, build, search
from streamd.values import Float32, Gallery

DIMENSION = 6

vectors = st.lists(st.floats(-1, 1, width=32), min_size=DIMENSION, max_size=DIMENSION).map(
    lambda values: unit(np.array(values, np.float32))
)
photos = st.lists(st.tuples(st.sampled_from("dcba"), vectors), max_size=12).map(
    lambda rows: [Enrolled(subject, f"{subject}/{i}.jpg", vector) for i, (subject, vector) in enumerate(rows)]
)


def unit(vector: Float32) -> Float32:
    length = float(np.linalg.norm(vector))
    return (vector / length).astype(np.float32) if length > 1e-3 else np.eye(1, DIMENSION, dtype=np.float32)[0]


def snapshot(enrolled: list[Enrolled]) -> Gallery:
    return build(enrolled, 1, "model", DIMENSION)


@given(photos, st.lists(vectors, min_size=1, max_size=4))
def test_the_score_of_a_subject_is_that_of_the_photo_most_like_the_template(
    enrolled: list[Enrolled], probes: list[Float32]
) -> None:
    gallery = snapshot(enrolled)
    scores = search(np.stack(probes), gallery)

    assert scores.shape == (len(probes), len(gallery.names))
    assert scores.dtype == np.float32
    for row, probe in zip(scores, probes, strict=True):
        for subject, score in zip(gallery.names, row, strict=True):
            cosines = [
                sum(float(a) * float(b) for a, b in zip(one.vector, probe, strict=True))
                for one in enrolled
                if one.subject == subject
            ]
            assert score == pytest.approx(max(cosines), abs=1e-5)


@given(photos, vectors)
def test_the_best_photo_is_the_one_behind_the_score(enrolled: list[Enrolled], probe: Float32) -> None:
    gallery = snapshot(enrolled)
    by_photo = {one.photo: float(one.vector @ probe) for one in enrolled}

    for index, score in enumerate(search(probe[None], gallery)[0]):
        photo = best_photo(probe, gallery, index)
        assert photo.startswith(f"{gallery.names[index]}/")
        assert by_photo[photo] == pytest.approx(float(score), abs=1e-5)


@given(photos, st.randoms(use_true_random=False))
def test_the_order_in_which_photos_come_makes_no_difference(enrolled: list[Enrolled], random: object) -> None:
    shuffled = list(enrolled)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = snapshot(enrolled), snapshot(shuffled)

    assert (one.names, one.photos, one.subjects.tolist()) == (other.names, other.photos, other.subjects.tolist())
    assert np.array_equal(one.templates, other.templates)


def test_nobody_enrolled_means_nobody_to_compare_with() -> None:
    gallery = snapshot([])

    assert gallery.templates.shape == (0, DIMENSION)
    assert search(np.eye(2, DIMENSION, dtype=np.float32), gallery).shape == (2, 0)


def test_rounding_never_makes_a_score_of_more_than_one() -> None:
    vector = np.full(DIMENSION, 1 / np.sqrt(DIMENSION), np.float32) * np.float32(1.0001)

    assert search(vector[None], snapshot([Enrolled("a", "a/1.jpg", vector)]))[0, 0] == 1.0


def test_a_snapshot_cannot_be_written_to_and_knows_where_it_comes_from() -> None:
    gallery = build([Enrolled("a", "a/1.jpg", np.eye(1, DIMENSION, dtype=np.float32)[0])], 7, "digest", DIMENSION)

    assert (gallery.generation, gallery.model) == (7, "digest")
    with pytest.raises(ValueError, match="read-only"):
        gallery.templates[0, 0] = 0
