"""Turns by quarters against numpy's turns of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.geometry import turn_edges, turn_faces
from auto_annotator.types import Faces

WIDTH, HEIGHT = 50, 30
quarters = st.integers(-5, 5)
box = st.tuples(st.integers(0, 39), st.integers(0, 19), st.integers(1, 10), st.integers(1, 10))


def faces_of(rows):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in rows], float).reshape(-1, 4)
    points = boxes[:, None, :2] + np.arange(5)[None, :, None] * [0.25, 0.125]
    return Faces.of(boxes, np.linspace(0.1, 0.9, len(rows)), points)


@given(st.lists(box, max_size=4), quarters)
def test_a_turned_box_covers_the_turned_pixels(rows, k):
    turned = turn_faces(faces_of(rows), k, WIDTH, HEIGHT)
    for (x, y, w, h), (x1, y1, x2, y2) in zip(rows, turned.boxes.astype(int), strict=True):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[y : y + h, x : x + w] = True
        again = np.zeros_like(np.rot90(mask, -k))
        again[y1:y2, x1:x2] = True
        assert (again == np.rot90(mask, -k)).all()


@given(st.lists(box, max_size=4), quarters)
def test_a_turn_and_its_inverse_are_nothing(rows, k):
    faces = faces_of(rows)
    size = (WIDTH, HEIGHT) if k % 2 == 0 else (HEIGHT, WIDTH)
    back = turn_faces(turn_faces(faces, k, WIDTH, HEIGHT), -k, *size)
    assert back.boxes == pytest.approx(faces.boxes, abs=1e-5)
    assert back.landmarks == pytest.approx(faces.landmarks, abs=1e-5)
    assert back.scores.tolist() == faces.scores.tolist()


@given(st.lists(box, min_size=1, max_size=4), quarters, quarters)
def test_turns_add_up(rows, j, k):
    size = (WIDTH, HEIGHT) if j % 2 == 0 else (HEIGHT, WIDTH)
    one = turn_faces(turn_faces(faces_of(rows), j, WIDTH, HEIGHT), k, *size)
    both = turn_faces(faces_of(rows), j + k, WIDTH, HEIGHT)
    assert one.boxes == pytest.approx(both.boxes, abs=1e-5)
    assert one.landmarks == pytest.approx(both.landmarks, abs=1e-5)


@given(quarters)
def test_points_lie_at_the_same_place_of_their_box_seen_from_the_person(k):
    turned = turn_faces(Faces.of([[10, 10, 20, 20]], [1], [[[11, 12]] * 5]), k, WIDTH, HEIGHT)
    x1, y1, x2, y2 = turned.boxes[0]
    x, y = turned.landmarks[0, 0]
    expected = [(x1 + 1, y1 + 2), (x2 - 2, y1 + 1), (x2 - 1, y2 - 2), (x1 + 2, y2 - 1)][k % 4]
    assert (x, y) == pytest.approx(expected)


@given(quarters)
def test_edges_turn_with_the_boxes_they_belong_to(k):
    """An edge that is alone uncertain stays the uncertain one: moving it moves the same column of the turned box."""
    base, spread = np.array([10.0, 5, 20, 25]), np.array([[1.0, 2, 3, 4]])
    turned_spread = turn_edges(spread, k)[0]
    still = turn_faces(Faces.of([base], [1]), k, WIDTH, HEIGHT).boxes[0]
    for edge in range(4):
        moved = base.copy()
        moved[edge] += 1
        changed = np.flatnonzero(turn_faces(Faces.of([moved], [1]), k, WIDTH, HEIGHT).boxes[0] != still)
        assert turned_spread[changed].tolist() == [spread[0, edge]]
