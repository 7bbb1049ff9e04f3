"""A training learns, judges by people whom it never saw, is a function of its experiment alone, and outlives being killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs streamd[training]", exc_type=ImportError)

from streamd.demo.portraits import OFFICIAL, SPEAKING, STRANGER, Portrait  # noqa: E402
from streamd.errors import ConfigError  # noqa: E402
from streamd.values import Float32, UInt8  # noqa: E402
from streamd.vision.alignment import SIDE  # noqa: E402
from training import cli  # noqa: E402
from training import train as module  # noqa: E402
from training.manifest import side_of  # noqa: E402
from training.prepare import DataError  # noqa: E402
from training.run import CHECKPOINT, ExperimentError, stored_weights  # noqa: E402
from training.train import (  # noqa: E402
    Experiment,
    Lesson,
    Named,
    batch,
    best,
    drawer,
    figures,
    gathered,
    lesson,
    of_test_people,
    read_experiment,
    train,
    trained,
    trained_network,
)

SHIPPED = Path(__file__).parents[2] / "config" / "training"


def tiny(*_: Any) -> Any:
    """A backbone of one convolution and one normalisation, in place of one that takes minutes."""
    given = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 128, -1)(keras.layers.AveragePooling2D(10)(given))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Conv2D(16, 3)(x)))
    x = keras.layers.Dense(128)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(given, keras.layers.UnitNormalization()(x))


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "backbone", tiny)


def people(count: int = 40, each: int = 4) -> Named:
    """Everybody is of another colour, on every picture a little lighter or darker."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (count, 1, 3)) + random.integers(-8, 9, (count, each, 1))
    crops = np.broadcast_to(colours.reshape(-1, 1, 1, 3), (count * each, SIDE, SIDE, 3)).astype(np.uint8)
    return Named(crops, tuple(f"person-{n // each}" for n in range(count * each)))


def experiment(loss: Any = None, **changes: Any) -> Experiment:
    plain = {"batch": 8, "pictures_each": 2, "epochs": 3, "steps_per_epoch": 2, "checkpoint_every": 2, "warm_up": 2}
    clean = {"clean": 1, "misaligned": 0}
    return Experiment(**{"loss": loss or {"name": "contrastive"}, "validation": 0.3, "views": clean, **plain, **changes})


def given(**changes: Any) -> Lesson:
    return lesson(experiment(**changes), people())


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "siamese-l1"},
        {"name": "euclidean-bce"},
        {"name": "euclidean-mae"},
        {"name": "contrastive"},
        {"name": "triplet"},
        {"name": "triplet", "mining": "hard", "margin": 0.5},
        {"name": "quadruplet"},
        {"name": "cosface", "scale": 8},
        {"name": "arcface", "scale": 8},
    ],
    ids=lambda loss: "-".join((loss["name"], *([loss["mining"]] if "mining" in loss else []))),
)
def test_a_training_by_any_loss_tells_strangers_apart_better_than_its_start(tmp_path: Path, loss: Any) -> None:
    """People by colour, 60 steps: the equal error rate on people never seen falls below half of what was."""
    asked = experiment(loss, batch=24, epochs=1, steps_per_epoch=60, learning_rate=0.01, flipped=0)
    taught = lesson(asked, people())
    start = module.Learner(asked, int(taught.subjects.max()) + 1).figures(taught.test)

    train(asked, taught, tmp_path)
    found = best(asked, taught, tmp_path)[0].figures(taught.test)

    assert found.eer < max(start.eer / 2, 0.03)


def test_nobody_is_on_two_sides() -> None:
    found = given()
    sides = [set(part.people) for part in (found.train, found.validation, found.test)]

    assert all(sides)
    assert len(set.union(*sides)) == sum(map(len, sides)) == 40


def test_the_sides_of_a_manifest_go_before_the_seed() -> None:
    named = people()
    sides = tuple(("train", "validation", "test")[int(person.rsplit("-", 1)[1]) % 3] for person in named.people)

    found = lesson(experiment(), Named(named.crops, named.people, sides))

    assert set(found.validation.people) == {f"person-{number}" for number in range(1, 40, 3)}
    assert set(found.test.people) == {f"person-{number}" for number in range(2, 40, 3)}


