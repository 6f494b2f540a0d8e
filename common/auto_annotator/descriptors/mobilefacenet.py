"""MobileFaceNet as trained by foamliu.

Source: Chen et al. 2018 (arXiv:1804.07573); input as in foamliu/MobileFaceNet's data_gen.py (ImageNet's mean and deviation).
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext

MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""ImageNet's mean and deviation of R G B."""


class MobileFaceNet(OnnxRecogniser):
    """MobileFaceNet: RGB by ImageNet's mean and deviation of a 112 x 112 crop, 128 numbers.

    Args:
        context: weights, one ONNX file.

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context, mean=MEAN, std=STD)
