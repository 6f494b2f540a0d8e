"""YOLO face detectors with five landmarks: YOLOv8-face (raw heads or one joint output) and YOLOv5-face.

Sources: Jocher et al., Ultralytics YOLOv8 (pose head) as trained on faces by derronqi/yolov8-face; Qi et al., "YOLO5Face: Why
Reinventing a Face Detector", arXiv 2105.12931, deepcam-cn/yolov5-face. The box regression of v8 is that of Li et al.,
"Generalized Focal Loss", arXiv 2006.04388. Both take RGB / 255; canvases are padded at the right and bottom only, so there is no
letterbox to undo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.detectors.base import Capabilities, MemberContext, to_nchw
from auto_annotator.detectors.dense import Candidates, DenseDetector, candidates, image_input, require_overlap
from auto_annotator.errors import MemberError, WeightsError
from auto_annotator.session import Array, TensorInfo
from auto_annotator.types import Float32Array, Image

DFL_BINS = 16
"""Bins of the distribution over each box edge's distance, in strides 0..15."""

_EDGE_CHANNELS = 4 * DFL_BINS
_KEYPOINT_CHANNELS = 5 * 3  # x, y, visibility
HEAD_CHANNELS = _EDGE_CHANNELS + 1 + _KEYPOINT_CHANNELS
"""Channels of a raw YOLOv8-face head: 64 edge bins, one face logit, five points of x, y, visibility."""

JOINT_CHANNELS = 4 + 1 + _KEYPOINT_CHANNELS
"""Channels of the joint output of YOLOv8-face: centre x, centre y, width, height, score, five points of x, y, visibility."""

V5_COLUMNS = 4 + 1 + 10 + 1
"""Columns of YOLOv5-face: centre x, centre y, width, height, objectness, five points of x, y, class score."""

_SCALE = 1 / 255


