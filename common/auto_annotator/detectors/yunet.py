"""YuNet, OpenCV's face detector (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023), on ONNX Runtime.

Input: BGR, 0..255, no normalisation. For each of the strides 8, 16 and 32 there are four tables with one row per cell: class and
object score, box (centre relative to the cell's upper left corner, logarithm of width and height) and five points relative to
that corner, all in cells. The score is the geometric mean of the two. Decoding follows `cv2.FaceDetectorYN`, except that NMS
looks at the boxes themselves where OpenCV looks at boxes cut to whole pixels.
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

_STRIDES = (8, 16, 32)
_SCORE, _BOX, _POINTS = 1, 4, 10
_COLUMNS = {_SCORE: 2 * len(_STRIDES), _BOX: len(_STRIDES), _POINTS: len(_STRIDES)}


class YuNet(DenseDetector):
    """A YuNet model with the twelve outputs of its original ONNX export (2022 and later: cls, obj, bbox, kps).

    Class and object score have one shape and only their product counts, so that no output has to be known by its name.

    Args:
        context: weights: one float32 .onnx file.
        nms_iou: a box that overlaps a better one by more than this goes (0.3 as in `cv2.FaceDetectorYN`).

    Raises:
        WeightsError: if the file is of another family.
        ConfigError: if `nms_iou` is not within 0 < nms_iou <= 1.
    """

    stride = _STRIDES[-1]

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.3) -> None:
        self._nms_iou = require_overlap(nms_iou)
        self._session = context.session()
        outputs, file = self._session.outputs, context.weights[0].name
        require_tables(outputs, _COLUMNS, file=file, family="YuNet")
        self._input = image_input(self._session, file=file, family="YuNet", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=True, batch=batched_tables(self._input, outputs))

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases, bgr=True)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        levels = tables(outputs, _COLUMNS)
        parts: list[Candidates] = []
        for i, stride in enumerate(_STRIDES):
            corners = grid_centers(*size, stride)
            first, second = levels[_SCORE][2 * i], levels[_SCORE][2 * i + 1]
            if not len(first) == len(second) == len(levels[_BOX][i]) == len(levels[_POINTS][i]) == len(corners):
                raise MemberError(f"stride {stride}: got {len(first)} rows for {len(corners)} cells of {size[0]} x {size[1]}")
            scores = np.sqrt(np.clip(first, 0, 1) * np.clip(second, 0, 1)).ravel()
            rows = candidates(scores, threshold)
            corner, box = corners[rows], levels[_BOX][i][rows]
            center = corner + box[:, :2] * np.float32(stride)
            half = np.exp(box[:, 2:]) * np.float32(stride / 2)
            points = corner[:, None] + levels[_POINTS][i][rows].reshape(-1, 5, 2) * np.float32(stride)
            parts.append((np.concatenate([center - half, center + half], axis=1), scores[rows], points))
        return parts
