"""The checks and steps that the single-pass detectors share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.detectors import dense
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.session import TensorInfo


class OneInput:
    """A session of which only the inputs are looked at."""

    device = "cpu"
    outputs = ()

    def __init__(self, *shapes, dtype="float32"):
        self.inputs = tuple(TensorInfo(name=f"in{i}", shape=shape, dtype=dtype) for i, shape in enumerate(shapes))


@pytest.mark.parametrize(
    ("shape", "fixed", "batch"),
    [
        ((1, 3, 640, 640), (640, 640), False),
        ((1, 3, 320, 640), (320, 640), False),
        ((1, 3, None, None), None, False),
        ((None, 3, None, None), None, True),
        ((None, None, None, None), None, True),
    ],
)
def test_image_input_reads_size_and_batch_from_the_shape(shape, fixed, batch):
    found = dense.image_input(OneInput(shape), file="m.onnx", family="X", stride=32)
    assert (found.name, found.fixed_size, found.batch) == ("in0", fixed, batch)


@pytest.mark.parametrize(
    "session",
    [
        OneInput(),
        OneInput((1, 3, 32, 32), (1, 3, 32, 32)),
        OneInput((1, 3, 640)),
        OneInput((1, 640, 640, 3)),
        OneInput((10, 3, 32, 32)),
        OneInput((1, 3, None, 640)),
        OneInput((1, 3, 100, 100)),
        OneInput((1, 3, 640, 640), dtype="uint8"),
    ],
    ids=["none", "two", "rank", "nhwc", "batch-of-10", "half-fixed", "not-multiple", "uint8"],
)
def test_image_input_refuses_others_and_says_what_it_got(session):
    with pytest.raises(WeightsError, match=r"m\.onnx: not a usable file of the X family: got input .*expected"):
        dense.image_input(session, file="m.onnx", family="X", stride=32)


def outputs_of(*shapes):
    return [TensorInfo(name=str(i), shape=shape, dtype="float32") for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("shapes", [[(8, 1), (8, 4)], [(1, 8, 1), (1, 8, 4)], [(None, None, None), (None, None, 4)], [(), ()]])
def test_require_tables_accepts_declared_and_open_axes(shapes):
    dense.require_tables(outputs_of(*shapes), {1: 1, 4: 1}, file="m.onnx", family="X")


@pytest.mark.parametrize("shapes", [[(8, 1)], [(8, 1), (8, 5)], [(8, 4), (8, 4)], [(1, 1, 8, 8), (1, 4, 8, 8)]])
def test_require_tables_refuses_other_counts_widths_and_ranks(shapes):
    with pytest.raises(WeightsError, match=r"m\.onnx: not a file of the X family: got outputs .*1 of 1 columns, 1 of 4 columns"):
        dense.require_tables(outputs_of(*shapes), {1: 1, 4: 1}, file="m.onnx", family="X")


@pytest.mark.parametrize("value", [0, -0.1, 1.5, float("nan")])
def test_overlap_limit_outside_0_to_1_is_refused(value):
    with pytest.raises(ConfigError, match="nms_iou"):
        dense.require_overlap(value)


@pytest.mark.parametrize(
    ("canvases", "fixed"),
    [
        ([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)], None),
        ([np.zeros((64, 65, 3), np.uint8)], None),
        ([np.zeros((64, 64, 3), np.float32)], None),
        ([np.zeros((64, 64), np.uint8)], None),
        ([np.zeros((0, 32, 3), np.uint8)], None),
        ([np.zeros((64, 32, 3), np.uint8)], (32, 64)),
    ],
    ids=["two shapes", "not a multiple", "float", "grey", "empty", "turned"],
)
def test_canvases_that_do_not_fit_are_refused(canvases, fixed):
    with pytest.raises(ValueError, match="canvases: got"):
        dense.require_canvases(canvases, stride=32, fixed=fixed)


def test_tables_are_told_apart_by_shape_whatever_their_order():
    fine, coarse = np.ones((1, 16, 4)), np.zeros((1, 4, 4))
    found = dense.tables([coarse, np.zeros((16, 1)), fine, np.zeros((4, 1))], {1: 2, 4: 2})
    assert [t.shape for t in found[1]] == [(16, 1), (4, 1)]
    assert [t.shape for t in found[4]] == [(16, 4), (4, 4)]
    assert found[4][0].dtype == np.float32


def test_tables_that_are_missing_are_an_error_of_the_member():
    with pytest.raises(MemberError, match="expected"):
        dense.tables([np.zeros((16, 1)), np.zeros((16, 2))], {1: 1, 4: 1})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_not_a_picture_without_faces(bad):
    with pytest.raises(MemberError, match="1 of 3 not finite"):
        dense.candidates(np.array([0.1, bad, 0.2], np.float32), 0.5)


def test_a_score_at_the_threshold_counts():
    assert dense.candidates(np.array([0.49, 0.5, 0.51], np.float32), 0.5).tolist() == [1, 2]


def part(boxes, scores):
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), None


def test_nms_works_across_grids_and_drops_boxes_without_area():
    first, second = part([[0, 0, 10, 10], [9, 9, 5, 5]], [0.5, 0.9]), part([[1, 0, 10, 10], [50, 50, 60, 60]], [0.6, 0.4])
    faces = dense.suppressed([first, second], 0.4)
    assert faces.boxes.tolist() == [[1, 0, 10, 10], [50, 50, 60, 60]]
    assert not faces.has_landmarks.any()


@given(st.permutations(range(6)))
def test_the_best_candidates_are_the_ones_that_stay_when_there_are_too_many(order):
    boxes = np.array([[20 * i, 0, 20 * i + 10, 10] for i in order], np.float32)
    scores = np.array([0.1 + 0.1 * i for i in order], np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "MAX_CANDIDATES", 2)
        assert dense.suppressed([(boxes, scores, None)], 0.4).boxes[:, 0].tolist() == [100, 80]


def test_a_batch_axis_that_the_model_did_not_keep_is_noticed():
    class Merging(OneInput):
        def run(self, feeds):
            return [np.zeros((1, 8, 1), np.float32)]

    blob = np.zeros((2, 3, 32, 32), np.float32)
    with pytest.raises(MemberError, match="expected a first axis of 2"):
        list(dense.run_each(Merging((None, 3, None, None)), "in0", blob, together=True))
