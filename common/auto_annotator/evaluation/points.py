"""Landmarks of several systems on the same faces: errors over the faces that all of them found, failures over all faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.landmarks import FAILURE, FloatArray, normalised_errors
from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Faces

SAME_FACE = 0.2
"""Least IoU of a detection with a labelled face whose box may only be guessed from its points."""

CURVE_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsResult:
    """Landmark errors of one system; errors are shares of the eye distance.

    Attributes:
        faces: labelled faces.
        common: how many of them all systems found with points; the means are over these.
        found: how many this system found.
        raw, moved: mean error; with one translation of the whole set removed.
        failures_raw, failures_moved: share of the common faces above 10 %.
        failures_all: share of all labelled faces above 10 % after the translation, those not found among them.
        area: area under the cumulative curve of errors up to 10 %, translation removed, 0..1.
        curve: that curve, (error, share of the common faces).
    """

    faces: int
    common: int
    found: int
    raw: float
    moved: float
    failures_raw: float
    failures_moved: float
    failures_all: float
    area: float
    curve: Sequence[Sequence[float]]


def compare_points(systems: Mapping[str, Sequence[Faces]], pictures: Sequence[LabelledPicture]) -> dict[str, PointsResult]:
    """Landmark errors of systems that have points at all; {} if the pictures have none.

    Args:
        systems: name -> faces of each picture.
        pictures: the truth.
    """
    labelled = [
        (number, int(row))
        for number, picture in enumerate(pictures)
        if picture.landmarks is not None
        for row in np.flatnonzero(np.isfinite(picture.landmarks).all(axis=(1, 2)))
    ]
    if not labelled:
        return {}
    truth = np.asarray([_points(pictures[number])[row] for number, row in labelled], np.float64)
    placed = {name: _placed(faces, pictures, labelled) for name, faces in systems.items()}
    placed = {name: points for name, points in placed.items() if np.isfinite(points).any()}
    common = np.ones(len(truth), np.bool_)
    for points in placed.values():
        common &= np.isfinite(points).all(axis=(1, 2))
    return {name: _judge(points, truth, common) for name, points in placed.items()}


def _points(picture: LabelledPicture) -> FloatArray:
    assert picture.landmarks is not None
    return picture.landmarks


def _placed(faces: Sequence[Faces], pictures: Sequence[LabelledPicture], labelled: Sequence[tuple[int, int]]) -> FloatArray:
    """(n, 5, 2) points of the detection that means each labelled face; NaN where there is none."""
    out = np.full((len(labelled), 5, 2), np.nan)
    for place, (number, row) in enumerate(labelled):
        found, box = faces[number], pictures[number].boxes[row : row + 1]
        if not len(found):
            continue
        overlap = iou_matrix(found.boxes, box)[:, 0]
        near = np.flatnonzero(overlap >= SAME_FACE)
        if len(near):
            # The guess of the box is rough: among the boxes that overlap it, the most certain one is the one a person sees.
            out[place] = found.landmarks[near[np.lexsort((-overlap[near], -found.scores[near]))[0]]]
    return out


def _judge(points: FloatArray, truth: FloatArray, common: np.ndarray) -> PointsResult:
    raw = normalised_errors(points[common], truth[common])
    moved = normalised_errors(points[common], truth[common], remove_translation=True) if common.any() else raw
    everywhere = normalised_errors(points, truth, remove_translation=True)
    steps = np.linspace(0, FAILURE, CURVE_STEPS + 1)
    curve = (moved[None] <= steps[:, None]).mean(axis=1) if len(moved) else np.full(len(steps), np.nan)
    return PointsResult(
        faces=len(truth),
        common=int(common.sum()),
        found=int(np.isfinite(points).all(axis=(1, 2)).sum()),
        raw=_mean(raw),
        moved=_mean(moved),
        failures_raw=_mean(raw > FAILURE),
        failures_moved=_mean(moved > FAILURE),
        failures_all=float((~(everywhere <= FAILURE)).mean()),
        area=float(np.trapezoid(curve, steps) / FAILURE),
        curve=[[round(float(x), 4), round(float(y), 4)] for x, y in zip(steps, curve, strict=True)],
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
