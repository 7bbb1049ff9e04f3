"""Train: a network learns from photographs of named people to tell people apart, by one experiment in a YAML file.

People, not pictures, are divided into training, validation and test, by a digest of their names: one who is in two collections
is on one side. Every epoch is judged on the validation people by FNMR at FMR 1e-3, by the head's own measure, the best is kept,
and the test people are looked at once, at the end.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field, model_validator

from streamd.document import read
from streamd.values import Float32, UInt8
from training import losses, manifest, run, samplers
from training.augment import DoorViews, door_view
from training.backbones import Backbone, backbone
from training.distil import Views
from training.distribution import Distribute, Distribution
from training.evaluate import equal_error_rate, tar_at_fmr
from training.identification import OneShot, cosines, one_shot
from training.manifest import Side
from training.prepare import DataError, faces
from training.run import CHECKPOINT, ExperimentError, Section
from training.scores import Compare, Embed, few_of_each

log = logging.getLogger(__name__)

BEST: Final = "best.npz"
EXPERIMENT: Final = "experiment.json"
RESULT: Final = "result.json"
_FMR: Final = 1e-3
_PICTURES_JUDGED: Final = 10  # of a person at most: else one often photographed person is the statistic
_BATCH_JUDGED: Final = 64
_WAYS: Final = 20  # of the one-shot trials, as in Koch et al. 2015

_MARGINS: Final = {"contrastive": 1.0, "triplet": 0.2, "quadruplet": 1.0, "cosface": 0.35, "arcface": 0.5}
_TOGETHER: Final = {"siamese-l1": 2, "euclidean-bce": 2, "euclidean-mae": 2, "contrastive": 2, "triplet": 3, "quadruplet": 4}


class Loss(Section):
    """What is minimised; see `losses`. margin: None for the paper's own. mining: of triplets, where they are not given by the
    sampler. all_first: epochs in which all triplets are mined, before hard or semi-hard ones alone: by its hardest triplets a
    network at random is driven to give every face one embedding, which costs the margin and no more. scale: of CosFace and
    ArcFace."""

    name: Literal["siamese-l1", "euclidean-bce", "euclidean-mae", "contrastive", "triplet", "quadruplet", "cosface", "arcface"]
    margin: float | None = Field(default=None, gt=0)
    mining: Literal["given", "all", "semi-hard", "hard"] = "given"
    all_first: int = Field(default=0, ge=0)
    scale: float = Field(default=32.0, gt=0)

    @model_validator(mode="after")
    def _takes_what_it_is_given(self) -> Loss:
        if self.margin is not None and self.name not in _MARGINS:
            raise ValueError(f"{self.name} has no margin; remove `margin`")
        if self.mining != "given" and self.name != "triplet":
            raise ValueError(f"{self.name} mines nothing; remove `mining`, or set `name: triplet`")
        if self.all_first and self.mining not in ("semi-hard", "hard"):
            raise ValueError(f"mining: {self.mining} has nothing to put off; remove `all_first`, or set `mining: hard`")
        return self

    @property
    def together(self) -> int | None:
        """Pictures that the sampler draws together: pairs, triplets, quadruplets; None: subjects by pictures (P x K)."""
        return None if self.mining != "given" else _TOGETHER.get(self.name)


class Experiment(Section):
    """One training. batch: pictures in a batch; pictures_each: of a subject, where a batch is subjects by pictures (P x K).

    epochs, steps_per_epoch: an epoch is what lies between two judgements on the validation people. warm_up: steps to the
    highest learning rate, which falls by a cosine to nothing or, with `schedule: plateau`, by `plateau_factor` whenever
    `plateau_patience` epochs brought no better judgement, down to `lowest_rate`. early_stop: epochs without a better judgement
    after which the run ends; None: never before its last. weight_decay: of kernels, per step and learning rate, decoupled
    from the gradient. validation, test: shares of the people. checkpoint_every: steps that a kill may cost. precision:
    mixed_bfloat16 pays only on processors and accelerators that have it. distribute: see `distribution`. flipped: share of
    mirrored views.
    """

    seed: int = 1
    backbone: Backbone = "small-residual"
    embedding: Literal[128, 256, 512] = 128
    pretrained: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    distribute: Distribute = "none"
    loss: Loss
    batch: int = Field(default=64, ge=2)
    pictures_each: int = Field(default=4, ge=2)
    epochs: int = Field(ge=1)
    steps_per_epoch: int = Field(ge=1)
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    warm_up: int = Field(default=50, ge=0)
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: int = Field(default=3, ge=1)
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    lowest_rate: float = Field(default=1e-6, gt=0)
    early_stop: int | None = Field(default=None, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    validation: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)
    checkpoint_every: int = Field(default=50, ge=1)
    flipped: Annotated[float, Field(ge=0, le=1)] = 0.5
    views: Views = Views(clean=0.7)

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        together = self.loss.together or self.pictures_each
        if self.batch % together:
            raise ValueError(f"batch: expected a multiple of {together}, the pictures drawn together, found {self.batch}")
        if self.validation + self.test >= 1:
            raise ValueError("validation and test: expected less than 1 in all, so that somebody is left to train on")
        return self

    @property
    def steps(self) -> int:
        """Batches in all."""
        return self.epochs * self.steps_per_epoch

    @property
    def plateau(self) -> run.Plateau | None:
        """How the learning rate follows the judgements; None where it follows a cosine."""
        if self.schedule == "cosine":
            return None
        return run.Plateau(self.plateau_patience, self.plateau_factor, self.lowest_rate)

    def rate(self, step: int, pace: run.Pace) -> float:
        """The learning rate of a step."""
        if self.plateau is None:
            return run.learning_rate(self.learning_rate, self.warm_up, self.steps, step)
        return run.plateau_rate(self.learning_rate, self.warm_up, self.plateau, pace, step)

    def ends_early(self, pace: run.Pace) -> bool:
        """Whether so many epochs brought nothing better that the run is over."""
        return self.early_stop is not None and pace.without >= self.early_stop


def read_experiment(path: Path) -> Experiment:
    """The experiment in a YAML file. Raises ConfigError with file, line and key of every mistake."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected an experiment (YAML)") from error
    return read(content, str(path), Experiment)


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """Faces with names. crops: uint8 (N, 150, 150, 3) RGB; people: N names; sides: N sides of a manifest, empty without one."""

    crops: UInt8
    people: tuple[str, ...]
    sides: tuple[Side, ...] = ()

    def only(self, kept: NDArray[Any]) -> Named:
        """Those of some indices, in their order."""
        sides = tuple(self.sides[index] for index in kept) if self.sides else ()
        return Named(self.crops[kept], tuple(self.people[index] for index in kept), sides)


