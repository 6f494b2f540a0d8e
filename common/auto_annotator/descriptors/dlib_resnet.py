"""dlib's face recognition ResNet, version 1, as `converters.dlib_resnet` turns it into ONNX.

Source: Davis King, dlib-models (public domain). dlib's own normalisation, (value - mean of the channel) / 256, is in the graph.
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext


class DlibResNet(OnnxRecogniser):
    """dlib's ResNet v1: RGB 0..255 of a 150 x 150 crop, 128 numbers.

    Its vectors share a large common part (strangers have a cosine of about .83): `fusion.descriptors` weighs that.

    Args:
        context: weights, one converted ONNX file.

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context, template="dlib")
