"""YOLO face detectors with five landmarks: YOLOv8-face (raw heads or one joint output) and YOLOv5-face.

Sources: Jocher et al., Ultralytics YOLOv8 (pose head) as trained on faces by derronqi/yolov8-face; Qi et al., "YOLO5Face: Why
Reinventing a Face Detector", arXiv 2105.12931, deepcam-cn/yolov5-face. The box regression of v8 is that of Li et al., "Generalized
Focal Loss", arXiv 2006.04388. Both take RGB / 255; canvases are padded at the right and bottom only, so no letterbox is undone here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from auto_annotator.detectors.base import Capabilities, MemberContext, nms, to_nchw
from auto_annotator.detectors.inputs import PictureInput, Shape, describe_outputs, describe_shape
from auto_annotator.errors import MemberError, WeightsError
from auto_annotator.types import Faces, Float32Array, Image

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


def decode_head(head: Float32Array, stride: tuple[float, float], threshold: float) -> Faces:
    """Faces of one raw YOLOv8-face head, before NMS.

    An edge lies at the mean of its 16 bins, in strides from the middle of the cell; a point at twice its regressed value, in strides
    from the corner of the cell.

    Args:
        head: (80, rows, columns) float32.
        stride: canvas pixels per column and per row.
        threshold: cells with a score below it are left out.
    """
    columns = head.shape[2]
    cells = head.reshape(HEAD_CHANNELS, -1)
    scores = sigmoid(cells[_EDGE_CHANNELS])
    _require_finite(scores)
    rows = np.flatnonzero(scores >= threshold)
    picked = cells[:, rows].T
    corner = np.stack([rows % columns, rows // columns], axis=1).astype(np.float32)
    scale = np.asarray(stride, np.float32)

    bins = picked[:, :_EDGE_CHANNELS].reshape(-1, 4, DFL_BINS)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True, initial=-np.inf))
    edges = weights @ np.arange(DFL_BINS, dtype=np.float32) / weights.sum(axis=2)
    middle = corner + np.float32(0.5)
    boxes = np.concatenate([(middle - edges[:, :2]) * scale, (middle + edges[:, 2:]) * scale], axis=1)
    points = (picked[:, _EDGE_CHANNELS + 1 :].reshape(-1, 5, 3)[..., :2] * 2 + corner[:, None]) * scale
    return Faces.of(boxes, scores[rows], points)


def decode_joint(rows: Float32Array, threshold: float) -> Faces:
    """Faces of the joint output of YOLOv8-face, before NMS.

    Args:
        rows: (n, 20) float32, coordinates in canvas pixels; the visibility of a point is not a score and is ignored.
        threshold: rows with a score below it are left out.
    """
    scores = rows[:, 4]
    _require_finite(scores)
    rows = rows[scores >= threshold]
    return Faces.of(corner_boxes(rows), rows[:, 4], rows[:, 5:].reshape(-1, 5, 3)[..., :2])


def decode_v5(rows: Float32Array, threshold: float) -> Faces:
    """Faces of YOLOv5-face, before NMS; the score is objectness times class score.

    Args:
        rows: (n, 16) float32, coordinates in canvas pixels.
        threshold: rows with a score below it are left out.
    """
    scores = rows[:, 4] * rows[:, 15]
    _require_finite(scores)
    keep = scores >= threshold
    return Faces.of(corner_boxes(rows[keep]), scores[keep], rows[keep, 5:15].reshape(-1, 5, 2))


class YoloV8Face:
    """YOLOv8-face; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with either raw heads (b, 80, rows, columns), any number and order, or the joint output (b, 20, n) or
            (b, n, 20).
        nms_iou: boxes that overlap a better one by more go.

    Raises:
        WeightsError: if the file is of another family.
    """

    capabilities: Capabilities
    stride = 32
    fixed_size: tuple[int, int] | None

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.5) -> None:
        self._session = context.session()
        self._input = PictureInput.of(self._session, family="yolov8-face")
        self._nms_iou = nms_iou
        self.fixed_size = self._input.size
        self.capabilities = Capabilities(landmarks=True, batch=self._input.batch)
        self._form([output.shape[1:] for output in self._session.outputs])

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Find the faces of each canvas; see `detectors.base.Detector.detect`.

        Raises:
            WeightsError: if the outputs have an unknown form.
            MemberError: if the scores are not finite.
        """
        if not canvases:
            return []
        height, width = canvases[0].shape[:2]
        found = []
        for outputs in self._input.run(self._session, to_nchw(canvases, scale=_SCALE)):
            if self._form([output.shape for output in outputs]) == "heads":
                strides = [(width / head.shape[2], height / head.shape[1]) for head in outputs]
                parts = [decode_head(head, stride, threshold) for head, stride in zip(outputs, strides, strict=True)]
                faces = Faces.concat(parts)
            else:
                rows = outputs[0] if outputs[0].shape[1] == JOINT_CHANNELS else outputs[0].T
                faces = decode_joint(rows, threshold)
            found.append(_suppressed(faces, self._nms_iou))
        return found

    def _form(self, shapes: Sequence[Shape]) -> Literal["heads", "joint"]:
        """Which form outputs of these shapes (without the batch axis, None = unknown) have."""
        if shapes and all(len(shape) == 3 and shape[0] in (None, HEAD_CHANNELS) for shape in shapes):
            return "heads"
        if len(shapes) == 1 and len(shapes[0]) == 2 and (JOINT_CHANNELS in shapes[0] or None in shapes[0]):
            return "joint"
        raise WeightsError(
            f"yolov8-face: got a file with the outputs {describe_outputs(self._session)}, expected raw heads (b, {HEAD_CHANNELS}, rows,"
            f" columns) or one output (b, {JOINT_CHANNELS}, n); check that `use:` and `weights:` belong together"
        )


