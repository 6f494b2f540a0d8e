"""Faces in profile: which of the five points the head itself hides, told from how the points lie.

Detectors of faces have learned profiles: where only one eye is to be seen they put both eyes close together, and the mouth corners
too. On a mean head turned about its neck (MediaPipe's mesh, averaged over frontal faces) the bridge of the nose covers the far eye
from 59 to 65 degrees on where the head is level within 10 degrees, and the lips the far mouth corner from 55 when level. The eyes
are then 0.43 to 0.57 of the distance of eyes and mouth apart, frontal about 1. The tip of the nose is not hidden up to 90 degrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.candidates import BoolArray
from auto_annotator.geometry import pose
from auto_annotator.types import LANDMARK_NAMES

EYE_RATIO = 0.55
"""Distance of the eyes over that of eyes and mouth below which a face is in profile. Of faces of WIDER FACE, labelled by eye, the
detectors' points then tell 44 of the 46 in profile, and 2 of the 54 others that were looked at; see `docs/landmarks.md`."""

NOSE_ASIDE = 0.2
"""How far the nose lies beside the middle line at least, in distances of eyes and mouth. A frontal face whose eyes are wrongly put
together does not count, and without it the side that is turned away would be a guess."""

_RIGHT_HIDDEN = np.array([name in ("right_eye", "mouth_right") for name in LANDMARK_NAMES])
_LEFT_HIDDEN = np.array([name in ("left_eye", "mouth_left") for name in LANDMARK_NAMES])


def sides_hidden(landmarks: npt.ArrayLike) -> tuple[BoolArray, BoolArray]:
    """Whether the person's right side, and the left side, is turned away so far that it is not seen.

    Args:
        landmarks: (n, 5, 2) in pixels, at best of detectors of whole faces; NaN where unknown.

    Returns:
        (n,) and (n,) bool, never both of one face; False where a point is unknown. Turning, moving or scaling the picture changes
        nothing, mirroring it swaps the two.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, len(LANDMARK_NAMES), 2)
    down, across = points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1), points[:, 1] - points[:, 0]
    aside, _ = pose(points)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        profile = _length(across) / _length(down) < EYE_RATIO
        return profile & (aside < -NOSE_ASIDE), profile & (aside > NOSE_ASIDE)


def hidden_points(landmarks: npt.ArrayLike) -> BoolArray:
    """(n, 5) bool: points that the head itself hides, by `sides_hidden` of (n, 5, 2) landmarks: the far eye and mouth corner.

    What hides a point beside the head, such as a hand, glasses or hair, is not told from the points and does not count.
    """
    right, left = sides_hidden(landmarks)
    return np.asarray((right[:, None] & _RIGHT_HIDDEN) | (left[:, None] & _LEFT_HIDDEN), np.bool_)


def _length(vectors: npt.NDArray[np.float64]) -> Any:
    return np.hypot(vectors[:, 0], vectors[:, 1])
