"""RetinaFace in its PyTorch lineage: three outputs relative to anchors.

Paper: Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", arXiv 1905.00641. File formats: ONNX exports of
biubug6/Pytorch_Retinaface (MobileNet 0.25, ResNet-50), of yakhyo/retinaface-pytorch (the files uniface uses), of
biubug6/Face-Detector-1MB-with-landmark, and what `auto_annotator.converters.retinaface` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from auto_annotator.detectors.base import Capabilities, MemberContext, to_nchw
from auto_annotator.detectors.dense import (
    Candidates,
    DenseDetector,
    batched_tables,
    candidates,
    image_input,
    require_overlap,
    require_tables,
    tables,
)
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.session import Array
from auto_annotator.types import Float32Array, Image

MEAN_BGR = (104.0, 117.0, 123.0)
"""Subtracted from B, G, R before the network, in all files of this lineage."""

CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""Scale of the regressed offsets (in anchor sides) and of the regressed log sizes: the SSD coding."""

_TABLES = {4: 1, 2: 1, 10: 1}  # columns of loc, conf, landmarks -> how many such outputs
_SUM_TOLERANCE = 1e-2  # a softmax in float16 misses a sum of 1 by about 1e-3; two raw logits miss it by far more on some anchor


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorLayout:
    """The square anchors of a RetinaFace file.

    Attributes:
        steps: stride in pixels of each level.
        sides: anchor sides in pixels for each level, in the order of the outputs.
    """

    steps: tuple[int, ...]
    sides: tuple[tuple[int, ...], ...]

    def count(self, height: int, width: int) -> int:
        """Number of anchors on a canvas of that size in pixels."""
        return sum(-(-height // step) * -(-width // step) * len(sides) for step, sides in zip(self.steps, self.sides, strict=True))

    def anchors(self, height: int, width: int) -> Float32Array:
        """(n, 3) float32 centre x, centre y, side in pixels: level by level, row by row, all sides of a cell together."""
        parts = []
        for step, sides in zip(self.steps, self.sides, strict=True):
            ys, xs, ks = np.mgrid[: -(-height // step), : -(-width // step), : len(sides)].reshape(3, -1)
            parts.append(np.stack([(xs + 0.5) * step, (ys + 0.5) * step, np.asarray(sides)[ks]], axis=1))
        return np.concatenate(parts).astype(np.float32)


LAYOUTS = MappingProxyType(
    {
        "standard": AnchorLayout(steps=(8, 16, 32), sides=((16, 32), (64, 128), (256, 512))),
        "1mb-mobilenet": AnchorLayout(steps=(8, 16, 32), sides=((10, 20), (32, 64), (128, 256))),
        "1mb-slim": AnchorLayout(steps=(8, 16, 32, 64), sides=((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))),
    }
)
"""Anchors by variant. `standard`: Pytorch_Retinaface and yakhyo, every backbone. The two others are Face-Detector-1MB's own
exports: its MobileNet 0.25, and its slim and RFB networks."""

_AUTO = ("standard", "1mb-slim")  # `1mb-mobilenet` has as many anchors as `standard`, so only a person can tell them apart


def decode_rows(loc: Float32Array, landmarks: Float32Array, anchors: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Boxes and points of regressed rows.

    Args:
        loc: (n, 4) float32, centre offset and log size relative to the anchor.
        landmarks: (n, 10) float32, five offsets x y relative to the anchor.
        anchors: (n, 3) float32, centre x, centre y, side in pixels.

    Returns:
        (n, 4) x1 y1 x2 y2 and (n, 5, 2) x y, float32, in pixels.
    """
    centers, sides = anchors[:, :2], anchors[:, 2:]
    middle = centers + np.float32(CENTER_VARIANCE) * loc[:, :2] * sides
    with np.errstate(over="ignore"):  # a broken file gives infinite sides, which the ensemble reports
        half = sides * np.exp(np.float32(SIZE_VARIANCE) * loc[:, 2:]) / 2
    points = centers[:, None] + np.float32(CENTER_VARIANCE) * landmarks.reshape(-1, 5, 2) * sides[:, None]
    return np.concatenate([middle - half, middle + half], axis=1), points


def face_probability(conf: Float32Array) -> Float32Array:
    """(n,) probability of the class face from (n, 2) background, face.

    Exports end with or without the softmax. Rows that are all non-negative and sum to 1 are probabilities already; anything
    else is taken as logits.
    """
    if conf.min(initial=0.0) >= 0 and np.allclose(conf.sum(axis=1), 1, atol=_SUM_TOLERANCE):
        return np.asarray(conf[:, 1])
    return np.asarray(0.5 * (1 + np.tanh((conf[:, 1] - conf[:, 0]) / 2)), np.float32)  # softmax of two, without overflow


class RetinaFace(DenseDetector):
    """RetinaFace, any backbone, size and batch as the file says; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with the raw outputs (b, n, 4), (b, n, 2), (b, n, 10) in any order; they are told apart by the last
            axis. Softmax inside or not. A file with decoding or NMS inside is not of this family.
        nms_iou: a box that overlaps a better one by more than this goes (0.4 as in the authors' code).
        variant: one of `LAYOUTS`, or `auto`: by the number of anchors in the output. Face-Detector-1MB's own MobileNet 0.25
            export has the same number as `standard` and must be named `1mb-mobilenet`; files made by our converter are `standard`
            whatever they come from.

    Raises:
        ConfigError: for an unknown variant, or if `nms_iou` is not within 0 < nms_iou <= 1.
        WeightsError: if the file is of another family.
    """

    stride = 32

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.4, variant: str = "auto") -> None:
        if variant != "auto" and variant not in LAYOUTS:
            raise ConfigError(f"retinaface: got variant {variant!r}, expected auto or one of {', '.join(LAYOUTS)}")
        self._nms_iou = require_overlap(nms_iou)
        self._variant = variant
        self._session = context.session()
        self._file = context.weights[0].name
        outputs = self._session.outputs
        require_tables(outputs, _TABLES, file=self._file, family="RetinaFace")
        self._input = image_input(self._session, file=self._file, family="RetinaFace", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=True, batch=batched_tables(self._input, outputs))
        rows = outputs[0].shape[-2] if len(outputs[0].shape) > 1 else None
        if rows is not None and self.fixed_size is not None:
            self._layout(rows, *self.fixed_size)

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases, bgr=True) - np.asarray(MEAN_BGR, np.float32).reshape(1, 3, 1, 1)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        loc, conf, landmarks = (group[0] for group in tables(outputs, _TABLES).values())
        anchors = self._layout(len(loc), *size).anchors(*size)
        scores = face_probability(conf)
        rows = candidates(scores, threshold)
        boxes, points = decode_rows(loc[rows], landmarks[rows], anchors[rows])
        return [(boxes, scores[rows], points)]

    def _layout(self, rows: int, height: int, width: int) -> AnchorLayout:
        """The anchors that make `rows` rows on a canvas of that size."""
        for name in _AUTO if self._variant == "auto" else (self._variant,):
            if LAYOUTS[name].count(height, width) == rows:
                return LAYOUTS[name]
        expected = ", ".join(f"{layout.count(height, width)} ({name})" for name, layout in LAYOUTS.items())
        raise WeightsError(
            f"{self._file}: got {rows} anchors for a {width}x{height} canvas with variant {self._variant!r}, expected {expected};"
            " set `variant` to the one that fits, or export the model without decoding and NMS"
        )
