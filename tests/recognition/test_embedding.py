"""Embedding: one model file, two backends, and what is refused at start."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamd.assembly import MODELS, PROFILES, SHIPPED_CARD, attribute_rules, open_model
from streamd.errors import ModelError
from streamd.recognition.card import read_card
from streamd.recognition.embedding import (
    Embedder,
    LiteRTEmbedder,
    StubEmbedder,
    TensorFlowEmbedder,
    golden_crop,
    open_embedder,
)
from streamd.values import Float32, UInt8
from tests.porch import written_config
from training.page import page

CARD = read_card(SHIPPED_CARD)
FILE = SHIPPED_CARD.parent / CARD.file

needs_tensorflow = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def crops(count: int) -> list[UInt8]:
    """Drawn faces, each shaded, shifted and made noisy in its own way."""
    random = np.random.default_rng(5)
    made = []
    for _ in range(count):
        shifted = np.roll(golden_crop(), random.integers(-9, 10, 2), (0, 1)).astype(np.float32)
        noisy = shifted * random.uniform(0.5, 1.1, 3) + random.normal(0, 6, shifted.shape)
        made.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return made


@pytest.fixture(scope="module")
def litert() -> Embedder:
    return open_embedder(SHIPPED_CARD, "litert", batch_sizes=(1, 4))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where TensorFlow's graph is kept; made once for all tests here."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def tensorflow(graphs: Path) -> Iterator[TensorFlowEmbedder]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported
        opened = open_embedder(SHIPPED_CARD, "tensorflow", cache=graphs, batch_sizes=(1, 4))
        assert isinstance(opened, TensorFlowEmbedder)
        yield opened


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_every_crop_gets_a_unit_vector_of_the_dimension_on_the_card(litert: Embedder, count: int) -> None:
    vectors = litert.embed(crops(count))

    assert vectors.shape == (count, CARD.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_template_does_not_depend_on_who_is_in_the_batch_with_it(litert: Embedder) -> None:
    faces = crops(6)

    alone = np.concatenate([litert.embed([face]) for face in faces])

    np.testing.assert_allclose(litert.embed(faces), alone, atol=1e-5)


def test_a_crop_of_another_size_is_refused(litert: Embedder) -> None:
    with pytest.raises(ValueError, match=r"expected crops of uint8 \(150, 150, 3\)"):
        litert.embed([np.zeros((112, 112, 3), np.uint8)])


def test_a_vector_without_a_direction_becomes_nan_as_a_whole() -> None:
    black, grey = np.zeros((150, 150, 3), np.uint8), np.full((150, 150, 3), 90, np.uint8)

    vectors = StubEmbedder().embed([black, grey])

    assert np.isnan(vectors[0]).all()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1)


def test_the_stub_knows_colours_apart() -> None:
    red, green = np.zeros((2, 150, 150, 3), np.uint8)
    red[..., 0], green[..., 1] = 200, 200

    first, second, again = StubEmbedder().embed([red, green, red])

    np.testing.assert_array_equal(first, again)
    assert first @ second < 0.9


@pytest.mark.parametrize("backend", ["litert", "auto"])
def test_litert_serves_where_there_is_no_gpu_and_tensorflow_is_not_imported(backend: str) -> None:
    """Also where it is installed: importing it would take seconds and 500 MB."""
    if backend == "auto" and any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    program = (
        "import sys; from pathlib import Path; from streamd.recognition.embedding import open_embedder;"
        f"print(open_embedder(Path({str(SHIPPED_CARD)!r}), {backend!r}).model, 'tensorflow' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [f"pair:{CARD.sha256[:16]}/litert", "False"]


@needs_tensorflow
def test_both_backends_give_the_same_templates(litert: Embedder, tensorflow: TensorFlowEmbedder) -> None:
    """The tolerance on the card: LiteRT rounds activations to 8 bits as it runs, TensorFlow does not."""
    faces = crops(12)

    cosines = (litert.embed(faces) * tensorflow.embed(faces)).sum(1)

    assert cosines.min() >= CARD.golden.min_cosine["tensorflow"]
    assert litert.model != tensorflow.model


class Watched(TensorFlowEmbedder):
    """Remembers the size of every batch that is run."""

    def _run(self, batch: UInt8) -> Float32:
        self.run = [*getattr(self, "run", []), len(batch)]
        return super()._run(batch)


@needs_tensorflow
def test_every_batch_size_is_run_at_the_start_and_one_trace_serves_them_all() -> None:
    opened = Watched(FILE, CARD, None, (1, 4))

    assert opened.run == [1, 4]
    for count in (1, 2, 3, 4, 5, 9):
        opened.embed(crops(count))
    assert set(opened.run) == {1, 4}
    assert opened.traces == 1


@needs_tensorflow
def test_the_graph_is_built_once_and_loaded_afterwards(tensorflow: TensorFlowEmbedder, graphs: Path) -> None:
    (kept,) = graphs.iterdir()
    written = (kept / "saved_model.pb").stat().st_mtime_ns

    again = TensorFlowEmbedder(FILE, CARD, graphs, (1, 4))

    assert (kept / "saved_model.pb").stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.embed(crops(2)), tensorflow.embed(crops(2)))
    one_by_one = TensorFlowEmbedder(FILE, CARD, graphs, (1,))
    np.testing.assert_allclose(one_by_one.embed(crops(2)), tensorflow.embed(crops(2)), atol=1e-5)


@needs_tensorflow
@pytest.mark.usefixtures("tensorflow")
def test_a_broken_cache_says_what_to_remove(graphs: Path, tmp_path: Path) -> None:
    shutil.copytree(graphs, tmp_path, dirs_exist_ok=True)
    (kept,) = tmp_path.iterdir()
    (kept / "saved_model.pb").write_bytes(b"nothing")

    with pytest.raises(ModelError, match="remove this folder"):
        TensorFlowEmbedder(FILE, CARD, tmp_path, (1,))


def test_tensorflow_that_is_asked_for_and_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorflow" else found(name, *a))

    with pytest.raises(ModelError, match=r"pip install 'streamd\[gpu\]'"):
        open_embedder(SHIPPED_CARD, "tensorflow")


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """A copy of the shipped card with changed keys, beside the shipped file."""
    os.symlink(FILE, tmp_path / CARD.file)

    def changed(**keys: object) -> Path:
        card = tmp_path / "changed.json"
        card.write_text(json.dumps(json.loads(SHIPPED_CARD.read_text()) | keys))
        return card

    return changed


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"file": "missing.tflite"}, "missing.tflite: the model file cannot be read"),
        ({"sha256": "0" * 64}, "expected sha256 0000"),
        ({"dimension": 128}, "its card says 128 numbers in a template, the file gives (384,)"),
        ({"alignment": "arcface5-112/1"}, "takes crops of alignment 'arcface5-112/1', this streamd makes 'arcface5-150/1'"),
        ({"golden": {**CARD.golden.model_dump(), "vector": [384**-0.5] * 384}}, "gives another template for the drawn face"),
        ({"golden": {**CARD.golden.model_dump(), "vector": [1.0]}}, "no golden vector of 384 numbers"),
        ({"calibration": {**CARD.calibration.model_dump(), "correlation": 2}}, "calibration.correlation"),
        ({"name": None}, "no card of a model: name"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_at_start(
    model: Callable[..., Path], keys: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ModelError) as refused:
        open_embedder(model(**keys), "litert")

    assert sentence in str(refused.value)


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.json: the model's card cannot be read"):
        open_embedder(tmp_path / "nowhere.json", "litert")


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"no model at all", "LiteRT cannot read it"), (b"", "LiteRT cannot read it")]
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / CARD.file).write_bytes(content)

    with pytest.raises(ModelError, match=sentence):
        LiteRTEmbedder(tmp_path / CARD.file, CARD, threads=1)


def test_a_network_of_another_kind_is_refused() -> None:
    """MediaPipe's detector is a model file too, and gives boxes and scores."""
    detector = FILE.parent / "face_detection_full_range_sparse.tflite"

    with pytest.raises(ModelError, match="expected one input and one output, found 1 and 2"):
        LiteRTEmbedder(detector, CARD, threads=1)


def test_every_model_file_is_in_the_notices_with_its_digest() -> None:
    notices = (FILE.parent / "README.md").read_text()

    for file in FILE.parent.iterdir():
        if file.suffix in (".tflite", ".task"):
            assert f"| `{file.name}` |" in notices
            assert hashlib.sha256(file.read_bytes()).hexdigest() in notices


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_the_model_of_that_name(tmp_path: Path, profile: str) -> None:
    config = written_config(tmp_path, model={"profile": profile})

    embedder, card = open_model(config)

    assert attribute_rules(config) is not None  # refused unless made for this very file
    assert card.name == profile
    assert embedder.model == f"{profile}:{card.sha256[:16]}/litert"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cards_for_people_have_the_figures_of_the_card_for_the_program(profile: str) -> None:
    card = read_card(MODELS / f"{profile}.json")
    text = (MODELS / "README.md").read_text()
    figures = {figure.name: figure.value for figure in card.figures}

    assert (MODELS / f"{profile}.md").read_text() == page(card)
    assert f"| {figures['lfw_view2_accuracy']:.4f} (" in text
    assert f"| {figures['lfw_view2_tar_at_fmr_1e-3']:.4f} |" in text
    assert all(f"- {limit}\n" in text for limit in card.limits)
