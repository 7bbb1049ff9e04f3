"""streamd-train: the commands that make and measure a model; each prints what it found and keeps crops under --cache."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from streamd.errors import StreamdError

SHIPPED: Final = Path(__file__).resolve().parent.parent / "streamd" / "models"
SHIPPED_CARD: Final = SHIPPED / "pair.json"


_DATA_SETS: Final = "folders with a folder of pictures for each person, or tar files of such"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="streamd-train", description="Make and measure the model that streamd ships.")
    commands = top.add_subparsers(dest="command", required=True)
    ship = commands.add_parser("ship", help="make a model file, its card and the page about it, and measure them")
    ship.add_argument(
        "recipe",
        choices=["sface", "pair", "fast"],
        help="SFace as published, retail-0095 and SFace tuned for the door, or the first of them alone",
    )
    ship.add_argument(
        "--tuned",
        type=Path,
        help="folder with what runs of `distil` made: retail_tuned.npz, sface_tuned.npz (default: what comes with this)",
    )
    ship.add_argument("--fairface", type=Path, required=True, help="FairFace as published: train/, val/ and their label files")
    ship.add_argument("--teachers", type=Path, required=True, help="folder with face_reidentification_retail_0095.onnx")
    ship.add_argument("--view2", action="store_true", help="measure LFW View 2 too: once, when everything has been chosen")
    ship.add_argument("--out", type=Path, default=SHIPPED, help="where they go (default: streamd/models)")
    ship.set_defaults(run_command=_ship)
    measure = commands.add_parser("evaluate", help="measure how well a model tells people apart")
    measure.add_argument(
        "--protocol",
        choices=["lfw-view2", "open-set", "one-shot", "test-people", "robustness", "groups"],
        default="lfw-view2",
    )
    measure.add_argument("--model", type=Path, help="a card, a .tflite file or a teacher's .onnx file (default: --card)")
    measure.add_argument("--fairface", type=Path, help="groups: FairFace as published, with val/ and its label file")
    measure.add_argument("--experiment", type=Path, help="test-people: the training that keeps them for its test (.yaml)")
    measure.add_argument("--ways", type=int, default=20, help="one-shot: among how many people (default: %(default)s)")
    measure.set_defaults(run_command=_evaluate)
    fit = commands.add_parser("calibrate", help="measure what a score is worth as evidence")
    fit.set_defaults(run_command=_calibrate)
    rules = commands.add_parser("attributes", help="fit and measure the rules for glasses and covered faces")
    rules.set_defaults(run_command=_attributes)
    verdicts = commands.add_parser("coach", help="measure how true the verdicts on enrolled photos are")
    verdicts.set_defaults(run_command=_coach)
    group = commands.add_parser("group", help="measure how well the visits of strangers are put together")
    group.set_defaults(run_command=_group)
    tuning = commands.add_parser("distil", help="tune a published network for door cameras; a run that was cut off goes on")
    tuning.add_argument("experiment", type=Path, help="YAML file, such as config/training/retail.yaml")
    tuning.add_argument(
        "--fairface", type=Path, required=True, help="FairFace as published: train/, val/ and their label files"
    )
    tuning.add_argument("--teachers", type=Path, required=True, help="folder with face_reidentification_retail_0095.onnx")
    tuning.add_argument("--cache", type=Path, required=True, help="folder where crops and teachers' templates are kept")
    tuning.add_argument("--run", type=Path, required=True, help="folder of the run's checkpoints and log")
    tuning.set_defaults(run_command=_distil)
    preparing = commands.add_parser(
        "prepare", help="make crops of people's pictures, and a manifest: sides, copies, wrong names"
    )
    preparing.add_argument("--data", type=Path, required=True, nargs="+", help=_DATA_SETS)
    preparing.add_argument("--cache", type=Path, required=True, help="folder where crops and templates are kept for training")
    preparing.add_argument("--out", type=Path, required=True, help="the manifest to write (.csv)")
    preparing.add_argument("--seed", type=int, default=1, help="by which people are divided (default: %(default)s)")
    preparing.add_argument("--validation", type=float, default=0.15, help="share of the people (default: %(default)s)")
    preparing.add_argument("--test", type=float, default=0.15, help="share of the people (default: %(default)s)")
    preparing.set_defaults(run_command=_prepare)
    sheet = commands.add_parser("sheet", help="draw what each augmentation makes of a few faces")
    sheet.add_argument("--data", type=Path, required=True, help="a folder of pictures for each person, or a tar file of such")
    sheet.add_argument("--cache", type=Path, help="folder where crops are kept for the next run")
    sheet.add_argument("--faces", type=int, default=4, help="how many faces (default: %(default)s)")
    sheet.add_argument("--out", type=Path, required=True, help="the picture to write (.png)")
    sheet.set_defaults(run_command=_sheet)
    learn = commands.add_parser("train", help="train a network on photographs of named people; a run that was cut off goes on")
    learn.add_argument("experiment", type=Path, help="YAML file, such as config/training/triplet.yaml")
    learn.add_argument("--data", type=Path, required=True, nargs="+", help=_DATA_SETS)
    learn.add_argument("--manifest", type=Path, help="what `prepare` wrote: without copies, people on the sides it drew")
    learn.add_argument("--cache", type=Path, help="folder where crops are kept for the next run")
    learn.add_argument("--run", type=Path, required=True, help="folder of the run: checkpoints, best epoch, log, result")
    learn.set_defaults(run_command=_train)
    forms = commands.add_parser("export", help="write what a training made in every form in which networks are run elsewhere")
    forms.add_argument("--run", type=Path, required=True, help="folder of a training that has ended")
    forms.add_argument(
        "--data", type=Path, required=True, help="people's pictures on which each form is held against the network"
    )
    forms.add_argument("--cache", type=Path, help="folder where crops are kept for the next run")
    forms.add_argument("--faces", type=int, default=300, help="how many of them (default: %(default)s)")
    forms.add_argument("--out", type=Path, required=True, help="folder of the files")
    forms.add_argument("--json", action="store_true", help="print JSON")
    forms.set_defaults(run_command=_export)
    beside = commands.add_parser("report", help="measure models beside each other, and write a page with plots about them")
    beside.add_argument("--models", type=Path, nargs="+", required=True, help="cards, .tflite files, teachers' .onnx files")
    beside.add_argument("--data", type=Path, required=True, help="folder with lfw-rest.tar")
    beside.add_argument("--fairface", type=Path, help="FairFace as published; without it no groups are measured")
    beside.add_argument("--cache", type=Path, required=True, help="folder where crops and templates are kept for the next run")
    beside.add_argument(
        "--out", type=Path, required=True, help="folder of the page; a model whose scores lie there is not measured"
    )
    beside.set_defaults(run_command=_report)
    without = commands.add_parser(
        "ablate", help="what each part of the shipped recipe is worth, and landmarks beside key points"
    )
    without.add_argument("--data", type=Path, required=True, help="folder with lfw-rest.tar")
    without.add_argument(
        "--fairface", type=Path, required=True, help="FairFace as published: train/, val/ and their label files"
    )
    without.add_argument("--teachers", type=Path, required=True, help="folder with face_reidentification_retail_0095.onnx")
    without.add_argument("--cache", type=Path, required=True, help="folder where crops and templates are kept for the next run")
    without.add_argument(
        "--out", type=Path, required=True, help="folder of the table; a variant whose figures lie there is kept"
    )
    without.set_defaults(run_command=_ablate)
    pace = commands.add_parser("speed", help="what a face costs: shipped models, their networks in other runtimes, dlib")
    pace.add_argument("--models", type=Path, nargs="+", required=True, help=".tflite files")
    pace.add_argument("--teachers", type=Path, required=True, help="folder with face_reidentification_retail_0095.onnx")
    pace.add_argument("--cache", type=Path, required=True, help="folder where float32 files of the networks are kept")
    pace.add_argument("--json", action="store_true", help="print JSON")
    pace.set_defaults(run_command=_speed)
    taking = commands.add_parser("collect", help="take pictures of a person from a camera or video, for a training")
    taking.add_argument("--camera", required=True, help="URL, device (0 is /dev/video0), video file or folder of pictures")
    taking.add_argument("--person", required=True, help="name of the person, and of their folder")
    taking.add_argument("--out", type=Path, required=True, help="folder with a folder for each person")
    taking.add_argument("--count", type=int, default=60, help="anchors and positives in all (default: %(default)s)")
    taking.add_argument("--negatives", type=Path, help="folder or tar file of pictures of others, to be copied beside")
    taking.add_argument("--negatives-count", type=int, default=300, help="how many of them (default: %(default)s)")
    taking.add_argument("--headless", action="store_true", help="no window: what it would show is printed")
    taking.add_argument("--seconds", type=float, default=600, help="give up after so long (default: %(default)s)")
    taking.set_defaults(run_command=_collect)
    verifying = commands.add_parser("verify", help="say of each face before a camera whether it is the one of the references")
    verifying.add_argument("--camera", required=True, help="URL, device (0 is /dev/video0), video file or folder of pictures")
    verifying.add_argument("--references", type=Path, required=True, help="folder of pictures of one person")
    what = verifying.add_mutually_exclusive_group()
    what.add_argument("--run", type=Path, help="folder of a training that has ended")
    what.add_argument("--model", type=Path, default=SHIPPED_CARD, help="a card or .tflite file (default: what is shipped)")
    verifying.add_argument("--detection-threshold", type=float, help="score from which a reference is detected")
    verifying.add_argument(
        "--verification-threshold", type=float, default=0.5, help="share of references (default: %(default)s)"
    )
    verifying.add_argument("--seconds", type=float, help="end after so long (default: when the camera ends)")
    verifying.set_defaults(run_command=_verify)
    for one in (measure, fit, rules, verdicts, group, preparing):
        one.add_argument("--card", type=Path, default=SHIPPED_CARD, help="the model's card (default: the shipped one)")
        one.add_argument("--json", action="store_true", help="print JSON")
    for one in (ship, measure, fit, rules, verdicts, group):
        one.add_argument(
            "--data", type=Path, required=True, help="folder with lfw-rest.tar, lfw-view2.tar, fairface-10k.tar and clips/"
        )
        one.add_argument("--cache", type=Path, help="folder where crops and templates are kept for the next run")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = parser().parse_args(arguments)
    try:
        found: dict[str, Any] = given.run_command(given)
    except StreamdError as error:
        sys.stderr.write(f"streamd-train: {error}\n")
        return error.exit_status
    text = json.dumps(found) if getattr(given, "json", False) else _table(found)
    sys.stdout.write(text + "\n")
    return 0


def _table(found: dict[str, Any]) -> str:
    width = max(map(len, found))
    return "\n".join(f"{name:{width}}  {value}" for name, value in found.items())


def _ship(given: argparse.Namespace) -> dict[str, Any]:
    from training.prepare import DataError
    from training.ship import RECIPES, TUNED, Places, ship  # TensorFlow, which measuring alone does not need

    if given.cache is None:
        raise DataError("ship needs --cache: it measures the same faces in many ways")
    places = Places(given.data, given.fairface, given.teachers, given.tuned or TUNED, given.cache)
    card = ship(RECIPES[given.recipe], places, given.out, given.view2)
    return {"file": str(given.out / card.file), "sha256": card.sha256, **{one.name: one.value for one in card.figures}}


def _distil(given: argparse.Namespace) -> dict[str, Any]:
    from training.distil import read_experiment
    from training.tune import tune

    experiment = read_experiment(given.experiment)
    return {"steps": tune(experiment, given.fairface, given.teachers, given.cache, given.run), "run": str(given.run)}


def _prepare(given: argparse.Namespace) -> dict[str, Any]:
    from training.manifest import prepare

    shares = {"seed": given.seed, "validation": given.validation, "test": given.test}
    return prepare(given.data, given.card, given.cache, given.out, **shares)


def _sheet(given: argparse.Namespace) -> dict[str, Any]:
    import cv2

    from training.augment import contact_sheet
    from training.prepare import faces

    found = faces(given.data, given.cache)
    crops = found.crops[:: max(1, len(found.crops) // given.faces)][: given.faces]
    cv2.imwrite(str(given.out), contact_sheet(crops)[..., ::-1])
    return {"faces": len(crops), "written": str(given.out)}


def _train(given: argparse.Namespace) -> dict[str, Any]:
    from training.train import carry_out, read_experiment

    return carry_out(read_experiment(given.experiment), given.data, given.cache, given.run, given.manifest)


def _export(given: argparse.Namespace) -> dict[str, Any]:
    from training.forms import write
    from training.prepare import DataError, faces
    from training.train import trained_network

    found = faces(given.data, given.cache)
    crops = found.crops[found.good][:: max(1, int(found.good.sum()) // given.faces)][: given.faces]
    if len(crops) < 16:
        raise DataError(f"{given.data}: {len(crops)} good faces, expected 16 or more, to hold each form against the network")
    return write(trained_network(given.run), crops, given.out)


def _evaluate(given: argparse.Namespace) -> dict[str, Any]:
    from training import evaluate, identification, robustness
    from training.prepare import DataError
    from training.scores import of_file

    model = of_file(given.model or given.card)
    if given.protocol == "lfw-view2":
        return evaluate.lfw_view2(given.data, *model, given.cache)
    if given.protocol == "open-set":
        return identification.lfw_open_set(given.data, *model, given.cache)
    if given.protocol == "one-shot":
        return identification.lfw_one_shot(given.data, *model, given.cache, given.ways)
    if given.protocol == "test-people":
        from training.train import gathered, lesson, of_test_people, read_experiment

        if given.experiment is None:
            raise DataError("--protocol test-people needs --experiment: a training of config/training, as `train` takes it")
        archives = [given.data / name for name in ("lfw-rest.tar", "lfw-view2.tar")]
        return of_test_people(lesson(read_experiment(given.experiment), gathered(archives, given.cache)), model[0])
    if given.cache is None:
        raise DataError(f"--protocol {given.protocol} needs --cache: its faces are seen in many views")
    if given.protocol == "robustness":
        return robustness.lfw_robustness(given.data, *model, given.cache)
    if given.fairface is None:
        raise DataError("--protocol groups needs --fairface: the folder with FairFace's val/ and its label file")
    return identification.fairface_groups(given.fairface, *model, given.cache)


def _collect(given: argparse.Namespace) -> dict[str, Any]:
    import cv2

    from streamd.clock import SystemClock
    from streamd.errors import CameraError, CameraFailure
    from training import collect, verify
    from training.prepare import DataError

    window = f"streamd-train collect: {given.person}"
    if not given.headless and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise DataError("collect: there is no screen for its window; say --headless")
    collection = collect.Collection(given.count)
    seen = verify.frames(given.camera, SystemClock(), given.seconds)
    said = ""
    try:
        for step in collect.collect(seen, collection, given.out / given.person):
            if given.headless and step.said != said:
                sys.stdout.write(f"{step.said}\n")
            said = step.said
            if not given.headless:
                cv2.imshow(window, collect.annotated(step, collection)[..., ::-1])
                if cv2.waitKey(1) in (27, ord("q")):
                    break
    except CameraError as error:
        if error.failure is not CameraFailure.END_OF_STREAM:
            raise
    others = collect.negatives(given.negatives, given.negatives_count, given.out) if given.negatives else 0
    missing = ", ".join(f"{number} {one}" for one, number in collection.missing.items()) or "nothing"
    return {"folder": str(given.out), "taken": collection.taken.total(), "missing": missing, "negatives": others}


def _verify(given: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace

    from streamd.clock import SystemClock
    from streamd.errors import CameraError, CameraFailure
    from training import verify

    verifier = verify.of_run(given.run) if given.run else verify.of_model(given.model, given.detection_threshold)
    if given.detection_threshold is not None:
        verifier = replace(verifier, detection_threshold=given.detection_threshold)
    known = verify.references(given.references, verifier.embed)
    seen = verify.largest_faces(verify.frames(given.camera, SystemClock(), given.seconds))
    judged = verified = 0
    try:
        for frame, one in verify.verify(verifier, known, seen, given.verification_threshold):
            judged, verified = judged + 1, verified + one.verified
            what = "verified" if one.verified else "not verified"
            sys.stdout.write(f"{frame.wall:%H:%M:%S.%f}  {what}: {one.share:.0%} of references, best score {one.best:.3f}\n")
    except CameraError as error:
        if error.failure is not CameraFailure.END_OF_STREAM:
            raise
    return {
        "references": len(known),
        "detection threshold": round(verifier.detection_threshold, 3),
        "faces": judged,
        "verified": verified,
    }


def _speed(given: argparse.Namespace) -> dict[str, Any]:
    from training.speed import measure

    return measure(given.models, given.teachers, given.cache)


def _report(given: argparse.Namespace) -> dict[str, Any]:
    from training.report import of_models

    return {"page": str(of_models(given.models, given.data, given.fairface, given.cache, given.out))}


def _ablate(given: argparse.Namespace) -> dict[str, Any]:
    from training.ablation import measure
    from training.ship import TUNED, Places

    return measure(Places(given.data, given.fairface, given.teachers, TUNED, given.cache), given.out)


def _calibrate(given: argparse.Namespace) -> dict[str, Any]:
    from training import calibrate
    from training.scores import of_card

    model = of_card(given.card)
    trials = calibrate.trials(given.data, *model, given.cache)
    correlations = calibrate.correlations(given.data, *model, given.cache)
    measured = {one.name: one.value for one in calibrate.figures(trials, correlations, "")}
    return {**measured, **calibrate.calibration(trials, correlations.largest).model_dump()}


def _attributes(given: argparse.Namespace) -> dict[str, Any]:
    from training import attributes

    return attributes.summary(*attributes.ship(given.data, given.card, given.cache))


def _coach(given: argparse.Namespace) -> dict[str, Any]:
    from training import coach

    return coach.measure(given.data, given.card, given.cache)


def _group(given: argparse.Namespace) -> dict[str, Any]:
    from streamd.recognition.card import read_card
    from training.group import lfw_view2
    from training.scores import of_card

    return dict(lfw_view2(given.data, *of_card(given.card), read_card(given.card).calibration, given.cache))


if __name__ == "__main__":
    sys.exit(main())
