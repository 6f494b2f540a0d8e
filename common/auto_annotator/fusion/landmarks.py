"""Many opinions about five points in, one set of points plus its spread out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import box_sides
from auto_annotator.types import LANDMARK_NAMES, Float32Array

POINTS = len(LANDMARK_NAMES)

OUTSIDE_MARGIN = 0.3
"""An opinion with a point farther outside the box than this share of its sides is about another face, or about none. The points of
profile faces do stand a little outside a tight box."""

AGREEMENT = 0.02
"""Distance, as a share of the box side, up to which opinions are noise of one kind and are averaged; farther ones are pulled in
(the delta of Huber's loss). Good detectors scatter by 2 to 3 % of the eye distance, which is 0.4 to 0.5 of a face box."""

_ITERATIONS = 15
"""Reweighting steps. A lone outlier at the far side of the box is down to its final weight after five; a fixed number keeps the
result of a face independent of the other faces in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LandmarkOpinions:
    """What members and refiners say about the points of each fused face.

    Attributes:
        points: (k, o, 5, 2) float32 x y in picture pixels; NaN = no opinion (also for single points).
        weights: (k, o) float32, say of each opinion, >= 0; 0 where there is none.

    Raises:
        ValueError: if the shapes do not fit, or a weight is negative or not finite.
    """

    points: Float32Array
    weights: Float32Array

    def __post_init__(self) -> None:
        points, weights = np.asarray(self.points, np.float32), np.asarray(self.weights, np.float32)
        if weights.ndim != 2 or points.shape != (*weights.shape, POINTS, 2):
            raise ValueError(f"opinions: got points {points.shape} and weights {weights.shape}, expected (k, o, 5, 2) and (k, o)")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError("opinions: weights must be finite and >= 0")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def none(cls, faces: int) -> LandmarkOpinions:
        """Nobody says anything about that many faces."""
        return cls(points=np.zeros((faces, 0, POINTS, 2), np.float32), weights=np.zeros((faces, 0), np.float32))

    def __len__(self) -> int:
        return len(self.weights)

    def with_opinion(self, points: npt.ArrayLike, weight: float) -> LandmarkOpinions:
        """One more opinion on every face, for example that of a refiner.

        Args:
            points: (k, 5, 2), NaN where it has none.
            weight: its say.
        """
        more = np.asarray(points, np.float32).reshape(len(self), 1, POINTS, 2)
        says = np.any(np.isfinite(more).all(axis=3), axis=2)
        return LandmarkOpinions(
            points=np.concatenate([self.points, more], axis=1),
            weights=np.concatenate([self.weights, np.where(says, np.float32(weight), np.float32(0))], axis=1),
        )

    def select(self, rows: npt.ArrayLike) -> LandmarkOpinions:
        """The faces that a boolean mask or a list of indexes picks, in that order."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.intp)
        return LandmarkOpinions(points=self.points[rows], weights=self.weights[rows])


def fuse_landmarks(opinions: LandmarkOpinions, boxes: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Fuse the opinions about each point of each face: Huber's M-estimate of location, in the plane.

    Opinions within `AGREEMENT` of the result count as in a weighted mean, farther ones with bounded pull, so that one wild
    opinion among four hardly moves the point. An opinion with any point far outside the box has no say (`OUTSIDE_MARGIN`).

    Args:
        opinions: (k, o, 5, 2) points with weights.
        boxes: (k, 4) fused boxes of the same faces.

    Returns:
        (k, 5, 2) float32 points, NaN where nobody has a say; and (k, 5) float32 weighted root mean square distance in pixels of
        the opinions from the point, NaN with fewer than two.

    Raises:
        ValueError: if the numbers of faces differ.
    """
    frame = np.asarray(boxes, np.float64)
    if frame.shape != (len(opinions), 4):
        raise ValueError(f"landmarks: got boxes of shape {frame.shape} for opinions on {len(opinions)} faces")
    if not opinions.weights.size:
        return np.full((len(opinions), POINTS, 2), np.nan, np.float32), np.full((len(opinions), POINTS), np.nan, np.float32)
    # Faces last: each (o, 5) slice is a long contiguous column, several times as fast as the other way round.
    points = np.ascontiguousarray(np.moveaxis(opinions.points, 0, -1), np.float64)  # (o, 5, 2, k)
    known = np.isfinite(points).all(axis=2) & (opinions.weights.T > 0)[:, None] & _plausible(points, frame)[:, None]  # (o, 5, k)
    weights = np.where(known, opinions.weights.T[:, None], 0.0)
    # Relative to the box: numbers near 0 lose no digits in large pictures.
    points = np.where(known[:, :, None], points - frame[:, :2].T, 0.0)
    fused = _huber(points, weights, AGREEMENT * np.asarray(box_sides(frame), np.float64))
    total = weights.sum(axis=0)
    square = ((points - fused) ** 2).sum(axis=2)
    with np.errstate(invalid="ignore"):
        spread = np.where(known.sum(axis=0) >= 2, np.sqrt((weights * square).sum(axis=0) / total), np.nan)
    fused = np.where(total[:, None] > 0, fused + frame[:, :2].T, np.nan)
    return np.moveaxis(fused, -1, 0).astype(np.float32), spread.T.astype(np.float32)


def _plausible(points: npt.NDArray[np.float64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(o, k): no point of the opinion lies far outside the box; unknown points do not count."""
    margin = OUTSIDE_MARGIN * (boxes[:, 2:] - boxes[:, :2]).T
    outside = (points < boxes[:, :2].T - margin) | (points > boxes[:, 2:].T + margin)
    return np.asarray(~outside.any(axis=(1, 2)))


def _huber(points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], delta: npt.NDArray[np.float64]) -> Any:
    """(5, 2, k) by iteratively reweighted least squares, from the weighted mean."""
    tiny = np.finfo(np.float64).tiny
    pull = weights
    for _ in range(_ITERATIONS):
        centre = np.einsum("opk,opck->pck", pull, points) / np.maximum(pull.sum(axis=0), tiny)[:, None]
        offset = points - centre
        distance = np.sqrt(np.einsum("opck,opck->opk", offset, offset))
        pull = weights * (delta / np.maximum(np.maximum(distance, delta), tiny))
    return centre
