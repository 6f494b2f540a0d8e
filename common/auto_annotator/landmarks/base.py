"""What every landmark refiner is."""

from __future__ import annotations

from typing import Protocol

from auto_annotator.types import Faces, Float32Array, Image


class Refiner(Protocol):
    """A landmark model on crops, built as `Class(context, **options)` like a detector.

    A class with `KNOWS_PROFILES = False` places points without knowing that only half of the face is to be seen; it has no say on
    faces that the detectors see in profile.
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
