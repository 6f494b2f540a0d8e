"""What a measured habit may do to a box."""

import numpy as np
import pytest

from auto_annotator.calibration import ViewCalibration
from auto_annotator.fusion.calibration import Curve
from auto_annotator.fusion.edges import KNOTS, EdgeHabit
from auto_annotator.types import Faces

BIAS = (-0.1, 0.05, 0.2, 0.1)


@pytest.fixture
def calibration():
    shape = np.ones((len(KNOTS), 4))
    return ViewCalibration(curve=Curve.identity(), edges=EdgeHabit(knots=KNOTS, bias=shape * BIAS, spread=0.1 * shape))


def test_a_habit_is_taken_off_as_a_share_of_the_side(calibration):
    (box,) = calibration(Faces.of([[100, 100, 120, 180]], [0.5]), 1.0).boxes
    assert box == pytest.approx(np.array([100, 100, 120, 180]) - 40 * np.array(BIAS), abs=1e-4)


def test_no_habit_turns_a_narrow_box_inside_out(calibration):
    narrow = [[0, 100, 4, 180], [0, 100, 40, 180]]
    boxes = calibration(Faces.of(narrow, [0.5, 0.5]), 1.0).boxes
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes[0].tolist() == narrow[0]
    assert boxes[1].tolist() != narrow[1]