def test_a_training_takes_what_a_manifest_names(tmp_path: Path, portrait: Callable[[Portrait], UInt8]) -> None:
    """Real photographs, prepared by the command: the copy of one is left out, and everybody is on the side that was drawn."""
    for person, which in (("obama", OFFICIAL), ("obama", SPEAKING), ("other", STRANGER)):
        (tmp_path / "people" / person).mkdir(parents=True, exist_ok=True)
        left, top, right, bottom = which.face
        room = (right - left) // 2
        tight = portrait(which)[max(0, top - room) : bottom + room, max(0, left - room) : right + room]
        cv2.imwrite(str(tmp_path / "people" / person / f"{which.file}.png"), tight[..., ::-1])
    shutil.copy(tmp_path / "people" / "obama" / f"{OFFICIAL.file}.png", tmp_path / "people" / "obama" / "zz.png")
    data, cache, table = tmp_path / "people", tmp_path / "cache", tmp_path / "manifest.csv"

    assert cli.main(["prepare", "--data", str(data), "--cache", str(cache), "--out", str(table)]) == 0

    named = gathered([data], cache, table)
    assert len(gathered([data], cache).people) == 4
    assert sorted(named.people) == ["obama", "obama", "other"]
    assert dict(zip(named.people, named.sides, strict=True)) == {one: side_of(1, one, 0.15, 0.15) for one in named.people}


def test_a_persons_side_depends_on_nobody_else() -> None:
    drawn = [side_of(1, f"somebody-{n}", 0.2, 0.1) for n in range(2000)]

    assert drawn.count("validation") == pytest.approx(400, abs=60)
    assert drawn.count("test") == pytest.approx(200, abs=45)
    assert drawn == [side_of(1, f"somebody-{n}", 0.2, 0.1) for n in range(2000)]


def test_an_often_photographed_person_judges_with_ten_pictures() -> None:
    found = lesson(experiment(), people(count=40, each=15))

    assert {found.validation.people.count(person) for person in found.validation.people} == {10}


def test_too_few_people_to_judge_by_are_refused() -> None:
    with pytest.raises(DataError, match="validation: expected two people or more"):
        lesson(experiment(validation=0.01, test=0), people(count=8))


def test_a_batch_is_drawn_from_seed_and_step_alone() -> None:
    asked, taught = experiment(views={"clean": 0}), given()
    draw = drawer(asked, taught.subjects)

    assert all((a == b).all() for a, b in zip(batch(asked, taught, draw, 4), batch(asked, taught, draw, 4), strict=True))
    assert not (batch(asked, taught, draw, 4)[0] == batch(asked, taught, draw, 5)[0]).all()


def test_figures_of_faces_that_can_be_counted_by_hand() -> None:
    """Two people in two pictures: genuine cosines 1 and 0, impostors 0.6 and 0.8, each twice.

    At 0.7 one genuine pair of two and two others of four pass: recall 1/2, precision (1/2) / (1/2 + 1/2) = 1/2, F1 1/2. Above
    0.8, where no impostor passes, one genuine pair of two is left.
    """
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8], [0.8, -0.6]], np.float32)
    scores = vectors @ vectors.T
    assert sorted(scores[:2, 2:].ravel().tolist()) == pytest.approx([0.6, 0.6, 0.8, 0.8])

    found = figures(lambda a, b: a @ b.T, vectors, ["ada", "ada", "bob", "bob"], threshold=0.7)

    assert (found.people, found.genuine, found.impostor) == (2, 2, 4)
    assert (found.recall, found.precision, found.f1) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert found.fnmr == 0.5