def gathered(data: Sequence[Path], cache: Path | None, prepared: Path | None = None) -> Named:
    """The good faces of several folders or tar files of people; a name that is in two of them is one person.

    prepared: a manifest, by which copies are left out and people divided. Raises DataError where it knows none of the faces.
    """
    found = {one.name: faces(one, cache) for one in data}
    if prepared is None:
        people = [name for one in found.values() for name, good in zip(one.people, one.good, strict=True) if good]
        return Named(np.concatenate([one.crops[one.good] for one in found.values()]), tuple(people))
    sides = {(row.source, row.picture): row.side for row in manifest.read(prepared) if row.side and row.subject}
    kept = [
        (one.crops[index], person, sides[source, picture])
        for source, one in found.items()
        for index, (picture, person) in enumerate(zip(one.pictures, one.people, strict=True))
        if (source, picture) in sides
    ]
    if not kept:
        raise DataError(f"{prepared}: names none of the pictures of {', '.join(found)}; expected what `prepare` wrote for them")
    return Named(np.stack([crop for crop, _, _ in kept]), tuple(one for _, one, _ in kept), tuple(one for _, _, one in kept))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The faces of an experiment: those that are learnt from, with `subjects` int (N,) from 0, and those that judge."""

    train: Named
    subjects: NDArray[np.intp]
    validation: Named
    test: Named


def lesson(experiment: Experiment, named: Named) -> Lesson:
    """The faces divided by people, as a manifest says or drawn by the seed; at most ten pictures of a person judge.

    Raises DataError where too few people have two pictures, on any side that is not left empty.
    """
    drawn = (manifest.side_of(experiment.seed, one, experiment.validation, experiment.test) for one in named.people)
    where = np.array(named.sides or tuple(drawn))
    judging = {}
    for name, share in (("validation", experiment.validation), ("test", experiment.test)):
        part = named.only(np.flatnonzero(where == name))
        judging[name] = part.only(few_of_each(part.people, _PICTURES_JUDGED))
        people, counts = np.unique(part.people, return_counts=True)
        if share and (len(people) < 2 or counts.max() < 2):
            raise DataError(
                f"{name}: expected two people or more, one of them with two pictures, found {len(people)}; "
                f"add people, or raise `{name}`"
            )
    train = named.only(np.flatnonzero(where == "train"))
    subjects = np.unique(train.people, return_inverse=True)[1]
    return Lesson(train, subjects, **judging)


Draw = Callable[[int], samplers.Indices]
"""The pictures of a step, int (batch,)."""


def drawer(experiment: Experiment, subjects: NDArray[np.intp]) -> Draw:
    """How this experiment's loss wants its batches drawn."""
    pictures, seed = samplers.Pictures(subjects), experiment.seed
    together = experiment.loss.together
    if together is None:
        each = experiment.pictures_each
        return lambda step: samplers.subjects_by_pictures(pictures, experiment.batch // each, each, seed, step).ravel()
    count = experiment.batch // together
    if together == 2:
        return lambda step: samplers.pairs(pictures, count, seed, step).ravel()
    return lambda step: samplers.tuples(pictures, count, together - 2, seed, step).ravel()


def batch(experiment: Experiment, given: Lesson, draw: Draw, step: int) -> tuple[UInt8, NDArray[np.int32]]:
    """Views uint8 (batch, 150, 150, 3) and subjects int32 (batch,) of one step, a function of seed and step."""
    chosen = draw(step)
    random = np.random.default_rng((experiment.seed, 2, step))
    rules = DoorViews(**experiment.views.model_dump())
    views = []
    for index in chosen:
        crop = given.train.crops[index]
        flipped = np.ascontiguousarray(crop[:, ::-1]) if random.random() < experiment.flipped else crop
        views.append(door_view(rules, flipped, random))
    return np.stack(views), given.subjects[chosen].astype(np.int32)


def batches(experiment: Experiment, given: Lesson, first: int) -> tf.data.Dataset:
    """The batches from step `first` on, made on other threads while the network computes."""
    draw = drawer(experiment, given.subjects)

    def made(step: Any) -> Any:
        views, subjects = tf.numpy_function(
            lambda number: batch(experiment, given, draw, int(number)), [step], (tf.uint8, tf.int32)
        )
        views.set_shape((experiment.batch, *given.train.crops.shape[1:]))
        subjects.set_shape((experiment.batch,))
        return views, subjects

    return tf.data.Dataset.range(first, experiment.steps).map(made, num_parallel_calls=2, deterministic=True).prefetch(4)


def _margin(loss: Loss) -> float:
    return loss.margin if loss.margin is not None else _MARGINS.get(loss.name, 0.0)


def head(experiment: Experiment, subjects: int) -> losses.Head:
    """The loss of an experiment; subjects: how many are trained on."""
    loss = experiment.loss
    margin = _margin(loss)
    if loss.name == "siamese-l1":
        return losses.L1Head(experiment.embedding)
    if loss.name == "euclidean-bce":
        return losses.EuclideanHead("binary-cross-entropy")
    if loss.name == "euclidean-mae":
        return losses.EuclideanHead("mean-absolute-error")
    if loss.name == "contrastive":
        return losses.ContrastiveHead(margin)
    if loss.name == "triplet":
        return losses.TripletHead(margin, None if loss.mining == "given" else loss.mining)
    if loss.name == "quadruplet":
        return losses.QuadrupletHead(margin)
    return losses.ClassHead(experiment.embedding, subjects, loss.name, loss.scale, margin)


@dataclass(frozen=True, slots=True)
class Figures:
    """How well people are told apart, all pairs of the faces given compared; shares of 1.

    fnmr: false non-match rate at FMR 1e-3. threshold: the score at which as many pairs of one person fail as pairs of two pass,
    or one given. precision, recall, f1: at the threshold, were there as many pairs of one as of two.
    """

    fnmr: float
    eer: float
    threshold: float
    precision: float
    recall: float
    f1: float
    people: int
    genuine: int
    impostor: int


def figures(compare: Compare, vectors: Float32, people: Sequence[str], threshold: float | None = None) -> Figures:
    """From embeddings float32 (N, D) and whose each is."""
    above = np.triu_indices(len(vectors), 1)
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    scores = compare(vectors, vectors)[above]
    same = numbers[above[0]] == numbers[above[1]]
    genuine, impostor = scores[same], scores[~same]
    limit = _equal_error_threshold(genuine, impostor) if threshold is None else threshold
    recall, passed = float(np.mean(genuine > limit)), float(np.mean(impostor > limit))
    precision = recall / (recall + passed) if recall else 0.0
    return Figures(
        fnmr=1 - tar_at_fmr(genuine, impostor, _FMR),
        eer=equal_error_rate(genuine, impostor),
        threshold=limit,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if recall else 0.0,
        people=int(numbers.max()) + 1,
        genuine=len(genuine),
        impostor=len(impostor),
    )


def _equal_error_threshold(genuine: Float32, impostor: Float32) -> float:
    thresholds = np.sort(np.concatenate([genuine, impostor]))
    refused = np.searchsorted(np.sort(genuine), thresholds, "right") / len(genuine)
    passed = 1 - np.searchsorted(np.sort(impostor), thresholds, "right") / len(impostor)
    return float(thresholds[int(np.argmin(np.abs(refused - passed)))])


class Learner:
    """A network and its head, made as the experiment says: always with the same first weights."""

    def __init__(self, experiment: Experiment, subjects: int) -> None:
        keras.utils.set_random_seed(experiment.seed)
        self.network = backbone(experiment.backbone, experiment.embedding, experiment.precision, experiment.pretrained)
        self.head = head(experiment, subjects)
        self._inferred = tf.function(lambda crops: self.network(tf.cast(crops, tf.float32), training=False))

    @property
    def weights(self) -> list[Any]:
        """All, those that batches merely move included."""
        return [*self.network.weights, *self.head.weights]

    @property
    def trainable(self) -> list[Any]:
        """Those that the loss moves."""
        return [*self.network.trainable_variables, *self.head.trainable_variables]

    def embed(self, crops: UInt8) -> Float32:
        """Embeddings float32 (N, D) of clean crops uint8 (N, 150, 150, 3)."""
        parts = [self._inferred(crops[start : start + _BATCH_JUDGED]) for start in range(0, len(crops), _BATCH_JUDGED)]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    def figures(self, named: Named, threshold: float | None = None) -> Figures:
        """How well it tells these people apart, by its head's own measure."""
        return figures(self.head.compare, self.embed(named.crops), named.people, threshold)

    def one_shot(self, named: Named) -> OneShot:
        """How often it finds the one picture of a person among those of 20, or of all where there are fewer."""
        ways = min(_WAYS, len(set(named.people)))
        return one_shot(self.head.compare, self.embed(named.crops), named.people, ways)


def _optimiser(experiment: Experiment, variables: Sequence[Any]) -> Any:
    options = {
        "learning_rate": experiment.learning_rate,
        "weight_decay": experiment.weight_decay or None,
    }
    made = (
        keras.optimizers.Adam(**options)
        if experiment.optimiser == "adam"
        else keras.optimizers.SGD(momentum=0.9, nesterov=True, **options)
    )
    if experiment.weight_decay:  # a normalisation's scale is not a kernel: pulled to nothing it undoes the normalisation
        made.exclude_from_weight_decay(var_list=[one for one in variables if len(one.shape) < 2])
    made.build(variables)
    return made


def _identity(experiment: Experiment, given: Lesson) -> str:
    """Names experiment and people: a run goes on with the same faces only."""
    people = "\n".join((*given.train.people, "", *given.validation.people))
    return hashlib.sha256(f"{experiment.digest}\n{people}".encode()).hexdigest()[:16]


def train(experiment: Experiment, given: Lesson, folder: Path, stop: Callable[[int], bool] = lambda _: False) -> int:
    """Train until the experiment ends, of itself or early, or `stop(step)`; the steps that are done.

    folder: of the run; it gets `experiment.json`, checkpoints, the best epoch, TensorBoard's log. Raises ExperimentError where
    it belongs to another experiment or other people, or the loss is no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spread = Distribution(experiment.distribute, experiment.batch, experiment.loss.together or experiment.pictures_each)
    with spread.scope():
        learner = Learner(experiment, int(given.subjects.max()) + 1)
        optimiser = _optimiser(experiment, learner.trainable)
    variables = {"weight": learner.weights, "optimiser": optimiser.variables}
    identity = _identity(experiment, given)
    state = run.restore(folder / CHECKPOINT, identity, variables)
    if state is None:
        state = {"experiment": identity, "done": 0, "best_epoch": 0, "best": [2.0, 2.0], "pace": asdict(run.Pace())}
        state["subjects"] = int(given.subjects.max()) + 1
        if spread.chief:
            (folder / EXPERIMENT).write_text(experiment.model_dump_json(indent=2) + "\n")
        log.info(
            "%d faces of %d people to learn from, %d faces to judge by",
            len(given.subjects),
            int(given.subjects.max()) + 1,
            len(given.validation.people),
        )
    else:
        log.info("%s: goes on from step %d", folder, state["done"])
    writer = tf.summary.create_file_writer(str(folder / "tensorboard")) if spread.chief else tf.summary.create_noop_writer()

    first = losses.TripletHead(_margin(experiment.loss), "all")

    def work(views: Any, subjects: Any, all_triplets: bool) -> Any:
        with tf.GradientTape() as tape:
            embeddings = learner.network(tf.cast(views, tf.float32), training=True)
            loss = (first if all_triplets else learner.head)(embeddings, subjects)
        gradients = tape.gradient(loss, learner.trainable)
        return tf.stack([loss, spread.applied(gradients, learner.trainable, optimiser, experiment.clip_norm)])

    step = spread.step(work)
    began, since = time.monotonic(), state["done"]
    seen: list[Float32] = []
    pace = run.Pace(**state["pace"])
    if experiment.ends_early(pace):
        return int(state["done"])
    for views, subjects in batches(experiment, given, state["done"]):
        done = state["done"]
        rate = experiment.rate(done, pace)
        optimiser.learning_rate.assign(rate)
        seen.append(step(views, subjects, done < experiment.loss.all_first * experiment.steps_per_epoch).numpy())
        done += 1
        state = {**state, "done": done}
        epoch_ends, stops = done % experiment.steps_per_epoch == 0, stop(done)
        if not (epoch_ends or stops or done % experiment.checkpoint_every == 0):
            continue
        loss, norm = np.mean(seen, 0).tolist()
        seen.clear()
        if not np.isfinite(loss):
            raise ExperimentError(f"{folder}: the loss became {loss} at step {done}; lower `learning_rate`")
        speed = (done - since) * experiment.batch / (time.monotonic() - began)
        log.info("step %d of %d: loss %.4f, gradient %.2f, %.1f faces/s", done, experiment.steps, loss, norm, speed)
        shown = {"loss": loss, "gradient_norm": norm, "learning_rate": rate, "faces_per_second": speed}
        if epoch_ends:
            found = learner.figures(given.validation)
            shown |= {"validation/fnmr": found.fnmr, "validation/eer": found.eer}
            epoch = done // experiment.steps_per_epoch
            log.info("epoch %d of %d: FNMR %.4f at FMR 1e-3, EER %.4f", epoch, experiment.epochs, found.fnmr, found.eer)
            better = [found.fnmr, found.eer] < state["best"]
            pace = pace.after(better, experiment.plateau)
            state = {**state, "pace": asdict(pace)}
            if better:
                state = {**state, "best": [found.fnmr, found.eer], "best_epoch": epoch}
                if spread.chief:
                    run.save(folder / BEST, state, {"weight": learner.weights})
            if experiment.ends_early(pace):
                log.info("%d epochs brought nothing better: the run ends", pace.without)
                stops = True
        if spread.chief:
            run.save(folder / CHECKPOINT, state, variables)
            with writer.as_default(done):
                for name, value in shown.items():
                    tf.summary.scalar(name, value)
            writer.flush()
        if stops:
            break
    return int(state["done"])


def best(experiment: Experiment, given: Lesson, folder: Path) -> tuple[Learner, int]:
    """The network and head of a run's best epoch, and which that was (from 1). Raises ExperimentError if there is none yet."""
    learner = Learner(experiment, int(given.subjects.max()) + 1)
    state = run.restore(folder / BEST, _identity(experiment, given), {"weight": learner.weights})
    if state is None:
        raise ExperimentError(f"{folder}: no epoch has ended yet; train on")
    return learner, int(state["best_epoch"])


def trained(folder: Path) -> Learner:
    """The network and head of a run's best epoch, from its folder alone. Raises ExperimentError where it holds none."""
    try:
        experiment = Experiment.model_validate_json((folder / EXPERIMENT).read_bytes())
        with np.load(folder / BEST) as stored:
            head = json.loads(str(stored["head"]))
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{folder}: holds no training whose first epoch has ended") from error
    learner = Learner(experiment, head["subjects"])
    run.restore(folder / BEST, head["experiment"], {"weight": learner.weights})
    return learner


def trained_network(folder: Path) -> keras.Model:
    """The network of a run's best epoch, computing in float32 whatever it was trained in. Raises ExperimentError: see above."""
    network = trained(folder).network
    experiment = Experiment.model_validate_json((folder / EXPERIMENT).read_bytes())
    if experiment.precision == "float32":
        return network
    exact = backbone(experiment.backbone, experiment.embedding)
    exact.set_weights(network.get_weights())
    return exact


def carry_out(
    experiment: Experiment, data: Sequence[Path], cache: Path | None, folder: Path, prepared: Path | None = None
) -> dict[str, Any]:
    """The whole experiment, from folders or tar files of people to `result.json`; what that holds. prepared: a manifest.

    The test people are told apart at the threshold that the validation people gave.
    """
    given = lesson(experiment, gathered(data, cache, prepared))
    steps = train(experiment, given, folder)
    if not Distribution.is_chief(experiment.distribute):
        return {"steps": steps, "judged by": "the first worker"}
    learner, epoch = best(experiment, given, folder)
    validation = learner.figures(given.validation)
    result: dict[str, Any] = {"steps": steps, "best_epoch": epoch, "validation": asdict(validation)}
    if given.test.people:
        result["test"] = asdict(learner.figures(given.test, validation.threshold))
        result["one_shot"] = asdict(learner.one_shot(given.test))
    (folder / RESULT).write_text(json.dumps(result, indent=2) + "\n")
    return result


def of_test_people(given: Lesson, embed: Embed) -> dict[str, Any]:
    """A model's figures on the people whom an experiment keeps for its test, as `carry_out` gives those of what it trained.

    They are told apart by cosine, at the threshold that the experiment's validation people give the model.
    """
    validation = figures(cosines, embed(given.validation.crops), given.validation.people)
    vectors = embed(given.test.crops)
    return {
        "test": asdict(figures(cosines, vectors, given.test.people, validation.threshold)),
        "one_shot": asdict(one_shot(cosines, vectors, given.test.people, min(_WAYS, len(set(given.test.people))))),
    }
