"""CenterFace (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019).

Input: RGB, 0..255, no normalisation. Outputs on a grid of stride 4: a heat map whose value is the score, the logarithm of
height and width in cells, the offset (y, x) of the box's centre from the cell's middle in cells, and five points (y, x) relative to
the box's upper left corner in box heights and widths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.detectors.base import Capabilities, MemberContext, grid_centers, to_nchw
from auto_annotator.detectors.dense import Candidates, DenseDetector, candidates, image_input, require_overlap
from auto_annotator.errors import MemberError, WeightsError
from auto_annotator.session import Array, TensorInfo
from auto_annotator.types import Float32Array, Image

_CELL = 4
_CHANNELS = (1, 2, 2, 10)
"""Heat, size, offset, points: the order of the original file; the one without landmarks ends after the offset."""


class CenterFace(DenseDetector):
    """A CenterFace model with the outputs of its original ONNX export, axes made dynamic.

    The authors cut a box at the picture's left and top edge *before* they place its other corner and its points, which moves both
    for a face that is partly outside; here corner and points are placed first, and nothing is cut. Measured on Helen portraits cut
    off beside the eye (294 faces at three distances): mean point error 11.4 instead of 13.3 % of the eye distance, at the
    cost of a far edge that lies about 1 % of it further from where it is on the uncut picture.

    Args:
        context: weights: one .onnx file; the original fixes its input at 10 x 3 x 32 x 32, `models pull` makes the axes dynamic.
        nms_iou: a box that overlaps a better one by more than this goes (0.3 as in the authors' code).

    Raises:
        WeightsError: if the file is of another family or its axes are still fixed.
        ConfigError: if `nms_iou` is not within 0 < nms_iou <= 1.
    """

    stride = 32

    def __init__(self, context: MemberContext, *, nms_iou: float = 0.3) -> None:
        self._nms_iou = require_overlap(nms_iou)
        self._session = context.session()
        file = context.weights[0].name
        landmarks = _require_maps(self._session.outputs, file)
        self._input = image_input(self._session, file=file, family="CenterFace", stride=self.stride)
        self.fixed_size = self._input.fixed_size
        self.capabilities = Capabilities(landmarks=landmarks, batch=self._input.batch)

    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        return to_nchw(canvases)

    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        channels = _CHANNELS if self.capabilities.landmarks else _CHANNELS[:3]
        expected = [(1, c, size[0] // _CELL, size[1] // _CELL) for c in channels]
        if [o.shape for o in outputs] != expected:
            raise MemberError(f"outputs: got shapes {[o.shape for o in outputs]}, expected {expected}")
        heat, log_size, offset = outputs[0].ravel(), _columns(outputs[1]), _columns(outputs[2])
        rows = candidates(heat, threshold)
        sides = np.exp(log_size[rows][:, ::-1]) * np.float32(_CELL)
        centers = grid_centers(*size, _CELL, offset=0.5)[rows] + offset[rows][:, ::-1] * np.float32(_CELL)
        corners = centers - sides / 2
        points = None
        if self.capabilities.landmarks:
            relative = _columns(outputs[3])[rows].reshape(-1, 5, 2)[..., ::-1]
            points = corners[:, None] + relative * sides[:, None]
        return [(np.concatenate([corners, corners + sides], axis=1), heat[rows], points)]


def _columns(output: Array) -> Float32Array:
    """(1, c, h, w) maps -> (h * w, c), one row per cell, row by row."""
    return np.asarray(output[0].reshape(output.shape[1], -1).T, np.float32)


def _require_maps(outputs: Sequence[TensorInfo], file: str) -> bool:
    """Check the declared outputs; returns whether there are landmarks."""
    landmarks = len(outputs) == len(_CHANNELS)
    expected = _CHANNELS if landmarks else _CHANNELS[:3]
    maps = len(outputs) == len(expected) and all(len(o.shape) == 4 for o in outputs)
    if not maps or any(o.shape[1] not in (c, None) for o, c in zip(outputs, expected, strict=True)):
        raise WeightsError(
            f"{file}: not a file of the CenterFace family: got outputs {[list(o.shape) for o in outputs]}, expected maps"
            " [batch, channels, height / 4, width / 4] with 1, 2, 2 and (with landmarks) 10 channels;"
            " check `use` and `weights` of the member"
        )
    return landmarks
