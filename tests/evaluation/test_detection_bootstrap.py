"""Paired draws against pictures repeated by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import detection_oracle as oracle

from auto_annotator.evaluation.bootstrap import average_precision_draws, difference, draw_pictures, ratio_draws
from auto_annotator.evaluation.detection import average_precision, match


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_draw_is_the_precision_of_the_pictures_repeated(seed, ties):
    detections, truths = oracle.scene(seed, pictures=5, ties=ties)
    drawn = draw_pictures(5, draws=6, seed=seed)
    got = average_precision_draws(match(detections, truths), drawn)
    for times, value in zip(drawn, got, strict=True):
        rows = np.repeat(np.arange(5), times)
        by_hand = average_precision(match([detections[i] for i in rows], [truths[i] for i in rows]))
        assert value == pytest.approx(by_hand, nan_ok=True)


def test_draws_are_seeded_and_keep_the_number_of_pictures():
    assert (draw_pictures(7, seed=3) == draw_pictures(7, seed=3)).all()
    assert (draw_pictures(7, seed=3) != draw_pictures(7, seed=4)).any()
    assert (draw_pictures(7).sum(axis=1) == 7).all()


def test_a_ratio_is_that_of_the_sums():
    drawn = np.array([[2, 0], [1, 1], [0, 0]], np.int32)
    assert ratio_draws([1, 5], [2, 3], drawn) == pytest.approx([1 / 2, 6 / 5, np.nan], nan_ok=True)


def test_a_system_that_is_better_everywhere_has_its_interval_above_zero():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, 500)
    gap = difference(noise + 0.1, noise, 0.1)
    assert (gap.low, gap.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert difference(np.full(3, np.nan), noise[:3], 0.0).value == 0.0
