"""Landmarks of a record as annotation formats take them: inside the picture or not at all."""

from __future__ import annotations

from auto_annotator.cvat.shapes import OFF_PICTURE
from auto_annotator.reports.records import FaceRecord, Point, Record
from auto_annotator.types import LANDMARK_NAMES


def seen_points(face: FaceRecord, record: Record) -> tuple[Point | None, ...]:
    """The five points of a face that are seen, by the rule that the function's reply to CVAT follows.

    JSON Lines keep a point as it was predicted. A picture that cuts a face off has no pixel for such a point, so here it counts
    as not seen once it lies more than `OFF_PICTURE` beyond the edge; one that is nearer is moved onto the edge.

    Args:
        face: a face of `record`.
        record: a picture that could be read; its size is the limit.

    Returns:
        x, y in pixels of the upright picture, in the order of `types.LANDMARK_NAMES`; None where nobody saw the point, or the head
        hides it.
    """
    placed = placed_points(face, record)
    return tuple(None if name in face.hidden else point for name, point in zip(LANDMARK_NAMES, placed, strict=True))


def placed_points(face: FaceRecord, record: Record) -> tuple[Point | None, ...]:
    """As `seen_points`, but with the guessed places of points that the head hides."""
    return tuple(
        None if point is None else _inside(point, float(record.width or 0), float(record.height or 0)) for point in face.landmarks
    )


def _inside(point: Point, width: float, height: float) -> Point | None:
    x, y = into_picture(point, width, height)
    return None if max(abs(point[0] - x), abs(point[1] - y)) > OFF_PICTURE else (x, y)


def into_picture(point: Point, width: float, height: float) -> Point:
    """The place inside a picture of this size, in pixels, that is nearest to a point."""
    return min(max(point[0], 0.0), width), min(max(point[1], 0.0), height)
