"""MTCNN: a cascade of three small networks over an image pyramid, boxes and five points.

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016
(arXiv:1604.02878). P-net slides over every scale, R-net and O-net look at the crop of each candidate.

The weights descend from Caffe files that were trained on pictures stored column by column. The networks therefore want
the *transposed* picture (the x axis first); the numbers they return are still named x, y. Everything stays float here:
the published implementations cut boxes to whole pixels after each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.crops import Pyramid, square_matrix
from auto_annotator.detectors.base import Capabilities, MemberContext, nms
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.session import Session
from auto_annotator.types import Faces, Float32Array, Image
from auto_annotator.views import resized

CELL = 12
"""Side in pixels of what one P-net output sees; also its training size."""
STRIDE = 2
"""Step of P-net's output grid in pixels."""
R_SIZE, O_SIZE = 24, 48
"""Input sides of R-net and O-net."""
SCALE_NMS_IOU, STAGE_NMS_IOU, FINAL_NMS_OVERLAP = 0.5, 0.7, 0.7
"""Suppression within one scale, after each stage, and of nested boxes at the end: the authors' values."""
MAX_PER_SCALE = 1000
"""Best P-net cells of one scale that enter suppression. A crowd gives about ten cells per face and scale, so this leaves
room for a hundred faces of one size; a noise picture fires everywhere and would cost minutes."""
MAX_CROPS = 1500
"""Best candidates that R-net and O-net look at, for the same reason."""
BATCH = 128
"""Crops per call: bounds the activations of O-net to about 50 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """What a crop network says about n crops.

    Attributes:
        scores: (n,) float32, probability of a face.
        offsets: (n, 4) float32, shift of x1 y1 x2 y2 in sides of the crop.
        points: (n, 5, 2) float32, x y of the landmarks in sides of the crop; NaN if the network has none.
    """

    scores: Float32Array
    offsets: Float32Array
    points: Float32Array


def normalised(pixels: npt.NDArray[np.uint8]) -> Float32Array:
    """(n, h, w, 3) RGB -> (n, w, h, 3) float32 in -1..1, the way all three networks want it."""
    return np.ascontiguousarray((pixels.astype(np.float32) - 127.5) / 128.0).transpose(0, 2, 1, 3)


class MtcnnNet:
    """One of the three networks; its outputs are told apart by their widths (their names differ between exports)."""

    def __init__(self, session: Session, *, widths: tuple[int, ...]) -> None:
        self._session = session
        found = {info.shape[-1]: i for i, info in enumerate(session.outputs)}
        if not set(widths) <= set(found):
            raise WeightsError(
                f"mtcnn: got outputs {', '.join(map(str, found))} numbers wide, expected {widths};"
                " give the weights in the order pnet, rnet, onet"
            )
        self._order = [found[width] for width in widths]

    def run(self, pixels: npt.NDArray[np.uint8]) -> list[Float32Array]:
        """Outputs in the order of `widths` for (n, h, w, 3) RGB uint8."""
        outputs = self._session.run({self._session.inputs[0].name: np.ascontiguousarray(normalised(pixels))})
        return [np.asarray(outputs[i], np.float32) for i in self._order]


class CropNet(MtcnnNet):
    """R-net or O-net: judges square crops."""

    def __init__(self, session: Session, *, size: int, points: bool) -> None:
        super().__init__(session, widths=(2, 4, 10) if points else (2, 4))
        self._size = size

    def judge(
        self, pyramid: Pyramid, squares: Float32Array, angles: Float32Array | None = None, *, mirrored: bool = False
    ) -> Judgement:
        """Look at square crops; what lies outside the picture is black.

        Args:
            pyramid: the picture.
            squares: (n, 4) x1 y1 x2 y2 of equal, positive sides, in picture pixels.
            angles: (n,) by how much each is turned about its middle, in radians from the x axis towards the y axis.
            mirrored: show the network each crop with left and right swapped; its answer is about that picture.
        """
        angles = np.zeros(len(squares), np.float32) if angles is None else angles
        starts = range(0, max(1, len(squares)), BATCH)
        parts = [self._judge(pyramid, squares[i : i + BATCH], angles[i : i + BATCH], mirrored) for i in starts]
        return Judgement(
            scores=np.concatenate([p.scores for p in parts]),
            offsets=np.concatenate([p.offsets for p in parts]),
            points=np.concatenate([p.points for p in parts]),
        )

    def _judge(self, pyramid: Pyramid, squares: Float32Array, angles: Float32Array, mirrored: bool) -> Judgement:
        n, points = len(squares), np.full((len(squares), 5, 2), np.nan, np.float32)
        if n == 0:  # not every runtime takes an empty batch
            return Judgement(scores=np.zeros(0, np.float32), offsets=np.zeros((0, 4), np.float32), points=points)
        crops = np.zeros((n, self._size, self._size, 3), np.uint8)
        for crop, (x1, y1, x2, y2), angle in zip(crops, squares.astype(np.float64), angles.tolist(), strict=True):
            matrix = square_matrix(((x1 + x2) / 2, (y1 + y2) / 2), x2 - x1, self._size, angle=angle, mirrored=mirrored)
            pixels = pyramid.crop(matrix, self._size)
            if pixels is not None:
                crop[:] = pixels
        scores, offsets, *rest = self.run(crops)
        if rest:
            points = rest[0].reshape(n, 2, 5).transpose(0, 2, 1)  # five x, then five y
        return Judgement(scores=scores[:, 1], offsets=offsets, points=points)


def squared(boxes: Float32Array) -> Float32Array:
    """(n, 4) boxes grown around their middles to squares of their longer sides."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def shifted(boxes: Float32Array, offsets: Float32Array) -> Float32Array:
    """(n, 4) boxes with each edge moved by its offset, given in sides of the box."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def points_in(squares: Float32Array, points: Float32Array, angles: Float32Array | None = None) -> Float32Array:
    """(n, 5, 2) points given in sides of (n, 4) squares, turned by (n,) angles as in `CropNet.judge` -> picture pixels."""
    middle = (squares[:, None, :2] + squares[:, None, 2:]) / 2
    arms = (points - 0.5) * (squares[:, None, 2:] - squares[:, None, :2])
    if angles is not None:
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        x, y = arms[..., 0], arms[..., 1]
        arms = np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
    return np.asarray(middle + arms, np.float32)


def suppress_nested(boxes: Float32Array, scores: Float32Array, overlap: float) -> npt.NDArray[np.intp]:
    """Rows kept when a box goes that shares more than `overlap` of the smaller area with a better one, best first."""
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    keep: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        order = rest[shared <= overlap * np.minimum(areas[best], areas[rest])]
    return np.asarray(keep, dtype=np.intp)


class MTCNN:
    """The three-stage cascade.

    Args:
        context: weights in the order pnet, rnet, onet (ONNX, NHWC).
        min_face: side in canvas pixels of the smallest face looked for; the cost grows with its inverse square.
        factor: ratio of two neighbouring scales of the pyramid (the authors' .709 halves the area).
        thresholds: lowest scores that pass P-net, R-net and O-net. The last one bounds the scores of the answer from
            below: a lower `threshold` in `detect` brings nothing more.

    Raises:
        ConfigError: for options out of range.
        WeightsError: if the files are not the three networks in that order.
    """

    capabilities = Capabilities(landmarks=True)
    stride = 1
    fixed_size: tuple[int, int] | None = None

    def __init__(
        self,
        context: MemberContext,
        *,
        min_face: float = 20.0,
        factor: float = 0.709,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
    ) -> None:
        if min_face < 1 or not 0 < factor < 1 or len(thresholds) != 3 or not all(0 <= t <= 1 for t in thresholds):
            raise ConfigError(
                f"mtcnn: got min_face {min_face}, factor {factor}, thresholds {tuple(thresholds)};"
                " expected min_face >= 1, 0 < factor < 1, three thresholds in 0..1"
            )
        if len(context.weights) != 3:
            raise ConfigError(f"mtcnn: got {len(context.weights)} weight files, expected three: pnet, rnet, onet")
        self._min_face, self._factor, self._thresholds = min_face, factor, tuple(thresholds)
        self._pnet = MtcnnNet(context.session(0), widths=(2, 4))
        self._rnet = CropNet(context.session(1), size=R_SIZE, points=False)
        self._onet = CropNet(context.session(2), size=O_SIZE, points=True)

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Faces of each canvas, best score first; see `Detector`."""
        return [self._detect(canvas, threshold) for canvas in canvases]

    def _detect(self, canvas: Image, threshold: float) -> Faces:
        pyramid = Pyramid(canvas)
        squares = self._refine(pyramid, self._propose(canvas))
        judged = self._onet.judge(pyramid, squares)
        rows = np.flatnonzero(judged.scores >= max(threshold, self._thresholds[2]))
        squares, scores = squares[rows], judged.scores[rows]
        boxes = shifted(squares, judged.offsets[rows])
        faces = Faces(boxes=boxes, scores=scores, landmarks=points_in(squares, judged.points[rows]))
        return faces.select(suppress_nested(boxes, scores, FINAL_NMS_OVERLAP))

    def scales(self, height: int, width: int) -> list[float]:
        """Pyramid scales: from the one that makes `min_face` one cell down to where the shorter side is one cell."""
        scale, scales = CELL / self._min_face, []
        while min(height, width) * scale >= CELL:
            scales.append(scale)
            scale *= self._factor
        return scales

    def _propose(self, canvas: Image) -> Float32Array:
        """(n, 4) squares where P-net, at some scale, sees a face."""
        found = [self._propose_at(canvas, scale) for scale in self.scales(*canvas.shape[:2])]
        if not found:
            return np.zeros((0, 4), np.float32)
        cells, scores, offsets = (np.concatenate(columns) for columns in zip(*found, strict=True))
        keep = nms(cells, scores, STAGE_NMS_IOU)[:MAX_CROPS]
        return _positive(squared(shifted(cells[keep], offsets[keep])))

    def _propose_at(self, canvas: Image, scale: float) -> tuple[Float32Array, Float32Array, Float32Array]:
        """(n, 4) cells in canvas pixels, (n,) scores and (n, 4) offsets at one scale of the pyramid."""
        size = np.ceil(np.array([canvas.shape[1], canvas.shape[0]]) * scale).astype(int)
        scores, offsets = self._pnet.run(resized(canvas, int(size[0]), int(size[1]))[None])
        heat = scores[0, :, :, 1]  # (x, y): the networks see the transposed picture
        xs, ys = np.nonzero(heat >= self._thresholds[0])
        best = np.argsort(-heat[xs, ys], kind="stable")[:MAX_PER_SCALE]
        xs, ys = xs[best], ys[best]
        corner = np.stack([xs, ys], axis=1) * STRIDE
        ratio = np.array([canvas.shape[1], canvas.shape[0]]) / size
        cells = np.concatenate([corner * ratio, (corner + CELL) * ratio], axis=1).astype(np.float32)
        keep = nms(cells, heat[xs, ys], SCALE_NMS_IOU)
        return cells[keep], heat[xs, ys][keep], offsets[0, xs, ys][keep]

    def _refine(self, pyramid: Pyramid, squares: Float32Array) -> Float32Array:
        """The squares that R-net keeps, moved by it."""
        judged = self._rnet.judge(pyramid, squares)
        rows = np.flatnonzero(judged.scores >= self._thresholds[1])
        boxes = squares[rows]
        keep = nms(boxes, judged.scores[rows], STAGE_NMS_IOU)
        return _positive(squared(shifted(boxes[keep], judged.offsets[rows][keep])))


def _positive(squares: Float32Array) -> Float32Array:
    """Only those that regression left with a side of at least one pixel."""
    return np.asarray(squares[squares[:, 2] - squares[:, 0] >= 1], np.float32)
