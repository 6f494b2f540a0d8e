"""Logistic regression in a few lines: ridge, sign constraints, Newton's method. Deterministic, no dependency but numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

SURE = 1e-4
"""Probabilities are kept this far from 0 and 1: no finite number of faces shows that a box is never wrong."""

_STEPS, _ROUNDS = 60, 20
_LARGEST_STEP = 2.0
_SMALLEST_STEP = 1e-7


def log_odds(probability: npt.ArrayLike) -> Float64Array:
    """log(p / (1 - p)), p kept within `SURE` of 0 and 1."""
    p = np.clip(np.asarray(probability, np.float64), SURE, 1 - SURE)
    return np.asarray(np.log(p / (1 - p)))


def sigmoid(value: npt.ArrayLike) -> Float64Array:
    """Probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(value, np.float64), -30, 30))))


def fit_logistic(
    inputs: npt.ArrayLike, hits: npt.ArrayLike, *, ridge: float, rising: npt.ArrayLike | None = None
) -> tuple[float, Float64Array]:
    """Constant and weights (d,) of log-odds = constant + inputs . weights, with the least penalised log loss.

    Args:
        inputs: (n, d).
        hits: (n,) 0..1.
        ridge: penalty on the squared weights of inputs scaled to unit variance; the constant has none.
        rising: (d,) bool, weights that must not be negative; None = none.

    Raises:
        ValueError: for columns of different length, values that are not finite, hits outside 0..1 or no row.
    """
    x, y = np.asarray(inputs, np.float64), np.asarray(hits, np.float64)
    if x.ndim != 2 or len(x) != len(y) or not len(y):
        raise ValueError(f"logistic: got inputs of shape {x.shape} for {len(y)} hits, expected (n, d) and n, at least 1")
    if not (np.isfinite(x).all() and ((y >= 0) & (y <= 1)).all()):
        raise ValueError("logistic: inputs must be finite and hits in 0..1")
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = np.column_stack([np.ones(len(x)), (x - mean) / scale])
    bound = np.concatenate([[False], np.zeros(x.shape[1], bool) if rising is None else np.asarray(rising, bool)])
    free = np.ones(len(bound), np.bool_)
    weights = np.zeros(len(bound))
    for _ in range(_ROUNDS):
        weights = _newton(z, y, weights, free, ridge)
        wrong = bound & (weights < 0)
        if not wrong.any():
            break
        free &= ~wrong  # never let in again: the fit is a little shy, and always ends
        weights[wrong] = 0
    found = weights[1:] / scale
    return float(weights[0] - (found * mean).sum()), found


def _newton(z: Float64Array, y: Float64Array, start: Float64Array, free: npt.NDArray[np.bool_], ridge: float) -> Float64Array:
    weights = start.copy()
    penalty = np.concatenate([[1e-6], np.full(z.shape[1] - 1, ridge)])
    for _ in range(_STEPS):
        p = sigmoid(z @ weights)
        slope = z.T @ (y - p) - penalty * weights
        part = z[:, free]
        bend = (part * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ part + np.diag(penalty[free])
        step = np.linalg.solve(bend, slope[free])
        longest = float(np.abs(step).max())
        weights[free] += step * min(1.0, _LARGEST_STEP / max(longest, 1e-12))
        if longest < _SMALLEST_STEP:
            break
    return weights
