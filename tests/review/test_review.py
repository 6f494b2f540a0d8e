"""Every reason a person should look, and that a good face gives none."""

import re
from dataclasses import replace

import numpy as np
import pytest

from auto_annotator.config import ReviewConfig
from auto_annotator.review import REASONS, Doubts, ReviewSettings, review_reasons
from auto_annotator.types import Faces, Votes

WIDTH, HEIGHT = 640, 480


def reasons(box=(100, 100, 200, 200), score=0.9, seen=(0.9, 0.8), edges=1.0, points=1.0, landmarks=True, failed=False, **settings):
    known = np.full((1, 5, 2), 150.0 if landmarks else np.nan)
    votes = Votes(members=("a", "b"), scores=[seen], edge_spread=np.full((1, 4), edges), landmark_spread=np.full((1, 5), points))
    faces = Faces.of([box], [score], known)
    return review_reasons(faces, votes, width=WIDTH, height=HEIGHT, settings=ReviewSettings(**settings), failed_members=failed)[0]


def test_a_good_face_gives_no_reason():
    assert reasons() == ()


@pytest.mark.parametrize(("change", "code"), [
    ({"score": 0.49}, "low_score"),
    ({"seen": (0.9, np.nan)}, "few_votes"),
    ({"failed": True}, "few_votes"),
    ({"edges": 8.5}, "boxes_disagree"),
    ({"points": 6.5}, "landmarks_disagree"),
    ({"box": (100, 100, 120, 120), "edges": 0, "points": 3.1}, "landmarks_disagree"),
    ({"landmarks": False}, "no_landmarks"),
    ({"box": (100, 100, 115, 115), "edges": 0, "points": 0}, "tiny"),
    ({"box": (0.5, 100, 100, 200)}, "at_border"),
    ({"box": (4.9, 100, 104.9, 200)}, "at_border"),
    ({"box": (100, 0, 200, 100)}, "at_border"),
    ({"box": (540, 100, 640, 200)}, "at_border"),
    ({"box": (100, 380, 200, 479.5)}, "at_border"),
])  # fmt: skip
def test_each_reason(change, code):
    assert reasons(**change) == (code,)


def test_at_the_limit_is_still_good():
    assert reasons(score=0.5, edges=7.9, points=5.9, box=(5.1, 100, 105.1, 200)) == ()
    assert reasons(seen=(0.9, np.nan), votes_below=0.5) == ()


def test_points_that_a_person_could_not_place_better_agree_on_a_small_face():
    assert reasons(box=(100, 100, 120, 120), edges=0, points=2.9) == ()


def test_unknown_spread_is_no_disagreement():
    assert reasons(edges=np.nan, points=np.nan) == ()


def test_an_ensemble_without_landmarks_is_not_blamed_for_their_absence():
    assert reasons(landmarks=False, landmarks_expected=False) == ()


def test_several_reasons_in_a_fixed_order():
    assert reasons(score=0.1, box=(0, 0, 10, 10), landmarks=False, points=np.nan, edges=0) == (
        "low_score",
        "no_landmarks",
        "tiny",
        "at_border",
    )


def test_no_face_no_reason():
    assert review_reasons(
        Faces.empty(), Votes.empty(["a"]), width=1, height=1, settings=ReviewSettings(), failed_members=True
    ) == ()  # fmt: skip


def test_rows_must_fit():
    with pytest.raises(ValueError, match="0 faces and votes for 1"):
        votes = Votes(members=("a",), scores=[[1]], edge_spread=np.zeros((1, 4)), landmark_spread=np.zeros((1, 5)))
        review_reasons(Faces.empty(), votes, width=9, height=9, settings=ReviewSettings(), failed_members=False)


def test_codes_are_safe_for_cvat_attributes():
    assert all(re.fullmatch(r"[a-z_]{1,30}", code) for code in REASONS)
    assert all(sentence.endswith(".") for sentence in REASONS.values())


def test_the_ensemble_file_sets_every_limit():
    from_file = ReviewConfig().model_dump()
    assert replace(ReviewSettings(**from_file)) == ReviewSettings()


def with_doubts(wrong, inside=0.0, score=0.9, **settings):
    faces = Faces.of([(100, 100, 200, 200)], [score], np.full((1, 5, 2), 150.0))
    votes = Votes(members=("a", "b"), scores=[(0.9, 0.8)], edge_spread=np.ones((1, 4)), landmark_spread=np.ones((1, 5)))
    doubts = Doubts(wrong=None if wrong is None else np.array([wrong]), inside=np.array([inside]))
    return review_reasons(
        faces, votes, width=WIDTH, height=HEIGHT, settings=ReviewSettings(**settings), failed_members=False, doubts=doubts
    )[0]


def test_a_box_inside_a_better_one_may_be_a_duplicate():
    assert with_doubts(None, inside=0.7) == ("possible_duplicate",)
    assert with_doubts(None, inside=0.5) == ()


def test_a_model_of_errors_decides_and_the_limits_explain():
    assert with_doubts(0.5, error_above=0.4) == ("loose_box",)
    assert with_doubts(0.5, score=0.3, error_above=0.4) == ("low_score",)
    assert with_doubts(0.3, score=0.3, inside=0.9, error_above=0.4) == ()
    assert with_doubts(0.9) == ()  # no limit: the model has no say
    assert with_doubts(None, error_above=0.4, score=0.3) == ("low_score",)  # no model: each limit flags


@pytest.mark.parametrize(("side", "unseen", "expected"), [(100, True, True), (99, True, False), (100, False, False)])
def test_a_large_face_in_which_a_landmark_model_sees_none_is_flagged(side, unseen, expected):
    votes = Votes(members=("a",), scores=[[0.9]], edge_spread=np.zeros((1, 4)), landmark_spread=np.zeros((1, 5)))
    faces = Faces.of([(100, 100, 100 + side, 100 + side)], [0.9], np.full((1, 5, 2), 150.0))
    found = review_reasons(
        faces,
        votes,
        width=WIDTH,
        height=HEIGHT,
        settings=ReviewSettings(),
        failed_members=False,
        doubts=Doubts(unseen=np.array([unseen])),
    )
    assert ("landmarks_disagree" in found[0]) == expected
