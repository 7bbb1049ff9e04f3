"""Backbones: networks from streamd's crop to an embedding, with nothing of a loss in them.

Each takes crops float32 (N, 150, 150, 3) RGB 0..255, brings them to its own size and range inside the graph, and gives vectors
of unit length, float32 (N, D). Activations are those that LiteRT runs fast in int8: ReLU and ReLU6, no PReLU.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import keras
from keras import layers, ops

from streamd.vision.alignment import SIDE

log = logging.getLogger(__name__)

Backbone = Literal["dlib", "small-residual", "mobilefacenet", "koch", "vgg16", "resnet50", "inceptionv3"]

_APPLICATIONS: Final = {
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50),
    "inceptionv3": (keras.applications.InceptionV3, keras.applications.inception_v3),
}
DLIB_STAGES: Final = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
_SMALL_STAGES: Final = ((32, 2), (64, 3), (128, 3), (256, 2))


def backbone(name: Backbone, embedding: int, policy: str = "float32", pretrained: bool = False) -> keras.Model:
    """A network by name, randomly initialised.

    embedding: D. policy: what it computes in, `float32` or `mixed_bfloat16`; its input and output are float32 in both.
    pretrained: whether a network of keras.applications begins with its ImageNet weights; where they cannot be had it begins at
    random, and the log says so.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        crops = keras.Input((SIDE, SIDE, 3), name="crops", dtype="float32")
        features = _features(name, crops, pretrained)
        vectors = layers.Dense(embedding, use_bias=False, name="embedding")(features)
        unit = layers.UnitNormalization(dtype="float32", name="unit")(layers.Activation("linear", dtype="float32")(vectors))
        return keras.Model(crops, unit, name=name.replace("-", "_"))
    finally:
        keras.config.set_dtype_policy(before)


def _features(name: Backbone, crops: Any, pretrained: bool) -> Any:
    if name in _APPLICATIONS:
        return _application(name, crops, pretrained)
    if name == "dlib":
        return residual(_scaled(crops, SIDE), DLIB_STAGES)
    if name == "small-residual":
        return residual(_scaled(crops, 112), _SMALL_STAGES)
    if name == "mobilefacenet":
        return _mobilefacenet(_scaled(crops, 112))
    return _koch(_scaled(crops, 105))


def _scaled(crops: Any, side: int) -> Any:
    """Crops of `side` pixels, about -1..1."""
    small = layers.Resizing(side, side, interpolation="bilinear", dtype="float32")(crops) if side != SIDE else crops
    return layers.Rescaling(1 / 128, -127.5 / 128)(small)


def residual(x: Any, stages: Sequence[tuple[int, int]]) -> Any:
    """dlib's face network (King 2017, after He et al. 2016), features (N, last width); stages: (filters, blocks) each.

    With its own five stages 29 convolutions of 5.6 million weights. As there, what halves the picture has no padding, and every
    stage but the first begins with that.
    """
    x = layers.Conv2D(stages[0][0], 7, 2)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, 2)(x)
    for stage, (filters, blocks) in enumerate(stages):
        for block in range(blocks):
            x = _block(x, filters, down=stage > 0 and block == 0)
    return layers.GlobalAveragePooling2D()(x)


def _block(x: Any, filters: int, down: bool) -> Any:
    """Two 3x3 convolutions and a shortcut, added; the shortcut of a block that halves is an average, its new channels zeros."""
    path = layers.Conv2D(filters, 3, 2 if down else 1, "valid" if down else "same")(x)
    path = layers.ReLU()(layers.BatchNormalization()(path))
    path = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(path))
    shortcut = layers.AveragePooling2D(2, 2)(x) if down else x
    if shortcut.shape[-1] < filters:
        shortcut = ops.pad(shortcut, [[0, 0], [0, 0], [0, 0], [0, filters - shortcut.shape[-1]]])
    side = max(path.shape[1], shortcut.shape[1])
    return layers.ReLU()(layers.Add()([_from_top_left(path, side), _from_top_left(shortcut, side)]))


def _from_top_left(x: Any, side: int) -> Any:
    """Zeros below and to the right up to `side`: the two ways through a block that halves may differ by one pixel."""
    missing = side - x.shape[1]
    return layers.ZeroPadding2D(((0, missing), (0, missing)))(x) if missing else x


def _mobilefacenet(x: Any) -> Any:
    """MobileFaceNet (Chen et al. 2018) with ReLU6 for PReLU; features (N, 512)."""
    x = _convolved(x, 64, 3, 2)
    x = _depthwise(x, 3, 1)
    for expansion, filters, blocks, stride in ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)):
        for block in range(blocks):
            x = _bottleneck(x, expansion, filters, stride if block == 0 else 1)
    x = _convolved(x, 512, 1, 1)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(7, use_bias=False)(x))  # a weight for each place of each channel
    return layers.Flatten()(x)


def _convolved(x: Any, filters: int, size: int, stride: int) -> Any:
    x = layers.Conv2D(filters, size, stride, "same", use_bias=False)(x)
    return layers.ReLU(6)(layers.BatchNormalization()(x))


def _depthwise(x: Any, size: int, stride: int) -> Any:
    x = layers.DepthwiseConv2D(size, stride, "same", use_bias=False)(x)
    return layers.ReLU(6)(layers.BatchNormalization()(x))


def _bottleneck(x: Any, expansion: int, filters: int, stride: int) -> Any:
    wide = _depthwise(_convolved(x, expansion * x.shape[-1], 1, 1), 3, stride)
    narrow = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(wide))
    return layers.Add()([x, narrow]) if stride == 1 and x.shape[-1] == filters else narrow


def _koch(x: Any) -> Any:
    """The convolutions of Koch, Zemel and Salakhutdinov (2015), in colour; features (N, 9216).

    Their 4,096 sigmoids behind it are left out: of unit length and all positive, no two templates would be far apart.
    """
    for filters, size in ((64, 10), (128, 7), (128, 4)):
        x = layers.MaxPooling2D(2)(layers.Conv2D(filters, size, activation="relu")(x))
    return layers.Flatten()(layers.Conv2D(256, 4, activation="relu")(x))


def _application(name: str, crops: Any, pretrained: bool) -> Any:
    """A network of keras.applications at 112 pixels, averaged over the picture."""
    build, module = _APPLICATIONS[name]
    small = module.preprocess_input(layers.Resizing(112, 112, interpolation="bilinear", dtype="float32")(crops))
    options = {"include_top": False, "input_shape": (112, 112, 3), "pooling": "avg"}
    if pretrained:
        try:
            return build(weights="imagenet", **options)(small)
        except Exception as error:  # noqa: BLE001 (a download that fails raises no other class)
            log.warning("%s: its ImageNet weights cannot be had (%s); it begins at random", name, error)
    return build(weights=None, **options)(small)


NAMES: Final[tuple[str, ...]] = get_args(Backbone)