def sigmoid(logits: Float32Array) -> Float32Array:
    """Logistic function, same shape; the form with tanh cannot overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), np.float32)


def corner_boxes(boxes: Float32Array) -> Float32Array:
    """(n, 4) centre x, centre y, width, height -> x1 y1 x2 y2."""
    half = boxes[:, 2:4] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def decode_head(head: Float32Array, stride: float, threshold: float) -> Candidates:
    """Candidates of one raw YOLOv8-face head.

    An edge lies at the mean of its 16 bins, in strides from the middle of the cell; a point at twice its regressed value, in
    strides from the corner of the cell. The visibility of a point is not a score and is ignored.

    Args:
        head: (80, rows, columns) float32.
        stride: canvas pixels per column, and per row.
        threshold: cells with a score below it are left out.

    Raises:
        MemberError: if a score is not finite.
    """
    columns = head.shape[2]
    cells = head.reshape(HEAD_CHANNELS, -1)
    scores = sigmoid(cells[_EDGE_CHANNELS])
    rows = candidates(scores, threshold)
    picked = cells[:, rows].T
    corner = np.stack([rows % columns, rows // columns], axis=1).astype(np.float32)

    bins = picked[:, :_EDGE_CHANNELS].reshape(-1, 4, DFL_BINS)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    edges = weights @ np.arange(DFL_BINS, dtype=np.float32) / weights.sum(axis=2)
    middle = corner + np.float32(0.5)
    boxes = np.concatenate([middle - edges[:, :2], middle + edges[:, 2:]], axis=1) * np.float32(stride)
    points = (picked[:, _EDGE_CHANNELS + 1 :].reshape(-1, 5, 3)[..., :2] * 2 + corner[:, None]) * np.float32(stride)
    return boxes, scores[rows], points


def decode_joint(rows: Float32Array, threshold: float) -> Candidates:
    """Candidates of the joint output of YOLOv8-face.

    Args:
        rows: (n, 20) float32, coordinates in canvas pixels; the visibility of a point is not a score and is ignored.
        threshold: rows with a score below it are left out.

    Raises:
        MemberError: if a score is not finite.
    """
    rows = rows[candidates(rows[:, 4], threshold)]
    return corner_boxes(rows), rows[:, 4], rows[:, 5:].reshape(-1, 5, 3)[..., :2]


def decode_v5(rows: Float32Array, threshold: float) -> Candidates:
    """Candidates of YOLOv5-face; the score is objectness times class score.

    Args:
        rows: (n, 16) float32, coordinates in canvas pixels.
        threshold: rows with a score below it are left out.

    Raises:
        MemberError: if a score is not finite.
    """
    scores = rows[:, 4] * rows[:, 15]
    keep = candidates(scores, threshold)
    return corner_boxes(rows[keep]), scores[keep], rows[keep, 5:15].reshape(-1, 5, 2)


class YoloV8Face(DenseDetector):
    """YOLOv8-face; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with either raw heads (b, 80, rows, columns), any number and order, or the joint output (b, 20, n) or
            (b, n, 20).
        nms_iou: a box that overlaps a better one by more than this goes.

    Raises:
        WeightsError: if the file is of another family.
        ConfigError: if `nms_iou` is not within 0 < nms_iou <= 1.
    """

    stride = 32

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.5) -> None:
        self._nms_iou = require_overlap(nms_iou)
        self._session = context.session()
        file, outputs = context.weights[0].name, self._session.outputs
        self._heads = _has_heads(outputs, file)
        self._input = image_input(self._session, file=file, family="YOLOv8-face", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=True, batch=self._input.batch)

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases, scale=_SCALE)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        shapes = [output.shape for output in outputs]
        if self._heads and all(len(s) == 4 and s[:2] == (1, HEAD_CHANNELS) for s in shapes):
            return [decode_head(_float(head), size[1] / head.shape[3], threshold) for head in outputs]
        if not self._heads and len(shapes[0]) == 3 and JOINT_CHANNELS in shapes[0][1:]:
            rows = _float(outputs[0])
            return [decode_joint(rows.T if len(rows) == JOINT_CHANNELS else rows, threshold)]
        wanted = f"(1, {HEAD_CHANNELS}, rows, columns)" if self._heads else f"(1, {JOINT_CHANNELS}, n)"
        raise MemberError(f"outputs: got shapes {shapes}, expected {wanted}")


class YoloV5Face(DenseDetector):
    """YOLOv5-face; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with the output (b, n, 16); further outputs (raw heads of some exports) are ignored.
        nms_iou: a box that overlaps a better one by more than this goes.

    Raises:
        WeightsError: if the file is of another family.
        ConfigError: if `nms_iou` is not within 0 < nms_iou <= 1.
    """

    stride = 32

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.5) -> None:
        self._nms_iou = require_overlap(nms_iou)
        self._session = context.session()
        file, outputs = context.weights[0].name, self._session.outputs
        places = [i for i, o in enumerate(outputs) if len(o.shape) == 3 and o.shape[2] in (None, V5_COLUMNS)]
        if len(places) != 1:
            raise _other_family("YOLOv5-face", file, outputs, f"exactly one (batch, n, {V5_COLUMNS})")
        self._place = places[0]
        self._input = image_input(self._session, file=file, family="YOLOv5-face", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=True, batch=self._input.batch)

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases, scale=_SCALE)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        rows = outputs[self._place]
        if rows.ndim != 3 or rows.shape[2] != V5_COLUMNS:
            raise MemberError(f"outputs: got shape {rows.shape}, expected (1, n, {V5_COLUMNS})")
        return [decode_v5(_float(rows), threshold)]


def _has_heads(outputs: Sequence[TensorInfo], file: str) -> bool:
    """Whether a YOLOv8-face file declares raw heads (True) or the joint output (False)."""
    shapes = [output.shape for output in outputs]
    if shapes and all(len(s) == 4 and s[1] in (None, HEAD_CHANNELS) for s in shapes):
        return True
    if len(shapes) == 1 and len(shapes[0]) == 3 and (JOINT_CHANNELS in shapes[0][1:] or None in shapes[0][1:]):
        return False
    raise _other_family(
        "YOLOv8-face", file, outputs, f"raw heads (batch, {HEAD_CHANNELS}, rows, columns) or one (batch, {JOINT_CHANNELS}, n)"
    )


def _other_family(family: str, file: str, outputs: Sequence[TensorInfo], expected: str) -> WeightsError:
    return WeightsError(
        f"{file}: not a file of the {family} family: got outputs {[list(o.shape) for o in outputs]}, expected {expected};"
        " check `use` and `weights` of the member"
    )


def _float(output: Array) -> Float32Array:
    """The first canvas of an output, float32."""
    return np.asarray(output[0], np.float32)
