"""MediaPipe, imported lean and kept silent; the one module that knows the library.

MediaPipe 1.x reports usage to its maker a minute after the first task is made, and has no switch for it. The thread that
makes tasks therefore gives up the right to open sockets first, and every thread the library starts inherits that; the
address of a proxy that is not there keeps it from looking a name up even where the kernel cannot be asked.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamd.errors import ModelError
from streamd.native_log import native_log_to_debug
from streamd.values import Float32, UInt8

log = logging.getLogger(__name__)

MODELS: Final = Path(__file__).resolve().parent.parent / "models"
DETECTOR_FILE: Final = MODELS / "face_detection_full_range_sparse.tflite"
LANDMARKER_FILE: Final = MODELS / "face_landmarker.task"

# Audit architecture and number of socket(2) (linux/audit.h, asm/unistd.h).
_SOCKET_CALL = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_EACCES = 13


def silence() -> bool:
    """Keep this thread, and all that it starts, from opening sockets; True when the kernel agreed.

    seccomp(2) filter: socket() fails with EACCES. It cannot be undone for the thread, so call it only on a thread that has
    no business on the network. Also names a dead proxy, which the library's HTTP client obeys.
    """
    os.environ["https_proxy"] = "http://127.0.0.1:9"
    if platform.system() != "Linux" or platform.machine() not in _SOCKET_CALL:
        return False
    architecture, call = _SOCKET_CALL[platform.machine()]
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (0x20, 0, 0, 4),  # load the architecture
            (0x15, 0, 3, architecture),
            (0x20, 0, 0, 0),  # load the call's number
            (0x15, 0, 1, call),
            (0x06, 0, 0, 0x00050000 | _EACCES),
            (0x06, 0, 0, 0x7FFF0000),  # allow
        )
    )
    buffer = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    agreed: bool = libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, ctypes.addressof(buffer))), 0, 0) == 0
    if not agreed:
        log.warning(
            "the kernel refused the filter that keeps MediaPipe silent (errno %d); its proxy stands in", ctypes.get_errno()
        )
    return agreed


@contextmanager
def _hidden(names: dict[str, types.ModuleType | None]) -> Iterator[None]:
    """Modules put in place of heavy ones that an import would pull in without need; those loaded already stay."""
    placed = {name: module for name, module in names.items() if name not in sys.modules}
    sys.modules.update(placed)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)


def _library() -> Any:
    """MediaPipe's tasks, without matplotlib (only drawing needs it: 1.4 s, 40 MB) and TensorFlow (400 MB)."""
    pyplot = types.ModuleType("matplotlib.pyplot")
    matplotlib = types.ModuleType("matplotlib")
    matplotlib.pyplot = pyplot  # type: ignore[attr-defined]
    with _hidden({"matplotlib": matplotlib, "matplotlib.pyplot": pyplot, "tensorflow": None}):
        import mediapipe
    return mediapipe


_WARM_UP: Final = np.zeros((192, 192, 3), np.uint8)  # the first run allocates, and says so


class DetectionTask:
    """MediaPipe's full-range face detector; one owner thread. Call `close` when done."""

    def __init__(self, min_score: float, path: Path = DETECTOR_FILE) -> None:
        silence()
        self._mediapipe = _library()
        vision = self._mediapipe.tasks.vision
        options = vision.FaceDetectorOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_buffer=_read(path)),
            min_detection_confidence=min_score,
        )
        with native_log_to_debug(log):
            self._task = vision.FaceDetector.create_from_options(options)
            self.detect(_WARM_UP)

    def detect(self, image: UInt8) -> list[tuple[Float32, Float32, float]]:
        """Faces in uint8 (H, W, 3) contiguous RGB: box float32 (4,) x0 y0 x1 y1, key points float32 (6, 2), score 0..1."""
        height, width = image.shape[:2]
        size = np.array([width, height], np.float32)
        found = self._task.detect(_image(self._mediapipe, image)).detections
        faces = []
        for detection in found:
            box = detection.bounding_box
            corners = np.array([box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height], np.float32)
            points = np.array([[point.x, point.y] for point in detection.keypoints], np.float32) * size
            faces.append((corners, points, float(detection.categories[0].score)))
        return faces

    def close(self) -> None:
        """Free the task; one that is not closed complains when the interpreter ends."""
        with native_log_to_debug(log):
            self._task.close()


class LandmarkTask:
    """MediaPipe's face landmarker on single crops; one owner thread. Call `close` when done."""

    def __init__(self, path: Path = LANDMARKER_FILE) -> None:
        silence()
        self._mediapipe = _library()
        vision = self._mediapipe.tasks.vision
        options = vision.FaceLandmarkerOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_buffer=_read(path)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=2,  # a neighbour may be in the crop; the caller takes the face it asked for
            min_face_detection_confidence=0.3,
        )
        with native_log_to_debug(log):
            self._task = vision.FaceLandmarker.create_from_options(options)
            self.landmarks(_WARM_UP)

    def landmarks(self, image: UInt8) -> list[Float32]:
        """The one or two most prominent faces of uint8 (H, W, 3) contiguous RGB: float32 (478, 3) each, x y z in pixels."""
        height, width = image.shape[:2]
        scale = np.array([width, height, width], np.float32)
        found = self._task.detect(_image(self._mediapipe, image)).face_landmarks
        return [np.array([[point.x, point.y, point.z] for point in face], np.float32) * scale for face in found]

    def close(self) -> None:
        """Free the task; one that is not closed complains when the interpreter ends."""
        with native_log_to_debug(log):
            self._task.close()


def _image(mediapipe: Any, image: UInt8) -> Any:
    # A view that is not contiguous would be read as if it were: wrong pixels and no error.
    return mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); reinstall streamd, the file belongs to it") from error
