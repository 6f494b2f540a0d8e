"""RetinaFace: tensors encoded by hand from known faces decode back to them, in every form of file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.retinaface import LAYOUTS, RetinaFace, face_probability
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.session import TensorInfo

SIDES = {
    "standard": {8: [16, 32], 16: [64, 128], 32: [256, 512]},
    "1mb-mobilenet": {8: [10, 20], 16: [32, 64], 32: [128, 256]},
    "1mb-slim": {8: [10, 16, 24], 16: [32, 48], 32: [64, 96], 64: [128, 192, 256]},
}
HEIGHT, WIDTH = 96, 160  # not square, and 96 is no multiple of the slim network's last stride
BOXES = np.array([[10.25, 12.5, 40.75, 50.0], [90.0, 20.5, 150.5, 95.0], [60.0, 60.0, 71.0, 73.5]], np.float32)
SCORES = np.array([0.95, 0.8, 0.6], np.float32)
SHAPE_OF_FACE = np.array([[0.3, 0.35], [0.7, 0.36], [0.52, 0.6], [0.33, 0.8], [0.68, 0.79]])


def points_of(boxes):
    boxes = np.asarray(boxes, np.float64)
    return (boxes[:, None, :2] + SHAPE_OF_FACE * (boxes[:, None, 2:] - boxes[:, None, :2])).astype(np.float32)


def priors(variant, height, width):
    """Anchors as the SSD papers define them, one by one: centre x, centre y, side."""
    rows = []
    for step, sides in SIDES[variant].items():
        for y in range(math.ceil(height / step)):
            for x in range(math.ceil(width / step)):
                rows += [((x + 0.5) * step, (y + 0.5) * step, side) for side in sides]
    return np.array(rows)


def encoded(variant, boxes, scores, *, height=HEIGHT, width=WIDTH, softmax=True):
    """loc, conf, landmarks of a network that sees these faces, each on the anchor that overlaps it best."""
    anchors = priors(variant, height, width)
    loc, marks = np.zeros((len(anchors), 4)), np.zeros((len(anchors), 10))
    logits = np.stack([np.full(len(anchors), 3.0), np.full(len(anchors), -6.0)], axis=1)
    taken = set()
    for box, score, points in zip(np.asarray(boxes, np.float64), scores, points_of(boxes), strict=True):
        middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        far = np.hypot(*(anchors[:, :2] - middle).T) + np.abs(anchors[:, 2] - size.mean())
        row = next(int(i) for i in np.argsort(far) if int(i) not in taken)
        taken.add(row)
        x, y, side = anchors[row]
        loc[row] = [(middle[0] - x) / side / 0.1, (middle[1] - y) / side / 0.1, *(np.log(size / side) / 0.2)]
        marks[row] = ((points - (x, y)) / side / 0.1).ravel()
        logits[row] = [0.25, 0.25 + np.log(score / (1 - score))]
    conf = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) if softmax else logits
    return [a.astype(np.float32) for a in (loc, conf, marks)]


class FakeSession:
    """Answers with prepared outputs; which ones is written in the first red pixel of a canvas."""

    device = "cpu"

    def __init__(self, pictures, *, fixed=False, batch=True, order=(0, 1, 2), dynamic_shapes=True):
        size = (HEIGHT, WIDTH) if fixed else (None, None)
        self.pictures, self.order, self.feeds = pictures, order, []
        self.inputs = (TensorInfo(name="input", shape=(None if batch else 1, 3, *size), dtype="float32"),)
        self.outputs = tuple(
            TensorInfo(
                name=f"o{i}",
                shape=(None, None if dynamic_shapes else len(pictures[0][i]), pictures[0][i].shape[1]),
                dtype="float32",
            )
            for i in order
        )

    def run(self, feeds):
        blob = feeds["input"]
        self.feeds.append(blob)
        which = np.rint(blob[:, 2, 0, 0].astype(np.float64) + 123).astype(int)
        return [np.stack([self.pictures[w][i] for w in which]) for i in self.order]


def detector(session, **options):
    return RetinaFace(MemberContext(weights=(Path("model.onnx"),), open_session=lambda path: session), **options)


def canvas(number=0, height=HEIGHT, width=WIDTH):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[0, 0, 0] = number
    return pixels


def assert_found(faces, boxes, scores, *, pixels=1e-3):
    assert len(faces) == len(boxes)
    np.testing.assert_allclose(faces.boxes, boxes, atol=pixels)
    np.testing.assert_allclose(faces.landmarks, points_of(boxes), atol=pixels)
    np.testing.assert_allclose(faces.scores, scores, atol=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("variant", SIDES)
def test_faces_come_back(variant, softmax, fixed, order):
    session = FakeSession([encoded(variant, BOXES, SCORES, softmax=softmax)], fixed=fixed, order=order, dynamic_shapes=not fixed)
    member = detector(session, variant=variant)
    assert member.fixed_size == ((HEIGHT, WIDTH) if fixed else None)
    assert_found(member.detect([canvas()], threshold=0.3)[0], BOXES, SCORES)


@pytest.mark.parametrize("variant", ["standard", "1mb-slim"])
def test_auto_recognises_the_anchors_by_their_number(variant):
    session = FakeSession([encoded(variant, BOXES, SCORES)])
    assert_found(detector(session).detect([canvas()], threshold=0.3)[0], BOXES, SCORES)


def test_auto_takes_the_published_anchors_where_two_layouts_have_the_same_number():
    tensors = encoded("1mb-mobilenet", BOXES, SCORES)
    found = detector(FakeSession([tensors])).detect([canvas()], threshold=0.3)[0]
    named = detector(FakeSession([tensors]), variant="1mb-mobilenet").detect([canvas()], threshold=0.3)[0]
    assert_found(named, BOXES, SCORES)
    sides = (found.boxes[:, 2] - found.boxes[:, 0]) / (named.boxes[:, 2] - named.boxes[:, 0])
    assert {round(float(s), 3) for s in sides} <= {1.6, 2.0}  # read with anchors of 16, 32, 64, ... instead of 10, 20, 32, ...


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SIDES)),
    st.integers(1, 6).map(lambda n: n * 32),
    st.integers(1, 6).map(lambda n: n * 32),
    st.floats(4, 200),
    st.floats(4, 200),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.05, 0.999),
)
def test_any_face_on_any_canvas_comes_back(variant, height, width, box_width, box_height, right, down, score):
    x, y = right * width - box_width / 2, down * height - box_height / 2  # its middle lies on the canvas
    boxes = np.array([[x, y, x + box_width, y + box_height]], np.float32)
    session = FakeSession([encoded(variant, boxes, [score], height=height, width=width)])
    found = detector(session, variant=variant).detect([canvas(0, height, width)], threshold=0.04)[0]
    assert_found(found, boxes, [score], pixels=2e-3)  # 1e-3 at the far corner of a 200 px face, rounded by float32 loc


def test_the_network_sees_bgr_minus_the_mean():
    session = FakeSession([encoded("standard", BOXES, SCORES)] * 11)
    pixels = canvas()
    pixels[:] = (10, 20, 30)
    detector(session).detect([pixels], threshold=0.5)
    assert session.feeds[0].shape == (1, 3, HEIGHT, WIDTH)
    assert session.feeds[0].dtype == np.float32
    np.testing.assert_array_equal(session.feeds[0][0, :, 5, 7], [30 - 104, 20 - 117, 10 - 123])


@pytest.mark.parametrize("batch", [True, False])
def test_batch_equals_one_by_one(batch):
    pictures = [encoded("standard", BOXES[:n], SCORES[:n]) for n in (1, 3, 0, 2)]
    session = FakeSession(pictures, batch=batch)
    member = detector(session)
    together = member.detect([canvas(i) for i in range(4)], threshold=0.3)
    assert member.capabilities.batch is batch
    assert len(session.feeds) == (1 if batch else 4)
    for i, faces in enumerate(together):
        (alone,) = member.detect([canvas(i)], threshold=0.3)
        np.testing.assert_array_equal(faces.boxes, alone.boxes)
        np.testing.assert_array_equal(faces.landmarks, alone.landmarks)
    assert [len(faces) for faces in together] == [1, 3, 0, 2]
    assert member.detect([], threshold=0.3) == []


def test_threshold_and_nms():
    boxes = np.vstack([BOXES[0], BOXES[0] + [1, 1, 2, 1], BOXES[1]])
    tensors = encoded("standard", boxes, [0.95, 0.9, 0.8])
    assert len(detector(FakeSession([tensors])).detect([canvas()], threshold=0.3)[0]) == 2
    assert len(detector(FakeSession([tensors]), nms_iou=0.99).detect([canvas()], threshold=0.3)[0]) == 3
    assert len(detector(FakeSession([tensors])).detect([canvas()], threshold=0.94)[0]) == 1
    everything = detector(FakeSession([tensors]), nms_iou=1.0).detect([canvas()], threshold=0.0)[0]
    assert len(everything) == LAYOUTS["standard"].count(HEIGHT, WIDTH)


def test_logits_that_happen_to_sum_to_one_are_still_logits():
    logits = np.array([[-1.5, 2.5], [0.4, 0.6]], np.float32)
    np.testing.assert_allclose(face_probability(logits), 1 / (1 + np.exp([-4.0, -0.2])), atol=1e-6)
    np.testing.assert_array_equal(face_probability(np.abs(logits[1:])), logits[1:, 1])


def test_logits_far_out_neither_overflow_nor_warn():
    tensors = encoded("standard", BOXES, SCORES, softmax=False)
    tensors[1] *= 1e4
    with np.errstate(all="raise"):
        found = detector(FakeSession([tensors])).detect([canvas()], threshold=0.5)[0]
    np.testing.assert_array_equal(found.scores, 1.0)


def test_scores_that_are_not_finite_are_reported():
    tensors = encoded("standard", BOXES, SCORES)
    tensors[1][5] = np.nan
    with pytest.raises(MemberError, match="not finite"):
        detector(FakeSession([tensors])).detect([canvas()], threshold=0.3)


@pytest.mark.parametrize("fixed", [True, False])
def test_unknown_anchors_are_refused_with_the_numbers(fixed):
    tensors = [a[:-2] for a in encoded("standard", BOXES, SCORES)]
    session = FakeSession([tensors], fixed=fixed, dynamic_shapes=not fixed)
    with pytest.raises(WeightsError, match=rf"got {len(tensors[0])} anchors .*{len(tensors[0]) + 2} \(standard\)"):
        detector(session).detect([canvas()], threshold=0.3)


def test_a_named_variant_must_fit():
    session = FakeSession([encoded("standard", BOXES, SCORES)], fixed=True, dynamic_shapes=False)
    with pytest.raises(WeightsError, match="variant '1mb-slim'"):
        detector(session, variant="1mb-slim")
    with pytest.raises(ConfigError, match="got nms_iou 0"):
        detector(session, nms_iou=0)
    with pytest.raises(ConfigError, match="got variant 'r50', expected auto or one of standard"):
        detector(session, variant="r50")


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 80, 80, 80), (1, 80, 40, 40), (1, 80, 20, 20)],  # YOLOv8-face
        [(1, 25200, 16)],  # YOLOv5-face
        [(12800, 1), (3200, 1), (800, 1), (12800, 4), (3200, 4), (800, 4), (12800, 10), (3200, 10), (800, 10)],  # SCRFD
        [(1, 4420, 2), (1, 4420, 4)],  # UltraFace: no landmarks
        [(1, 16800, 4), (1, 16800, 2), (1, 16800, 136)],
        [],
    ],
)
def test_outputs_of_another_family_are_refused_at_construction(shapes):
    session = FakeSession([encoded("standard", BOXES, SCORES)])
    session.outputs = tuple(TensorInfo(name=f"o{i}", shape=s, dtype="float32") for i, s in enumerate(shapes))
    with pytest.raises(WeightsError, match="not a file of the RetinaFace family"):
        detector(session)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 640, 640, 3), "float32"),
        ((4, 3, 640, 640), "float32"),
        ((1, 3, 640, None), "float32"),
        ((1, 3, 640, 640), "uint8"),
        ((1, 3), "float32"),
    ],
)
def test_inputs_of_another_family_are_refused_at_construction(shape, dtype):
    session = FakeSession([encoded("standard", BOXES, SCORES)])
    session.inputs = (TensorInfo(name="input", shape=shape, dtype=dtype),)
    with pytest.raises(WeightsError, match=r"model\.onnx: not a usable file of the RetinaFace family"):
        detector(session)


def test_outputs_without_stated_lengths_are_told_apart_when_it_runs():
    session = FakeSession([encoded("standard", BOXES, SCORES)], order=(1, 2, 0))
    session.outputs = tuple(TensorInfo(name=o.name, shape=(None, None, None), dtype="float32") for o in session.outputs)
    assert_found(detector(session).detect([canvas()], threshold=0.3)[0], BOXES, SCORES)


def test_a_file_that_only_claims_a_dynamic_batch_is_named():
    session = FakeSession([encoded("standard", BOXES, SCORES)])
    run = session.run
    session.run = lambda feeds: [output[:1] for output in run(feeds)]
    with pytest.raises(MemberError, match="expected a first axis of 2 pictures"):
        detector(session).detect([canvas(), canvas()], threshold=0.3)
