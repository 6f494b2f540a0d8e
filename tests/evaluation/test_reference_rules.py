"""What is known of the older systems' rules, bugs included."""

import numpy as np
import pytest

from auto_annotator.evaluation.reference_rules import first_seen, two_pass_vote
from auto_annotator.types import Faces

A = [0, 0, 100, 100]
NEAR = [0, 0, 100, 90]
POINTS = np.full((1, 5, 2), 50.0)


def test_first_seen_means_are_weighted_by_score_but_the_score_is_the_plain_mean():
    got = first_seen([Faces.of([A], [0.9]), Faces.of([NEAR], [0.6])])
    assert got.boxes[0, 3] == pytest.approx((0.9 * 100 + 0.6 * 90) / 1.5)
    assert got.scores.tolist() == [pytest.approx(0.75)]


def test_first_seen_keeps_the_full_score_of_a_lone_box_and_drops_faint_ones():
    got = first_seen([Faces.of([A, [300, 0, 400, 100]], [0.41, 0.39]), Faces.empty()])
    assert got.scores.tolist() == [pytest.approx(0.41)]


def test_first_seen_joins_two_overlapping_faces_of_one_member():
    assert len(first_seen([Faces.of([A, [20, 0, 120, 100]], [0.9, 0.8])])) == 1


def test_first_seen_depends_on_the_order_of_members():
    left, middle, right = ([x, 0, x + 100, 100] for x in (0, 30, 60))
    lists = [Faces.of([box], [0.9]) for box in (left, middle, right)]
    assert len(first_seen(lists)) == 2
    assert len(first_seen([lists[1], lists[0], lists[2]])) == 1


def test_first_seen_points_come_from_those_that_have_them():
    got = first_seen([Faces.of([A], [0.9]), Faces.of([NEAR], [0.6], POINTS)])
    assert got.landmarks.tolist() == POINTS.tolist()


def test_two_pass_vote_deletes_a_certain_box_that_nobody_else_saw_as_tightly():
    assert len(two_pass_vote([Faces.of([A], [0.99]), Faces.of([[0, 0, 100, 70]], [0.9])])) == 0


def test_two_pass_vote_takes_the_most_certain_box_with_points_as_it_is():
    got = two_pass_vote([Faces.of([A], [0.95]), Faces.of([NEAR], [0.6], POINTS), Faces.of([A], [0.5], POINTS + 1)])
    assert (got.boxes.tolist(), got.scores.tolist()) == ([NEAR], [pytest.approx(0.6)])


def test_two_pass_vote_lets_one_member_cast_both_votes():
    assert len(two_pass_vote([Faces.of([A, NEAR], [0.9, 0.3]), Faces.empty()])) == 1


def test_nothing_found_is_no_crash():
    for rule in (first_seen, two_pass_vote):
        assert len(rule([Faces.empty(), Faces.empty()])) == len(rule([])) == 0
