"""Crops of a picture through a similarity transform, without aliasing when they shrink it.

Every transform here is a (2, 3) float64 matrix between *continuous* coordinates (see `geometry`): the crop covers 0..size on
each axis. OpenCV counts from pixel centres; the half pixels are added and taken away in `Pyramid.crop` and nowhere else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import area, clip_boxes
from auto_annotator.types import Float32Array, Image

Matrix = npt.NDArray[np.float64]

MIN_SIDE = 1.0
"""Shortest long side in pixels of a box that a crop is made of: within one pixel there is nothing to see."""


def square_matrix(
    center: npt.ArrayLike, side: float, size: int, *, angle: float = 0.0, mirrored: bool = False
) -> npt.NDArray[np.float64]:
    """(2, 3) transform from picture to crop: a square of the picture becomes 0..size upright.

    Args:
        center: x y of the middle of the square in picture pixels.
        side: its side in picture pixels; must be above 0.
        size: side of the crop in pixels.
        angle: how far the square is turned, in radians from the x axis towards the y axis (clockwise as seen).
        mirrored: whether left and right of the crop are swapped.

    Raises:
        ValueError: for a side that is not above 0.
    """
    if not side > 0:
        raise ValueError(f"side: got {side}, expected a length above 0")
    cos, sin = np.cos(angle) * size / side, np.sin(angle) * size / side
    linear = np.array([[cos, sin], [-sin, cos]])
    if mirrored:
        linear[0] = -linear[0]
    shift = size / 2 - linear @ np.asarray(center, np.float64)
    return np.hstack([linear, shift[:, None]])


def inverse(matrix: Matrix) -> Matrix:
    """The (2, 3) transform that undoes an invertible one."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -(linear @ matrix[:, 2])[:, None]])


def usable_boxes(boxes: Float32Array, width: int, height: int) -> npt.NDArray[np.bool_]:
    """(n,) bool: which (n, 4) x1 y1 x2 y2 boxes are finite, at least `MIN_SIDE` long, and overlap a width x height picture."""
    with np.errstate(invalid="ignore"):
        long_side = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, initial=-np.inf)
        visible = area(clip_boxes(boxes, width, height)) > 0
    return np.asarray(np.isfinite(boxes).all(axis=1) & (long_side >= MIN_SIDE) & visible, dtype=np.bool_)


def eye_angles(landmarks: Float32Array) -> Float32Array:
    """(n,) direction of the eye line of (n, 5, 2) points in radians from the x axis towards the y axis; 0 where unknown."""
    x, y = (landmarks[:, 1] - landmarks[:, 0]).T
    return np.asarray(np.where(np.isfinite(x) & np.isfinite(y), np.arctan2(y, x), 0.0), np.float32)


class Pyramid:
    """A picture and its halves, quarters and so on, each made when a crop first asks for it.

    A crop that shrinks the picture is taken from the smallest level that still has its resolution. So a crop costs the
    same for a large face as for a small one, and fine texture is averaged instead of sampled (bilinear sampling alone
    looks at four pixels, however many the crop steps over).
    """

    def __init__(self, image: Image) -> None:
        self._levels = [image]

    def _level(self, scale: float) -> Image:
        import cv2

        wanted = int(np.log2(1 / scale)) if scale < 1 else 0
        while len(self._levels) <= wanted and max(self._levels[-1].shape[:2]) > 1:
            rows, columns = ((side + 1) // 2 for side in self._levels[-1].shape[:2])
            half = cv2.resize(self._levels[-1], (columns, rows), interpolation=cv2.INTER_AREA)
            self._levels.append(np.asarray(half, np.uint8))
        return self._levels[min(wanted, len(self._levels) - 1)]

    def crop(self, matrix: Matrix, size: int | tuple[int, int], *, replicate: bool = False, cubic: bool = False) -> Image | None:
        """The crop that a similarity transform from picture to crop describes.

        Args:
            matrix: (2, 3) float64, picture -> crop.
            size: side of a square crop in pixels, or its (width, height).
            replicate: what lies outside the picture repeats its border instead of being black.
            cubic: bicubic instead of bilinear, which leaves small faces sharper.

        Returns:
            RGB (height, width, 3) uint8, or None where no pixel of the picture lies in the crop or the matrix is not usable.
        """
        import cv2

        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))) if np.isfinite(matrix).all() else 0.0
        if not 0 < scale < np.inf:
            return None
        shape = (size, size) if isinstance(size, int) else size
        level = self._level(scale)
        rows, columns = level.shape[:2]
        ratio = np.array([columns / self._levels[0].shape[1], rows / self._levels[0].shape[0]])
        to_crop = matrix.copy()
        to_crop[:, :2] /= ratio
        window = _window(inverse(to_crop), shape, columns, rows)
        if window is None:
            return None
        x1, y1, x2, y2 = window
        to_crop[:, 2] += to_crop[:, :2] @ (x1 + 0.5, y1 + 0.5) - 0.5
        flags = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
        border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
        pixels = level[y1:y2, x1:x2]  # only what is needed: OpenCV's warps stop at 32,767 pixels a side
        return np.asarray(cv2.warpAffine(pixels, to_crop, shape, flags=flags, borderMode=border), np.uint8)


def _window(to_level: Matrix, shape: tuple[int, int], columns: int, rows: int) -> tuple[int, int, int, int] | None:
    """x1 y1 x2 y2 of the pixels that a crop touches, None if there are none."""
    width, height = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ to_level[:, :2].T + to_level[:, 2]
    limit = np.array([columns, rows])
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (high <= 0).any() or (low >= limit).any():
        return None
    margin = 3  # bicubic sampling reads two pixels further on each side; one more for rounding
    x1, y1 = np.clip(np.floor(low) - margin, 0, limit).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(high) + margin, 0, limit).astype(int).tolist()
    return x1, y1, x2, y2