def test_a_model_file_is_judged_on_the_same_test_people() -> None:
    """One whose embedding is who somebody is tells all apart; one that sees nobody, none."""
    kept = given()
    sides = (kept.validation, kept.test)
    who = {crop.tobytes(): name for side in sides for crop, name in zip(side.crops, side.people, strict=True)}
    numbers = {name: number for number, name in enumerate(sorted(set(who.values())))}

    def recognised(crops: UInt8) -> Float32:
        return np.eye(len(numbers), dtype=np.float32)[[numbers[who[crop.tobytes()]] for crop in crops]]

    knowing = of_test_people(kept, recognised)
    blind = of_test_people(kept, lambda crops: np.ones((len(crops), 1), np.float32))

    assert knowing["test"]["people"] == len(set(kept.test.people))
    assert (knowing["test"]["f1"], knowing["test"]["fnmr"], knowing["one_shot"]["accuracy"]) == (1.0, 0.0, 1.0)
    assert (blind["test"]["fnmr"], blind["one_shot"]["accuracy"]) == (1.0, 0.0)


def test_the_best_epoch_is_the_one_of_fewest_false_non_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([0.5, 0.2, 0.4])
    plain = figures(lambda a, b: a @ b.T, np.eye(4, dtype=np.float32), ["ada", "ada", "bob", "bob"])
    monkeypatch.setattr(
        module.Learner, "figures", lambda *_: module.Figures(**{**module.asdict(plain), "fnmr": next(rates), "eer": 0.1})
    )

    train(experiment(), given(), tmp_path)

    assert best(experiment(), given(), tmp_path)[1] == 2


def test_hard_triplets_alone_are_learnt_from_once_the_first_epochs_are_over(tmp_path: Path) -> None:
    """An epoch of all triplets, then two of hard ones, is neither the one nor the other all along, but begins as the one."""
    runs = {}
    for name, loss in (("all", {"mining": "all"}), ("both", {"mining": "hard", "all_first": 1}), ("hard", {"mining": "hard"})):
        asked = experiment({"name": "triplet", "margin": 0.5, **loss})
        train(asked, given(), tmp_path / name, stop=lambda done: done == 2)
        begun = stored_weights(tmp_path / name / CHECKPOINT)[0]
        train(asked, given(), tmp_path / name)
        runs[name] = begun, stored_weights(tmp_path / name / CHECKPOINT)[0]

    assert (runs["both"][0] == runs["all"][0]).all()
    assert not (runs["both"][0] == runs["hard"][0]).all()
    assert not (runs["both"][1] == runs["all"][1]).all()


