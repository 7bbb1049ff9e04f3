"""The bare kernels: decoding, detection, landmarks and embedding called in a loop, with nothing of streamd around them.

Each alone, and all four in turn as one frame wants them. In turn they cost more, since each finds the caches full of the
others' data; at the frame rate of a camera more again, since the processor has gone to sleep meanwhile.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from streamd import assembly
from streamd.bench.statistics import quantile, timed
from streamd.demo.story import FPS
from streamd.recognition.card import read_card
from streamd.values import UInt8
from streamd.vision.alignment import SIDE
from streamd.vision.detection import DetectionRules, FaceDetector
from streamd.vision.landmarks import surroundings
from streamd.vision.mediapipe_tasks import DetectionTask, LandmarkTask
from streamd.vision.picture import RgbPicture


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel's time a call, milliseconds: wall median and 99th percentile, and mean CPU."""

    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Kernels:
    """`alone`: each by its name. in_turn, at_frame_rate: all four for one frame after the other, at once or at FPS."""

    alone: dict[str, Kernel]
    in_turn: Kernel
    at_frame_rate: Kernel


def measure(clip: Path, seconds: float) -> Kernels:
    """Each kernel, and all in turn, for `seconds`, on the frames of a clip that shows a face in its middle."""
    image = _middle_frame(clip)
    with ThreadPoolExecutor(1, "kernels") as pool:  # MediaPipe's thread may open no socket
        return pool.submit(_measure, clip, image, seconds).result()


def _measure(clip: Path, image: UInt8, seconds: float) -> Kernels:
    with FaceDetector(DetectionRules()) as detector:
        face = detector.detect(RgbPicture(image))[0]
    x0, y0, x1, y1 = surroundings(face.box, image.shape[1], image.shape[0])
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    detection, landmarks = DetectionTask(0.5), LandmarkTask()
    reduced = RgbPicture(image).reduced(640, 360)
    decoded = _decoding(clip)
    try:
        calls: dict[str, Callable[[], object]] = {
            "decode": lambda: next(decoded),
            "detect": lambda: detection.detect(reduced),
            "landmarks": lambda: landmarks.landmarks(part),
            "embed": bare_embedding(assembly.SHIPPED_CARD),
        }

        def in_turn() -> None:
            for call in calls.values():
                call()

        return Kernels(
            {name: _kernel(call, seconds) for name, call in calls.items()},
            _kernel(in_turn, seconds),
            _kernel(in_turn, seconds, 1 / FPS),
        )
    finally:
        detection.close()
        landmarks.close()


def bare_embedding(card: Path) -> Callable[[], object]:
    """One run of a model's file on one crop by LiteRT alone, one thread."""
    interpreter = Interpreter(model_path=str(card.parent / read_card(card).file), num_threads=1)
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, (1, SIDE, SIDE, 3))
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, np.full((1, SIDE, SIDE, 3), 127, np.float32))
    return lambda: interpreter.invoke()


def _kernel(call: Callable[[], object], seconds: float, period: float = 0.0) -> Kernel:
    samples, cpu = timed(call, seconds, period)
    return Kernel(quantile(samples, 0.5), quantile(samples, 0.99), cpu)


def _decoding(clip: Path) -> Iterator[object]:
    data = clip.read_bytes()
    while True:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)


def _middle_frame(clip: Path) -> UInt8:
    with av.open(str(clip), "r") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return np.asarray(frames[len(frames) // 2].to_ndarray(format="rgb24"), np.uint8)
