"""Review figures on flags that can be counted by hand."""

import numpy as np
import pytest

from auto_annotator.evaluation.detection import match
from auto_annotator.evaluation.labels import Truth
from auto_annotator.evaluation.review import error_curve, found_first, review_efficiency
from auto_annotator.types import Faces

RIGHT = [[40 * i, 0, 40 * i + 20, 20] for i in range(6)]
LOOSE, FALSE = [0, 100, 20, 112], [300, 300, 320, 320]
TRUE = [*RIGHT, [0, 100, 20, 120], [500, 500, 520, 520]]


def judged():
    faces = Faces.of([FALSE, *RIGHT, LOOSE, FALSE], [0.9, *[0.8] * 6, 0.7, 0.1])
    return match([faces], [Truth(boxes=np.array(TRUE, np.float32), counts=np.ones(8, bool))])


def test_flags_are_set_against_errors():
    flagged = np.array([True, True, *[False] * 5, False, True])
    got = review_efficiency(judged(), 0.5, flagged, flagged.astype(float))
    assert (got.boxes, got.errors, got.false_boxes, got.missed) == (8, 2, 1, 1)
    assert got.flagged == pytest.approx(2 / 8)
    assert (got.errors_inside, got.false_boxes_inside) == (0.5, 1.0)
    assert got.errors_inside_with_missed == pytest.approx(1 / 3)
    assert (got.unflagged_faces, got.unflagged_right) == (1.0, pytest.approx(5 / 6))


def test_points_that_are_off_are_errors():
    errors = np.full(9, np.nan)
    errors[3] = 0.5
    nothing = np.zeros(9)
    got = review_efficiency(judged(), 0.5, nothing.astype(bool), nothing, landmark_errors=errors)
    assert (got.errors, got.errors_inside) == (3, 0.0)


def test_the_queue_counts_how_early_errors_come():
    wrong = np.array([True, False, False, True])
    assert error_curve(wrong, np.array([9, 1, 2, 8])).tolist() == [0, 0.5, 1, 1, 1]
    assert error_curve(wrong, np.zeros(4)).tolist() == [0, 0.25, 0.5, 0.75, 1]  # no order: chance
    assert found_first(error_curve(wrong, np.array([9, 1, 2, 8])), 0.25) == 0.5
    assert len(error_curve(np.zeros(4, bool), np.zeros(4))) == 0
    best = review_efficiency(judged(), 0.5, np.ones(9, bool), np.array([1.0, *[0] * 6, 1, 0]))
    worst = review_efficiency(judged(), 0.5, np.ones(9, bool), np.array([0.0, *[1] * 6, 0, 1]))
    assert best.area > 0.8 > 0.2 > worst.area
    assert best.first["30"] == 1.0


def test_nothing_shown_is_no_crash():
    nothing = np.zeros(9)
    got = review_efficiency(judged(), 0.95, nothing.astype(bool), nothing)
    assert (got.boxes, got.missed) == (0, 8)
    assert np.isnan([got.flagged, got.errors_inside, got.area, got.first["10"]]).all()
    with pytest.raises(ValueError, match="review"):
        review_efficiency(judged(), 0.5, nothing.astype(bool), nothing[:3])
