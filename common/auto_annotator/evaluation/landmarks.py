"""Landmark error: NME by eye distance, raw and with one translation removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.detection import Pairs
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.types import Faces

FloatArray = npt.NDArray[np.floating]

FAILURE = 0.1
"""An error above this share of the eye distance is a failure."""

PROFILE = 0.7
"""Below this ratio of eye distance to eye-mouth distance a face is turned so far that its eye distance says nothing of its size."""


def scales(truth: FloatArray) -> npt.NDArray[np.float64]:
    """(n,) length in pixels that errors are divided by: the eye distance, for profiles the distance of eyes and mouth.

    Args:
        truth: (n, 5, 2) in the order of `LANDMARK_NAMES`.
    """
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    upright = np.linalg.norm(truth[:, :2].mean(axis=1) - truth[:, 3:].mean(axis=1), axis=1)
    return np.asarray(np.where(eyes < PROFILE * upright, upright, eyes), np.float64)


def normalised_errors(points: FloatArray, truth: FloatArray, *, remove_translation: bool = False) -> npt.NDArray[np.float64]:
    """(n,) mean point distance of each face divided by its eye distance, for profiles by its eye-mouth distance (`scales`).

    Args:
        points: (n, 5, 2) in the order of `LANDMARK_NAMES`; NaN rows give NaN.
        truth: (n, 5, 2).
        remove_translation: first take off one constant shift, measured in eye distances over the whole set, so that
            two annotation conventions can be compared.

    Raises:
        ValueError: if the shapes differ.
    """
    if points.shape != truth.shape or points.shape[1:] != (5, 2):
        raise ValueError(f"landmarks: got shapes {points.shape} and {truth.shape}, expected the same (n, 5, 2)")
    offsets = (points - truth) / scales(truth)[:, None, None]
    if remove_translation:
        offsets = offsets - np.nanmean(offsets, axis=(0, 1))
    return np.asarray(np.linalg.norm(offsets, axis=2).mean(axis=1), np.float64)


def detection_errors(detections: Sequence[Faces], pictures: Sequence[LabelledPicture], pairs: Pairs) -> npt.NDArray[np.float64]:
    """(d,) NME of the points of every detection against the face it means; rows in the order given.

    NaN = the face has no labelled points; infinity = it has, but the detection has none.
    """
    errors = np.full(sum(len(d) for d in detections), np.nan)
    labelled = [p for p in pictures if p.landmarks is not None]
    if not labelled or not len(errors):
        return errors
    truth = np.concatenate(
        [np.full((len(p.boxes), 5, 2), np.nan, np.float32) if p.landmarks is None else p.landmarks for p in pictures]
    )
    points = np.concatenate([d.landmarks for d in detections])
    known = pairs.target >= 0
    rows, faces = pairs.row[known], pairs.target[known]
    error = normalised_errors(points[rows], truth[faces])
    error[np.isnan(error) & np.isfinite(truth[faces]).all(axis=(1, 2))] = np.inf
    errors[rows] = error
    return errors
