"""The clustering core: decided in rounds = walked row by row; the pair search finds every pair; Soft-NMS = its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.fusion import candidates, soft_nms
from auto_annotator.fusion.clusters import Rows, _decide_in_rounds, cluster_rows, interacting_pairs, walk

SEEDS = st.integers(0, 2**32 - 1)


def boxes_of(seed, n, low=0.02, high=0.3):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 1, (n, 2)), np.exp(rng.uniform(np.log(low), np.log(high), (n, 2)))
    return np.hstack([corner, corner + side])


def rows_of(seed, n, sources):
    rng = np.random.default_rng(seed)
    return Rows(boxes=boxes_of(seed, n), weights=rng.uniform(0.01, 1, n), source=rng.integers(0, sources, n), sources=sources)


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 120), threshold=st.sampled_from([0.1, 0.25, 0.4, 0.5, 0.55, 0.8]), moving=st.booleans())
@pytest.mark.parametrize("exclusive", [True, False])
def test_rounds_give_exactly_the_walk(exclusive, seed, n, threshold, moving):
    rows = rows_of(seed, n, sources=4)
    rule = {"threshold": threshold, "moving": moving, "exclusive": exclusive}
    pairs = interacting_pairs(rows.boxes, **rule)
    assert np.array_equal(_decide_in_rounds(rows, pairs, **rule), walk(rows, **rule))


@pytest.mark.parametrize("exclusive", [True, False])
def test_one_dense_pile_is_right(exclusive):
    """Hundreds of boxes that all overlap: one component, long chains of dependence."""
    rng = np.random.default_rng(3)
    boxes = np.array([0.2, 0.2, 0.8, 0.8]) + rng.normal(0, 0.08, (600, 4))
    rows = Rows(boxes=boxes, weights=rng.uniform(0.01, 1, 600), source=rng.integers(0, 9, 600), sources=9)
    rule = {"threshold": 0.5, "moving": True, "exclusive": exclusive}
    pairs = interacting_pairs(boxes, **rule)
    assert np.array_equal(_decide_in_rounds(rows, pairs, **rule), walk(rows, **rule))


def test_a_crowd_with_too_many_pairs_is_walked(monkeypatch):
    rows = rows_of(5, 300, sources=4)
    rule = {"threshold": 0.5, "moving": True, "exclusive": False}
    expected = cluster_rows(rows, **rule)
    monkeypatch.setattr(candidates.find_pairs, "__kwdefaults__", {"grow": 0.0, "limit": 10})
    assert np.array_equal(cluster_rows(rows, **rule), expected)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 60), grow=st.sampled_from([0.0, 0.3]), chunk=st.sampled_from([1, 7, 10_000]))
def test_the_pair_search_finds_every_intersecting_pair_once(seed, n, grow, chunk):
    boxes = boxes_of(seed, n, low=0.002, high=0.5)
    grown = boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * grow * np.array([-1, -1, 1, 1])
    inter = np.minimum(grown[:, None, 2:], grown[None, :, 2:]) - np.maximum(grown[:, None, :2], grown[None, :, :2])
    i, j = np.nonzero(np.triu((inter > 0).all(axis=2), 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "CHUNK", chunk)
        found = candidates.find_pairs(boxes, lambda a, b: np.ones(len(a), bool), grow=grow)
    assert sorted(zip(*found, strict=True)) == list(zip(i, j, strict=True))


@given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)), max_size=40))
def test_stable_order_is_a_stable_argsort(numbers):
    numbers = np.array(numbers, np.intp)
    assert np.array_equal(candidates.stable_order(numbers), np.argsort(numbers, kind="stable"))


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, threshold=st.floats(0.1, 0.9))
def test_boxes_that_match_one_mean_are_never_ruled_out(seed, threshold):
    """The premise of deciding rows apart: two boxes that overlap one box enough pass the test of pairs."""
    rng = np.random.default_rng(seed)
    centre = np.array([[0.0, 0.0, 1.0, 1.0]])
    near = centre + rng.normal(0, rng.uniform(0.05, 0.6), (400, 4))
    near = near[(near[:, 2:] - near[:, :2] > 0.05).all(axis=1)]
    near = near[candidates.pair_iou(np.repeat(centre, len(near), axis=0), near) > threshold]
    grow = candidates.growth(threshold)
    found = candidates.find_pairs(near, candidates.common_centre_test(near, threshold), grow=grow)
    assert len(found[0]) == len(near) * (len(near) - 1) // 2


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 60), floor=st.sampled_from([0.001, 0.1]))
def test_soft_nms_in_rounds_is_the_definition(seed, n, floor):
    boxes = boxes_of(seed, n)
    scores = np.sort(np.random.default_rng(seed).uniform(0, 1, n))[::-1]
    faded, host = soft_nms.soft_nms(boxes, scores, sigma=0.3, faded_below=floor)
    expected, expected_host = soft_nms._one_by_one(boxes, scores, sigma=0.3, faded_below=floor)
    assert faded == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(host, expected_host)
