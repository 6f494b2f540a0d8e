"""Where a member places the edges of a box: its habit, its spread, and the mean of several members weighted by the spread.

A score says how sure a member is that there is a face, not how well its box fits. The say of a box in each edge of the fused box
therefore falls with the spread measured on labelled faces, by size. The spread holds the labels' own error, which is the same for
all members and large on small faces: it hides how unequal they are, and 1 / spread^2 would be too mild.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.calibration import octaves

Float64Array = npt.NDArray[np.float64]

KNOTS = (-1.0, -0.3, 0.3, 1.0, 2.0)
"""Sizes in octaves at which habits are measured; straight lines between them."""

WIDTH = 0.5
"""Faces count for a knot by a Gaussian of this width in octaves."""

FEW = 30.0
"""A habit is halved towards none when it was measured on this many faces."""

PRIOR_SPREAD, PRIOR_FACES = 0.1, 10.0
"""Spread, as a share of the side, that this many imaginary faces have."""

LARGEST = 0.3
"""Offsets beyond this share of the side count as this much: such boxes mean another part of the head or a wrong label."""

LEAST_PIXELS = 0.3
"""No edge is known better than that."""

POWER = 8
"""Of the spread in the weights. Cross-validated on WIDER FACE: powers 2, 4, 8 give AP medium at IoU 0.7 of .661, .664, .674 with
the embedded members, .685, .688, .695 with those of `bench`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EdgeHabit:
    """How one member in one view places the four edges x1 y1 x2 y2.

    Attributes:
        knots: (k,) float64 rising, sizes in octaves of what the member saw (`calibration.octaves`).
        bias: (k, 4) float64, edge minus true edge as a share of the side: taken off.
        spread: (k, 4) float64 > 0, standard deviation of what is left, as a share of the side.

    Raises:
        ValueError: if the columns do not fit together.
    """

    knots: Float64Array
    bias: Float64Array
    spread: Float64Array

    def __post_init__(self) -> None:
        for name in ("knots", "bias", "spread"):
            value = np.array(getattr(self, name), np.float64)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        n = len(self.knots)
        if self.knots.ndim != 1 or self.bias.shape != (n, 4) or self.spread.shape != (n, 4) or not n:
            raise ValueError(
                f"edges: got shapes {self.knots.shape}, {self.bias.shape}, {self.spread.shape}, expected k, (k, 4), (k, 4)"
            )
        if not (np.isfinite(self.bias).all() and (self.spread > 0).all() and (np.diff(self.knots) > 0).all()):
            raise ValueError("edges: knots must rise, biases be finite, spreads be positive")

    def bias_at(self, sides: npt.ArrayLike) -> Float64Array:
        """(n, 4) share of the side by which the edges of faces with these sides on the canvas, in pixels, are off."""
        return self._at(self.bias, sides)

    def spread_at(self, sides: npt.ArrayLike) -> Float64Array:
        """(n, 4) share of the side."""
        return self._at(self.spread, sides)

    def _at(self, table: Float64Array, sides: npt.ArrayLike) -> Float64Array:
        z = octaves(sides)
        return np.stack([np.interp(z, self.knots, column) for column in table.T], axis=-1)


def fit_edges(boxes: npt.ArrayLike, true: npt.ArrayLike, scale: npt.ArrayLike) -> EdgeHabit:
    """Measure a habit on boxes of which the true faces are known.

    Bias: weighted median, robust against odd labels. Left and right are measured as mirror images of each other, so that a shift
    of a whole data set to one side, which labels have and detectors do not, is not learned.

    Args:
        boxes: (n, 4) of the member, in picture pixels.
        true: (n, 4) of the faces they mean.
        scale: (n,) canvas pixels per picture pixel.
    """
    found, truth = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(true, np.float64).reshape(-1, 4)
    side = np.sqrt(np.prod(found[:, 2:] - found[:, :2], axis=1))
    offsets = (found - truth) / np.maximum(side, 1e-6)[:, None]
    z = octaves(side * np.asarray(scale, np.float64))
    bias, spread = np.zeros((len(KNOTS), 4)), np.zeros((len(KNOTS), 4))
    for row, knot in enumerate(KNOTS):
        weight = np.exp(-0.5 * ((z - knot) / WIDTH) ** 2)
        bias[row], spread[row] = _habit(offsets, weight)
    return EdgeHabit(knots=np.array(KNOTS), bias=bias, spread=spread)


def _habit(offsets: Float64Array, weight: Float64Array) -> tuple[Float64Array, Float64Array]:
    mass = float(weight.sum())
    worth = mass**2 / max(float((weight**2).sum()), 1e-12)
    middle = np.array([_weighted_median(column, weight) for column in offsets.T])
    shift = (middle[0] + middle[2]) / 2
    habit = (middle - np.array([shift, 0, shift, 0])) * worth / (worth + FEW)
    rest = np.minimum(np.abs(offsets - middle), LARGEST)
    variance = ((weight[:, None] * rest**2).sum(axis=0) + PRIOR_FACES * PRIOR_SPREAD**2) / (mass + PRIOR_FACES)
    return habit, np.sqrt(variance)


def _weighted_median(values: Float64Array, weight: Float64Array) -> float:
    if not len(values) or weight.sum() <= 0:
        return 0.0
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(mass, mass[-1] / 2)])


def fuse_edges(
    boxes: Float64Array, spread: Float64Array, scores: Float64Array, face: npt.NDArray[np.intp], faces: int
) -> Float64Array:
    """(faces, 4) fused boxes: each edge is the mean of the opinions, weighted by score / spread^`POWER`.

    Args:
        boxes: (r, 4) opinions in picture pixels.
        spread: (r, 4) of each edge in the same pixels.
        scores: (r,) calibrated.
        face: (r,) fused face that each belongs to.
        faces: how many there are; each has at least one opinion.
    """
    side = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], LEAST_PIXELS), axis=1))[:, None]
    share = np.maximum(spread, LEAST_PIXELS) / side / PRIOR_SPREAD
    weight = np.maximum(scores, 1e-6)[:, None] / share**POWER
    mass = np.stack([np.bincount(face, w, minlength=faces) for w in weight.T], axis=1)
    total = np.stack([np.bincount(face, w * b, minlength=faces) for w, b in zip(weight.T, boxes.T, strict=True)], axis=1)
    return np.asarray(total / np.maximum(mass, np.finfo(np.float64).tiny))
