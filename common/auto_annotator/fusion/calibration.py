"""From raw scores to probabilities: monotone curves, the say of the face's size, and the fit of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.logistic import fit_logistic, log_odds, sigmoid

Float64Array = npt.NDArray[np.float64]

TYPICAL_SIDE, OCTAVES = 24.0, (-2.0, 3.0)
"""Sizes are octaves above or below this side in pixels, and no farther than this: beyond it there is too little to learn from."""


def octaves(sides: npt.ArrayLike) -> Float64Array:
    """Size of faces with that geometric mean side in pixels: 0 at `TYPICAL_SIDE`, 1 at twice of it, within `OCTAVES`."""
    return np.clip(np.log2(np.maximum(np.asarray(sides, np.float64), 1.0) / TYPICAL_SIDE), *OCTAVES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A monotone calibration curve: straight lines between knots, flat outside them.

    Attributes:
        x: (k,) float64 raw scores, strictly rising, k >= 2.
        y: (k,) float64 probabilities 0..1 that a box of that score is a face, never falling.

    Raises:
        ValueError: if the knots are not so.
    """

    x: Float64Array
    y: Float64Array

    def __post_init__(self) -> None:
        x, y = np.array(self.x, np.float64), np.array(self.y, np.float64)
        if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
            raise ValueError(f"curve: got knots of shape {x.shape} and {y.shape}, expected two equal rows of at least 2 numbers")
        if not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
            raise ValueError("curve: x must be finite and strictly rising")
        if not ((np.diff(y) >= 0).all() and y[0] >= 0 and y[-1] <= 1):
            raise ValueError("curve: y must lie in 0..1 and never fall")
        x.flags.writeable = y.flags.writeable = False
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def __call__(self, scores: npt.ArrayLike) -> Float64Array:
        """Calibrated scores, same shape, float64 0..1."""
        return np.asarray(np.interp(np.asarray(scores, np.float64), self.x, self.y))

    @classmethod
    def identity(cls) -> Curve:
        """Scores stay as they are."""
        return cls(x=np.array([0.0, 1.0]), y=np.array([0.0, 1.0]))


def fit_isotonic(scores: npt.ArrayLike, hits: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Curve:
    """Fit a calibration curve to boxes of which it is known whether they are faces.

    Centred isotonic regression (Oron and Flournoy 2017): pool adjacent violators, then one knot at the weighted centre of each
    pool. Between the knots the curve rises, so that different scores stay different, which plain steps would not give.

    Args:
        scores: (n,) raw scores.
        hits: (n,) 1 or True = a face, 0 = none.
        weights: (n,) say of each box, > 0; None = equal.

    Raises:
        ValueError: for columns of different length, values that are not finite, hits outside 0..1 or no box at all.
    """
    x, y = np.asarray(scores, np.float64).ravel(), np.asarray(hits, np.float64).ravel()
    w = np.ones_like(x) if weights is None else np.asarray(weights, np.float64).ravel()
    if not len(x) or not len(x) == len(y) == len(w):
        raise ValueError(f"isotonic: got {len(x)} scores, {len(y)} hits and {len(w)} weights, expected the same number, at least 1")
    if not (np.isfinite(x).all() and ((y >= 0) & (y <= 1)).all() and (np.isfinite(w) & (w > 0)).all()):
        raise ValueError("isotonic: scores must be finite, hits in 0..1 and weights positive")
    knots = _pools(x, y, w)
    if len(knots) == 1:  # nothing learned but the base rate
        centre, _, rate = knots[0]
        return Curve(x=np.array([centre, centre + 1.0]), y=np.array([rate, rate]))
    return Curve(x=np.array([k[0] for k in knots]), y=np.clip([k[2] for k in knots], 0, 1))


def _pools(x: Float64Array, y: Float64Array, w: Float64Array) -> list[tuple[float, float, float]]:
    """(centre, weight, rate) of each pool, by rising score; equal scores are one pool from the start."""
    values, inverse = np.unique(x, return_inverse=True)
    mass = np.bincount(inverse, weights=w)
    rates = np.bincount(inverse, weights=w * y) / mass
    pools: list[tuple[float, float, float]] = []
    for pool in zip(values.tolist(), mass.tolist(), rates.tolist(), strict=True):
        while pools and pools[-1][2] >= pool[2]:
            (xa, wa, ya), (xb, wb, yb) = pools.pop(), pool
            total = wa + wb
            pool = ((xa * wa + xb * wb) / total, total, (ya * wa + yb * wb) / total)
        pools.append(pool)
    return pools


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SizedCurve:
    """A calibration curve with the size of the face as second input.

    log-odds = terms . (1, l, z, z^2, l z), with l the log-odds that the curve gives and z the size in octaves: a small face needs a
    higher raw score than a large one.

    Attributes:
        curve: score -> probability, all sizes together.
        terms: (5,) float64.

    Raises:
        ValueError: if the terms are not five finite numbers, or the result would fall with the score at some size.
    """

    curve: Curve
    terms: Float64Array

    def __post_init__(self) -> None:
        terms = np.array(self.terms, np.float64)
        if terms.shape != (5,) or not np.isfinite(terms).all():
            raise ValueError(f"curve: got terms of shape {terms.shape}, expected five finite numbers")
        if min(terms[1] + terms[4] * z for z in OCTAVES) < 0:
            raise ValueError("curve: with these terms a higher score would mean less at some size")
        terms.flags.writeable = False
        object.__setattr__(self, "terms", terms)

    def __call__(self, scores: npt.ArrayLike, sides: npt.ArrayLike) -> Float64Array:
        """Calibrated scores (n,) of boxes whose geometric mean sides are `sides` pixels of what the member saw."""
        return sigmoid(_size_inputs(self.curve, scores, sides) @ self.terms[1:] + self.terms[0])


def fit_sized(curve: Curve, scores: npt.ArrayLike, hits: npt.ArrayLike, sides: npt.ArrayLike, *, ridge: float = 2.0) -> SizedCurve:
    """Fit the say of the size on top of a curve.

    Raises:
        ValueError: see `fit_logistic`.
    """
    constant, terms = fit_logistic(_size_inputs(curve, scores, sides), hits, ridge=ridge)
    lowest = max(abs(z) for z in OCTAVES)
    terms[0] = max(terms[0], 0.0)
    terms[3] = np.clip(terms[3], -terms[0] / lowest, terms[0] / lowest)  # never falls with the score at any size
    return SizedCurve(curve=curve, terms=np.concatenate([[constant], terms]))


def _size_inputs(curve: Curve, scores: npt.ArrayLike, sides: npt.ArrayLike) -> Float64Array:
    odds, z = log_odds(curve(scores)), octaves(sides)
    return np.stack([odds, z, z * z, odds * z], axis=-1)
