"""Speed and memory. Times swing on a shared machine, so the two sides take turns and the limits leave room for that."""

import numpy as np
import pytest
from benchmarks.fusion_speed import best_seconds, crowd, ours, ten_thousand, theirs


@pytest.mark.slow
def test_wbf_is_many_times_as_fast_as_ensemble_boxes():
    """Target 20 times, measured by `python -m benchmarks fusion_speed`; here half of that must hold under any load."""
    lists = crowd(np.random.default_rng(0))
    mine, other = best_seconds((ours(lists, "wbf"), 4), (theirs(lists, "wbf"), 1), rounds=3)
    assert other / mine >= 10


@pytest.mark.slow
def test_ten_thousand_faces_in_one_picture():
    seconds, megabytes = ten_thousand()
    assert seconds <= 2
    assert megabytes <= 200
