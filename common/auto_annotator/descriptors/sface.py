"""SFace of the OpenCV Zoo.

Source: Zhong et al. 2021 (arXiv:2205.12010). The file of the Zoo normalises inside the graph: its first nodes take (value - 127.5)
/ 128 off the pixels. OpenCV's FaceRecognizerSF swaps its BGR picture, so the network sees R G B.
"""

from __future__ import annotations

from auto_annotator.descriptors.base import OnnxRecogniser
from auto_annotator.detectors.base import MemberContext


class SFace(OnnxRecogniser):
    """SFace 2021dec: RGB 0..255 of a 112 x 112 crop, 128 numbers.

    Args:
        context: weights face_recognition_sface_2021dec.onnx (float, or dequantised).

    Raises:
        ConfigError: for a wrong number of weights.
        WeightsError: if the file is not such a network.
    """

    def __init__(self, context: MemberContext) -> None:
        super().__init__(context)
