"""The points of the faces of one picture: what the detectors say of them, then each refiner, then all of it together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.ensemble import NamedRefiner
from auto_annotator.errors import MemberError
from auto_annotator.fusion.faces import FusedFaces
from auto_annotator.fusion.landmarks import fuse_landmarks
from auto_annotator.fusion.profiles import hidden_points
from auto_annotator.landmarks.base import knows_profiles, points_and_spread
from auto_annotator.pipeline.progress import Run, problem_of
from auto_annotator.types import Faces, Float32Array, Image, Problem

REFINE_CHUNK = 32
"""Faces that a refiner gets at once; between chunks the time budget is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedPoints:
    """Where the points of n faces are, and how sure that is.

    Attributes:
        landmarks: (n, 5, 2) float32 in pixels, NaN where nobody placed them.
        spread: (n, 5) float32 pixels: of the opinions about a point, or of the looks of one refiner where those lie farther apart.
        hidden: (n, 5) bool: the head hides the point.
        unseen: (n,) bool: a refiner that was asked and knows profiles sees no face there.
    """

    landmarks: Float32Array
    spread: Float32Array
    hidden: npt.NDArray[np.bool_]
    unseen: npt.NDArray[np.bool_]


def place_points(image: Image, run: Run, fused: FusedFaces, refiners: Sequence[NamedRefiner]) -> PlacedPoints:
    """Ask the refiners, each with the points of those before it, and fuse what they and the detectors say.

    Detectors tell profiles (`fusion.profiles`); refiners that do not know them have no say there.
    """
    faces, opinions, shown = fused.faces, fused.opinions, fused.faces
    unseen = np.zeros(len(faces), np.bool_)
    apart = np.full((len(faces), 5), np.nan, np.float32)
    for named in refiners:
        start = time.perf_counter()
        points, own, asked = _ask(image, run, named, shown)
        if knows_profiles(named.refiner):
            unseen |= asked & ~np.isfinite(points).all(axis=(1, 2))
        else:
            profile = profiles(faces, shown)
            points[profile] = own[profile] = np.nan
        shown = better_known(shown, points)
        opinions = opinions.with_opinion(points, named.config.landmark_weight)
        apart = np.fmax(apart, own)
        run.timed(f"refiners/{named.config.name}", start)
    landmarks, spread = faces.landmarks, fused.votes.landmark_spread
    if refiners:
        landmarks, spread = fuse_landmarks(opinions, faces.boxes)
    hidden = hidden_points(np.where(faces.has_landmarks[:, None, None], faces.landmarks, landmarks))
    return PlacedPoints(landmarks=landmarks, spread=np.fmax(spread, apart), hidden=hidden, unseen=unseen)


def profiles(faces: Faces, shown: Faces) -> npt.NDArray[np.bool_]:
    """(n,) which faces are in profile: by the detectors' points, or without any by those of the refiners so far (`shown`)."""
    points = np.where(faces.has_landmarks[:, None, None], faces.landmarks, shown.landmarks)
    return np.asarray(hidden_points(points).any(axis=1))


def _ask(image: Image, run: Run, named: NamedRefiner, faces: Faces) -> tuple[Float32Array, Float32Array, npt.NDArray[np.bool_]]:
    """Points of one refiner and the spread of its looks, NaN for faces that it could not judge; and which faces it was shown.

    It is shown none if it breaks, or did when the picture stood upright, and none of those for which there is no time left.
    """
    name, count = named.config.name, len(faces)
    points, spread = np.full((count, 5, 2), np.nan, np.float32), np.full((count, 5), np.nan, np.float32)
    asked = np.zeros(count, np.bool_)
    for first in range(0, 0 if run.broken(name) else count, REFINE_CHUNK):
        if time.perf_counter() > run.deadline:
            run.problems[name] = Problem(member=name, reason="out_of_time", detail=f"{count - first} faces left out")
            break
        rows = np.arange(first, min(first + REFINE_CHUNK, count))
        try:
            answer, own = points_and_spread(named.refiner, image, faces.select(rows))
            if answer.shape != (len(rows), 5, 2) or own.shape != (len(rows), 5):
                raise MemberError(f"points of shape {answer.shape} for {len(rows)} faces")
            points[rows], spread[rows], asked[rows] = answer, own, True
        except Exception as error:
            run.problems[name] = problem_of(name, error)
            points[:], spread[:], asked[:] = np.nan, np.nan, False
            break
    return points, spread, asked


def better_known(faces: Faces, points: np.ndarray) -> Faces:
    """The faces with (n, 5, 2) points of a refiner where it has some: they tell the next refiner how far a face is turned."""
    known = np.isfinite(points).all(axis=(1, 2), keepdims=True)
    return Faces(boxes=faces.boxes, scores=faces.scores, landmarks=np.where(known, points, faces.landmarks))
