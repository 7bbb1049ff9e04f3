"""One photo's verdict: the same detection, quality and alignment that frames go through, and advice where it is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from streamd.enrolment import attributes, words
from streamd.enrolment.attributes import AttributeModel
from streamd.enrolment.images import PhotoReason
from streamd.enrolment.rows import Traits
from streamd.values import Float32, Quality, QualityReason, Template, UInt8
from streamd.vision.analysis import AnalysedFace, FaceAnalyser

_RIVAL: Final = 0.5  # a second face of at least this share of the first one's width makes the photo unclear
_PADDING: Final = 0.35  # of the long side, around photos that are cut too tight for the detector

ADVICE: Final[dict[str, str]] = {
    PhotoReason.OUTSIDE: "its name leads out of the enrolment folder; give it a plain name",
    PhotoReason.LINK: "this is a link to another place; copy the photo itself here",
    PhotoReason.NOT_A_FILE: "this is no ordinary file; copy a photo here",
    PhotoReason.UNREADABLE: "the file cannot be read; check its permissions",
    PhotoReason.EMPTY: "the file is empty; copy the photo again",
    PhotoReason.TOO_MANY_BYTES: "the file has more than 40 MB; save it as a JPEG",
    PhotoReason.CHANGED: "the file changed while it was read; it is looked at again when it rests",
    PhotoReason.NOT_A_PICTURE: "this is no JPEG, PNG, WebP, HEIC or BMP picture, whatever its name says; use one that is",
    PhotoReason.GIF: "this is a GIF, whatever its name says; use the original photo",
    PhotoReason.AVIF: "this is an AVIF picture, whatever its name says; save it as a JPEG",
    PhotoReason.OTHER_PICTURE: "this is a TIFF, a camera's raw file or another rare kind of picture; save it as a JPEG",
    PhotoReason.DRAWING: "this is an SVG drawing; use a photo",
    PhotoReason.VIDEO: "this is a video; use a photo, or a picture taken from it",
    PhotoReason.DOCUMENT: "this is a document; take the photo out of it and drop that",
    PhotoReason.ARCHIVE: "this is an archive; unpack it and drop the photos",
    PhotoReason.TEXT: "this is text, perhaps a web page instead of its picture; download the photo itself",
    PhotoReason.TOO_LARGE: "the picture has more than 24 megapixels or needs too much memory; save it with fewer pixels",
    PhotoReason.TRUNCATED: "the end of the file is missing; copy the photo again",
    PhotoReason.DAMAGED: "the file is damaged; use the original, or open it in a picture program and save it anew",
    PhotoReason.DECODER_CRASHED: "the file broke the picture decoder; open it in a picture program and save it anew",
    PhotoReason.DECODER_TIMED_OUT: "the picture takes too long to decode; save it anew, with fewer pixels",
    PhotoReason.DECODER_UNAVAILABLE: "the picture decoder does not start; see the log, the photo is judged at the next start",
    PhotoReason.NO_FACE: "no face was found; use a photo in which the face fills at least a tenth of the width",
    PhotoReason.SEVERAL_FACES: "several faces are in it; cut the photo so that only the person's own face is left",
    PhotoReason.COVERED: words.ADVICE[words.COVERED],
    PhotoReason.NO_PERSON: "it lies in no person's folder; make a folder of the person's name and put it there",
    PhotoReason.NO_CONSENT: "there is no consent that holds today in subject.yaml; add it, or delete the photo",
    PhotoReason.NO_TEMPLATE: "the model gave no template for it; use another photo",
    PhotoReason.LOOKED_LIKE_FORGOTTEN: "it looked like somebody who was forgotten; delete it, or copy it here again if it does "
    "not show them",
    PhotoReason.NAME_TAKEN: "another folder's name differs only in capitals, spaces or dashes; rename one of the two",
    QualityReason.TOO_SMALL: "the face is too small; use a photo taken from nearer",
    QualityReason.BLURRED: "the face is blurred; use a sharper photo",
    QualityReason.DARK: "the face is too dark; use a photo with light on the face",
    QualityReason.OVEREXPOSED: "the face is too bright; use a photo with less light",
    QualityReason.FLAT: "the face has too little contrast; use a photo without haze or veil",
    QualityReason.TURNED_AWAY: "the face is turned too far away; look towards the camera",
    QualityReason.TILTED: "the head leans too far; hold it upright, or turn the photo",
    QualityReason.CUT_OFF: "the face is cut off; use a photo that shows all of it",
    QualityReason.NO_LANDMARKS: "the parts of the face cannot be made out; use a clearer photo",
}
"""One sentence for each reason that a photo can be refused for."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoVerdict:
    """What a photo is worth by itself: a template (float32 (D,), unit length), or the reasons why it is not used.

    traits: how the face looks; None where none was found.
    """

    reasons: tuple[str, ...]
    vector: Float32 | None
    traits: Traits | None = None

    @property
    def advice(self) -> str:
        """What to do about a refused photo; empty for an accepted one."""
        return "; ".join(ADVICE[reason] for reason in self.reasons)


def judge(
    image: UInt8 | PhotoReason,
    analyser: FaceAnalyser,
    embed: Callable[[UInt8], Template | None],
    rules: AttributeModel | None = None,
) -> PhotoVerdict:
    """The verdict on a decoded photo, uint8 (H, W, 3) RGB, or on why there is none.

    `embed` turns one aligned crop (uint8 (150, 150, 3)) into a template; `rules` tell glasses and coverings, if there are any.
    """
    if isinstance(image, PhotoReason):
        return PhotoVerdict((image,), None)
    faces = _faces(image, analyser)
    if not faces:
        return PhotoVerdict((PhotoReason.NO_FACE,), None)
    if len(faces) > 1 and _width(faces[1]) >= _RIVAL * _width(faces[0]):
        return PhotoVerdict((PhotoReason.SEVERAL_FACES,), None)
    quality, crop = faces[0].quality, faces[0].crop
    traits = _traits(quality)
    if not quality.good:
        return PhotoVerdict(quality.reasons, None, traits)
    template = embed(crop)
    if template is None:
        return PhotoVerdict((PhotoReason.NO_TEMPLATE,), None, traits)
    if rules is not None:
        seen = attributes.judge(rules, template.vector, crop)
        traits = dataclasses.replace(traits, glasses=float(seen.glasses), covered=float(seen.covered))
        if seen.covered:
            return PhotoVerdict((PhotoReason.COVERED,), None, traits)
    return PhotoVerdict((), template.vector, traits)


def _traits(quality: Quality) -> Traits:
    return Traits(
        quality.sharpness, quality.brightness, quality.contrast, quality.yaw, quality.pitch, quality.roll, quality.eye_distance
    )


def _faces(image: UInt8, analyser: FaceAnalyser) -> list[AnalysedFace]:
    """The faces of a photo, largest first; one cut tight around the face is looked at again with room around it."""
    found = analyser.analyse(image)
    if not found:
        edge = int(_PADDING * max(image.shape[:2]))
        padded = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        found = analyser.analyse(np.asarray(padded, np.uint8))
    return found


def _width(seen: AnalysedFace) -> float:
    return float(seen.face.box[2] - seen.face.box[0])
