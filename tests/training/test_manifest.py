"""The manifest: nobody on two sides, no picture twice, and every doubt about a name told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.recognition.calibration import Calibration
from streamd.values import Float32, UInt8
from training import manifest
from training.manifest import Row, Use, copies, rows, side_of, suspicions
from training.prepare import DataError, Faces

CALIBRATION = Calibration(scores=(0.2, 0.5, 0.6), eye_distances=(20.0,), ratios=((-6.0, 9.0, 12.0),), correlation=0.8)


def face(number: int) -> UInt8:
    """A crop of its own: soft shapes, as of a face."""
    random = np.random.default_rng(number)
    return cv2.resize(random.integers(0, 255, (9, 9, 3), np.uint8), (150, 150), interpolation=cv2.INTER_CUBIC)


def template(person: int, photo: int, likeness: float = 0.8) -> Float32:
    """A unit vector whose cosine with another of the same person is the square of their likeness."""
    vector = np.zeros(64)
    vector[person] = likeness
    vector[32 + photo] = np.sqrt(1 - likeness**2)
    return vector.astype(np.float32)


def data_set(
    *pictures: str, crops: list[UInt8] | None = None, poor: tuple[int, ...] = (), missed: tuple[str, ...] = ()
) -> Faces:
    made = crops if crops is not None else [face(number) for number in range(len(pictures))]
    good = np.array([number not in poor for number in range(len(pictures))])
    return Faces(np.stack(made), np.full(len(pictures), 40.0, np.float32), good, pictures, missed)


def test_a_copy_is_found_also_smaller_and_compressed_and_another_picture_is_none() -> None:
    compressed = cv2.imencode(
        ".jpg", cv2.resize(face(1), (60, 60), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 40]
    )
    again = cv2.resize(cv2.imdecode(compressed[1], cv2.IMREAD_COLOR), (150, 150))

    assert copies(np.stack([face(0), face(1), face(2), again, face(1)])).tolist() == [0, 1, 2, 1, 1]


def test_a_picture_that_shows_whom_another_name_names_is_told_with_its_doubt() -> None:
    """Anna's third photo lies in Ben's folder; Carl has a second name; Dora is unlike everybody."""
    people = ["anna", "anna", "ben", "ben", "ben", "carl", "carl", "karl", "karl", "dora"]
    vectors = np.stack(
        [template(*one) for one in ((0, 0), (0, 1), (1, 2), (1, 3), (0, 4), (2, 5), (2, 6), (2, 7), (2, 8), (3, 9))]
    )

    found = {one.picture: one for one in suspicions(vectors, people, CALIBRATION, np.full(10, 40.0, np.float32))}

    assert found.keys() == {0, 1, 4, 5, 6, 7, 8}
    assert found[4].alone
    assert people[found[4].other] == "anna"
    assert not any(found[index].alone for index in (0, 1, 5, 6, 7, 8))
    assert suspicions(vectors[:2], people[:2], CALIBRATION, np.full(2, 40.0, np.float32)) == []
    assert found[5].evidence == pytest.approx(CALIBRATION.log_likelihood_ratio(0.64, 40.0))


def test_every_picture_has_a_row_with_what_becomes_of_it() -> None:
    copied = [face(0), face(1), face(2), face(0)]
    sets = {
        "lfw": data_set("ada/1.jpg", "ada/2.jpg", "bob/1.jpg", "bob/2.jpg", crops=copied, poor=(1,), missed=("bob/3.jpg",)),
        "own": data_set("eve/1.jpg", "own/1.jpg", crops=[face(7), face(8)]),
    }
    vectors = np.stack([template(0, 0), template(0, 1), template(1, 2), template(0, 0), template(2, 3), template(3, 4)])

    found = rows(sets, vectors, CALIBRATION, seed=1, validation=0.2, test=0.2)

    assert [(row.source, row.picture, row.subject, row.use) for row in found] == [
        ("lfw", "ada/1.jpg", "ada", Use.USED),
        ("lfw", "ada/2.jpg", "ada", Use.POOR),
        ("lfw", "bob/1.jpg", "bob", Use.USED),
        ("lfw", "bob/2.jpg", "bob", Use.COPY),
        ("lfw", "bob/3.jpg", "bob", Use.NO_FACE),
        ("own", "eve/1.jpg", "eve", Use.USED),
        ("own", "own/1.jpg", "", Use.USED),  # in no person's folder
    ]
    assert found[3].note == "lfw/ada/1.jpg"
    assert all(bool(row.side) is (row.use is Use.USED) for row in found)


@pytest.mark.parametrize("how", ["a copy", "a score"])
def test_two_names_that_may_be_one_persons_are_on_one_side(how: str) -> None:
    """Whatever the seed; names that nothing joins are divided."""
    crops = [face(0), face(1), face(0) if how == "a copy" else face(2), face(3)]
    same = [template(0, 0), template(0, 1), template(0 if how == "a score" else 1, 2), template(1, 3)]
    sets = {"lfw": data_set("carl/1.jpg", "carl/2.jpg", "karl/1.jpg", "karl/2.jpg", crops=crops)}
    apart = 0
    for seed in range(40):
        found = rows(sets, np.stack(same), CALIBRATION, seed, validation=0.4, test=0.2)
        assert len({row.side for row in found if row.side}) == 1
        apart += side_of(seed, "carl", 0.4, 0.2) != side_of(seed, "karl", 0.4, 0.2)

    assert apart > 5


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = [Row("lfw.tar", "Zoë/1.jpg", "Zoë", "train", Use.USED, 'like "x", y'), Row("own", "a/1.jpg", "", "", Use.NO_FACE)]

    manifest.write(written, tmp_path / "new" / "manifest.csv")

    assert manifest.read(tmp_path / "new" / "manifest.csv") == written


@pytest.mark.parametrize(
    "content", [None, "", "file,race\n1.jpg,x\n", "source,picture,subject,side,use,note\na,b,c,train,perhaps,\n"]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_text(content)

    with pytest.raises(DataError, match=r"manifest\.csv: .* `prepare`"):
        manifest.read(tmp_path / "manifest.csv")
