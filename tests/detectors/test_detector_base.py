"""The steps that all detectors share: NMS, input blobs, grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.detectors.base import MemberContext, grid_centers, nms, to_nchw

box = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def naive_nms(boxes, scores, limit):
    """Keep a box unless a kept, better one overlaps it by more than the limit: the definition, one pair at a time."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        x1, y1, x2, y2 = boxes[i]
        for k in kept:
            a1, b1, a2, b2 = boxes[k]
            inter = max(0, min(x2, a2) - max(x1, a1)) * max(0, min(y2, b2) - max(y1, b1))
            if inter > limit * ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - inter):
                break
        else:
            kept.append(i)
    return kept


@given(st.lists(st.tuples(box, st.integers(0, 20)), max_size=25), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_nms_is_the_definition_in_the_same_order(rows, limit):
    # integers and binary fractions: both sides compute without rounding, so that boxes exactly at the limit are part of the test
    boxes = np.array([b for b, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([s for _, s in rows], np.float32) / 32
    assert nms(boxes, scores, limit).tolist() == naive_nms(boxes.tolist(), scores.tolist(), limit)


def test_nms_keeps_the_first_of_equal_boxes_with_equal_scores():
    boxes = np.array([[0, 0, 9, 9]] * 3, np.float32)
    assert nms(boxes, np.full(3, 0.5, np.float32), 0.4).tolist() == [0]


def test_nms_of_nothing_is_a_usable_index():
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.4)
    assert kept.shape == (0,)
    assert np.zeros((0, 4))[kept].shape == (0, 4)


def test_nms_does_not_let_boxes_without_area_suppress_anything():
    boxes = np.array([[5, 5, 5, 5], [0, 0, 10, 10], [10, 10, 0, 0]], np.float32)
    assert nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.5).tolist() == [0, 1, 2]


def test_to_nchw_puts_pictures_channels_rows_and_columns_in_that_order():
    canvases = [np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) + 100 * i for i in range(2)]
    blob = to_nchw(canvases)
    assert blob.shape == (2, 3, 2, 3)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous
    for b, c, y, x in np.ndindex(blob.shape):
        assert blob[b, c, y, x] == canvases[b][y, x, c]


def test_to_nchw_takes_off_the_mean_before_scaling_and_turns_channels_on_request():
    pixel = np.array([[[0, 128, 255]]], np.uint8)
    assert to_nchw([pixel], mean=127.5, scale=1 / 128).ravel().tolist() == [-0.99609375, 0.00390625, 0.99609375]
    assert to_nchw([pixel], bgr=True).ravel().tolist() == [255, 128, 0]
    assert pixel.ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize(("offset", "first", "last"), [(0.0, (0, 0), (16, 8)), (0.5, (4, 4), (20, 12))])
def test_grid_centers_go_row_by_row_as_x_y(offset, first, last):
    centers = grid_centers(16, 24, 8, offset=offset)
    assert centers.shape == (6, 2)
    assert centers.dtype == np.float32
    assert (tuple(centers[0]), tuple(centers[-1])) == (first, last)
    assert centers[1, 0] - centers[0, 0] == 8
    assert centers[1, 1] == centers[0, 1]


def test_context_opens_the_weight_file_that_is_asked_for():
    paths = (Path("a.onnx"), Path("b.onnx"))
    context = MemberContext(weights=paths, open_session=lambda path: path)
    assert (context.session(), context.session(1)) == paths
