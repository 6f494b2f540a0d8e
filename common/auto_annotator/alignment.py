"""Where a face must lie in the crop that a recogniser looks at: templates of five points, and the transforms to them.

A recogniser was trained on crops in which eyes, nose and mouth corners lie at fixed places. Five points of a face give the
similarity (rotation, one scale, shift) that moves them there. Where the points are missing or absurd, the box alone places the
face: upright, where boxes of aligned faces lie on average; the result says so, since such descriptors are worth less.

Published templates name pixel *centres* (OpenCV's warps count from there), ours are continuous, so they are half a pixel more.
It hardly matters: half a pixel less or more moves d' of SFace on 1,000 LFW pairs from 5.82 to 5.82 or 5.78, and changes 0 to 2
decisions. The points do matter: aligned by the box alone it is 4.92.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auto_annotator.crops import MIN_SIDE, usable_boxes
from auto_annotator.geometry import box_sides, similarity_transform, transform_points
from auto_annotator.types import Faces, Float32Array

_HALF_PIXEL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """A crop that recognisers look at.

    Attributes:
        name: how recognisers call it.
        width, height: of the crop in pixels.
        points: (5, 2) where the five points of a frontal face lie, continuous crop coordinates, order of `LANDMARK_NAMES`.
        box_center: x y where the middle of the detector's box lies after an alignment by points.
        box_side: geometric mean side of that box in crop pixels.
    """

    name: str
    width: int
    height: int
    points: npt.NDArray[np.float64]
    box_center: tuple[float, float]
    box_side: float

    def __post_init__(self) -> None:
        points = np.array(self.points, np.float64).reshape(5, 2)
        points.flags.writeable = False
        object.__setattr__(self, "points", points)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def eye_distance(self) -> float:
        """Between the eyes of a frontal face, in crop pixels: the unit of errors."""
        return float(np.linalg.norm(self.points[1] - self.points[0]))


_ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Pixel centres in 112 x 112: InsightFace's `arcface_dst`. SphereFace's 112 x 96 template is the same 8 pixels further left."""

_SPHEREFACE_SHIFT = 8.0

_DLIB = np.array([[47.55, 46.60], [100.48, 46.60], [74.01, 76.56], [50.41, 103.02], [97.61, 103.02]])
"""Pixel centres in 150 x 150: where pupils, nose tip and mouth corners lie in the chips that dlib cuts (padding 0.25)."""

