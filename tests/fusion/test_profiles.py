"""Which points the head hides: by how the points lie, in any orientation of the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.fusion.profiles import EYE_RATIO, NOSE_ASIDE, hidden_points, sides_hidden
from auto_annotator.geometry import FLIP_ORDER

# A head with the middle of the eyes at the origin and the mouth one unit below it; z grows away from the camera.
HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.55, -0.62], [-0.43, 1, 0.04], [0.43, 1, 0.04]])

angles = st.floats(-np.pi, np.pi)


def head(yaw: float) -> np.ndarray:
    """(1, 5, 2) points of the head, turned by degrees towards image-right."""
    turn = np.radians(yaw)
    x, y, z = HEAD.T
    return np.stack([x * np.cos(turn) - z * np.sin(turn), y], axis=1)[None]


@pytest.mark.parametrize(
    ("yaw", "hidden"),
    [
        (0, [0, 0, 0, 0, 0]),
        (45, [0, 0, 0, 0, 0]),
        (-45, [0, 0, 0, 0, 0]),
        (70, [0, 1, 0, 0, 1]),
        (90, [0, 1, 0, 0, 1]),
        (-70, [1, 0, 0, 1, 0]),
    ],
)
def test_a_turning_head_hides_the_far_eye_and_mouth_corner(yaw, hidden):
    assert hidden_points(head(yaw)).astype(int).tolist() == [hidden]


@given(st.floats(-90, 90), angles, st.floats(0.5, 500), st.floats(-1e4, 1e4))
def test_turning_scaling_and_moving_the_picture_change_nothing(yaw, roll, scale, shift):
    points = head(yaw)
    eyes, aside = abs(np.cos(np.radians(yaw))), abs(0.62 * np.sin(np.radians(yaw)))
    if min(abs(eyes - EYE_RATIO), abs(aside - NOSE_ASIDE)) < 0.03:
        return  # at the limit rounding decides
    turned = points @ np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]]) * scale + shift
    assert (hidden_points(turned) == hidden_points(points)).all()


@given(st.floats(-90, 90))
def test_mirroring_the_picture_swaps_the_sides(yaw):
    mirrored = head(yaw)[:, FLIP_ORDER] * (-1, 1)
    assert (hidden_points(mirrored) == hidden_points(head(yaw))[:, FLIP_ORDER]).all()


@given(st.lists(st.floats(width=32) | st.just(float("nan")), min_size=10, max_size=10))
def test_any_numbers_give_an_answer_and_never_both_sides(numbers):
    right, left = sides_hidden(np.array(numbers).reshape(1, 5, 2))
    assert not (right & left).any()
    if not np.isfinite(numbers).all():
        assert not right.any()
        assert not left.any()


def test_eyes_put_together_on_a_frontal_face_are_an_error_and_no_profile():
    points = head(0)
    points[0, :2, 0] *= 0.2
    assert not hidden_points(points).any()


def test_no_faces():
    assert hidden_points(np.zeros((0, 5, 2))).shape == (0, 5)
