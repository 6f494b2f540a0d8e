"""A view and its way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.types import Faces
from auto_annotator.views import make_canvas, resized, view_scale, whole_in_tile


def picture_with_square(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


@given(st.booleans(), st.sampled_from([0.5, 0.7, 1.0, 1.6, 2.0]), st.sampled_from([32, 64]))
@settings(deadline=None)
def test_what_is_found_on_a_canvas_goes_back_to_the_picture(flip, scale, stride):
    box = (60, 40, 120, 90)
    image = picture_with_square(300, 200, box)
    canvas = make_canvas(image, (20, 10, 260, 190), scale, stride=stride, fixed=None, flip=flip)
    assert canvas.pixels.shape[0] % stride == canvas.pixels.shape[1] % stride == 0
    ys, xs = np.nonzero(canvas.pixels[..., 0] > 127)
    found = Faces.of([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], [1.0], np.full((1, 5, 2), 1.0))
    assert canvas.to_picture(found).boxes[0] == pytest.approx(box, abs=1.0 / scale)


def test_fixed_canvases_hold_the_whole_window():
    canvas = make_canvas(np.full((300, 900, 3), 9, np.uint8), (0, 0, 900, 300), 640 / 900, stride=32, fixed=(640, 640), flip=False)
    assert canvas.pixels.shape == (640, 640, 3)
    assert canvas.content == (640, 213)
    assert canvas.pixels[213:].max() == 0


@pytest.mark.parametrize(
    ("window", "size", "fixed", "expected"),
    [
        ((2000, 1000), 1000, None, 0.5),
        ((100, 50), 1000, None, 4.0),
        ((2000, 1000), None, None, 1.0),
        ((1000, 2000), 1280, (640, 640), 0.32),
        ((300, 200), 640, (320, 640), 1.6),
    ],
)
def test_scale_follows_size_limit_and_fixed_canvas(window, size, fixed, expected):
    assert view_scale(window, size, 4.0, fixed) == pytest.approx(expected)


def test_shrinking_averages_so_that_detail_does_not_alias():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resized(stripes, 16, 16).astype(int) - 127).max() <= 2


def test_a_face_cut_by_a_tile_border_inside_the_picture_is_left_to_the_neighbour():
    boxes = np.array([[0, 0, 50, 50], [60, 60, 100, 90], [10, 10, 90, 90]], np.float32)
    assert whole_in_tile(boxes, (0, 0, 100, 100), 300, 300).tolist() == [True, False, True]
    assert whole_in_tile(boxes, (0, 0, 100, 100), 100, 100).all()
