"""What others need of whoever makes descriptors: `FaceDescription`, a deployed function, a stand-in of the tests."""

from __future__ import annotations

from typing import Protocol

from auto_annotator.types import Descriptors, Faces, Image


class MakesVectors(Protocol):
    """Who makes vectors, and how they compare."""

    @property
    def model_set(self) -> str:
        """Name of the ensemble of recognisers."""

    @property
    def model_hash(self) -> str:
        """What the vectors depend on; vectors of two hashes never compare."""

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""

    @property
    def threshold(self) -> float | None:
        """Cosine from which two faces are more likely one person than two, None = nobody has measured it."""


class DescribesFaces(MakesVectors, Protocol):
    """What `FaceDescription` is to its callers."""

    def __call__(self, image: Image, faces: Faces) -> Descriptors:
        """Describe the faces of one RGB picture; rows as in `faces`."""
