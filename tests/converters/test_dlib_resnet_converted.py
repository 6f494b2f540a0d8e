"""The published network, converted at pull, against dlib itself."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from auto_annotator.config import load_settings
from auto_annotator.weights import locate, pull, registry

pytestmark = pytest.mark.weights

TOLERANCE = 1e-4  # of components that reach 0.4; two sound float32 convolutions differ by some 1e-6


@pytest.fixture(scope="module")
def oracle():
    """dlib's own network on the file as published."""
    dlib = pytest.importorskip("dlib")
    row = registry()["dlib-resnet"]
    file = row.source.member.rsplit("/", 1)[-1]
    rows = {"published": row.model_copy(update={"name": "published", "file": file, "convert": ()})}
    folder = load_settings().models
    pull(["published"], folder, progress=False, rows=rows)
    return dlib.face_recognition_model_v1(str(locate("published", folder, rows=rows)))


@pytest.fixture(scope="module")
def session(pulled):
    return ort.InferenceSession(str(pulled("dlib-resnet")), providers=["CPUExecutionProvider"])


def describe(session, pictures):
    return session.run(["descriptor"], {"data": np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32)})[0]


def portraits():
    """A real face in several croppings, upright and mirrored."""
    import cv2
    from skimage import data

    picture = data.astronaut()
    crops = [picture[y : y + side, x : x + side] for y, x, side in ((40, 150, 150), (20, 140, 180), (0, 100, 240), (60, 170, 120))]
    crops += [crop[:, ::-1] for crop in crops]
    return [np.ascontiguousarray(cv2.resize(crop, (150, 150), interpolation=cv2.INTER_AREA)) for crop in crops]


def noise():
    random = np.random.default_rng(0)
    flat = [np.full((150, 150, 3), value, np.uint8) for value in (0, 255)]
    return flat + list(random.integers(0, 256, (4, 150, 150, 3), dtype=np.uint8))


@pytest.mark.parametrize("pictures", [portraits, noise])
def test_vectors_are_those_of_dlib(session, oracle, pictures):
    faces = pictures()
    expected = np.array([oracle.compute_face_descriptor(face, num_jitters=0) for face in faces])
    np.testing.assert_allclose(describe(session, faces), expected, rtol=0, atol=TOLERANCE)


def test_a_batch_equals_one_by_one(session):
    faces = portraits() + noise()
    alone = np.concatenate([describe(session, [face]) for face in faces])
    np.testing.assert_allclose(describe(session, faces), alone, rtol=0, atol=1e-5)


def test_red_and_blue_are_not_exchanged(session, oracle):
    face = portraits()[0]
    swapped = describe(session, [np.ascontiguousarray(face[..., ::-1])])[0]
    assert np.abs(swapped - np.array(oracle.compute_face_descriptor(face, num_jitters=0))).max() > 100 * TOLERANCE
