"""Landmark error: NME by eye distance, raw and with one translation removed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def normalised_errors(points: FloatArray, truth: FloatArray, *, remove_translation: bool = False) -> npt.NDArray[np.float64]:
    """(n,) mean point distance of each face divided by its eye distance.

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
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    offsets = (points - truth) / eyes[:, None, None]
    if remove_translation:
        offsets = offsets - np.nanmean(offsets, axis=(0, 1))
    return np.asarray(np.linalg.norm(offsets, axis=2).mean(axis=1), np.float64)
