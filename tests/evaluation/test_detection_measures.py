"""Detection measures against the rule walked box by box, and what must hold for any detections."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import detection_oracle as oracle

from auto_annotator.evaluation.detection import (
    average_precision,
    calibration_error,
    corrections,
    match,
    official_average_precision,
    pair,
    precision_recall,
    recall_at_false_boxes,
)
from auto_annotator.evaluation.labels import Truth
from auto_annotator.types import Faces

A, B, C = [0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]
SEEDS = st.integers(0, 10**6)


def truth(*boxes, counts=None):
    return Truth(boxes=np.array(boxes, np.float32).reshape(-1, 4), counts=np.array(counts or [True] * len(boxes), bool))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0.3, 0.5, 0.7]))
def test_average_precision_is_that_of_the_rule_walked_box_by_box(seed, ties, iou):
    detections, truths = oracle.scene(seed, ties=ties)
    matches = match(detections, truths, iou=iou)
    rows = oracle.judged(detections, truths, iou)
    assert (len(rows), sum(hit for _, hit in rows)) == (len(matches.scores), matches.hits.sum())
    if matches.faces:
        assert average_precision(matches) == pytest.approx(oracle.average_precision(rows, matches.faces))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_order_of_boxes_and_pictures_changes_nothing(seed):
    detections, truths = oracle.scene(seed)
    rng = np.random.default_rng(seed)
    shuffled = [(d.select(rng.permutation(len(d))), t) for d, t in zip(detections, truths, strict=True)]
    shuffled = [shuffled[i] for i in rng.permutation(len(shuffled))]
    one, two = match(detections, truths), match([d for d, _ in shuffled], [t for _, t in shuffled])
    assert average_precision(two) == pytest.approx(average_precision(one), nan_ok=True)
    assert calibration_error(two) == pytest.approx(calibration_error(one), nan_ok=True)
    assert recall_at_false_boxes(two) == pytest.approx(recall_at_false_boxes(one), nan_ok=True)
    assert corrections(two, 0.5) == corrections(one, 0.5)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_one_more_true_box_above_all_others_never_lowers_it(seed):
    detections, truths = oracle.scene(seed)
    before = average_precision(match(detections, truths))
    more = truth([500, 500, 530, 530])
    both = match([*detections, Faces.of([[500, 500, 530, 530]], [1.0])], [*truths, more])
    neither = match([*detections, Faces.empty()], [*truths, more])
    after = average_precision(both)
    assert 0 <= after <= 1 + 1e-12
    assert after >= average_precision(neither)
    assert np.isnan(before) or after >= before - 1e-12


def test_boxes_of_equal_score_come_in_together():
    precision, recall, scores = precision_recall(match([Faces.of([C, A], [0.5, 0.5])], [truth(A)]))
    assert (precision.tolist(), recall.tolist(), scores.tolist()) == ([0.5], [1.0], [0.5])


def test_of_two_boxes_of_equal_score_the_better_one_is_the_hit():
    loose = [0, 0, 10, 6]
    for boxes in ([loose, A], [A, loose]):
        matches = match([Faces.of(boxes, [0.5, 0.5])], [truth(A)])
        assert (matches.hits.sum(), matches.overlaps[matches.hits].tolist()) == (1, [1.0])


def test_a_second_box_on_a_face_that_does_not_count_is_nothing_too():
    matches = match([Faces.of([A, A], [0.9, 0.8])], [truth(A, B, counts=[False, True])])
    assert len(matches.scores) == 0


def test_a_box_belongs_to_the_face_it_overlaps_most_even_if_that_does_not_count():
    faces = Faces.of([[0, 0, 10, 10]], [0.9])
    neighbours = truth([0, 0, 10, 9], [0, 1, 10, 12], counts=[False, True])
    matches = match([faces], [neighbours])
    assert (len(matches.scores), matches.faces) == (0, 1)


def test_rows_lead_back_to_the_detections_and_faces():
    detections = [Faces.of([C, A], [0.2, 0.9]), Faces.of([B], [0.5])]
    matches = match(detections, [truth(A), truth(C, B)])
    assert (matches.row.tolist(), matches.face.tolist(), matches.picture.tolist()) == ([1, 2, 0], [0, 2, -1], [0, 1, 0])


def test_recall_at_one_false_box_per_picture():
    detections = [Faces.of([A, C, [50, 50, 60, 60], B], [0.9, 0.8, 0.7, 0.6])]
    matches = match(detections, [truth(A, B)])
    assert recall_at_false_boxes(matches) == 0.5
    assert recall_at_false_boxes(matches, per_picture=2) == 1.0
    assert np.isnan(recall_at_false_boxes(match(detections, [truth(A, counts=[False])])))


def test_corrections_count_landmarks_of_shown_hits_only():
    matches = match([Faces.of([A, B, C], [0.9, 0.8, 0.1])], [truth(A, B, C)])
    errors = np.array([0.05, np.inf, 0.9])
    got = corrections(matches, 0.5, landmark_errors=errors[matches.row])
    assert (got.missed, got.false_boxes, got.loose, got.bad_landmarks) == (1, 0, 0, 1)
    assert got.per_100 == pytest.approx(200 / 3)
    assert corrections(matches, 0.5, landmark_errors=np.full(3, np.nan)).bad_landmarks == 0


def test_calibration_error_is_weighted_by_count_and_leaves_faint_boxes_out():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(8)]
    scores = [0.92, 0.92, 0.92, 0.92, 0.42, 0.42, 0.05, 0.05]
    matches = match([Faces.of(boxes, scores)], [truth(*boxes[:3], boxes[4])])
    by_hand = (4 * abs(0.92 - 0.75) + 2 * abs(0.42 - 0.5)) / 6
    assert calibration_error(matches) == pytest.approx(by_hand, abs=1e-6)
    assert np.isnan(calibration_error(match([Faces.empty()], [truth(A)])))


def test_the_pixel_convention_of_the_official_script_widens_boxes():
    shifted = Faces.of([[3.4, 0, 13.4, 10]], [0.9])
    assert pair([shifted], [truth(A).boxes]).overlaps[0] == pytest.approx(66 / 134, abs=1e-5)
    assert pair([shifted], [truth(A).boxes], pixel=1.0).overlaps[0] == pytest.approx(7.6 * 11 / (2 * 121 - 7.6 * 11), abs=1e-5)


def test_nothing_at_all_is_no_crash():
    matches = match([], [])
    assert (matches.faces, matches.pictures, len(matches.scores)) == (0, 0, 0)
    assert np.isnan(average_precision(matches))
    with pytest.raises(ValueError, match="counts"):
        pair([Faces.empty()], [truth(A).boxes]).matches(np.zeros(0, bool))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_the_official_figure_is_that_of_the_official_loop(seed):
    detections, truths = oracle.scene(seed, ties=False)
    counts = np.concatenate([t.counts for t in truths])
    got = official_average_precision(pair(detections, [t.boxes for t in truths], pixel=1.0), counts)
    if counts.any():
        assert got == pytest.approx(oracle.official(detections, truths), abs=2e-3)
    else:
        assert np.isnan(got)
