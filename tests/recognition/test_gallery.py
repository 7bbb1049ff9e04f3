"""The gallery: exact search, the best score of each person, whatever the order in which photos came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.recognition.gallery import FLOOR, Enrolled, best_photo, build, indexed, search, wants_index
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


# With an index


def people(count: int, photos: int, dimension: int = 32) -> list[Enrolled]:
    """Random people with photos around them, cosines of about 0.6 between those of one person."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((count, dimension))
    rows = []
    for person, centre in enumerate(centres):
        for photo in range(photos):
            vector = (centre + 0.8 * rng.standard_normal(dimension)).astype(np.float32)
            rows.append(Enrolled(f"p{person:04}", f"p{person:04}/{photo}.jpg", vector / np.float32(np.linalg.norm(vector))))
    return rows


@pytest.fixture(scope="module")
def crowd() -> tuple[Gallery, Gallery]:
    """The same people in a gallery that is searched exactly, and in one with an index."""
    rows = people(600, 4)
    exact = build(rows, 1, "model", 32)
    return exact, indexed(exact)


def probes_of(gallery: Gallery, count: int) -> Float32:
    noise = np.random.default_rng(3).standard_normal((count, 32)).astype(np.float32)
    vectors = gallery.templates[:: len(gallery.templates) // count][:count] + np.float32(0.12) * noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_the_best_two_subjects_are_those_of_the_exact_search(crowd: tuple[Gallery, Gallery]) -> None:
    """What the rule decides by: with their exact scores, which come from all of their photos."""
    exact, by_index = crowd
    assert exact.index is None
    assert by_index.index is not None
    for probe in probes_of(exact, 100):
        expected, found = search(probe[None], exact)[0], search(probe[None], by_index)[0]
        assert found.argsort()[:-3:-1].tolist() == expected.argsort()[:-3:-1].tolist()
        looked_at = found > FLOOR
        assert found[looked_at] == pytest.approx(expected[looked_at], abs=1e-6)
        assert 2 <= looked_at.sum() < 300


def test_whoever_is_near_one_of_the_probes_is_scored_for_all(crowd: tuple[Gallery, Gallery]) -> None:
    exact, by_index = crowd
    probes = probes_of(exact, 3)
    scores = search(probes, by_index)

    looked_at = scores > FLOOR
    assert (looked_at == looked_at[0]).all()
    assert scores[:, looked_at[0]] == pytest.approx(search(probes, exact)[:, looked_at[0]], abs=1e-6)


def test_the_second_is_found_behind_somebody_with_very_many_photos() -> None:
    """Three hundred photos of one person are all nearer than the next person's; the index is asked for more."""
    base = np.eye(1, 32, dtype=np.float32)[0]
    crowd = [Enrolled("many", f"many/{i}.jpg", base) for i in range(400)]
    gallery = indexed(build([*crowd, *people(300, 4)], 1, "model", 32))

    scores = search(base[None], gallery)[0]

    exact = search(base[None], build([*crowd, *people(300, 4)], 1, "model", 32))[0]
    assert np.sort(scores)[-2:] == pytest.approx(np.sort(exact)[-2:], abs=1e-6)


def test_a_gallery_asks_for_an_index_when_the_product_would_be_slower(crowd: tuple[Gallery, Gallery]) -> None:
    exact, by_index = crowd

    assert not wants_index(exact, exact_numbers=exact.templates.size)
    assert wants_index(exact, exact_numbers=exact.templates.size - 1)
    assert not wants_index(by_index, exact_numbers=1)
