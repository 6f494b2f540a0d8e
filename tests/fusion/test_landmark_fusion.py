"""Robust fusion of landmarks."""

import numpy as np
import pytest
from fusion.scenes import points_in
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.fusion.landmarks import AGREEMENT, OUTSIDE_MARGIN, LandmarkOpinions, fuse_landmarks

BOX = np.array([[100, 200, 200, 320]], np.float32)
SIDE = np.sqrt(100 * 120)
TRUE = points_in(BOX.astype(float))[0]


def moved(points, x, y):
    return points + np.array([x, y])


def opinions(*points, weights=None):
    """One face, any number of opinions."""
    stacked = np.stack([np.asarray(p, np.float32) for p in points])[None]
    return LandmarkOpinions(points=stacked, weights=np.ones((1, len(points))) if weights is None else [weights])


def test_opinions_that_agree_are_averaged_by_weight():
    points, spread = fuse_landmarks(opinions(TRUE, moved(TRUE, 1, 0), weights=[3, 1]), BOX)
    assert points[0] == pytest.approx(moved(TRUE, 0.25, 0), abs=1e-3)
    assert spread[0] == pytest.approx(np.full(5, np.sqrt(3 / 16)), abs=1e-3)


@pytest.mark.parametrize("shift", [(40, 0), (0, -50), (30, 30)])
def test_one_wild_opinion_of_four_hardly_moves_the_points(shift):
    noise = np.random.default_rng(0).normal(0, 0.3, (3, 5, 2))
    good, _ = fuse_landmarks(opinions(*(TRUE + noise)), BOX)
    wild = TRUE.copy()
    wild[2] += shift
    points, spread = fuse_landmarks(opinions(*(TRUE + noise), wild), BOX)
    shifts = np.linalg.norm(points - good, axis=2)[0]
    assert shifts[2] <= 0.01 * SIDE
    assert shifts[2] <= AGREEMENT * SIDE / 3 + 0.1
    assert spread[0, 2] > 10 * spread[0, 0]  # the disagreement is reported, though it has little effect


def test_two_that_disagree_meet_in_the_middle():
    points, _ = fuse_landmarks(opinions(TRUE, moved(TRUE, 20, 10)), BOX)
    assert points[0] == pytest.approx(moved(TRUE, 10, 5), abs=1e-3)


def test_an_opinion_far_outside_the_box_has_no_say():
    far = TRUE.copy()
    far[0] = BOX[0, :2] - (OUTSIDE_MARGIN + 0.05) * np.array([100, 120])
    points, spread = fuse_landmarks(opinions(TRUE, far), BOX)
    assert points[0] == pytest.approx(TRUE, abs=1e-3)
    assert np.isnan(spread).all()


def test_a_point_a_little_outside_the_box_counts():
    profile = TRUE.copy()
    profile[0] = BOX[0, :2] - [5, 0]
    points, _ = fuse_landmarks(opinions(profile), BOX)
    assert points[0] == pytest.approx(profile, abs=1e-3)


def test_nobody_has_a_say():
    points, spread = fuse_landmarks(LandmarkOpinions.none(1), BOX)
    assert np.isnan(points).all()
    assert np.isnan(spread).all()
    points, spread = fuse_landmarks(opinions(np.full((5, 2), np.nan)), BOX)
    assert np.isnan(points).all()
    assert np.isnan(spread).all()
    points, _ = fuse_landmarks(opinions(TRUE, weights=[0]), BOX)
    assert np.isnan(points).all()


def test_single_unknown_points_are_left_out():
    half = TRUE.copy()
    half[3:] = np.nan
    points, spread = fuse_landmarks(opinions(half, moved(TRUE, 2, 0)), BOX)
    assert points[0, :3] == pytest.approx(moved(TRUE[:3], 1, 0), abs=1e-3)
    assert points[0, 3:] == pytest.approx(moved(TRUE[3:], 2, 0), abs=1e-3)
    assert np.isnan(spread[0]).tolist() == [False, False, False, True, True]


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6))
def test_order_and_mirror(seed, count):
    rng = np.random.default_rng(seed)
    said = TRUE + rng.normal(0, 5, (count, 5, 2))
    weights = rng.uniform(0.1, 2, count)
    points, spread = fuse_landmarks(opinions(*said, weights=weights), BOX)
    order = rng.permutation(count)
    assert points == pytest.approx(fuse_landmarks(opinions(*said[order], weights=weights[order]), BOX)[0], abs=1e-3)
    mirrored = said * [-1, 1] + [1000, 0]
    box = np.array([[800, 200, 900, 320]], np.float32)
    back, same_spread = fuse_landmarks(opinions(*mirrored, weights=weights), box)
    assert back * [-1, 1] + [1000, 0] == pytest.approx(points, abs=1e-3)
    assert same_spread == pytest.approx(spread, abs=1e-3, nan_ok=True)


def test_faces_do_not_influence_each_other():
    wild = opinions(TRUE, moved(TRUE, 30, 0), moved(TRUE, 0, 1))
    other = opinions(TRUE, TRUE, TRUE)
    both = LandmarkOpinions(
        points=np.concatenate([wild.points, other.points]), weights=np.concatenate([wild.weights, other.weights])
    )
    alone, _ = fuse_landmarks(wild, BOX)
    together, _ = fuse_landmarks(both, np.repeat(BOX, 2, axis=0))
    assert np.array_equal(together[0], alone[0])


def test_a_refiner_adds_its_opinion():
    first = LandmarkOpinions.none(2)
    points = np.stack([TRUE, np.full((5, 2), np.nan)])
    more = first.with_opinion(points, 3.0)
    assert len(first.weights[0]) == 0
    assert more.weights.tolist() == [[3.0], [0.0]]
    assert more.select([1]).weights.tolist() == [[0.0]]
    assert len(more.select([])) == 0
    fused, _ = fuse_landmarks(more, np.repeat(BOX, 2, axis=0))
    assert fused[0] == pytest.approx(TRUE, abs=1e-3)
    assert np.isnan(fused[1]).all()


def test_shapes_and_weights_are_checked():
    with pytest.raises(ValueError, match="expected"):
        LandmarkOpinions(points=np.zeros((1, 2, 5, 2)), weights=np.zeros((1, 3)))
    with pytest.raises(ValueError, match=">= 0"):
        LandmarkOpinions(points=np.zeros((1, 1, 5, 2)), weights=[[-1]])
    with pytest.raises(ValueError, match="opinions on 1 faces"):
        fuse_landmarks(opinions(TRUE), np.zeros((2, 4)))
