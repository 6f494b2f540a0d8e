"""MTCNN's last network on the boxes of other detectors, as an opinion on the five points.

Source: Zhang et al. 2016 (arXiv:1604.02878), see `detectors.mtcnn`.
"""

from __future__ import annotations

import numpy as np

from auto_annotator.crops import Pyramid
from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.mtcnn import O_SIZE, CropNet, shifted, squared
from auto_annotator.errors import ConfigError
from auto_annotator.types import Faces, Float32Array, Image


class OnetRefiner:
    """O-net on the square around each box: about 1 ms a face on one core.

    The network saw faces upright to moderately turned, so the crop is not turned and first points are not needed.

    Args:
        context: weights onet (ONNX, NHWC).
        min_score: a crop that O-net takes for a face with a lower probability gives no points.

    Raises:
        ConfigError: for a `min_score` outside 0..1.
        WeightsError: if the file is not O-net.
    """

    def __init__(self, context: MemberContext, *, min_score: float = 0.5) -> None:
        if not 0 <= min_score <= 1:
            raise ConfigError(f"mtcnn_onet: got min_score {min_score}, expected 0..1")
        self._min_score = min_score
        self._onet = CropNet(context.session(), size=O_SIZE, points=True)

    def refine(self, image: Image, faces: Faces) -> Float32Array:
        """(n, 5, 2) float32 points; NaN for an empty box, one outside the picture, or one that O-net takes for no face."""
        ...
