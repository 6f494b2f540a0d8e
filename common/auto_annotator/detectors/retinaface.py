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

from auto_annotator.detectors.base import Capabilities, MemberContext, nms, to_nchw
from auto_annotator.detectors.inputs import PictureInput, Shape, describe_outputs, describe_shape
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.types import Faces, Float32Array, Image

MEAN_BGR = (104.0, 117.0, 123.0)
"""Subtracted from B, G, R before the network, in all files of this lineage."""

CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
"""Scale of the regressed offsets (in anchor sides) and of the regressed log sizes: the SSD coding."""

_WIDTHS = {"loc": 4, "conf": 2, "landmarks": 10}
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
"""Anchors by variant. `standard`: Pytorch_Retinaface and yakhyo, every backbone. The two others are Face-Detector-1MB's own exports:
its MobileNet 0.25, and its slim and RFB networks."""

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


class RetinaFace:
    """RetinaFace, any backbone, size and batch as the file says; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with the raw outputs (b, n, 4), (b, n, 2), (b, n, 10) in any order; they are told apart by the last
            axis. Softmax inside or not. A file with decoding or NMS inside is not of this family.
        nms_iou: boxes that overlap a better one by more go.
        variant: one of `LAYOUTS`, or `auto`: by the number of anchors in the output. Face-Detector-1MB's own MobileNet 0.25
            export has the same number as `standard` and must be named `1mb-mobilenet`; files made by our converter need no name.

    Raises:
        ConfigError: for an unknown variant.
        WeightsError: if the file is of another family; for a file of dynamic size some of it shows only in `detect`.
    """

    capabilities: Capabilities
    stride = 32
    fixed_size: tuple[int, int] | None

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.4, variant: str = "auto") -> None:
        if variant != "auto" and variant not in LAYOUTS:
            raise ConfigError(f"retinaface: got variant {variant!r}, expected auto or one of {', '.join(LAYOUTS)}")
        self._session = context.session()
        self._input = PictureInput.of(self._session, family="retinaface")
        self._nms_iou = nms_iou
        self._variant = variant
        self.fixed_size = self._input.size
        self.capabilities = Capabilities(landmarks=True, batch=self._input.batch)
        self._check_outputs()

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Find the faces of each canvas; see `detectors.base.Detector.detect`.

        Raises:
            WeightsError: if the outputs fit no known anchors.
            MemberError: if the scores are not finite.
        """
        if not canvases:
            return []
        height, width = canvases[0].shape[:2]
        blob = to_nchw(canvases, bgr=True) - np.asarray(MEAN_BGR, np.float32).reshape(1, 3, 1, 1)
        anchors: Float32Array | None = None
        found = []
        for outputs in self._input.run(self._session, blob):
            columns = self._columns([output.shape for output in outputs])
            loc, conf, landmarks = (outputs[columns[name]].reshape(-1, size) for name, size in _WIDTHS.items())
            if anchors is None:
                anchors = self._layout(len(loc), height, width).anchors(height, width)
            found.append(self._faces(loc, conf, landmarks, anchors, threshold))
        return found

    def _faces(
        self, loc: Float32Array, conf: Float32Array, landmarks: Float32Array, anchors: Float32Array, threshold: float
    ) -> Faces:
        scores = face_probability(conf)
        if not np.isfinite(scores).all():
            raise MemberError("retinaface: got scores that are not finite, expected 0..1")
        rows = np.flatnonzero(scores >= threshold)
        boxes, points = decode_rows(loc[rows], landmarks[rows], anchors[rows])
        keep = nms(boxes, scores[rows], self._nms_iou)
        return Faces.of(boxes[keep], scores[rows][keep], points[keep])

    def _check_outputs(self) -> None:
        """Refuse at construction what the file itself already shows to be of another family."""
        shapes = [output.shape for output in self._session.outputs]
        if any(len(shape) != 3 for shape in shapes):
            raise self._other_family(shapes)
        columns = self._columns([shape[1:] for shape in shapes])
        rows = shapes[columns["loc"]][1]
        if rows is not None and self.fixed_size is not None:
            self._layout(rows, *self.fixed_size)

    def _columns(self, shapes: Sequence[Shape]) -> dict[str, int]:
        """Which output is which, by the last axis; an unknown length (None) is left to the order loc, conf, landmarks."""
        last = [shape[-1] if shape else None for shape in shapes]
        if len(last) == len(_WIDTHS):
            if set(last) == set(_WIDTHS.values()):
                return {name: last.index(width) for name, width in _WIDTHS.items()}
            if all(got in (None, width) for got, width in zip(last, _WIDTHS.values(), strict=True)):
                return {name: place for place, name in enumerate(_WIDTHS)}
        raise self._other_family(shapes)

    def _other_family(self, shapes: Sequence[Shape]) -> WeightsError:
        return WeightsError(
            f"retinaface: got a file with the outputs {describe_outputs(self._session)} (last axes"
            f" {describe_shape([shape[-1] if shape else None for shape in shapes])}), expected three outputs (b, n, 4), (b, n, 2) and"
            " (b, n, 10); check that `use:` and `weights:` belong together"
        )

    def _layout(self, rows: int, height: int, width: int) -> AnchorLayout:
        names = _AUTO if self._variant == "auto" else (self._variant,)
        for name in names:
            if LAYOUTS[name].count(height, width) == rows:
                return LAYOUTS[name]
        expected = ", ".join(f"{layout.count(height, width)} ({name})" for name, layout in LAYOUTS.items())
        raise WeightsError(
            f"retinaface: got {rows} anchors for a {width}x{height} canvas with variant {self._variant!r}, expected {expected};"
            " set `variant` to the one that fits, or export the model without decoding and NMS"
        )
