"""The run that ONNX families share: pixels as the network was trained on them, batches equal singles, wrong files named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auto_annotator.alignment import TEMPLATES
from auto_annotator.descriptors.adaface import AdaFace
from auto_annotator.descriptors.arcface import ArcFace
from auto_annotator.descriptors.base import BATCH
from auto_annotator.descriptors.dlib_resnet import DlibResNet
from auto_annotator.descriptors.edgeface import EdgeFace
from auto_annotator.descriptors.mobilefacenet import MobileFaceNet
from auto_annotator.descriptors.sface import SFace
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.session import TensorInfo

PIXEL = (10, 100, 200)
"""R, G, B of the crops below."""

IMAGENET = [(v / 255 - m) / s for v, m, s in zip(PIXEL, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
SIGNED = [v / 255 * 2 - 1 for v in PIXEL]

FAMILIES = {
    SFace: PIXEL,
    ArcFace: SIGNED,
    AdaFace: SIGNED[::-1],
    EdgeFace: SIGNED,
    MobileFaceNet: IMAGENET,
    DlibResNet: PIXEL,
}


class MeanSession:
    """A network whose vector is the mean of each channel of its input; remembers the shapes it met."""

    device = "cpu"
    outputs = ()

    def __init__(self, shape=(None, 3, 112, 112), answer=None):
        self.inputs = (TensorInfo(name="x", shape=shape, dtype="float32"),)
        self.answer = answer or (lambda blob: [blob.mean(axis=(2, 3))])
        self.shapes: list[tuple[int, ...]] = []

    def run(self, feeds):
        self.shapes.append(feeds["x"].shape)
        assert feeds["x"].dtype == np.float32 and feeds["x"].flags.c_contiguous
        return self.answer(feeds["x"])


def build(family, session, weights=("model.onnx",)):
    return family(MemberContext(weights=tuple(Path(w) for w in weights), open_session=lambda path: session))


def crops(count, size=112):
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_network_gets_pixels_as_it_was_trained_on_them(family):
    side = 150 if family is DlibResNet else 112
    recogniser = build(family, MeanSession((None, 3, side, side)))
    assert TEMPLATES[recogniser.template].size == (side, side)
    crop = np.broadcast_to(np.array(PIXEL, np.uint8), (side, side, 3))
    np.testing.assert_allclose(recogniser.describe([crop])[0], FAMILIES[family], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("batch", "most"), [(None, BATCH), (1, 1), (4, 4)])
def test_batches_are_bounded_and_equal_singles(batch, most):
    session = MeanSession((batch, 3, 112, 112))
    recogniser = build(SFace, session)
    several = crops(2 * BATCH + 3)
    together = recogniser.describe(several)
    assert max(s[0] for s in session.shapes) == most
    assert batch is None or {s[0] for s in session.shapes} == {batch}
    np.testing.assert_array_equal(together, np.concatenate([recogniser.describe([c]) for c in several]))
    order = np.random.default_rng(1).permutation(len(several))
    np.testing.assert_array_equal(recogniser.describe([several[i] for i in order]), together[order])


def test_a_gpu_meets_few_shapes():
    session = MeanSession()
    session.device = "cuda"
    recogniser = build(SFace, session)
    for count in range(1, BATCH + 5):
        several = crops(count)
        np.testing.assert_array_equal(recogniser.describe(several), build(SFace, MeanSession()).describe(several))
    assert {s[0] for s in session.shapes} == {1, 2, 4, 8, 16, 32}


def test_no_crop_gives_no_row():
    assert build(SFace, MeanSession()).describe([]).shape == (0, 3)


def test_the_longest_output_is_the_vector():
    session = MeanSession(answer=lambda blob: [np.ones((len(blob), 1), np.float32), blob.mean(axis=(2, 3))])
    assert build(AdaFace, session).dimension == 3


@pytest.mark.parametrize("shape", [(None, 3, 150, 150), (None, 112, 112, 3), (None, 512), (None, 1, 112, 112)])
def test_a_file_of_another_network_is_named(shape):
    with pytest.raises(WeightsError, match=r"model\.onnx takes .* expected one input \(n, 3, 112, 112\)"):
        build(ArcFace, MeanSession(shape))


def test_rows_must_match_crops():
    with pytest.raises(WeightsError, match="a row each"):
        build(ArcFace, MeanSession(answer=lambda blob: [np.zeros((7, 4), np.float32)]))


@pytest.mark.parametrize("weights", [(), ("a.onnx", "b.onnx")])
def test_one_weight_file_is_expected(weights):
    with pytest.raises(ConfigError, match=f"got {len(weights)} weight files, expected one"):
        build(ArcFace, MeanSession(), weights)
