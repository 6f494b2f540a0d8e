"""Crops land where the transform says, at any scale, and do not alias."""

from __future__ import annotations

import numpy as np
import pytest
from coordinate_pictures import coordinate_picture, read_transform
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.crops import Pyramid, eye_angles, inverse, square_matrix, usable_boxes
from auto_annotator.geometry import transform_points


@given(
    center=st.tuples(st.floats(-50, 400), st.floats(-50, 300)),
    side=st.floats(1, 3000),
    angle=st.floats(-4, 4),
    mirrored=st.booleans(),
)
def test_square_matrix_maps_the_square_to_the_crop(center, side, angle, mirrored):
    matrix = square_matrix(center, side, 64, angle=angle, mirrored=mirrored)
    right, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corner = np.array(center) - side / 2 * (right + down)
    expected = [[64, 0], [0, 0]] if mirrored else [[0, 0], [64, 0]]
    np.testing.assert_allclose(transform_points(np.stack([corner, corner + side * right]), matrix), expected, atol=1e-6)
    np.testing.assert_allclose(
        transform_points(transform_points(np.array([[3.0, 7.0]]), matrix), inverse(matrix)), [[3, 7]], atol=1e-6
    )


@pytest.mark.parametrize("side", [0.0, -1.0, float("nan")])
def test_a_square_needs_a_side(side):
    with pytest.raises(ValueError, match="above 0"):
        square_matrix((0, 0), side, 8)


@settings(deadline=None, max_examples=40)
@given(
    center=st.tuples(st.floats(60, 180), st.floats(60, 130)),
    side=st.floats(8, 190),
    angle=st.floats(-3.2, 3.2),
    mirrored=st.booleans(),
)
def test_a_crop_shows_what_its_matrix_says(center, side, angle, mirrored):
    """Also where a smaller level of the pyramid is used (side over 12 by 2, 4, 8) and where the square leaves the picture.

    The tolerance is a third of a crop pixel, so that half a pixel lost at any level would show, and the rounding of colours.
    """
    matrix = square_matrix(center, side, 12, angle=angle, mirrored=mirrored)
    back = read_transform(Pyramid(coordinate_picture(240, 190)).crop(matrix, 12), 240, 190)
    np.testing.assert_allclose(transform_points(np.array([[6.0, 6.0]]), back), [center], atol=0.6 + 0.03 * side)
    np.testing.assert_allclose(back[:, :2], inverse(matrix)[:, :2], atol=0.06 * side / 12 + 0.1)


def test_the_whole_picture_at_scale_one_is_the_picture():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Pyramid(image).crop(square_matrix((16, 16), 32, 32), 32), image)


def test_shrinking_averages_fine_texture():
    """A one-pixel checkerboard is grey from far away; sampling alone would give black, white or stripes."""
    board = np.indices((512, 512)).sum(axis=0) % 2 * 255
    crop = Pyramid(np.repeat(board[..., None], 3, axis=2).astype(np.uint8)).crop(square_matrix((256, 256), 500, 25), 25)
    assert np.abs(crop.astype(int) - 127.5).max() < 4


def test_outside_is_black_or_repeats_the_border():
    pyramid = Pyramid(np.full((20, 20, 3), 90, np.uint8))
    matrix = square_matrix((0, 0), 20, 20)
    black, repeated = pyramid.crop(matrix, 20), pyramid.crop(matrix, 20, replicate=True)
    assert black[:9, :9].max() == 0
    assert black[11:, 11:].min() == 90
    assert repeated.min() == 90


@pytest.mark.parametrize("center", [(-100, 10), (10, 500), (1e30, 0)])
def test_a_crop_beside_the_picture_is_none(center):
    assert Pyramid(np.zeros((20, 20, 3), np.uint8)).crop(square_matrix(center, 20, 8), 8) is None


def test_an_unusable_matrix_gives_none():
    assert Pyramid(np.zeros((20, 20, 3), np.uint8)).crop(np.full((2, 3), np.nan), 8) is None
    assert Pyramid(np.zeros((20, 20, 3), np.uint8)).crop(np.zeros((2, 3)), 8) is None


def test_pictures_wider_than_opencv_warps():
    """warpAffine keeps positions in 16 bits; a panorama has more columns than that."""
    image = np.zeros((16, 40_000, 3), np.uint8)
    image[:, 39_000:39_016] = 255
    assert Pyramid(image).crop(square_matrix((39_008, 8), 16, 16), 16).min() == 255


def test_usable_boxes():
    boxes = np.array(
        [[0, 0, 9, 9], [0, 0, 0.5, 0.5], [9, 9, 0, 0], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [30, 0, 40, 9], [-5, -5, 1, 1]]
    )
    assert usable_boxes(boxes.astype(np.float32), 20, 20).tolist() == [True, False, False, False, False, False, True]
    assert usable_boxes(np.zeros((0, 4), np.float32), 20, 20).shape == (0,)


def test_eye_angles_are_zero_where_unknown():
    points = np.full((3, 5, 2), np.nan, np.float32)
    points[1, :2] = [[0, 0], [0, 2]]
    points[2, :2] = [[4, 4], [2, 4]]
    np.testing.assert_allclose(eye_angles(points), [0, np.pi / 2, np.pi], atol=1e-6)
