"""Annotated pictures: what was seen when a visit was decided."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import cv2

from streamd.errors import UnavailableError
from streamd.values import Decision, Frame, Outcome, Track, UInt8
from streamd.vision.picture import jpeg

log = logging.getLogger(__name__)

_COLOURS: Final = {
    Outcome.IDENTIFIED: (40, 170, 70),
    Outcome.UNKNOWN: (220, 60, 50),
    Outcome.AMBIGUOUS: (230, 150, 30),
    Outcome.UNDECIDED: (130, 130, 130),
}
_OTHERS: Final = (150, 170, 190)


def annotate(image: UInt8, tracks: tuple[Track, ...], decided: int, decision: Decision) -> UInt8:
    """A copy of a picture (uint8 (H, W, 3) RGB) with every face boxed and the decided one named."""
    drawn = image.copy()
    thick = max(2, round(image.shape[1] / 640))
    for track in tracks:
        x0, y0, x1, y1 = (int(value) for value in track.face.box)
        colour = _COLOURS[decision.outcome] if track.id == decided else _OTHERS
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, thick)
        if track.id == decided:
            _label(drawn, caption(decision), x0, y0, colour, thick)
    return drawn


def caption(decision: Decision) -> str:
    """A decision in a few words of ASCII, which is what the picture's font has."""
    if decision.best is None:
        return decision.outcome.value
    who = decision.best.subject if decision.outcome is Outcome.IDENTIFIED else decision.outcome.value
    return f"{who}  score {decision.best.score:.2f}  evidence {decision.best.evidence:.1f} (needs {decision.bound:.1f})"


def _label(image: UInt8, text: str, x: int, y: int, colour: tuple[int, int, int], thick: int) -> None:
    scale = 0.35 * thick
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, max(1, thick // 2))
    x = max(0, min(x, image.shape[1] - width - 8))
    top = max(0, y - height - below - 8)
    cv2.rectangle(image, (x, top), (x + width + 8, top + height + below + 8), colour, -1)
    at = (x + 4, top + height + 4)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), max(1, thick // 2), cv2.LINE_AA)


class PictureFolder:
    """A folder of annotated pictures, the newest kept; one owner thread."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or "error").lower()
            raise UnavailableError(
                f"{folder}: no folder for pictures ({why}); set debug.pictures to one that can be written"
            ) from None

    def save(self, frame: Frame, tracks: tuple[Track, ...], decided: int, decision: Decision, visit: int) -> None:
        """Write the picture of a decision and remove the oldest beyond the limit; a full disk costs the picture only."""
        picture = annotate(frame.image, tracks, decided, decision)
        who = "" if decision.subject is None else f"-{decision.subject}"
        path = self._folder / f"{frame.wall:%Y%m%dT%H%M%S}-{frame.camera}-visit{visit}{who}-{decision.outcome.value}.jpg"
        try:
            path.write_bytes(jpeg(picture))
            for old in sorted(self._folder.glob("*-visit*.jpg"))[: -self._most]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: the picture cannot be kept (%s)", path, (error.strerror or "error").lower())
