"""Are two faces one person: accuracy by folds, true accepts at a rate of false ones, equal error rate, error versus discard.

A pair has a score (the higher the more alike) and a truth. NaN = a face of the pair has no descriptor (failure to enrol): such a
pair is an error in the accuracy, whatever its truth, and is never accepted elsewhere, so a system cannot gain by staying silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldAccuracy:
    """Share of pairs judged right, each fold with the threshold that is best on the other folds.

    Attributes:
        folds: (f,) share right in each fold.
        thresholds: (f,) threshold used in each fold.
        right: (p,) bool per pair.
    """

    folds: Float64Array
    thresholds: Float64Array
    right: BoolArray

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(self.folds.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over the folds."""
        return float(self.folds.std())


def _columns(scores: npt.ArrayLike, same: npt.ArrayLike) -> tuple[Float64Array, BoolArray]:
    """Scores with -inf for failures to enrol, and truths.

    Raises:
        ValueError: for columns of different shape, or pairs of one class only.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(same, np.bool_)
    if s.ndim != 1 or s.shape != y.shape:
        raise ValueError(f"pairs: got {s.shape} scores and {y.shape} truths, expected two equal columns")
    if y.all() or not y.any():
        raise ValueError(f"pairs: got {int(y.sum())} same of {len(y)}, expected both same and different pairs")
    return np.where(np.isnan(s), -np.inf, s), y


def best_threshold(scores: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """The threshold (accept from it on) that judges most pairs right; the middle of the widest such gap between two scores.

    Raises:
        ValueError: see `_columns`.
    """
    s, y = _columns(scores, same)
    known = s > -np.inf
    order = np.argsort(s[known], kind="stable")
    s, y = s[known][order], y[known][order]
    if not len(s):
        return 0.0
    accepted_right = np.concatenate([[y.sum()], y.sum() - np.cumsum(y)])  # cut before row i: rows i.. are accepted
    refused_right = np.concatenate([[0], np.cumsum(~y)])
    low, high = np.concatenate([[s[0] - 1], s]), np.concatenate([s, [s[-1] + 1]])
    right = np.where(high > low, accepted_right + refused_right, -1)  # equal scores cannot be cut apart
    best = np.flatnonzero(right == right.max())
    widest = best[np.argmax(high[best] - low[best])]
    return float((low[widest] + high[widest]) / 2)


def accuracy_by_folds(scores: npt.ArrayLike, same: npt.ArrayLike, folds: npt.ArrayLike) -> FoldAccuracy:
    """Accuracy as in the protocol of LFW: the threshold of a fold comes from the other folds.

    Args:
        scores: (p,) float, NaN = failure to enrol: counted as wrong.
        same: (p,) bool.
        folds: (p,) fold of each pair, two or more different ones.

    Source: Huang et al., Labeled Faces in the Wild, UMass 07-49, 2007.

    Raises:
        ValueError: for columns of different length, fewer than two folds, or folds whose rest holds one class only.
    """
    _columns(scores, same)
    s, y, f = np.asarray(scores, np.float64), np.asarray(same, np.bool_), np.asarray(folds)
    names = np.unique(f)
    if f.shape != s.shape or len(names) < 2:
        raise ValueError(f"folds: got shape {f.shape} with {len(names)} folds for {len(s)} pairs, expected at least 2 folds")
    right, thresholds = np.zeros(len(s), np.bool_), []
    for name in names:
        here = f == name
        thresholds.append(best_threshold(s[~here], y[~here]))
        right[here] = ((s[here] >= thresholds[-1]) == y[here]) & ~np.isnan(s[here])
    shares = np.array([right[f == name].mean() for name in names])
    return FoldAccuracy(folds=shares, thresholds=np.array(thresholds), right=right)


def threshold_at(scores: npt.ArrayLike, same: npt.ArrayLike, far: float) -> float:
    """The lowest threshold (accept above it) at which at most that share of the different pairs is accepted.

    Raises:
        ValueError: see `_columns`, or a rate outside 0 <= far < 1.
    """
    s, y = _columns(scores, same)
    if not 0 <= far < 1:
        raise ValueError(f"far: got {far}, expected 0 <= far < 1")
    strangers = np.sort(s[~y])[::-1]
    return float(strangers[int(np.floor(far * len(strangers) + _ROUNDING))])


_ROUNDING = 1e-9
"""0.001 * 3000 must allow 3 pairs, whatever the last bit of the product is."""


def tar_at_far(scores: npt.ArrayLike, same: npt.ArrayLike, far: float) -> float:
    """Share of the same pairs accepted when at most the share `far` of the different pairs is.

    Raises:
        ValueError: see `threshold_at`.
    """
    s, y = _columns(scores, same)
    return float((s[y] > threshold_at(scores, same, far)).mean())


def equal_error_rate(scores: npt.ArrayLike, same: npt.ArrayLike) -> float:
    """The rate at which false accepts and false refusals are equally frequent (their mean where no threshold makes them equal).

    Raises:
        ValueError: see `_columns`.
    """
    s, y = _columns(scores, same)
    cuts = np.unique(s)
    strangers, mates = np.sort(s[~y]), np.sort(s[y])
    accepted = np.append(1 - np.searchsorted(strangers, cuts, side="left") / len(strangers), 0.0)
    refused = np.append(np.searchsorted(mates, cuts, side="left") / len(mates), 1.0)
    at = int(np.argmin(np.abs(accepted - refused)))
    return float((accepted[at] + refused[at]) / 2)


def error_versus_discard(
    scores: npt.ArrayLike,
    same: npt.ArrayLike,
    pairs: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    shares: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.3),
    far: float = 1e-3,
) -> Float64Array:
    """False refusals among the pairs that are left when the worst share of the faces is dropped.

    The threshold is that of all pairs at the given rate of false accepts and stays: what falls is the error, not the bar.

    Args:
        scores: (p,) float, NaN = failure to enrol: refused.
        same: (p,) bool.
        pairs: (p, 2) rows of `quality`.
        quality: (n,) per face, the higher the better; of equal ones the later row is dropped first.
        shares: of the faces that occur in pairs, 0..1.
        far: rate of false accepts at which the threshold is set.

    Source: Grother and Tabassi, Performance of biometric quality measures, PAMI 2007.

    Returns:
        (len(shares),) share of refused same pairs, NaN where no same pair is left.

    Raises:
        ValueError: see `threshold_at`; for pairs of another shape, or a quality that is NaN.
    """
    s, y = _columns(scores, same)
    rows, value = np.asarray(pairs, np.int64), np.asarray(quality, np.float64)
    if rows.shape != (len(s), 2):
        raise ValueError(f"pairs: got shape {rows.shape}, expected ({len(s)}, 2)")
    if np.isnan(value).any():
        raise ValueError("quality: got NaN, expected a number for each face")
    refused = s <= threshold_at(scores, same, far)
    used = np.unique(rows)
    worst_first = used[np.lexsort((-used, value[used]))]
    rates = []
    for share in shares:
        kept = np.ones(len(value), np.bool_)
        kept[worst_first[: round(share * len(used))]] = False
        left = y & kept[rows].all(axis=1)
        rates.append(refused[left].mean() if left.any() else np.nan)
    return np.array(rates)
