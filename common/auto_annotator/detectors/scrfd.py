"""SCRFD, the detectors of InsightFace (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021).

Input: RGB, (pixel - 127.5) / 128. For each stride the network gives three tables with one row per anchor: score, distances
from the anchor's centre to left, top, right and bottom, and five points relative to that centre, all in cells of the stride.
Anchor centres lie on the cells' upper left corners.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.detectors.base import Capabilities, MemberContext, grid_centers, to_nchw
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
from auto_annotator.errors import MemberError
from auto_annotator.session import Array
from auto_annotator.types import Float32Array, Image

_MEAN, _SCALE = 127.5, 1 / 128
_SCORE, _BOX, _POINTS = 1, 4, 10
_THREE_LEVELS, _FIVE_LEVELS = (8, 16, 32), (8, 16, 32, 64, 128)
_FORMS = {6: (_THREE_LEVELS, False), 9: (_THREE_LEVELS, True), 10: (_FIVE_LEVELS, False), 15: (_FIVE_LEVELS, True)}
"""Number of outputs -> strides, and whether there are landmarks."""


class SCRFD(DenseDetector):
    """An SCRFD model in its original ONNX form, with or without landmarks and with or without a batch axis.

    Boxes and points are kept as floats; points are all NaN for a file without landmarks.

    Args:
        context: weights: one .onnx file of 6, 9, 10 or 15 outputs.
        nms_iou: a box that overlaps a better one by more than this goes (0.4 as in InsightFace).

    Raises:
        WeightsError: if the file is of another family.
        ConfigError: if `nms_iou` is not within 0 < nms_iou <= 1.
    """

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.4) -> None:
        self._nms_iou = require_overlap(nms_iou)
        self._session = context.session()
        outputs, file = self._session.outputs, context.weights[0].name
        self._strides, landmarks = _FORMS.get(len(outputs), (_THREE_LEVELS, True))
        levels = len(self._strides)
        self._columns = {_SCORE: levels, _BOX: levels} | ({_POINTS: levels} if landmarks else {})
        require_tables(outputs, self._columns, file=file, family="SCRFD")
        self.stride = self._strides[-1]
        self._input = image_input(self._session, file=file, family="SCRFD", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=landmarks, batch=batched_tables(self._input, outputs))

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases, mean=_MEAN, scale=_SCALE)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        levels = tables(outputs, self._columns)
        parts: list[Candidates] = []
        for i, stride in enumerate(self._strides):
            scores, distances = levels[_SCORE][i].ravel(), levels[_BOX][i]
            anchors = _anchor_centers(len(scores), size, stride)
            rows = candidates(scores, threshold)
            centers, distances = anchors[rows], distances[rows] * np.float32(stride)
            boxes = np.concatenate([centers - distances[:, :2], centers + distances[:, 2:]], axis=1)
            points = None
            if self.capabilities.landmarks:
                points = centers[:, None] + levels[_POINTS][i][rows].reshape(-1, 5, 2) * np.float32(stride)
            parts.append((boxes, scores[rows], points))
        return parts


def _anchor_centers(rows: int, size: tuple[int, int], stride: int) -> Float32Array:
    """(rows, 2) x y of the anchors of one level; the anchors of a cell are neighbours."""
    centers = grid_centers(*size, stride)
    if not len(centers) or rows % len(centers) or rows // len(centers) not in (1, 2):
        raise MemberError(
            f"stride {stride}: got {rows} rows for a canvas of {size[0]} x {size[1]},"
            f" expected 1 or 2 for each of {len(centers)} cells"
        )
    return np.repeat(centers, rows // len(centers), axis=0)
