"""SCRFD: faces encoded as the network does it come back, in every form of export; real weights agree with InsightFace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.scrfd import SCRFD
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.geometry import iou_matrix
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces
from auto_annotator.views import make_canvas

HEIGHT, WIDTH = 256, 384
THREE, FIVE = (8, 16, 32), (8, 16, 32, 64, 128)
ASTRONAUT_POINTS = ((203, 101), (246, 103), (225, 126), (204, 140), (244, 141))
"""Read off an enlargement of scikit-image's astronaut: her right eye, left eye, nose tip, right and left mouth corner."""


def random_faces(seed, count=6):
    """Faces far enough from each other for NMS, at positions that are not whole pixels."""
    rng = np.random.default_rng(seed)
    corners = np.array([(x, y) for y in (10, 130) for x in (10, 130, 250)], float)[:count] + rng.uniform(0, 20, (count, 2))
    sides = rng.uniform(30, 90, (count, 2))
    points = corners[:, None] + rng.uniform(0.1, 0.9, (count, 5, 2)) * sides[:, None]
    return Faces.of(np.hstack([corners, corners + sides]), np.linspace(0.9, 0.4, count), points)


def encode(faces, height, width, strides, anchors):
    """Score, box and point tables with one row per anchor; each face sits in the cell of its centre, on changing levels."""
    levels = [[np.zeros((height // s * (width // s) * anchors, c), np.float32) for c in (1, 4, 10)] for s in strides]
    for i in range(len(faces)):
        s = strides[i % len(strides)]
        score, box, kps = levels[i % len(strides)]
        x1, y1, x2, y2 = faces.boxes[i]
        column, row = int((x1 + x2) / 2 // s), int((y1 + y2) / 2 // s)
        anchor = (row * (width // s) + column) * anchors + i % anchors
        score[anchor] = faces.scores[i]
        box[anchor] = (column - x1 / s, row - y1 / s, x2 / s - column, y2 / s - row)
        kps[anchor] = (faces.landmarks[i] / s - (column, row)).ravel()
    return [level[c] for c in range(3) for level in levels]


class FakeSCRFD:
    """Answers with the faces whose number is the red value of a canvas's first pixel."""

    device = "cpu"

    def __init__(
        self, pictures, *, strides=THREE, anchors=2, landmarks=True, batch_axis=True, batch=1, size=(None, None), order=None
    ):
        self.pictures, self.strides, self.anchors, self.batch_axis = pictures, strides, anchors, batch_axis
        self.order = order or list(range(len(strides) * (3 if landmarks else 2)))
        self.calls = []
        self.inputs = (TensorInfo(name="input.1", shape=(batch, 3, *size), dtype="float32"),)
        widths = [(1, 4, 10)[i // len(strides)] for i in self.order]
        axis = (batch,) if batch_axis else ()
        self.outputs = tuple(TensorInfo(name=str(400 + i), shape=(*axis, None, w), dtype="float32") for i, w in enumerate(widths))

    def run(self, feeds):
        blob = feeds["input.1"]
        self.calls.append(blob)
        numbers = np.rint(blob[:, 0, 0, 0] * 128 + 127.5).astype(int)
        tables = [encode(self.pictures[n], *blob.shape[2:], self.strides, self.anchors) for n in numbers]
        outputs = [np.stack([t[i] for t in tables]) for i in self.order]
        return outputs if self.batch_axis else [o[0] for o in outputs]


def canvas(number=0):
    picture = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    picture[0, 0] = number, 7, 8
    return picture


def build(session, **options):
    return SCRFD(MemberContext(weights=(Path("det.onnx"),), open_session=lambda _: session), **options)


def assert_same(found, expected, *, landmarks=True, tolerance=1e-3):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=tolerance)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    if landmarks:
        np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=tolerance)
    else:
        assert np.isnan(found.landmarks).all()


@pytest.mark.parametrize("strides", [THREE, FIVE], ids=["3 levels", "5 levels"])
@pytest.mark.parametrize("landmarks", [True, False], ids=["points", "boxes only"])
@pytest.mark.parametrize("batch_axis", [True, False], ids=["batch axis", "no batch axis"])
@pytest.mark.parametrize("anchors", [1, 2])
def test_known_faces_come_back_from_every_form_of_export(strides, landmarks, batch_axis, anchors):
    faces = random_faces(1)
    detector = build(FakeSCRFD([faces], strides=strides, landmarks=landmarks, batch_axis=batch_axis, anchors=anchors))
    assert detector.stride == strides[-1]
    assert detector.capabilities.landmarks is landmarks
    assert_same(detector.detect([canvas()], threshold=0.3)[0], faces, landmarks=landmarks)


def test_b7_landmarks_are_not_cut_to_whole_pixels():
    faces = random_faces(2)
    found = build(FakeSCRFD([faces])).detect([canvas()], threshold=0.3)[0]
    assert np.abs(found.landmarks - np.floor(found.landmarks)).max() > 0.1
    # cutting would move points by up to a pixel and always to the upper left
    assert abs(float((found.landmarks - faces.landmarks).mean())) < 1e-4


def test_b14_exports_without_batch_axis_answer():
    faces = random_faces(3)
    session = FakeSCRFD([faces], batch_axis=False)
    assert all(len(o.shape) == 2 for o in session.outputs)
    assert_same(build(session).detect([canvas()], threshold=0.3)[0], faces)


def test_b14_exports_without_landmarks_answer_with_unknown_points():
    faces = random_faces(4)
    detector = build(FakeSCRFD([faces], landmarks=False))
    assert not detector.capabilities.landmarks
    found = detector.detect([canvas()], threshold=0.3)[0]
    assert len(found) == len(faces)
    assert not found.has_landmarks.any()


def test_outputs_are_recognised_in_any_order():
    faces = random_faces(5)
    by_level = [0, 3, 6, 1, 4, 7, 2, 5, 8]
    for order in (by_level, list(reversed(range(9)))):
        assert_same(build(FakeSCRFD([faces], order=order)).detect([canvas()], threshold=0.3)[0], faces)


def test_input_is_rgb_around_zero():
    session = FakeSCRFD([Faces.empty()])
    build(session).detect([canvas()], threshold=0.3)
    blob = session.calls[0]
    assert blob.shape == (1, 3, HEIGHT, WIDTH)
    np.testing.assert_allclose(blob[0, :, 0, 0], (np.array([0, 7, 8]) - 127.5) / 128, atol=1e-6)


@pytest.mark.parametrize(("batch", "batch_axis", "calls"), [(None, True, 1), (1, True, 3), (None, False, 3)])
def test_several_canvases_give_what_each_gives_alone(batch, batch_axis, calls):
    pictures = [random_faces(6), Faces.empty(), random_faces(7, count=3)]
    session = FakeSCRFD(pictures, batch=batch, batch_axis=batch_axis)
    detector = build(session)
    assert detector.capabilities.batch is (calls == 1)
    found = detector.detect([canvas(i) for i in range(3)], threshold=0.3)
    assert len(session.calls) == calls
    for faces, expected, i in zip(found, pictures, range(3), strict=True):
        assert_same(faces, expected)
        alone = detector.detect([canvas(i)], threshold=0.3)[0]
        assert np.array_equal(faces.boxes, alone.boxes)
        assert np.array_equal(faces.landmarks, alone.landmarks)


def test_threshold_and_order_of_rows():
    faces = random_faces(8)
    found = build(FakeSCRFD([faces.select([3, 0, 5, 1, 2, 4])])).detect([canvas()], threshold=0.55)[0]
    np.testing.assert_allclose(found.scores, faces.scores[faces.scores >= 0.55], atol=1e-6)


def test_overlapping_boxes_are_suppressed_by_the_option():
    twins = Faces.of([[40, 40, 100, 100], [48, 40, 108, 100]], [0.9, 0.8], np.full((2, 5, 2), 70.0))  # IoU 0.76
    assert len(build(FakeSCRFD([twins])).detect([canvas()], threshold=0.3)[0]) == 1
    assert len(build(FakeSCRFD([twins]), nms_iou=0.8).detect([canvas()], threshold=0.3)[0]) == 2
    with pytest.raises(ConfigError):
        build(FakeSCRFD([twins]), nms_iou=0)


def test_fixed_size_is_that_of_the_file_and_is_kept():
    detector = build(FakeSCRFD([Faces.empty()], size=(256, 384)))
    assert detector.fixed_size == (256, 384)
    assert len(detector.detect([canvas()], threshold=0.3)[0]) == 0
    with pytest.raises(ValueError, match="expected exactly 256 x 384"):
        detector.detect([np.zeros((384, 256, 3), np.uint8)], threshold=0.3)


def test_nothing_in_nothing_out():
    assert build(FakeSCRFD([])).detect([], threshold=0.3) == []


def test_files_of_another_family_are_refused():
    session = FakeSCRFD([])
    session.outputs = session.outputs[:4]
    with pytest.raises(WeightsError, match=r"det\.onnx: not a file of the SCRFD family: got outputs"):
        build(session)


def test_rows_that_do_not_fit_the_canvas_are_an_error_of_the_member():
    session = FakeSCRFD([random_faces(9)], anchors=3)
    with pytest.raises(MemberError, match="expected 1 or 2 for each of"):
        build(session).detect([canvas()], threshold=0.3)


def test_nan_scores_are_an_error_of_the_member():
    broken = Faces.of([[40, 40, 100, 100]], [np.nan], np.full((1, 5, 2), 70.0))
    with pytest.raises(MemberError, match="not finite"):
        build(FakeSCRFD([broken])).detect([canvas()], threshold=0.3)


REAL = [("scrfd_2.5g_bnkps.onnx", (640, 640)), ("det_500m.onnx", None)]


def real(path, **options):
    return SCRFD(MemberContext(weights=(path,), open_session=Runtime(device="cpu").open), **options)


def view(image, size, fixed, stride=32):
    height, width = image.shape[:2]
    return make_canvas(image, (0, 0, width, height), size / max(height, width), stride=stride, fixed=fixed, flip=False)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "fixed"), REAL)
def test_real_weights_find_the_astronaut(shared_models, name, fixed):
    from skimage.data import astronaut

    detector = real(shared_models / name)
    assert detector.fixed_size == fixed
    seen = view(astronaut(), 640, fixed)
    faces = seen.to_picture(detector.detect([seen.pixels], threshold=0.5)[0])
    assert len(faces) == 1
    assert np.linalg.norm(faces.landmarks[0] - ASTRONAUT_POINTS, axis=1).max() < 5


@pytest.mark.shared
@pytest.mark.parametrize(("name", "fixed"), REAL)
def test_real_weights_agree_with_insightface(shared_models, shared_data, name, fixed):
    oracle = pytest.importorskip("insightface.model_zoo.scrfd", reason="pip install insightface to compare with it")
    from PIL import Image

    reference = oracle.SCRFD(model_file=str(shared_models / name))
    reference.prepare(-1, det_thresh=0.3, nms_thresh=0.4)
    detector = real(shared_models / name, nms_iou=0.4)
    for path in sorted((shared_data / "dlib_faces" / "images").iterdir()):
        pixels = view(np.asarray(Image.open(path).convert("RGB")), 640, fixed).pixels
        rows, points = reference.detect(np.ascontiguousarray(pixels[..., ::-1]), input_size=pixels.shape[1::-1])
        faces = detector.detect([pixels], threshold=0.3)[0]
        assert len(faces) == len(rows) > 0
        np.testing.assert_allclose(np.diag(iou_matrix(faces.boxes, rows[:, :4])), 1, atol=1e-4)
        np.testing.assert_allclose(faces.scores, rows[:, 4], atol=1e-5)
        np.testing.assert_allclose(faces.landmarks, points, atol=1e-3)
