"""ArcFace networks of InsightFace: w600k_r50, glint360k_r100, MobileFaceNet (w600k_mbf).

Source: Deng et al. 2019 (arXiv:1801.07698); input as in insightface's `model_zoo/arcface_onnx.py`.
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext

HALF = 127.5
"""InsightFace feeds (value - 127.5) / 127.5, R G B."""


class ArcFace(OnnxRecogniser):
    """An InsightFace recogniser: RGB in -1..1 of a 112 x 112 crop, 512 numbers (128 for the oldest).

    Args:
        context: weights, one ONNX file.

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context, mean=(HALF,) * 3, std=(HALF,) * 3)
