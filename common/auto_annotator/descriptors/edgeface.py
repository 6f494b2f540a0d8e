"""EdgeFace (XXS, XS, S, base) in ONNX.

Source: George et al. 2024 (arXiv:2307.01838); their inference takes (value / 255 - 0.5) / 0.5 of R G B.
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext

HALF = 127.5
"""(value / 255 - 0.5) / 0.5, the same for every channel."""


class EdgeFace(OnnxRecogniser):
    """EdgeFace: RGB in -1..1 of a 112 x 112 crop, 512 numbers.

    Args:
        context: weights, one ONNX file.

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context, mean=(HALF,) * 3, std=(HALF,) * 3)
