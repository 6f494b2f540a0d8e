"""MTCNN's last network on the boxes of other detectors, as an opinion on the five points.

Source: Zhang et al. 2016 (arXiv:1604.02878), see `detectors.mtcnn`.
"""

from __future__ import annotations

import numpy as np

from auto_annotator.crops import Pyramid, eye_angles, usable_boxes
from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.mtcnn import O_SIZE, CropNet, points_in, squared
from auto_annotator.errors import ConfigError
from auto_annotator.geometry import FLIP_ORDER
from auto_annotator.types import Faces, Float32Array, Image


class OnetRefiner:
    """O-net on the square around each box: about 1 ms a face on one core.

    The network knows upright faces only (its error triples at 45 degrees), so the crop is turned by the eye line of the first
    points; where they are unknown it stays as it is.

    Args:
        context: weights onet (ONNX, NHWC).
        mirrored: average with the points of the mirrored crop; 1 ms a face for a little less error.
        min_score: a crop that O-net takes for a face with a lower probability gives no points.

    Raises:
        ConfigError: for a `min_score` outside 0..1 or a wrong number of weights.
        WeightsError: if the file is not O-net.
    """

    KNOWS_PROFILES = False
    """It takes a profile for a face, and spreads five points over it as over one half turned; detectors' points are far better."""

    def __init__(self, context: MemberContext, *, mirrored: bool = False, min_score: float = 0.5) -> None:
        if not 0 <= min_score <= 1:
            raise ConfigError(f"mtcnn_onet: got min_score {min_score}, expected 0..1")
        if len(context.weights) != 1:
            raise ConfigError(f"mtcnn_onet: got {len(context.weights)} weight files, expected one: onet")
        self._mirrored = mirrored
        self._min_score = min_score
        self._onet = CropNet(context.session(), size=O_SIZE, points=True)

    def refine(self, image: Image, faces: Faces) -> Float32Array:
        """(n, 5, 2) float32 points; NaN for an empty box, one outside the picture, or one that O-net takes for no face."""
        points = np.full((len(faces), 5, 2), np.nan, np.float32)
        rows = np.flatnonzero(usable_boxes(faces.boxes, image.shape[1], image.shape[0]))
        squares = squared(faces.boxes[rows])
        angles = eye_angles(faces.landmarks[rows])
        pyramid = Pyramid(image)
        judged = self._onet.judge(pyramid, squares, angles)
        sure = (judged.scores >= self._min_score) & np.isfinite(judged.points).all(axis=(1, 2))
        squares, angles, found = squares[sure], angles[sure], judged.points[sure]
        if self._mirrored:
            twin = self._onet.judge(pyramid, squares, angles, mirrored=True)
            agreed = (twin.scores >= self._min_score) & np.isfinite(twin.points).all(axis=(1, 2))
            back = (twin.points[:, FLIP_ORDER] * (-1, 1) + (1, 0)).astype(np.float32)
            found = np.where(agreed[:, None, None], (found + back) / 2, found)
        points[rows[sure]] = points_in(squares, found, angles)
        return points
