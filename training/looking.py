"""Looking: faces found on a thread of its own, for a program that needs the network as well, as one with a camera does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Self

from streamd.values import UInt8
from streamd.vision.analysis import AnalysedFace, FaceAnalyser
from streamd.vision.picture import RgbPicture


class Looker:
    """A face analyser whose thread alone can open no socket; use as a context manager."""

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "looker")
        self._analyser = self._thread.submit(FaceAnalyser).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._analyser.close).result()
        self._thread.shutdown()

    def faces(self, image: UInt8) -> list[AnalysedFace]:
        """Every face of a picture (uint8 (H, W, 3) RGB), largest first."""
        return self._thread.submit(self._analyser.analyse, image).result()

    def largest(self, image: UInt8) -> AnalysedFace | None:
        """The largest face of a picture; the others cost nothing."""
        return self._thread.submit(self._largest, image).result()

    def _largest(self, image: UInt8) -> AnalysedFace | None:
        picture = RgbPicture(image)
        found = self._analyser.faces(picture)
        return self._analyser.look(picture, found[0]) if found else None
