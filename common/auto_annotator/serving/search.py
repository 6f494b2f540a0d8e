"""Where face-tracker looks for faces: around the last boxes first, because a whole picture takes many times longer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import box_sides, iou_matrix, map_faces
from auto_annotator.serving.requests import Pipeline
from auto_annotator.types import Faces, Image

Boxes = npt.NDArray[np.float32]

REGION = 4.0
"""Side of the searched square in sides of the last box: a person may move by more than one side between two pictures."""

LEAST_SIDE = 160
"""Smallest side of a searched square in pixels: less is no picture for a detector, and small faces move by more of their sides."""

WHOLE = 0.5
"""Share of the picture from which it is searched at once: the squares would cost as much."""

SAME_FACE = 0.5
"""Overlap (IoU) from which two finds in neighbouring squares are one face."""

EDGE = 1.0
"""A find so near to an edge of its square, in pixels, may be cut off by it: such a face is left to another square or the whole."""

MOST_FACES = 64
"""Faces that are described for one picture; of a crowd the nearest to the last boxes."""


class Search:
    """Finds the faces that somebody who is followed may be.

    Args:
        detection: finds faces in a picture.
    """

    def __init__(self, detection: Pipeline) -> None:
        self._detection = detection

    def near(self, image: Image, boxes: Boxes) -> Faces:
        """Faces around (m, 4) boxes, nearest first; boxes that lie beside the picture have nothing around them."""
        height, width = image.shape[:2]
        squares = [square for square in (_square(box, width, height) for box in boxes) if square is not None]
        if sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in squares) >= WHOLE * width * height:
            squares = [(0, 0, width, height)]
        found = Faces.concat([self._in_square(image, square) for square in dict.fromkeys(squares)])
        return _nearest(_distinct(found), boxes)

    def everywhere(self, image: Image, boxes: Boxes, taken: Faces) -> Faces:
        """Faces of the whole picture but those that are taken, nearest to the boxes first."""
        found = self._detection(image).faces
        free = iou_matrix(found.boxes, taken.boxes).max(axis=1, initial=0.0) < SAME_FACE
        return _nearest(found.select(free), boxes)

    def _in_square(self, image: Image, square: tuple[int, int, int, int]) -> Faces:
        height, width = image.shape[:2]
        x1, y1, x2, y2 = square
        faces = self._detection(np.ascontiguousarray(image[y1:y2, x1:x2])).faces
        inside = np.ones(len(faces), np.bool_)
        for edge, column, cut in ((0, 0, x1 > 0), (0, 1, y1 > 0), (x2 - x1, 2, x2 < width), (y2 - y1, 3, y2 < height)):
            if cut:
                inside &= np.abs(faces.boxes[:, column] - edge) > EDGE
        return map_faces(faces.select(inside), (1.0, 1.0), (float(x1), float(y1)))


def _square(box: npt.NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int] | None:
    side = max(float(box_sides(box[None])[0]) * REGION, LEAST_SIDE)
    center = (box[:2].astype(np.float64) + box[2:]) / 2
    x1, y1 = np.clip(np.floor(center - side / 2), 0, (width, height)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(center + side / 2), 0, (width, height)).astype(int).tolist()
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _distinct(faces: Faces) -> Faces:
    """One find of each face, the best."""
    keep: list[int] = []
    overlaps = iou_matrix(faces.boxes, faces.boxes) >= SAME_FACE
    for row in np.argsort(-faces.scores, kind="stable").tolist():
        if not overlaps[row, keep].any():
            keep.append(row)
    return faces.select(keep)


def _nearest(faces: Faces, boxes: Boxes) -> Faces:
    centers, wanted = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = np.linalg.norm(centers[:, None] - wanted[None], axis=2).min(axis=1, initial=np.inf)
    return faces.select(np.argsort(distances, kind="stable")[:MOST_FACES])
