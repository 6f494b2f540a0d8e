"""The views of a picture that an ensemble looks at: sizes, horizontal flips and tiles, and the way back.

A view makes *canvases* (what a detector sees) and maps the faces found on them to pixels of the upright picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import box_sides, flip_faces, map_faces, tile_windows
from auto_annotator.types import Faces, Float32Array, Image

CUT_PIXELS, CUT_SHARE = 1.0, 0.05
"""A box that ends within this many pixels, or this share of its side, of the side of a tile is that of a cut face: detectors place
its edge near the cut, seldom upon it (measured on faces of 24 to 800 pixels: up to 3 % off; half a face would pass for a face)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """One picture for a detector and how it was made.

    Attributes:
        pixels: RGB uint8, sides padded to the detector's stride with black at the right and bottom.
        window: x1 y1 x2 y2 in picture pixels that the canvas shows.
        content: (width, height) of the shown window on the canvas, without padding.
        flipped: whether the content is mirrored.
    """

    pixels: Image
    window: tuple[int, int, int, int]
    content: tuple[int, int]
    flipped: bool

    def to_picture(self, faces: Faces) -> Faces:
        """Faces in canvas pixels -> pixels of the upright picture."""
        if self.flipped:
            faces = flip_faces(faces, self.content[0])
        x1, y1, x2, y2 = self.window
        scale = ((x2 - x1) / self.content[0], (y2 - y1) / self.content[1])
        return map_faces(faces, scale, (float(x1), float(y1)))


def resized(image: Image, width: int, height: int) -> Image:
    """Resampled picture: area averaging when shrinking, so that small faces do not alias, bilinear when enlarging."""
    import cv2

    if (width, height) == (image.shape[1], image.shape[0]):
        return image
    shrinking = width * height < image.shape[0] * image.shape[1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR), np.uint8)


def make_canvas(
    image: Image, window: tuple[int, int, int, int], scale: float, *, stride: int, fixed: tuple[int, int] | None, flip: bool
) -> Canvas:
    """Cut `window` out of the picture, resize it by `scale`, mirror it if asked, and pad it for a detector.

    Args:
        image: RGB (h, w, 3) uint8.
        window: x1 y1 x2 y2 inside the picture.
        scale: canvas pixels per picture pixel.
        stride: sides become multiples of it.
        fixed: (height, width) of the canvas for a model that takes only that; the content must fit into it.
        flip: mirror the content horizontally.
    """
    x1, y1, x2, y2 = window
    width, height = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    if fixed is not None:
        width, height = min(width, fixed[1]), min(height, fixed[0])
    content = resized(image[y1:y2, x1:x2], width, height)
    if flip:
        content = content[:, ::-1]
    rows, columns = fixed if fixed is not None else (-(-height // stride) * stride, -(-width // stride) * stride)
    pixels = np.zeros((rows, columns, 3), np.uint8)
    pixels[:height, :width] = content
    return Canvas(pixels=pixels, window=window, content=(width, height), flipped=flip)


def view_windows(width: int, height: int, tile: int | None, overlap: float) -> list[tuple[int, int, int, int]]:
    """The windows of a view: the whole picture, or tiles of `tile` picture pixels."""
    return [(0, 0, width, height)] if tile is None else tile_windows(width, height, tile, overlap)


def view_scale(
    window: tuple[int, int], size: int | None, max_enlarge: float, fixed: tuple[int, int] | None, *, zoom: float = 1.0
) -> float:
    """Canvas pixels per picture pixel.

    Args:
        window: (width, height) of what the view shows, in picture pixels.
        size: wanted length of the long side on the canvas; None = `zoom` (tiles).
        max_enlarge: upper limit, so that a small crop is not blown up.
        fixed: (height, width) of the canvas of a model that takes only that.
        zoom: canvas pixels per picture pixel of a tile.
    """
    width, height = window
    scale = zoom if size is None else min(size / max(width, height), max_enlarge)
    return scale if fixed is None else min(scale, fixed[1] / width, fixed[0] / height)


def whole_in_tile(boxes: Float32Array, window: tuple[int, int, int, int], width: int, height: int) -> npt.NDArray[np.bool_]:
    """(n,) which boxes (picture pixels) a tile shows whole: not cut by a side of the tile that lies inside the picture.

    A cut face is seen whole by a neighbouring tile if it fits into the overlap, else by a view of the whole picture.
    """
    inside = np.array([window[0] > 0, window[1] > 0, window[2] < width, window[3] < height])
    distance = np.stack(
        [boxes[:, 0] - window[0], boxes[:, 1] - window[1], window[2] - boxes[:, 2], window[3] - boxes[:, 3]], axis=1
    )
    margin = np.maximum(CUT_PIXELS, CUT_SHARE * box_sides(boxes))[:, None]
    return np.asarray(((distance > margin) | ~inside).all(axis=1), dtype=np.bool_)
