"""YOLO faces: tensors encoded by hand from known faces decode back to them, and real weights find real faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.yolo_face import YoloV5Face, YoloV8Face
from auto_annotator.errors import MemberError, WeightsError
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.views import make_canvas

HEIGHT, WIDTH = 96, 160
BOXES = np.array([[10.25, 12.5, 40.75, 50.0], [90.0, 20.5, 150.5, 95.0], [60.0, 60.0, 71.0, 73.5]], np.float32)
SCORES = np.array([0.95, 0.8, 0.6], np.float32)
SHAPE_OF_FACE = np.array([[0.3, 0.35], [0.7, 0.36], [0.52, 0.6], [0.33, 0.8], [0.68, 0.79]])


def points_of(boxes):
    boxes = np.asarray(boxes, np.float64)
    return (boxes[:, None, :2] + SHAPE_OF_FACE * (boxes[:, None, 2:] - boxes[:, None, :2])).astype(np.float32)


def logit(p):
    return np.log(p / (1 - p))


def bins_of(distance):
    """Logits of 16 bins whose softmax has the mean `distance`: all weight on the two neighbours."""
    low = min(int(distance), 14)
    weights = np.full(16, 1e-12)
    weights[low], weights[low + 1] = max(1 - (distance - low), 1e-12), max(distance - low, 1e-12)
    return np.log(weights)


def as_heads(boxes, scores, *, height=HEIGHT, width=WIDTH, visibility=0.3):
    """The three raw heads of a network that sees these faces, each in the cell under its middle."""
    heads = {s: np.zeros((80, height // s, width // s)) for s in (8, 16, 32)}
    for head in heads.values():
        head[64] = -8
    for box, score, points in zip(np.asarray(boxes, np.float64), scores, points_of(boxes), strict=True):
        stride = next(s for s in (8, 16, 32) if max(box[2] - box[0], box[3] - box[1]) <= 14 * s or s == 32)
        column, row = (int(v // stride) for v in (box[:2] + box[2:]) / 2)
        x, y = column + 0.5, row + 0.5
        edges = [x - box[0] / stride, y - box[1] / stride, box[2] / stride - x, box[3] / stride - y]
        marks = np.column_stack([(points / stride - (column, row)) / 2, np.full(5, logit(visibility))])
        heads[stride][:, row, column] = [*np.concatenate([bins_of(e) for e in edges]), logit(score), *marks.ravel()]
    return [head.astype(np.float32) for head in heads.values()]


def centred(boxes):
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_joint(boxes, scores, *, visibility=0.3):
    """One (20, n) output with five rows of background."""
    marks = np.concatenate([points_of(boxes), np.full((len(boxes), 5, 1), visibility)], axis=2).reshape(len(boxes), 15)
    faces = np.column_stack([centred(boxes), scores, marks])
    return [np.vstack([np.zeros((5, 20)), faces]).T.astype(np.float32)]


def as_v5(boxes, scores):
    """One (n, 16) output; objectness times class score is the score."""
    classes = np.full(len(boxes), 0.99)
    faces = np.column_stack([centred(boxes), scores / classes, points_of(boxes).reshape(len(boxes), 10), classes])
    return [np.vstack([np.zeros((5, 16)), faces]).astype(np.float32)]


class FakeSession:
    """Answers with prepared outputs; which ones is written in the first red pixel of a canvas."""

    device = "cpu"

    def __init__(self, pictures, *, fixed=False, batch=True):
        size = (HEIGHT, WIDTH) if fixed else (None, None)
        self.pictures, self.feeds = pictures, []
        self.inputs = (TensorInfo(name="images", shape=(None if batch else 1, 3, *size), dtype="float32"),)
        self.outputs = tuple(TensorInfo(name=f"o{i}", shape=(None, *a.shape), dtype="float32") for i, a in enumerate(pictures[0]))

    def run(self, feeds):
        blob = feeds["images"]
        self.feeds.append(blob)
        which = np.rint(blob[:, 0, 0, 0] * 255).astype(int)
        return [np.stack([self.pictures[w][i] for w in which]) for i in range(len(self.outputs))]


def context(session):
    return MemberContext(weights=(Path("model.onnx"),), open_session=lambda path: session)


def canvas(number=0, height=HEIGHT, width=WIDTH):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[0, 0, 0] = number
    return pixels


def assert_found(faces, boxes, scores, *, pixels=1e-3):
    assert len(faces) == len(boxes)
    order = np.argsort(-np.asarray(scores), kind="stable")
    np.testing.assert_allclose(faces.boxes, np.asarray(boxes)[order], atol=pixels)
    np.testing.assert_allclose(faces.landmarks, points_of(boxes)[order], atol=pixels)
    np.testing.assert_allclose(faces.scores, np.asarray(scores)[order], atol=1e-5)


FORMS = {
    "v8 heads": (YoloV8Face, as_heads),
    "v8 heads in another order": (YoloV8Face, lambda b, s: as_heads(b, s)[::-1]),
    "v8 joint": (YoloV8Face, as_joint),
    "v8 joint, faces first": (YoloV8Face, lambda b, s: [as_joint(b, s)[0].T]),
    "v5": (YoloV5Face, as_v5),
    "v5 with raw heads beside": (YoloV5Face, lambda b, s: [np.zeros((3, 12, 20, 16), np.float32), *as_v5(b, s)]),
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.mark.parametrize("fixed", [False, True])
def test_faces_come_back(form, fixed):
    family, encode = form
    member = family(context(FakeSession([encode(BOXES, SCORES)], fixed=fixed)))
    assert member.fixed_size == ((HEIGHT, WIDTH) if fixed else None)
    assert member.capabilities.landmarks
    assert_found(member.detect([canvas()], threshold=0.3)[0], BOXES, SCORES)


@settings(max_examples=60, deadline=None)
@given(
    *[st.integers(1, 6).map(lambda n: n * 32)] * 2,
    st.floats(16, 200),  # smaller or slimmer boxes need not hold the middle of a cell, and an edge cannot lie behind it
    st.floats(0.625, 1.6),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
    st.floats(0.05, 0.999),
)
def test_any_face_on_any_canvas_comes_back_from_heads(height, width, box_width, ratio, right, down, score):
    box_height = box_width * ratio
    x, y = right * width - box_width / 2, down * height - box_height / 2  # its middle lies on the canvas
    boxes = np.array([[x, y, x + box_width, y + box_height]], np.float32)
    session = FakeSession([as_heads(boxes, [score], height=height, width=width)])
    (found,) = YoloV8Face(context(session)).detect([canvas(0, height, width)], threshold=0.04)
    assert_found(found, boxes, [score], pixels=2e-3)


def test_the_network_sees_rgb_from_0_to_1(form):
    family, encode = form
    session = FakeSession([encode(BOXES, SCORES)] * 11)
    pixels = canvas()
    pixels[:] = (10, 20, 255)
    family(context(session)).detect([pixels], threshold=0.5)
    assert session.feeds[0].shape == (1, 3, HEIGHT, WIDTH)
    np.testing.assert_allclose(session.feeds[0][0, :, 5, 7], [10 / 255, 20 / 255, 1.0], atol=1e-6)


@pytest.mark.parametrize("batch", [True, False])
def test_batch_equals_one_by_one(form, batch):
    family, encode = form
    session = FakeSession([encode(BOXES[:n], SCORES[:n]) for n in (2, 2, 2, 2)], batch=batch)
    session.pictures[1] = encode(BOXES[1:], SCORES[1:])
    session.pictures[2] = encode(BOXES[:2] + 4, SCORES[:2] / 4)
    member = family(context(session))
    together = member.detect([canvas(i) for i in range(4)], threshold=0.3)
    assert member.capabilities.batch is batch
    assert len(session.feeds) == (1 if batch else 4)
    for i, faces in enumerate(together):
        (alone,) = member.detect([canvas(i)], threshold=0.3)
        np.testing.assert_array_equal(faces.boxes, alone.boxes)
        np.testing.assert_array_equal(faces.landmarks, alone.landmarks)
    assert [len(faces) for faces in together] == [2, 2, 0, 2]
    assert not np.array_equal(together[0].boxes, together[1].boxes)
    assert member.detect([], threshold=0.3) == []


@pytest.mark.parametrize("encode", [as_heads, as_joint])
def test_b8_keypoint_visibility_is_not_a_score(encode):
    """Seed bug B8: the confidence of a point, which only some models have, got into scores and weights."""
    faces = {}
    for visibility in (0.01, 0.99):
        member = YoloV8Face(context(FakeSession([encode(BOXES, SCORES, visibility=visibility)])))
        (faces[visibility],) = member.detect([canvas()], threshold=0.3)
    np.testing.assert_array_equal(faces[0.01].scores, faces[0.99].scores)
    np.testing.assert_array_equal(faces[0.01].landmarks, faces[0.99].landmarks)
    assert_found(faces[0.01], BOXES, SCORES)


def test_v5_score_is_objectness_times_class():
    tensors = as_v5(BOXES[:1], np.array([0.8]))
    tensors[0][-1, 4], tensors[0][-1, 15] = 0.8, 0.5
    (faces,) = YoloV5Face(context(FakeSession([tensors]))).detect([canvas()], threshold=0.3)
    np.testing.assert_allclose(faces.scores, [0.4], atol=1e-6)
    assert not len(YoloV5Face(context(FakeSession([tensors]))).detect([canvas()], threshold=0.5)[0])


def test_threshold_and_nms(form):
    family, encode = form
    boxes = np.vstack([BOXES[0], BOXES[0] + [6, 6, 9, 9], BOXES[1]])
    scores = np.array([0.95, 0.9, 0.8])
    session = FakeSession([encode(boxes, scores)])
    assert len(family(context(session), nms_iou=0.4).detect([canvas()], threshold=0.3)[0]) == 2
    assert len(family(context(session), nms_iou=0.9).detect([canvas()], threshold=0.3)[0]) == 3
    assert len(family(context(session)).detect([canvas()], threshold=0.94)[0]) == 1


def test_scores_that_are_not_finite_are_reported(form):
    family, encode = form
    tensors = [np.full_like(a, np.nan) for a in encode(BOXES, SCORES)]
    with pytest.raises(MemberError, match="not finite"):
        family(context(FakeSession([tensors]))).detect([canvas()], threshold=0.3)


OTHERS = [
    [(1, 16800, 4), (1, 16800, 2), (1, 16800, 10)],  # RetinaFace
    [(1, 84, 8400)],  # YOLOv8 on COCO
    [(1, 84, 80, 80), (1, 84, 40, 40), (1, 84, 20, 20)],
    [(12800, 1), (12800, 4), (12800, 10)],  # SCRFD without batch axis
    [],
]


@pytest.mark.parametrize("family", [YoloV8Face, YoloV5Face])
@pytest.mark.parametrize("shapes", OTHERS)
def test_a_file_of_another_family_is_refused_at_construction(family, shapes):
    session = FakeSession([as_v5(BOXES, SCORES)])
    session.outputs = tuple(TensorInfo(name=f"o{i}", shape=s, dtype="float32") for i, s in enumerate(shapes))
    with pytest.raises(WeightsError, match="check `use` and `weights` of the member"):
        family(context(session))


def test_v5_and_v8_refuse_each_other():
    with pytest.raises(WeightsError, match="YOLOv8-face family"):
        YoloV8Face(context(FakeSession([as_v5(BOXES, SCORES)])))
    with pytest.raises(WeightsError, match="YOLOv5-face family"):
        YoloV5Face(context(FakeSession([as_joint(BOXES, SCORES)])))


def test_unstated_shapes_are_checked_when_it_runs():
    session = FakeSession([as_v5(BOXES, SCORES)])
    session.outputs = (TensorInfo(name="o0", shape=(None, None, None), dtype="float32"),)
    with pytest.raises(MemberError, match=r"expected \(1, 20, n\)"):
        YoloV8Face(context(session)).detect([canvas()], threshold=0.3)


def picture(path):
    import cv2

    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def whole(member, image):
    height, width = image.shape[:2]
    scale = 640 / max(height, width)
    return make_canvas(image, (0, 0, width, height), scale, stride=member.stride, fixed=member.fixed_size, flip=False)


@pytest.fixture(scope="module")
def lite(shared_models):
    """The real YOLOv8-lite-t face detector."""
    path = shared_models / "yolov8-lite-t.onnx"
    return YoloV8Face(MemberContext(weights=(path,), open_session=Runtime(device="cpu").open))


@pytest.mark.shared
def test_real_weights_find_every_annotated_face_with_its_points(lite, shared_data):
    assert lite.fixed_size == (640, 640) and not lite.capabilities.batch
    folder, errors = shared_data / "dlib_faces", []
    for entry in json.loads((folder / "annotations.json").read_text()):
        view = whole(lite, picture(folder / "images" / entry["file"]))
        found = view.to_picture(lite.detect([view.pixels], threshold=0.4)[0])
        for face in entry["faces"]:
            points = np.array(face["landmarks5"])
            distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
            errors.append(distance.min() / np.linalg.norm(points[0] - points[1]))
    assert len(errors) >= 10
    assert np.mean(errors) < 0.12
    assert np.max(errors) < 0.25  # a missed face would be several eye distances away


@pytest.mark.shared
def test_real_weights_agree_with_uniface(lite, shared_models, shared_data, monkeypatch):
    theirs = pytest.importorskip("uniface.detection.yolov8", reason="needs pip install --no-deps uniface==4.2.1")
    monkeypatch.setattr(theirs, "verify_model_weights", lambda name: str(shared_models / "yolov8-lite-t.onnx"))
    oracle = theirs.YOLOv8Face(confidence_threshold=0.05, nms_threshold=0.5, providers=["CPUExecutionProvider"])
    for path in sorted((shared_data / "dlib_faces" / "images").iterdir()):
        pixels = whole(lite, picture(path)).pixels
        faces = lite.detect([pixels], threshold=0.05)[0]
        expected = oracle.detect(np.ascontiguousarray(pixels[..., ::-1]))
        np.testing.assert_allclose(faces.scores, [f.confidence for f in expected], atol=1e-5)
        np.testing.assert_allclose(np.clip(faces.boxes, 0, 640), [f.bbox for f in expected], atol=1e-3)
        np.testing.assert_allclose(faces.landmarks, [f.landmarks for f in expected], atol=1e-3)
