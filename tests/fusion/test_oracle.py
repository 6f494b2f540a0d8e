"""Against ensemble-boxes, the published implementation, on equal settings.

Equal settings: coordinates in 0..1, no score threshold, any number of boxes per source in a cluster, no two equal products of
score and weight (the two sides break ties differently, ours without regard to the order of the lists). `nms` and `soft_nms` of
ours ignore weights, so both sides get none. ensemble-boxes returns the scores before fading from `soft_nms`; ours are faded and
are compared with the definition.
"""

import ensemble_boxes
import numpy as np
import pytest
from fusion.scenes import seen, sources_of

from auto_annotator.fusion.boxes import FusionSettings, fuse_boxes

CASES = 1000
TOLERANCE = 1e-5


def random_case(seed):
    rng = np.random.default_rng(seed)
    members = int(rng.integers(1, 6))
    lists = seen(
        rng,
        count=int(rng.integers(0, 7)),
        members=members,
        jitter=rng.uniform(0.02, 0.5),
        size=1.0,
        clutter=int(rng.integers(1, 7)),
    )
    weights = rng.uniform(0.2, 3, members) if rng.random() < 0.5 else np.ones(members)
    return lists, weights, float(rng.choice([0.3, 0.4, 0.5, 0.55, 0.7]))


def plain(lists):
    boxes, scores = [f.boxes.astype(float) for f in lists], [f.scores.astype(float) for f in lists]
    return boxes, scores, [np.zeros(len(f)) for f in lists]


def difference(fused, boxes, scores):
    """Largest difference between each of our results and the one of theirs that is closest; infinite unless they pair up."""
    if len(fused) != len(boxes):
        return np.inf
    if not len(fused):
        return 0.0
    ours, theirs = np.column_stack([fused.scores, fused.boxes]), np.column_stack([scores, boxes])
    apart = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    return apart.min(axis=1).max() if len(set(apart.argmin(axis=1))) == len(theirs) else np.inf


@pytest.mark.parametrize("rule", ["wbf", "nmw"])
def test_agrees_with_ensemble_boxes(rule):
    oracle = {"wbf": ensemble_boxes.weighted_boxes_fusion, "nmw": ensemble_boxes.non_maximum_weighted}[rule]
    worst = 0.0
    for seed in range(CASES):
        lists, weights, iou = random_case(seed)
        boxes, scores, _ = oracle(*plain(lists), weights=weights, iou_thr=iou)
        settings = FusionSettings(rule=rule, iou=iou, one_per_source=False)
        worst = max(worst, difference(fuse_boxes(lists, sources_of(lists, weights), settings), boxes, scores))
    assert worst <= TOLERANCE


def test_nms_agrees_with_ensemble_boxes():
    worst = 0.0
    for seed in range(CASES):
        lists, _, iou = random_case(seed)
        boxes, scores, _ = ensemble_boxes.nms(*plain(lists), iou_thr=iou)
        fused = fuse_boxes(lists, sources_of(lists), FusionSettings(rule="nms", iou=iou, one_per_source=False))
        worst = max(worst, difference(fused, boxes, scores))
    assert worst <= TOLERANCE


def test_soft_nms_keeps_what_ensemble_boxes_keeps():
    for seed in range(200):
        lists, _, _ = random_case(seed)
        floor = 0.05
        boxes, _, _ = ensemble_boxes.soft_nms(*plain(lists), method=2, sigma=0.3, thresh=floor)
        fused = fuse_boxes(lists, sources_of(lists), FusionSettings(rule="soft_nms", sigma=0.3, faded_below=floor))
        assert np.array_equal(np.unique(fused.boxes, axis=0), np.unique(boxes.astype(np.float32), axis=0)), f"case {seed}"
