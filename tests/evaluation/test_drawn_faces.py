"""What people drew: points find their box as they do in CVAT, however many there are."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.bridge.shapes import tied_landmarks
from auto_annotator.evaluation import drawn
from auto_annotator.evaluation.drawn import DrawnFace, DrawnPoints, labelled_picture, without_lone_event
from auto_annotator.evaluation.labels import LabelledPicture

numbers = st.integers(0, 12).map(float)
boxes = st.tuples(numbers, numbers, st.integers(1, 8), st.integers(1, 8)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
groups = st.integers(0, 3)
points = st.lists(st.tuples(numbers, numbers) | st.just((np.nan, np.nan)), min_size=5, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.builds(DrawnFace, box=boxes, group=groups), max_size=6),
    st.lists(st.builds(lambda p, g: DrawnPoints(points=np.array(p, np.float32), group=g), points, groups), max_size=6),
)
def test_points_find_the_box_that_the_plain_rule_gives_them(faces, marks):
    items = [drawn._rectangle(face) for face in faces]
    every = items + [drawn._skeleton(mark) for mark in marks]
    expected = [tied_landmarks(item, every, drawn._LABELS) for item in items]
    got = labelled_picture(Path("a.jpg"), faces, marks).landmarks
    if got is None:
        assert all(one is None for one in expected)
    else:
        assert all(
            np.array_equal(row, drawn._NOWHERE if one is None else one, equal_nan=True)
            for row, one in zip(got, expected, strict=True)
        )


def test_one_event_says_nothing():
    def events(*names):
        pictures = [LabelledPicture(path=Path("a"), boxes=np.zeros((0, 4), np.float32), event=name) for name in names]
        return [picture.event for picture in without_lone_event(pictures)]

    assert events("a", "a") == ["", ""]
    assert events("a", "b", "a") == ["a", "b", "a"]
    assert events() == []