class YoloV5Face:
    """YOLOv5-face; implements `detectors.base.Detector`.

    Args:
        context: one ONNX file with the output (b, n, 16); further outputs (raw heads of some exports) are ignored.
        nms_iou: boxes that overlap a better one by more go.

    Raises:
        WeightsError: if the file is of another family.
    """

    capabilities: Capabilities
    stride = 32
    fixed_size: tuple[int, int] | None

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.5) -> None:
        self._session = context.session()
        self._input = PictureInput.of(self._session, family="yolov5-face")
        self._nms_iou = nms_iou
        self.fixed_size = self._input.size
        self.capabilities = Capabilities(landmarks=True, batch=self._input.batch)
        self._place([output.shape[1:] for output in self._session.outputs])

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Find the faces of each canvas; see `detectors.base.Detector.detect`.

        Raises:
            WeightsError: if the outputs have an unknown form.
            MemberError: if the scores are not finite.
        """
        if not canvases:
            return []
        found = []
        for outputs in self._input.run(self._session, to_nchw(canvases, scale=_SCALE)):
            rows = outputs[self._place([output.shape for output in outputs])]
            found.append(_suppressed(decode_v5(rows, threshold), self._nms_iou))
        return found

    def _place(self, shapes: Sequence[Shape]) -> int:
        """Which output, given shapes without the batch axis (None = unknown), has the faces."""
        places = [i for i, shape in enumerate(shapes) if len(shape) == 2 and shape[1] in (None, V5_COLUMNS)]
        if len(places) == 1:
            return places[0]
        raise WeightsError(
            f"yolov5-face: got a file with the outputs {describe_outputs(self._session)}, at run {[describe_shape(s) for s in shapes]},"
            f" expected exactly one output (b, n, {V5_COLUMNS}); check that `use:` and `weights:` belong together"
        )


def _suppressed(faces: Faces, iou: float) -> Faces:
    return faces.select(nms(faces.boxes, faces.scores, iou))


def _require_finite(scores: Float32Array) -> None:
    if not np.isfinite(scores).all():
        raise MemberError("yolo-face: got scores that are not finite, expected 0..1")
