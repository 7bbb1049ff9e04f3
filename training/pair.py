"""Pair: networks of different makers inside one graph: one crop in, one template out.

Each tower cuts what it was trained to see out of streamd's crop and gives a unit vector; the template is the vectors side by
side, scaled so that the whole has unit length. The cosine of two templates is then the mean of the towers' cosines, and a face
that one network mistakes is seldom mistaken by the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras

from streamd.vision.alignment import SIDE


@dataclass(frozen=True, slots=True)
class Look:
    """What a tower sees of a crop: a square of `size` pixels from (`left`, `top`), resized (bilinear) to `side` pixels.

    bgr: channels in reverse.
    """

    left: int
    top: int
    size: int
    side: int
    bgr: bool = False


SFACE_LOOK: Final = Look(0, 0, SIDE, 112)
RETAIL_LOOK: Final = Look(5, 6, 141, 128, bgr=True)
"""The points to which retail-0095 aligns, in streamd's crop: its window is (4.52, 6.03), 140.9 wide, turned by 0.1 degrees."""


def looked_at(look: Look, crops: Any) -> Any:
    """A tower's input, float32 (N, side, side, 3), of crops float32 (N, 150, 150, 3) RGB 0..255."""
    bottom, right = SIDE - look.top - look.size, SIDE - look.left - look.size
    part = keras.layers.Cropping2D(((look.top, bottom), (look.left, right)))(crops) if look.size != SIDE else crops
    small = keras.layers.Resizing(look.side, look.side, interpolation="bilinear")(part)
    return keras.ops.flip(small, axis=-1) if look.bgr else small


def tower(network: keras.Model, look: Look) -> keras.Model:
    """One network as streamd calls it: float32 (N, 150, 150, 3) RGB 0..255 to unit vectors float32 (N, D)."""
    return joined([(network, look)])


def joined(towers: Sequence[tuple[keras.Model, Look]]) -> keras.Model:
    """All of them in one graph, in this order: the template is float32 (N, sum of D), unit length, towers weighing the same."""
    crops = keras.Input((SIDE, SIDE, 3), name="crops")
    parts = [keras.layers.UnitNormalization()(network(looked_at(look, crops), training=False)) for network, look in towers]
    whole = parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)
    scaled = whole if len(parts) == 1 else whole * float(len(parts) ** -0.5)
    return keras.Model(crops, scaled, name="embedder")
