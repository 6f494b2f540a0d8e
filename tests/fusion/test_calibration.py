"""Calibration curves and their fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.fusion.calibration import Curve, fit_isotonic


def test_identity():
    scores = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    assert Curve.identity()(scores) == pytest.approx(scores)


def test_lines_between_knots_flat_outside():
    curve = Curve(x=[0.2, 0.6], y=[0.1, 0.9])
    assert curve([0.0, 0.2, 0.4, 0.6, 1.0]) == pytest.approx([0.1, 0.1, 0.5, 0.9, 0.9])


@pytest.mark.parametrize(("x", "y", "message"), [
    ([0.1], [0.1], "at least 2"),
    ([0.1, 0.2], [0.1], "at least 2"),
    ([0.2, 0.2], [0.1, 0.2], "strictly rising"),
    ([0.1, np.nan], [0.1, 0.2], "strictly rising"),
    ([0.1, 0.2], [0.5, 0.4], "never fall"),
    ([0.1, 0.2], [-0.1, 0.4], "0..1"),
    ([0.1, 0.2], [0.1, 1.1], "0..1"),
    ([0.1, 0.2], [0.1, np.nan], "never fall"),
])  # fmt: skip
def test_knots_are_checked(x, y, message):
    with pytest.raises(ValueError, match=message):
        Curve(x=x, y=y)


def test_the_fit_finds_the_truth():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 20_000)
    curve = fit_isotonic(scores, rng.uniform(0, 1, len(scores)) < scores**2)
    at = np.linspace(0.1, 0.9, 9)
    assert curve(at) == pytest.approx(at**2, abs=0.04)


def test_the_fit_agrees_with_scikit_learn_at_the_pools():
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(1)
    scores, weights = rng.uniform(0, 1, 300).round(2), rng.uniform(0.5, 2, 300)
    hits = rng.uniform(0, 1, 300) < scores
    curve = fit_isotonic(scores, hits, weights)
    steps = isotonic.IsotonicRegression().fit(scores, hits, sample_weight=weights)
    assert curve.y == pytest.approx(np.unique(steps.y_thresholds_), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60))
def test_any_fit_is_a_curve(rows):
    scores, hits = np.array([r[0] for r in rows]) / 20, np.array([r[1] for r in rows])
    curve = fit_isotonic(scores, hits)
    out = curve(np.linspace(0, 1, 50))
    assert ((out >= 0) & (out <= 1)).all()
    assert (np.diff(out) >= 0).all()


@pytest.mark.parametrize(("scores", "hits"), [([], []), ([0.1], [0, 1]), ([np.nan], [1]), ([0.5], [2])])
def test_fit_refuses_garbage(scores, hits):
    with pytest.raises(ValueError, match="isotonic"):
        fit_isotonic(scores, hits)
