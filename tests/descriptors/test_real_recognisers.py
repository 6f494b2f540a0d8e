"""Each family with real weights on real pairs: the normalisation is right because a wrong one tells people apart less well."""

from __future__ import annotations

import numpy as np
import pytest
from lfw_pairs import context, crops, photos, separation

from auto_annotator.alignment import TEMPLATES, align
from auto_annotator.crops import Pyramid
from auto_annotator.descriptors.dlib_resnet import DlibResNet
from auto_annotator.descriptors.edgeface import EdgeFace
from auto_annotator.descriptors.mobilefacenet import MobileFaceNet
from auto_annotator.descriptors.sface import SFace

pytestmark = [pytest.mark.weights, pytest.mark.shared]


def swapped(describe):
    return lambda several: describe([np.ascontiguousarray(c[..., ::-1]) for c in several])


@pytest.fixture(scope="module")
def lfw(shared_data):
    return shared_data / "lfw"


@pytest.fixture(scope="module")
def yunet(pulled):
    return pulled("yunet-2023mar")


@pytest.fixture(scope="module")
def sface(pulled):
    return SFace(context(pulled("sface-2021dec")))


@pytest.fixture(scope="module")
def mobilefacenet(shared_models):
    return MobileFaceNet(context(shared_models / "MobileFaceNet_foamliu.onnx"))


def test_sface_wants_rgb(sface, lfw, yunet):
    accuracy, apart = separation(sface.describe, lfw, yunet)
    assert sface.dimension == 128 and accuracy >= 0.97
    assert apart > separation(swapped(sface.describe), lfw, yunet)[1]


def test_mobilefacenet_wants_rgb_by_imagenets_mean(mobilefacenet, lfw, yunet, shared_models):
    accuracy, apart = separation(mobilefacenet.describe, lfw, yunet)
    assert mobilefacenet.dimension == 128 and accuracy >= 0.97
    assert apart > separation(swapped(mobilefacenet.describe), lfw, yunet)[1]


@pytest.mark.slow
def test_dlib_wants_rgb(pulled, lfw, yunet):
    dlib = DlibResNet(context(pulled("dlib-resnet")))
    accuracy, apart = separation(dlib.describe, lfw, yunet, "dlib")
    assert dlib.dimension == 128 and accuracy >= 0.96
    assert apart > separation(swapped(dlib.describe), lfw, yunet, "dlib")[1]
    assert separation(dlib.describe, lfw, yunet, "dlib")[1] > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_edgeface_wants_rgb(shared_models, lfw, yunet, tmp_path):
    pytest.importorskip("torch")
    from auto_annotator.converters.edgeface import main

    main([str(shared_models / "edgeface_xs_q.pt"), str(tmp_path / "edgeface.onnx")])
    edgeface = EdgeFace(context(tmp_path / "edgeface.onnx"))
    accuracy, apart = separation(edgeface.describe, lfw, yunet)
    assert edgeface.dimension == 512 and accuracy >= 0.97
    assert apart > separation(swapped(edgeface.describe), lfw, yunet)[1]


def test_batches_equal_singles(sface, mobilefacenet, lfw, yunet):
    some = list(crops(lfw, yunet, "arcface").values())[:5]
    for recogniser in (sface, mobilefacenet):
        together = recogniser.describe(some)
        singles = np.concatenate([recogniser.describe([c]) for c in some])
        np.testing.assert_allclose(together, singles, atol=1e-3 * np.abs(together).max())
        np.testing.assert_allclose(recogniser.describe(some[::-1])[::-1], together, atol=1e-3 * np.abs(together).max())


def test_sface_agrees_with_opencvs_own_pipeline(sface, pulled, lfw, yunet):
    """FaceRecognizerSF aligns by its own template and feeds the same float weights."""
    import cv2

    try:
        oracle = cv2.FaceRecognizerSF.create(str(pulled("sface-2021dec")), "")
    except cv2.error:
        pytest.skip("this OpenCV does not load the dequantised SFace")
    cosines = []
    for image, faces in list(photos(lfw, yunet).values())[:10]:
        bgr = np.ascontiguousarray(image[..., ::-1])
        points = faces.landmarks[0] - 0.5  # OpenCV counts from pixel centres
        row = np.array([[*faces.boxes[0], *points.ravel(), 1.0]], np.float32)
        theirs = oracle.feature(oracle.alignCrop(bgr, row)).ravel()
        alignment = align(faces, TEMPLATES["arcface"], width=image.shape[1], height=image.shape[0])
        ours = sface.describe([Pyramid(image).crop(alignment.matrices[0], (112, 112))])[0]
        cosines.append(theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours))
    assert min(cosines) > 0.98
