"""What every landmark refiner is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from auto_annotator.types import Faces, Float32Array, Image


class Refiner(Protocol):
    """A landmark model on crops, built as `Class(context, **options)` like a detector.

    A class with `KNOWS_PROFILES = False` places points without knowing that only half of the face is to be seen; it has no say on
    faces that the detectors see in profile. One that averages several looks may have a method `looks`, as `refine` but with all of
    them, (n, k, 5, 2): how far they lie apart says more about its error than how far others are from it.
    """

    def refine(self, image: Image, faces: Faces) -> Float32Array:
        """Another opinion on the five points of each face.

        Args:
            image: RGB (h, w, 3) uint8, the whole upright picture.
            faces: boxes and first points (NaN where unknown), in picture pixels.

        Returns:
            (n, 5, 2) float32 in picture pixels, NaN for a face it cannot judge.
        """


def knows_profiles(refiner: object) -> bool:
    """Whether a refiner has a say on faces in profile; it has, unless its class says otherwise (see `Refiner`)."""
    return bool(getattr(refiner, "KNOWS_PROFILES", True))


def points_and_spread(refiner: Refiner, image: Image, faces: Faces) -> tuple[Float32Array, Float32Array]:
    """(n, 5, 2) points of a refiner, and (n, 5) root mean square distance in pixels of its looks from them; NaN with one look."""
    looks = getattr(refiner, "looks", None)
    if looks is None:
        points = np.asarray(refiner.refine(image, faces), np.float32)
        return points, np.full((len(faces), 5), np.nan, np.float32)
    each = np.asarray(looks(image, faces), np.float64)
    points = each.mean(axis=1)
    spread = np.sqrt(((each - points[:, None]) ** 2).sum(axis=3).mean(axis=1))
    return points.astype(np.float32), spread.astype(np.float32)
