"""Landmark errors of several systems on the same faces."""

from pathlib import Path

import numpy as np
import pytest

from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.landmarks import normalised_errors, scales
from auto_annotator.evaluation.points import compare_points
from auto_annotator.types import Faces

FIVE = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
BOX = [10, 10, 90, 100]


def picture(shift=0.0):
    box = np.array([BOX], np.float32)
    return LabelledPicture(path=Path("x"), boxes=box + shift, landmarks=FIVE[None] + shift, points_only=True)


def found(offset, score=0.9):
    return Faces.of([BOX], [score], FIVE[None] + offset)


def test_means_are_over_the_faces_that_all_found_and_failures_over_all():
    pictures = [picture(), picture()]
    got = compare_points(
        {"a": [found(0), Faces.empty()], "b": [found((4, 0)), found(0)], "boxes only": [Faces.empty()] * 2}, pictures
    )
    assert set(got) == {"a", "b"}
    assert (got["a"].common, got["a"].found, got["b"].found) == (1, 1, 2)
    assert (got["a"].raw, got["b"].raw) == (pytest.approx(0), pytest.approx(0.1))
    assert got["b"].moved == pytest.approx(0, abs=1e-9)  # one face alone is moved onto its truth
    assert (got["a"].failures_all, got["a"].area) == (0.5, pytest.approx(1.0))


def test_of_several_boxes_on_the_face_the_most_certain_one_is_meant():
    two = Faces.of([BOX, BOX], [0.3, 0.8], np.stack([FIVE, FIVE + 20]))
    far = Faces.of([[200, 200, 280, 290], BOX], [0.99, 0.3], np.stack([FIVE + 190, FIVE]))
    assert compare_points({"a": [two]}, [picture()])["a"].raw == pytest.approx(np.hypot(20, 20) / 40)
    assert compare_points({"a": [far]}, [picture()])["a"].raw == pytest.approx(0)


def test_a_profile_is_measured_by_its_eye_mouth_distance():
    profile = FIVE.copy()
    profile[:2] = [[49, 40], [51, 40]]
    assert scales(np.stack([FIVE, profile])) == pytest.approx([40, 40])
    assert normalised_errors(profile[None] + [4.0, 0], profile[None]) == pytest.approx([0.1])


def test_sets_without_points_have_no_result():
    bare = LabelledPicture(path=Path("x"), boxes=np.array([BOX], np.float32))
    assert compare_points({"a": [found(0)]}, [bare]) == {}