def test_a_run_that_was_cut_off_ends_bit_for_bit_where_it_would_have_ended(tmp_path: Path) -> None:
    """Cut off in the middle of an epoch, after a step that is no multiple of the interval."""
    loss = {"name": "siamese-l1"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(experiment(loss), given(), whole)

    assert train(experiment(loss), given(), cut, stop=lambda done: done >= 3) == 3
    assert train(experiment(loss), given(), cut) == 6

    for file in (CHECKPOINT, module.BEST):
        assert all((a == b).all() for a, b in zip(stored_weights(whole / file), stored_weights(cut / file), strict=True))


def judged_by(rates: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is as good as the list says."""
    left = iter(rates)
    plain = figures(lambda a, b: a @ b.T, np.eye(4, dtype=np.float32), ["ada", "ada", "bob", "bob"])
    monkeypatch.setattr(
        module.Learner, "figures", lambda *_: module.Figures(**{**module.asdict(plain), "fnmr": next(left), "eer": 0.1})
    )


def test_a_run_ends_where_so_many_epochs_brought_nothing_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = experiment(epochs=9, early_stop=2)
    judged_by([0.5, 0.2, 0.4, 0.3, 0.1], monkeypatch)

    assert train(asked, given(), tmp_path) == 4 * 2  # the fourth epoch is the second without a better one
    assert train(asked, given(), tmp_path) == 4 * 2  # and it does not go on when it is asked again
    assert best(asked, given(), tmp_path)[1] == 2


def test_a_run_whose_rate_follows_its_judgements_ends_bit_for_bit_where_it_would_have_ended(tmp_path: Path) -> None:
    asked = experiment(epochs=6, schedule="plateau", plateau_patience=1, plateau_factor=0.1, learning_rate=0.5)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(asked, given(), whole)

    for step in (3, 7, 8, 12):
        assert train(asked, given(), cut, stop=lambda done, step=step: done >= step) == step

    assert all(
        (a == b).all() for a, b in zip(stored_weights(whole / CHECKPOINT), stored_weights(cut / CHECKPOINT), strict=True)
    )
    with np.load(cut / CHECKPOINT) as stored:
        assert json.loads(str(stored["head"]))["pace"]["factor"] < 1  # else nothing was shown


def test_what_was_trained_can_be_used_from_its_folder_alone(tmp_path: Path) -> None:
    """Of a loss whose head knows how many subjects there were, too."""
    asked, taught = experiment({"name": "arcface"}), given()
    train(asked, taught, tmp_path)

    alone, known = trained(tmp_path), best(asked, taught, tmp_path)[0]

    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(alone.weights, known.weights, strict=True))
    with pytest.raises(ExperimentError, match="holds no training whose first epoch has ended"):
        trained(tmp_path / "nothing")


def test_what_was_trained_in_half_precision_computes_in_whole_once_it_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_policy(_: str, __: int, policy: str = "float32", ___: bool = False) -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        made = tiny()
        keras.config.set_dtype_policy(before)
        return made

    monkeypatch.setattr(module, "backbone", of_policy)
    train(experiment(precision="mixed_bfloat16"), given(), tmp_path)

    network = trained_network(tmp_path)

    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    weights = zip(network.get_weights(), trained(tmp_path).network.get_weights(), strict=True)
    assert all((one == other).all() for one, other in weights)


def _run(folder: Path, epochs: int) -> None:
    module.backbone = tiny
    train(experiment(epochs=epochs), given(), folder)


def test_a_killed_run_ends_bit_for_bit_where_it_would_have_ended(tmp_path: Path) -> None:
    """The process is killed after its first checkpoint, wherever it is; another one goes on."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_run, args=(killed, 400))
    process.start()
    deadline = time.monotonic() + 120
    while not (killed / CHECKPOINT).is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with np.load(killed / CHECKPOINT) as stored:
        kept = int(json.loads(str(stored["head"]))["done"])

    train(experiment(epochs=400), given(), killed, stop=lambda done: done == kept + 5)
    train(experiment(epochs=400), given(), whole, stop=lambda done: done == kept + 5)

    assert kept >= 2
    assert all((a == b).all() for a, b in zip(*(stored_weights(run / CHECKPOINT) for run in (whole, killed)), strict=True))


def test_a_folder_of_another_experiment_or_of_other_people_is_refused(tmp_path: Path) -> None:
    train(experiment(), given(), tmp_path)

    with pytest.raises(ExperimentError, match="another experiment"):
        train(experiment(seed=9), given(seed=9), tmp_path)
    with pytest.raises(ExperimentError, match="another experiment"):
        train(experiment(), lesson(experiment(), people(each=3)), tmp_path)


@pytest.mark.parametrize("name", ["siamese-l1", "siamese-euclidean", "triplet"])
def test_every_recipe_can_be_read(name: str) -> None:
    assert read_experiment(SHIPPED / f"{name}.yaml").steps > 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs: 1\nsteps_per_epoch: 1\nloss: {name: contrastive}\nlearning_rat: 1\n", "learning_rat: unknown key"),
        ("epochs: 1\nsteps_per_epoch: 1\nloss: {name: siamese-l1, margin: 1}\n", "siamese-l1 has no margin; remove `margin`"),
        ("epochs: 1\nsteps_per_epoch: 1\nloss: {name: contrastive, mining: hard}\n", "contrastive mines nothing"),
        ("epochs: 1\nsteps_per_epoch: 1\nloss: {name: triplet, all_first: 1}\n", "remove `all_first`"),
        ("epochs: 1\nsteps_per_epoch: 1\nloss: {name: triplet}\nbatch: 64\n", "expected a multiple of 3"),
    ],
)
def test_a_mistake_in_an_experiment_is_named_with_a_way_out(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=sentence):
        read_experiment(path)


def test_an_experiment_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["train", str(tmp_path / "no.yaml"), "--data", str(tmp_path), "--run", str(tmp_path / "run")])

    assert status == 1
    assert f"{tmp_path}/no.yaml: cannot be read (No such file or directory)" in capsys.readouterr().err
