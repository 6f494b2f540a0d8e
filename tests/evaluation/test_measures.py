"""The measures on cases that can be worked out by hand."""

import numpy as np
import pytest

from auto_annotator.evaluation.detection import Truth, average_precision, calibration_error, corrections_per_100, match
from auto_annotator.evaluation.landmarks import normalised_errors
from auto_annotator.types import Faces

A, B, C = [0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]


def truth(*boxes, counts=None):
    return Truth(boxes=np.array(boxes, np.float32).reshape(-1, 4), counts=np.array(counts or [True] * len(boxes), bool))


def test_all_found_is_one_and_nothing_found_is_zero():
    assert average_precision(match([Faces.of([A, B], [0.9, 0.8])], [truth(A, B)])) == 1.0
    assert average_precision(match([Faces.empty()], [truth(A)])) == 0.0


def test_a_false_box_above_costs_precision_and_below_costs_nothing():
    above = match([Faces.of([C, A], [0.9, 0.8])], [truth(A)])
    below = match([Faces.of([A, C], [0.9, 0.8])], [truth(A)])
    assert average_precision(above) == pytest.approx(0.5)
    assert average_precision(below) == 1.0


def test_a_second_hit_on_a_face_is_false():
    matches = match([Faces.of([A, A, B], [0.9, 0.8, 0.7])], [truth(A, B)])
    assert matches.hits.tolist() == [True, False, True]
    assert average_precision(matches) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_face_that_does_not_count_is_neither_asked_for_nor_an_error():
    matches = match([Faces.of([A, B], [0.9, 0.8])], [truth(A, B, counts=[False, True])])
    assert (matches.faces, matches.hits.tolist()) == (1, [True])


def test_corrections_count_missed_false_and_loose():
    loose = [0, 0, 10, 6]  # IoU 0.6 with A
    matches = match([Faces.of([loose, C], [0.9, 0.8])], [truth(A, B)])
    assert corrections_per_100(matches, 0.5) == pytest.approx(100 * (1 + 1 + 1) / 2)
    assert corrections_per_100(matches, 0.85) == pytest.approx(100 * (1 + 0 + 1) / 2)


def test_calibration_error_is_the_gap_between_score_and_hits():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    matches = match([Faces.of(boxes, np.full(10, 0.8))], [truth(*boxes[:5])])
    assert calibration_error(matches) == pytest.approx(0.3, abs=1e-6)


def test_pictures_must_pair_up():
    with pytest.raises(ValueError, match="1 pictures"):
        match([Faces.empty()], [])


def test_nme_is_in_eye_distances_and_a_constant_shift_can_be_taken_off():
    faces = np.array([[[30, 40], [50, 40], [40, 50], [32, 60], [48, 60]]], float)
    shifted = faces + np.array([2.0, 0.0])
    assert normalised_errors(shifted, faces) == pytest.approx([0.1])
    assert normalised_errors(shifted, faces, remove_translation=True) == pytest.approx([0.0])
    assert np.isnan(normalised_errors(np.full_like(faces, np.nan), faces)).all()
    with pytest.raises(ValueError, match="shapes"):
        normalised_errors(faces, faces[:, :4])
