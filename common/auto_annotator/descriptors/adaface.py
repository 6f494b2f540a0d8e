"""AdaFace, whose authors feed B G R.

Source: Kim et al. 2022 (arXiv:2204.00964); `to_input` of their inference.py turns RGB to BGR and takes (value / 255 - 0.5) / 0.5.
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext

HALF = 127.5
"""(value / 255 - 0.5) / 0.5, the same for every channel."""


class AdaFace(OnnxRecogniser):
    """AdaFace IR-18, IR-50 or IR-101: BGR in -1..1 of a 112 x 112 crop, 512 numbers.

    Args:
        context: weights, one ONNX file; a second output with the vector's length is left aside.

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context, mean=(HALF,) * 3, std=(HALF,) * 3, bgr=True)
