"""What every detector is, and the few steps that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from auto_annotator.session import Session
from auto_annotator.types import Faces, Float32Array, Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a detector can do; everything is off unless it says so.

    Attributes:
        landmarks: its `Faces` carry five points.
        batch: several canvases of one shape cost less together than one by one.
    """

    landmarks: bool = False
    batch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberContext:
    """What a member of an ensemble gets while it is built.

    Attributes:
        weights: its weight files in the order of the ensemble file, hash already checked.
        open_session: opens one of them on the device in force.
    """

    weights: tuple[Path, ...]
    open_session: Callable[[Path], Session]

    def session(self, index: int = 0) -> Session:
        """The opened weight file number `index`."""
        return self.open_session(self.weights[index])


class Detector(Protocol):
    """A face detector: canvases in, faces out.

    It is built as `Class(context, **options)` with the `options` of its YAML entry. The caller resizes, flips and tiles;
    the detector sees canvases whose sides it may rely on being multiples of `stride`.

    Attributes:
        capabilities: what it can do.
        stride: both sides of every canvas are padded to a multiple of it (bottom and right, black).
        fixed_size: (height, width) if the model takes no other canvas, else None.
    """

    capabilities: Capabilities
    stride: int
    fixed_size: tuple[int, int] | None

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Find the faces of each canvas.

        Args:
            canvases: RGB (h, w, 3) uint8, all of one shape.
            threshold: rows with a raw score below it are left out.

        Returns:
            One `Faces` per canvas, in canvas pixels, float, own NMS applied, scores raw as the model gives them (0..1).
        """


def nms(boxes: Float32Array, scores: Float32Array, iou: float) -> npt.NDArray[np.intp]:
    """Rows kept by plain non-maximum suppression, best score first (the step inside a detector, not the fusion).

    Args:
        boxes: (n, 4) x1 y1 x2 y2.
        scores: (n,).
        iou: a box that overlaps a better one by more than this goes.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes.T
    areas = np.clip(x2 - x1, 0, None) * np.clip(y2 - y1, 0, None)
    keep: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(int(best))
        w = np.clip(np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]), 0, None)
        h = np.clip(np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]), 0, None)
        inter = w * h
        order = rest[inter <= iou * (areas[best] + areas[rest] - inter)]
    return np.asarray(keep, dtype=np.intp)


def to_nchw(canvases: Sequence[Image], *, mean: float = 0.0, scale: float = 1.0, bgr: bool = False) -> Float32Array:
    """(b, 3, h, w) float32 of equal canvases: (pixel - mean) * scale, channels turned to BGR if asked."""
    batch = np.stack(canvases)
    if bgr:
        batch = batch[..., ::-1]
    blob = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)
    if mean:
        blob -= np.float32(mean)
    if scale != 1.0:
        blob *= np.float32(scale)
    return blob


def grid_centers(height: int, width: int, stride: int, *, offset: float = 0.0) -> Float32Array:
    """(rows * columns, 2) x y of a stride grid in canvas pixels, row by row; `offset` in cells (0.5 = cell middle)."""
    rows, columns = height // stride, width // stride
    ys, xs = np.mgrid[:rows, :columns].astype(np.float32)
    return (np.stack([xs, ys], axis=-1).reshape(-1, 2) + np.float32(offset)) * np.float32(stride)
