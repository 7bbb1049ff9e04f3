"""Detection, landmarks, alignment and quality in one piece, the same for frames, enrolment photos and training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.values import Face, Float32, Quality, QualityReason, UInt8
from streamd.vision.alignment import SIDE, align
from streamd.vision.detection import DetectionRules, FaceDetector
from streamd.vision.landmarks import FIVE_POINTS, FaceLandmarker
from streamd.vision.picture import Picture, RgbPicture
from streamd.vision.quality import QualityRules, judge


@dataclass(frozen=True, slots=True, eq=False)
class AnalysedFace:
    """A face with what is known of it: `points` float32 (5, 2) pixels, `crop` uint8 (150, 150, 3) RGB.

    Where no landmarks were found, `quality.reasons` says so, and points and crop are zeros.
    """

    face: Face
    points: Float32
    quality: Quality
    crop: UInt8


class FaceAnalyser:
    """The networks of the vision stage; one owner thread, which may open no socket afterwards. Use as a context manager."""

    def __init__(self, detection: DetectionRules | None = None, quality: QualityRules | None = None) -> None:
        self._rules = quality or QualityRules()
        self._detector = FaceDetector(detection or DetectionRules())
        self._landmarker = FaceLandmarker()

    def __enter__(self) -> FaceAnalyser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()
        self._landmarker.close()

    def faces(self, picture: Picture) -> list[Face]:
        """The faces of a picture, largest first."""
        return self._detector.detect(picture)

    def look(self, picture: Picture, face: Face) -> AnalysedFace:
        """Landmarks, crop and quality of one of the faces of a picture."""
        found = self._landmarker.find(picture, face)
        if found is None:
            eyes = float(np.linalg.norm(face.keypoints[0] - face.keypoints[1]))
            nothing = Quality(0, 0, 0, 0, 0, 0, eyes, (QualityReason.NO_LANDMARKS,))
            return AnalysedFace(face, np.zeros((5, 2), np.float32), nothing, np.zeros((SIDE, SIDE, 3), np.uint8))
        mesh, part, origin = found
        points = np.ascontiguousarray(mesh[list(FIVE_POINTS), :2])
        crop = align(part, points - origin)
        return AnalysedFace(face, points, judge(crop, mesh, picture.width, picture.height, self._rules), crop)

    def analyse(self, image: UInt8) -> list[AnalysedFace]:
        """Every face of a picture (uint8 (H, W, 3) RGB), largest first."""
        picture = RgbPicture(image)
        return [self.look(picture, face) for face in self.faces(picture)]
