"""Pair: networks of different makers inside one graph: one crop in, one template out.

Each tower cuts what it was trained to see out of streamd's crop and gives a unit vector; the template is the vectors side by
side, scaled so that the whole has unit length. The cosine of two templates is then the mean of the towers' cosines, weighted by
their shares, and a face that one network mistakes is seldom mistaken by the other.

Networks that saw few faces of a group of people give all of them templates close together, so that its strangers are taken for
each other more often than others are. The graph ends by centring each template on the strangers who are most like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras

from streamd.values import Float32
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


@dataclass(frozen=True, slots=True, eq=False)
class Centring:
    """How templates are centred on strangers (localized centering, Hara et al. 2015, with a soft choice of neighbours).

    strangers: float32 (M, D), unit rows, of the templates that are to be centred. A stranger counts by the exponential of
    `sharpness` times the cosine; `share` of the weighted mean is subtracted, and the rest brought to unit length.
    """

    strangers: Float32
    sharpness: float
    share: float


def centred(centring: Centring, templates: Any) -> Any:
    """Unit templates, float32 (N, D), away from the strangers who are like them."""
    count, dimension = centring.strangers.shape
    alike = keras.layers.Dense(count, "softmax", use_bias=False, name="strangers_alike")
    away = keras.layers.Dense(dimension, use_bias=False, name="strangers_away")
    alike.build((None, dimension))
    away.build((None, count))
    alike.set_weights([centring.sharpness * centring.strangers.T])
    away.set_weights([-centring.share * centring.strangers])
    return keras.layers.UnitNormalization()(templates + away(alike(templates)))


def tower(network: keras.Model, look: Look, centring: Centring | None = None) -> keras.Model:
    """One network as streamd calls it: float32 (N, 150, 150, 3) RGB 0..255 to unit vectors float32 (N, D)."""
    return joined([(network, look)], (1.0,), centring)


def joined(
    towers: Sequence[tuple[keras.Model, Look]], shares: Sequence[float], centring: Centring | None = None
) -> keras.Model:
    """All of them in one graph, in this order: the template is float32 (N, sum of D), unit length.

    shares: of each tower's cosine in that of two templates, before they are centred; 1 together.
    """
    crops = keras.Input((SIDE, SIDE, 3), name="crops")
    parts = [keras.layers.UnitNormalization()(network(looked_at(look, crops), training=False)) for network, look in towers]
    if len(parts) == 1:
        whole = parts[0]
    else:
        whole = keras.layers.Concatenate()([part * float(share**0.5) for part, share in zip(parts, shares, strict=True)])
    return keras.Model(crops, whole if centring is None else centred(centring, whole), name="embedder")
