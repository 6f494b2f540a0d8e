"""A real RetinaFace checkpoint, converted: real faces, batches, and agreement with an independent decoder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from auto_annotator.converters import retinaface as converter
from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.retinaface import RetinaFace
from auto_annotator.session import Runtime
from auto_annotator.views import make_canvas

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def converted(shared_models, tmp_path_factory):
    """Face-Detector-1MB's MobileNet checkpoint as our converter writes it."""
    pytest.importorskip("torch")
    target = tmp_path_factory.mktemp("converted") / "retinaface.onnx"
    converter.convert(shared_models / "retinaface_mobilenet0.25.pth", target, variant="1mb-mobilenet")
    return target


@pytest.fixture(scope="module")
def member(converted):
    """The detector on it, with nothing said about its anchors."""
    return RetinaFace(MemberContext(weights=(converted,), open_session=Runtime(device="cpu").open))


def canvas_of(path):
    import cv2

    image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    height, width = image.shape[:2]
    return make_canvas(image, (0, 0, width, height), 640 / max(height, width), stride=32, fixed=None, flip=False)


def test_a_real_checkpoint_finds_every_annotated_face_with_its_points(member, shared_data):
    folder, errors = shared_data / "dlib_faces", []
    for entry in json.loads((folder / "annotations.json").read_text()):
        view = canvas_of(folder / "images" / entry["file"])
        found = view.to_picture(member.detect([view.pixels], threshold=0.4)[0])
        for face in entry["faces"]:
            points = np.array(face["landmarks5"])
            distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
            errors.append(distance.min() / np.linalg.norm(points[0] - points[1]))
    assert len(errors) >= 10
    assert np.mean(errors) < 0.12
    assert np.max(errors) < 0.25  # a missed face would be several eye distances away


def test_real_batch_equals_one_by_one(member, shared_data):
    pixels = canvas_of(shared_data / "dlib_faces" / "images" / "2008_004176.jpg").pixels
    canvases = [pixels, pixels[:, ::-1].copy(), np.zeros_like(pixels)]
    assert member.capabilities.batch
    for faces, canvas in zip(member.detect(canvases, threshold=0.4), canvases, strict=True):
        (alone,) = member.detect([canvas], threshold=0.4)
        np.testing.assert_allclose(faces.boxes, alone.boxes, atol=0.01)
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=0.01)


def test_a_converted_file_agrees_with_uniface(converted, member, shared_data, monkeypatch):
    theirs = pytest.importorskip(
        "uniface.detection.retinaface", reason="uniface is not installed (pip install --no-deps uniface==4.2.1)"
    )
    monkeypatch.setattr(theirs, "verify_model_weights", lambda name: str(converted))
    oracle = theirs.RetinaFace(confidence_threshold=0.3, nms_threshold=0.4, dynamic_size=True, providers=["CPUExecutionProvider"])
    for path in sorted((shared_data / "dlib_faces" / "images").iterdir()):
        pixels = canvas_of(path).pixels
        faces = member.detect([pixels], threshold=0.3)[0]
        expected = oracle.detect(np.ascontiguousarray(pixels[..., ::-1]))
        np.testing.assert_allclose(faces.scores, [f.confidence for f in expected], atol=1e-5)
        np.testing.assert_allclose(faces.boxes, [f.bbox for f in expected], atol=1e-3)
        np.testing.assert_allclose(faces.landmarks, [f.landmarks for f in expected], atol=1e-3)
