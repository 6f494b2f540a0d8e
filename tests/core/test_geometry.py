"""Geometry against independent implementations and its own inverses."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from auto_annotator.geometry import clip_boxes, flip_faces, iou_matrix, map_faces, similarity_transform, tile_windows
from auto_annotator.types import Faces

coordinate = st.integers(0, 200)


def one_face() -> Faces:
    points = [[30, 40], [50, 40], [40, 50], [32, 60], [48, 60]]
    return Faces.of([[20, 20, 60, 80]], [0.9], [points])


def test_iou_of_known_boxes():
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    b = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [10, 10, 0, 0]], float)
    assert iou_matrix(a, b) == pytest.approx(np.array([[1 / 3, 1, 0], [0, 0, 0]]))


@given(st.lists(st.tuples(coordinate, coordinate, st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=6))
def test_iou_counts_pixels(rows):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in rows], float)
    masks = np.zeros((len(rows), 256, 256), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    counted = [[(m & n).sum() / (m | n).sum() for n in masks] for m in masks]
    assert iou_matrix(boxes, boxes) == pytest.approx(np.array(counted))


def test_b9_flip_moves_landmarks_and_swaps_left_and_right():
    flipped = flip_faces(one_face(), 100)
    assert flipped.boxes.tolist() == [[40, 20, 80, 80]]
    assert flipped.landmarks[0].tolist() == [[50, 40], [70, 40], [60, 50], [52, 60], [68, 60]]


def test_flipping_twice_changes_nothing():
    twice = flip_faces(flip_faces(one_face(), 123.5), 123.5)
    assert twice.boxes == pytest.approx(one_face().boxes)
    assert twice.landmarks == pytest.approx(one_face().landmarks)


def test_map_faces_scales_then_moves():
    moved = map_faces(one_face(), (2, 3), (10, 20))
    assert moved.boxes.tolist() == [[50, 80, 130, 260]]
    assert moved.landmarks[0, 0].tolist() == [70, 140]


def test_clip_keeps_boxes_inside():
    assert clip_boxes(np.array([[-5.0, -5, 300, 9]]), 100, 50).tolist() == [[0, 0, 100, 9]]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(64, 900), st.floats(0, 0.8))
def test_tiles_cover_the_picture_and_overlap(width, height, size, overlap):
    windows = tile_windows(width, height, size, overlap)
    columns = sorted({(x1, x2) for x1, _, x2, _ in windows})
    assert columns[0][0] == 0
    assert columns[-1][1] == width
    assert all(0 < x2 - x1 <= size for x1, x2 in columns)
    for (_, right), (left, _) in itertools.pairwise(columns):
        assert right - left >= size * overlap - 1.5
    rows = {(y1, y2) for _, y1, _, y2 in windows}
    assert len(windows) == len(rows) * len(columns)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0.1), (100, 1.0), (100, -0.1)])
def test_tiles_refuse_nonsense(size, overlap):
    with pytest.raises(ValueError, match="tiles"):
        tile_windows(10, 10, size, overlap)


@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99)), min_size=10, max_size=10))
def test_similarity_equals_scikit_image(rows):
    points = np.array(rows)
    source, target = points[:5], points[5:]
    if ((source - source.mean(0)) ** 2).sum() < 1 or ((target - target.mean(0)) ** 2).sum() < 1:
        return
    expected = SimilarityTransform.from_estimate(source, target)
    if not expected:
        return
    covariance = (target - target.mean(0)).T @ (source - source.mean(0))
    singular = np.linalg.svd(covariance, compute_uv=False)
    if singular[-1] < 1e-6 * singular[0] or abs(singular[0] - singular[1]) < 1e-6 * singular[0]:
        return  # the rotation is not unique
    assert similarity_transform(source, target) == pytest.approx(expected.params[:2], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ([[1, 1], [1, 1]], [[1, 2], [3, 4]], "same"),
        ([[1, 1]], [[1, 2]], "n >= 2"),
        ([[1, np.nan], [1, 2]], [[1, 2], [3, 4]], "finite"),
        ([[1, 1], [2, 2]], [[1, 2], [3, 4], [5, 6]], "shapes"),
    ],
)
def test_similarity_refuses_points_that_fix_nothing(source, target, message):
    with pytest.raises(ValueError, match=message):
        similarity_transform(source, target)