# Boxes of the embedded ensemble after alignment by points: medians over 4,947 faces of the development halves of LFW and of
# CelebA in the wild; x set to the middle between the eyes (measured 0.1 and 0.7 pixels beside it).
_TEMPLATES = (
    Template(name="arcface", width=112, height=112, points=_ARCFACE + _HALF_PIXEL, box_center=(56.4, 65.4), box_side=92.5),
    Template(
        name="sphereface",
        width=96,
        height=112,
        points=_ARCFACE + _HALF_PIXEL - [_SPHEREFACE_SHIFT, 0],
        box_center=(56.4 - _SPHEREFACE_SHIFT, 65.4),
        box_side=92.5,
    ),
    Template(name="dlib", width=150, height=150, points=_DLIB + _HALF_PIXEL, box_center=(74.5, 65.4), box_side=134.5),
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({t.name: t for t in _TEMPLATES})
"""Every template by name."""

# What five points must satisfy to be believed. Of the 4,947 faces none comes near: see the extremes beside each limit.
_SCALE_RANGE = (0.5, 1.7)
"""Size of the box after alignment over `box_side` (seen: 0.59 to 1.26)."""
_MAX_OUTSIDE = 0.35
"""How far a point may lie outside the box, as a share of its side (seen: 0.19, the nose of a profile)."""
_MIN_HANDEDNESS = -0.2
"""Right eye to left eye turned against eyes to mouth, over the latter squared: about 0.9 frontal, near 0 in profile, below 0 if the
points are those of a mirrored face (seen: -0.06)."""
_MIN_WIDTH = 0.1
"""Second over first singular value of the centred points; 0 = all on one line (seen: 0.25)."""
_MAX_RESIDUAL = 0.6
"""Root mean square distance from the template after the fit, in its eye distances (seen: 0.47)."""

_SLIVER = 0.6
"""Geometric mean side over the longer side of a box below which the longer side rules (seen with whole faces: 0.59 and more)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """How each face of a picture comes into the crop of one template.

    Attributes:
        template: the template.
        matrices: (n, 2, 3) float64 from picture to crop, continuous on both sides; NaN where there is none.
        by_box: (n,) bool: the box placed the face, its points being missing or absurd.
        failures: for each face an empty text, or the code of why there is no crop: `bad_box` (not finite, below one pixel),
            `outside_picture`.
    """

    template: Template
    matrices: npt.NDArray[np.float64]
    by_box: npt.NDArray[np.bool_]
    failures: tuple[str, ...]


def align(faces: Faces, template: Template, *, width: int, height: int) -> Alignment:
    """The transform of each face to a template.

    Args:
        faces: boxes and points in pixels of the picture; any value is taken.
        template: where the points must come to lie.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    count = len(faces)
    matrices = np.full((count, 2, 3), np.nan)
    by_box = np.zeros(count, np.bool_)
    visible = usable_boxes(faces.boxes, width, height)
    for row in np.flatnonzero(visible):
        matrix = _by_points(faces.landmarks[row], faces.boxes[row], template)
        by_box[row] = matrix is None
        matrices[row] = _by_box(faces.boxes[row], template) if matrix is None else matrix
    failures = tuple("" if v else _failure(box) for v, box in zip(visible, faces.boxes, strict=True))
    return Alignment(template=template, matrices=matrices, by_box=by_box, failures=failures)


def _failure(box: Float32Array) -> str:
    """Why a box that is not usable in its picture is not."""
    with np.errstate(invalid="ignore"):
        sound = np.isfinite(box).all() and (box[2:] > box[:2]).all() and (box[2:] - box[:2]).max() >= MIN_SIDE
    return "outside_picture" if sound else "bad_box"


def _by_points(points: Float32Array, box: Float32Array, template: Template) -> npt.NDArray[np.float64] | None:
    """(2, 3) transform of (5, 2) points to the template, None where they are missing or cannot be those of the face in the box."""
    source = points.astype(np.float64)
    side = float(box_sides(box[None].astype(np.float64))[0])
    if not np.isfinite(source).all() or not 0 < side < np.inf:
        return None
    if np.maximum(box[:2] - source, source - box[2:]).max() > _MAX_OUTSIDE * side:
        return None
    spread = np.linalg.svd(source - source.mean(axis=0), compute_uv=False)
    down = source[3:].mean(axis=0) - source[:2].mean(axis=0)
    across = source[1] - source[0]
    turn = across[0] * down[1] - across[1] * down[0]
    if spread[1] <= _MIN_WIDTH * spread[0] or turn <= _MIN_HANDEDNESS * (down @ down):
        return None
    matrix = similarity_transform(source, template.points)
    size = side * np.sqrt(abs(np.linalg.det(matrix[:, :2]))) / template.box_side
    distances = np.linalg.norm(transform_points(source, matrix) - template.points, axis=1)
    residual = np.sqrt((distances**2).mean()) / template.eye_distance
    return matrix if _SCALE_RANGE[0] <= size <= _SCALE_RANGE[1] and residual <= _MAX_RESIDUAL else None


def _by_box(box: Float32Array, template: Template) -> npt.NDArray[np.float64]:
    """(2, 3) upright transform that puts the middle and the size of a box where those of aligned faces lie."""
    corners = box.astype(np.float64).reshape(2, 2)
    # A sliver (a face cut by the border) is taken for as large as its longer side says: half a face is better than a smear.
    side = max(float(box_sides(box[None].astype(np.float64))[0]), float((corners[1] - corners[0]).max()) * _SLIVER)
    scale = template.box_side / side
    shift = np.asarray(template.box_center) - scale * corners.mean(axis=0)
    return np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
