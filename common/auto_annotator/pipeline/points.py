"""Five points of faces whose boxes are known, for example drawn by a person: the ensemble's landmark models alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from auto_annotator.ensemble import NamedRefiner
from auto_annotator.fusion.landmarks import LandmarkOpinions, fuse_landmarks
from auto_annotator.landmarks.base import knows_profiles
from auto_annotator.pipeline.progress import problem_of
from auto_annotator.pipeline.refining import better_known, profiles
from auto_annotator.types import Faces, Float32Array, Image

log = logging.getLogger(__name__)

LOOKS = 2
"""The models know upright faces only and turn the crop by the eye line; it is known from the second look on."""


class FacePoints:
    """Places points in given boxes.

    Args:
        refiners: of an ensemble; without any, no points are found.
    """

    def __init__(self, refiners: Sequence[NamedRefiner]) -> None:
        self._refiners = refiners

    def __call__(self, image: Image, boxes: npt.ArrayLike) -> Float32Array:
        """Find the points.

        Args:
            image: RGB (h, w, 3) uint8, upright.
            boxes: (n, 4) x1 y1 x2 y2 in pixels.

        Returns:
            (n, 5, 2) float32 in pixels, NaN where no model could place them.
        """
        edges = np.asarray(boxes, np.float32).reshape(-1, 4)
        points = np.full((len(edges), 5, 2), np.nan, np.float32)
        for _ in range(LOOKS if self._refiners and len(edges) else 0):
            faces = Faces(boxes=edges, scores=np.ones(len(edges), np.float32), landmarks=points)
            opinions, shown = LandmarkOpinions.none(len(edges)), faces
            for named in self._refiners:
                try:
                    found = named.refiner.refine(image, shown)
                    if not knows_profiles(named.refiner):
                        found = np.where(profiles(faces, shown)[:, None, None], np.float32(np.nan), found)
                    opinions, shown = opinions.with_opinion(found, named.config.landmark_weight), better_known(shown, found)
                except Exception as error:
                    problem = problem_of(named.config.name, error)
                    log.warning("refiner %s left out for this picture: %s (%s)", named.config.name, problem.reason, problem.detail)
            points, _ = fuse_landmarks(opinions, edges)
        return points
