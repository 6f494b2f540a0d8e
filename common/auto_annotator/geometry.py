"""Boxes, points and similarity transforms: pure numpy.

Two coordinate conventions meet here. Box *edges* live on the pixel grid lines (a whole picture is 0..w), landmark *points*
are positions in that same continuous plane. Flipping therefore maps both x -> w - x; resizing by s maps both x -> x * s.
A model that reports pixel-centre indices has half a pixel added by its decoder, nowhere else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.types import Faces

FloatArray = npt.NDArray[np.floating]

FLIP_ORDER = np.array([1, 0, 2, 4, 3])
"""Where each landmark comes from after a horizontal flip: left and right change names."""


def area(boxes: FloatArray) -> FloatArray:
    """(n,) areas of (n, 4) x1 y1 x2 y2 boxes; inverted boxes have area 0."""
    return np.asarray(np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None))


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes; 0 where both are empty."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = area(a)[:, None] + area(b)[None, :] - inter
    return np.asarray(np.divide(inter, union, out=np.zeros_like(inter), where=union > 0))


def clip_boxes(boxes: FloatArray, width: int, height: int) -> FloatArray:
    """Boxes cut to the picture of width x height pixels."""
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    return np.clip(boxes, 0, limit)


def box_sides(boxes: FloatArray) -> FloatArray:
    """(n,) geometric mean of width and height in pixels: the size of a face."""
    return np.asarray(np.sqrt(area(boxes)))


def flip_faces(faces: Faces, width: float) -> Faces:
    """Faces of the horizontally flipped picture of that width; landmarks change sides too (seed bug B9)."""
    boxes = faces.boxes.copy()
    boxes[:, [0, 2]] = width - faces.boxes[:, [2, 0]]
    landmarks = faces.landmarks[:, FLIP_ORDER].copy()
    landmarks[..., 0] = width - landmarks[..., 0]
    return Faces(boxes=boxes, scores=faces.scores, landmarks=landmarks)


def turn_faces(faces: Faces, quarters: int, width: float, height: float) -> Faces:
    """Faces of the picture of that size after it is turned clockwise by quarters of a full turn, any whole number.

    A point (x, y) goes to (height - y, x) with each quarter. Landmarks keep their names: a turned person is the same person.
    """
    boxes, points = faces.boxes.astype(np.float64), faces.landmarks.astype(np.float64)
    for _ in range(quarters % 4):
        boxes = np.stack([height - boxes[:, 3], boxes[:, 0], height - boxes[:, 1], boxes[:, 2]], axis=1)
        points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
        width, height = height, width
    return Faces(boxes=np.asarray(boxes, np.float32), scores=faces.scores, landmarks=np.asarray(points, np.float32))


def turn_edges(values: FloatArray, quarters: int) -> FloatArray:
    """(n, 4) values of the edges x1 y1 x2 y2, such as their spread, after the picture is turned as by `turn_faces`."""
    return np.roll(values, quarters % 4, axis=1)


def map_faces(faces: Faces, scale: tuple[float, float], offset: tuple[float, float]) -> Faces:
    """Faces with every coordinate p replaced by p * scale + offset (x and y apart)."""
    s, o = np.asarray(scale, np.float32), np.asarray(offset, np.float32)
    return Faces(
        boxes=faces.boxes * np.tile(s, 2) + np.tile(o, 2),
        scores=faces.scores,
        landmarks=faces.landmarks * s + o,
    )


def tile_windows(width: int, height: int, size: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Windows (x1, y1, x2, y2) of at most `size` pixels a side that cover the picture.

    Neighbours share at least `overlap` (0..1) of their side; the last window of a row ends at the picture's edge.

    Raises:
        ValueError: for a size below 1 or an overlap outside 0 <= overlap < 1.
    """
    if size < 1 or not 0 <= overlap < 1:
        raise ValueError(f"tiles: got size {size} and overlap {overlap}, expected size >= 1 and 0 <= overlap < 1")

    def starts(length: int) -> list[int]:
        if length <= size:
            return [0]
        count = int(np.ceil((length - size) / max(1.0, size * (1 - overlap)))) + 1
        return [round(i * (length - size) / (count - 1)) for i in range(count)]

    return [(x, y, min(x + size, width), min(y + size, height)) for y in starts(height) for x in starts(width)]


def similarity_transform(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(2, 3) least-squares similarity (rotation, one scale, translation) that maps source points to target points.

    Method: Umeyama 1991. Both arguments are (n, 2) with n >= 2.

    Raises:
        ValueError: for points that do not fix a similarity (fewer than two, not finite, or all equal).
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) < 2:
        raise ValueError(f"similarity: got shapes {a.shape} and {b.shape}, expected the same (n, 2) with n >= 2")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("similarity: points must be finite; select the known ones first")
    mean_a, mean_b = a.mean(0), b.mean(0)
    da, db = a - mean_a, b - mean_b
    variance = (da**2).sum() / len(a)
    if variance <= 1e-12:
        raise ValueError("similarity: all source points are the same")
    u, s, vt = np.linalg.svd(db.T @ da / len(a))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    scale = (s * sign).sum() / variance
    linear = scale * (u * sign) @ vt
    return np.hstack([linear, (mean_b - linear @ mean_a)[:, None]])


def transform_points(points: FloatArray, matrix: FloatArray) -> FloatArray:
    """(..., 2) points moved by a (2, 3) affine matrix."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def pose(landmarks: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Yaw and pitch, each (n,), from (n, 5, 2) points; NaN where points are missing or fall together.

    Yaw is how far the nose lies beside the middle line in lengths from eyes to mouth: 0 frontal, 0.3 half turned. Pitch is how far
    down from the eyes to the mouth the nose lies: 0.53 frontal, less = head up, more = head down. Both are measured along and
    across the line from the middle of the eyes to the middle of the mouth, so that turning or scaling the picture changes nothing.
    """
    points = np.asarray(landmarks, np.float64)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    down, nose = mouth - eyes, points[:, 2] - eyes
    squared = (down**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        yaw = (nose[:, 0] * down[:, 1] - nose[:, 1] * down[:, 0]) / squared
        pitch = (nose * down).sum(axis=1) / squared
    known = np.isfinite(yaw) & np.isfinite(pitch)
    return np.where(known, yaw, np.nan), np.where(known, pitch, np.nan)
