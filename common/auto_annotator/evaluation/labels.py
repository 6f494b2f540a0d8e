"""Labelled pictures: what the measures compare with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auto_annotator.types import Float32Array

BoolArray = npt.NDArray[np.bool_]

LEVELS = ("easy", "medium", "hard")
"""The lists of WIDER FACE, each holding the one before it."""

SIZE_EDGES = (0.0, 16.0, 32.0, 64.0, float("inf"))
"""Bins of the height of a face in pixels of the picture."""

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "blur": ("clear", "normal", "heavy"),
        "expression": ("typical", "exaggerated"),
        "illumination": ("normal", "extreme"),
        "occlusion": ("none", "partial", "heavy"),
        "pose": ("typical", "atypical"),
        "invalid": ("no", "yes"),
    }
)
"""What WIDER FACE says of each face: the names of the values 0, 1, 2."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The labelled faces of one picture.

    Attributes:
        boxes: (g, 4) float32 x1 y1 x2 y2 in pixels.
        counts: (g,) bool; False = a face that is neither asked for nor an error when found.
    """

    boxes: Float32Array
    counts: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledPicture:
    """One picture with its faces.

    Attributes:
        path: the picture.
        boxes: (g, 4) float32 x1 y1 x2 y2 in pixels of the upright picture.
        event: what the picture belongs to; pictures of one event are alike, so halves are split by event.
        keep: level -> indexes of the faces that count in it. A level that is not there counts all faces.
        attributes: name -> (g,) int, see `ATTRIBUTES`.
        landmarks: (g, 5, 2) float32, NaN where not labelled; None = no points at all.
        points_only: the set labels the points of one face per picture and knows nothing of other faces: boxes cannot be judged.

    Raises:
        ValueError: for columns of different lengths, or an index of a face that is not there.
    """

    path: Path
    boxes: Float32Array
    event: str = ""
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    attributes: Mapping[str, npt.NDArray[np.int_]] = field(default_factory=dict)
    landmarks: Float32Array | None = None
    points_only: bool = False

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"labels: got boxes of shape {self.boxes.shape}, expected (n, 4)")
        for name, column in self.attributes.items():
            if len(column) != n:
                raise ValueError(f"labels: got {len(column)} values of {name} for {n} faces")
        if self.landmarks is not None and self.landmarks.shape != (n, 5, 2):
            raise ValueError(f"labels: got landmarks of shape {self.landmarks.shape} for {n} faces, expected (n, 5, 2)")
        for level, rows in self.keep.items():
            if any(not 0 <= row < n for row in rows):
                raise ValueError(f"labels: level {level} names a face that is not there, there are {n}")

    def counts(self, level: str) -> BoolArray:
        """(g,) bool: the faces of a level."""
        if level not in self.keep:
            return np.ones(len(self.boxes), np.bool_)
        mask = np.zeros(len(self.boxes), np.bool_)
        mask[list(self.keep[level])] = True
        return mask

    def truth(self, level: str) -> Truth:
        """The faces of a level (`easy`, `medium`, `hard`); all others neither count nor are errors."""
        return Truth(boxes=self.boxes, counts=self.counts(level))


def size_names() -> tuple[str, ...]:
    """Names of the bins of `SIZE_EDGES`."""
    last = len(SIZE_EDGES) - 2
    return tuple(
        f"under {SIZE_EDGES[1]:.0f} px" if i == 0 else f"{low:.0f} px and more" if i == last else f"{low:.0f} to {high:.0f} px"
        for i, (low, high) in enumerate(pairwise(SIZE_EDGES))
    )
