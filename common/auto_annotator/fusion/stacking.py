"""The final score of a fused face: a logistic model over what all members said and did not say.

A handful of inputs with a meaning, weights that a person can read, and a monotone curve on top. More votes and higher scores never
lower the score; a member that could have seen the face and did not is evidence against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.calibration import Curve, octaves
from auto_annotator.fusion.candidates import Float64Array, IntArray, find_pairs, overlap_test
from auto_annotator.fusion.logistic import fit_logistic, log_odds, sigmoid

FAINT = 0.01
"""Calibrated score below which a row is as good as silence: it is left out before the fusion."""

SILENT = float(log_odds(FAINT))
"""Log-odds that count for a list that has no box of the face."""

ALONE_SPREAD = 0.08
"""Spread of the edges, as a share of the side, that a face with a single box is taken to have."""

LARGEST_SPREAD = 0.3

RISING = ("mean/", "best/", "votes", "views", "top", "together", "agreement")
"""Inputs whose weights must not be negative, by the start of their names."""

RIDGE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is known of n fused faces before the final score.

    Attributes:
        boxes: (n, 4) float64 fused boxes in picture pixels.
        together: (n,) score of the weighted boxes fusion, 0..1.
        scores: (n, s) float64 calibrated score of each list, NaN = silent.
        asked: (n, s) bool, the list could have seen a face of that size, or has.
        spread: (n, 4) standard deviation of each edge in pixels; NaN with fewer than two boxes.
        overlap, inside: (n,) how far better faces stand in its place, see `beside_better`.
        member: (s,) member of each list.
        members: names of the members; one without a list was left out for this picture.
    """

    boxes: Float64Array
    together: Float64Array
    scores: Float64Array
    asked: npt.NDArray[np.bool_]
    spread: npt.NDArray[np.floating]
    overlap: Float64Array
    inside: Float64Array
    member: IntArray
    members: tuple[str, ...]

    def select(self, rows: IntArray) -> Evidence:
        """The rows that a list of indexes picks, in that order."""
        columns = ("boxes", "together", "scores", "asked", "spread", "overlap", "inside")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def inputs(self) -> dict[str, Float64Array]:
        """The named inputs of the model, each (n,)."""
        seen = np.isfinite(self.scores)
        odds = np.where(seen, log_odds(np.where(seen, self.scores, 0.5)), SILENT)
        side = np.sqrt(np.prod(np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 1e-6), axis=1))
        out = self._by_member(odds)
        asked = np.maximum(self.asked.sum(axis=1), 1)
        out["views"] = (seen & self.asked).sum(axis=1) / asked
        out["votes"] = self._votes(seen)
        out["top"] = odds.max(axis=1, initial=SILENT)
        out["together"] = log_odds(self.together)
        loose = np.where(np.isfinite(self.spread), self.spread / side[:, None], ALONE_SPREAD).mean(axis=1)
        out["agreement"] = -np.minimum(loose, LARGEST_SPREAD)
        z = octaves(side)
        out["size"], out["size2"] = z, z * z
        out["overlap"], out["inside"] = self.overlap, self.inside
        return out

    def _by_member(self, odds: Float64Array) -> dict[str, Float64Array]:
        """Mean and best log-odds of each member; one that was not asked takes the mean of the others, so that it has no say."""
        n = len(self.boxes)
        mean, best = np.full((n, len(self.members)), np.nan), np.full((n, len(self.members)), np.nan)
        for column in range(len(self.members)):
            own = self.member == column
            asked = self.asked[:, own]
            count = asked.sum(axis=1)
            some = count > 0
            mean[some, column] = np.where(asked, odds[:, own], 0).sum(axis=1)[some] / count[some]
            best[some, column] = np.where(asked, odds[:, own], SILENT).max(axis=1, initial=SILENT)[some]
        out = {}
        for kind, table in (("mean", mean), ("best", best)):
            known = np.isfinite(table)
            middle = np.where(known, table, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
            table = np.where(known, table, np.where(known.any(axis=1), middle, SILENT)[:, None])
            out.update({f"{kind}/{name}": table[:, i] for i, name in enumerate(self.members)})
        return out

    def _votes(self, seen: npt.NDArray[np.bool_]) -> Float64Array:
        voted = np.stack([seen[:, self.member == m].any(axis=1) for m in range(len(self.members))], axis=1)
        asked = np.stack([self.asked[:, self.member == m].any(axis=1) for m in range(len(self.members))], axis=1)
        return np.asarray((voted & asked).sum(axis=1) / np.maximum(asked.sum(axis=1), 1), np.float64)


def beside_better(boxes: Float64Array, scores: Float64Array) -> tuple[Float64Array, Float64Array]:
    """For each face how far the better ones stand in its place, each times the better one's score.

    Returns:
        (n,) greatest IoU with a better face, and (n,) greatest share of the smaller box that lies in the other.
    """
    overlap, inside = np.zeros(len(boxes)), np.zeros(len(boxes))
    pairs = find_pairs(boxes, overlap_test(boxes, 0.0)) if len(boxes) > 1 else None
    if pairs is None:
        return overlap, inside
    i, j = pairs
    worse, better = np.where(scores[i] < scores[j], i, j), np.where(scores[i] < scores[j], j, i)
    apart = scores[i] != scores[j]
    worse, better = worse[apart], better[apart]
    a, b = boxes[worse], boxes[better]
    common = np.prod(np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0), axis=1)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    np.maximum.at(overlap, worse, scores[better] * common / (area_a + area_b - common))
    np.maximum.at(inside, worse, scores[better] * common / np.minimum(area_a, area_b))
    return overlap, inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """A fitted model: log-odds = constant + sum of weight x input, then a monotone curve.

    Attributes:
        constant: log-odds with all inputs 0.
        weights: name of the input -> weight.
        curve: probability -> probability; None = none.

    Raises:
        ValueError: for weights that are not finite, or negative where they must rise (`RISING`).
    """

    constant: float
    weights: Mapping[str, float]
    curve: Curve | None = None

    def __post_init__(self) -> None:
        if not np.isfinite([self.constant, *self.weights.values()]).all():
            raise ValueError("stack: weights must be finite")
        falling = [name for name, weight in self.weights.items() if name.startswith(RISING) and weight < 0]
        if falling:
            raise ValueError(f"stack: got negative weights of {', '.join(falling)}: more evidence must never lower the score")

    def __call__(self, inputs: Mapping[str, Float64Array]) -> Float64Array:
        """(n,) probabilities.

        Raises:
            ValueError: if an input of the model is not there: it was fitted for other members.
        """
        missing = sorted(set(self.weights) - set(inputs))
        if missing:
            raise ValueError(f"stack: no input {', '.join(missing)}; the model was fitted for other members")
        rows = len(next(iter(inputs.values()), np.zeros(0)))
        score = sigmoid(sum((w * inputs[n] for n, w in self.weights.items()), np.full(rows, self.constant)))
        return score if self.curve is None else self.curve(score)


def fit_stack(inputs: Mapping[str, Float64Array], hits: npt.ArrayLike, *, ridge: float = RIDGE) -> Stack:
    """Fit the model to fused faces of which it is known whether they are faces.

    Raises:
        ValueError: see `fit_logistic`.
    """
    names = list(inputs)
    table = np.stack([np.asarray(inputs[n], np.float64) for n in names], axis=1)
    rising = [n.startswith(RISING) for n in names]
    constant, weights = fit_logistic(table, hits, ridge=ridge, rising=rising)
    return Stack(constant=constant, weights=dict(zip(names, weights.tolist(), strict=True)))


def joined(parts: Sequence[Mapping[str, Float64Array]]) -> dict[str, Float64Array]:
    """The inputs of several pictures, one after the other."""
    names = list(parts[0]) if parts else []
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
