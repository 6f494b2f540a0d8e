"""A `Detection` in CVAT's terms: the reply of a Nuclio detector and the annotations of an SDK function, from one source.

Every value is one that CVAT stores as it is: text for each attribute, whole percents, boxes and points inside the picture,
all five elements of a skeleton. CVAT drops a wrong attribute without a word and fails the whole run for a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.cvat.labels import FACE, FACE_ERROR, FACE_LANDMARKS, LANDMARK_TEMPLATE, Label, label
from auto_annotator.types import LANDMARK_NAMES, Detection

GRID = 100
"""Coordinates are rounded to 1 / GRID pixel: finer is noise, and the reply is a third of the size."""

MIN_SIDE = 2
"""Smallest side of a box in pixels: a thinner one cannot be seen or grabbed in CVAT."""

OFF_PICTURE = 1.0
"""A point may lie this many pixels beyond the picture and still count as seen; rounding does that, a cut-off face more."""

SCORE_DIGITS = 4
"""Decimals of a score: finer differences mean nothing."""

MAX_TEXT = 4096
"""Longest text attribute that CVAT takes; one character more fails the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One landmark: position in pixels inside the picture; `outside` = not seen, the position only marks a place to drag from."""

    x: float
    y: float
    outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceShape:
    """One face as CVAT will show it.

    Attributes:
        box: x1, y1, x2, y2 in pixels, inside the picture, each side at least `MIN_SIDE`.
        score: 0..1.
        group: number that ties the box to its skeleton, from 1 within the picture.
        attributes: name to text of what the detector knows; the others get CVAT's defaults.
        points: all five landmarks, or None if no point was seen (CVAT drops a skeleton without a visible point).
    """

    box: tuple[float, float, float, float]
    score: float
    group: int
    attributes: dict[str, str]
    points: tuple[Point, ...] | None


def face_shapes(detection: Detection) -> list[FaceShape]:
    """The faces of a picture as CVAT can store them.

    Boxes with an edge that is not finite, and boxes beside the picture, are left out; the others are put in order, cut to
    the picture and widened to `MIN_SIDE`. A picture thinner than `MIN_SIDE` has no room for a box.
    """
    boxes, keep = _grid_boxes(detection.faces.boxes, detection.width, detection.height)
    points, outside = _grid_points(detection, boxes)
    shapes: list[FaceShape] = []
    for row in np.flatnonzero(keep):
        x1, y1, x2, y2 = (int(c) / GRID for c in boxes[row])
        score = round(_unit(float(detection.faces.scores[row])), SCORE_DIGITS)
        skeleton = tuple(
            Point(x=int(x) / GRID, y=int(y) / GRID, outside=bool(o)) for (x, y), o in zip(points[row], outside[row], strict=True)
        )
        shapes.append(
            FaceShape(
                box=(x1, y1, x2, y2),
                score=score,
                group=len(shapes) + 1,
                attributes=_attributes(detection, int(row), score),
                points=None if outside[row].all() else skeleton,
            )
        )
    return shapes


def _grid_boxes(boxes: npt.NDArray[Any], width: int, height: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Boxes in whole steps of 1 / GRID pixel, and which rows are boxes of this picture."""
    size = np.array([width, height], np.float64)
    edges = boxes.astype(np.float64).reshape(-1, 2, 2)
    finite = np.asarray(np.isfinite(edges).all(axis=(1, 2)), np.bool_)
    edges = np.where(finite[:, None, None], edges, 0.0)
    low, high = edges.min(axis=1), edges.max(axis=1)
    touches = ((high > 0) & (low < size)).all(axis=1)
    first = np.rint(np.clip(low, 0, size) * GRID).astype(np.int64)
    last = np.rint(np.clip(high, 0, size) * GRID).astype(np.int64)
    missing = np.maximum(MIN_SIDE * GRID - (last - first), 0)
    limit = np.rint(size * GRID).astype(np.int64)
    first = np.clip(first - missing // 2, 0, np.maximum(limit - MIN_SIDE * GRID, 0))
    last = np.maximum(last, first + MIN_SIDE * GRID)
    room = bool((size >= MIN_SIDE).all())
    return np.hstack([first, last]), np.asarray(finite & touches & room, np.bool_)


def _grid_points(detection: Detection, boxes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Landmarks (n, 5, 2) in steps of 1 / GRID pixel inside the picture, and (n, 5) which of them are not seen there.

    One that the head hides keeps the place where it was predicted: there a person drags it from, and descriptors are aligned by it.
    """
    size = np.array([detection.width, detection.height], np.float64)
    points = detection.faces.landmarks.astype(np.float64)
    known = np.asarray(np.isfinite(points).all(axis=2), np.bool_)
    corner, side = boxes[:, None, :2] / GRID, (boxes[:, None, 2:] - boxes[:, None, :2]) / GRID
    points = np.where(known[:, :, None], points, corner + side * np.array(LANDMARK_TEMPLATE))
    inside = np.clip(points, 0, size)
    seen = known & (np.abs(points - inside) <= OFF_PICTURE).all(axis=2)
    if detection.hidden is not None:
        seen &= ~detection.hidden
    return np.rint(inside * GRID).astype(np.int64), np.asarray(~seen, np.bool_)


def _unit(score: float) -> float:
    return 0.0 if math.isnan(score) else min(max(score, 0.0), 1.0)


def percent(score: float) -> str:
    """A score of 0..1 as the whole percent that CVAT's number attributes take; outside values are clipped, NaN is 0."""
    return str(round(_unit(score) * 100))


def _attributes(detection: Detection, row: int, score: float) -> dict[str, str]:
    return {
        "score": percent(score),
        "votes": votes_text(detection.votes.members, detection.votes.scores[row].tolist()),
        "review": "true" if detection.reasons[row] else "false",
        "reasons": _joined(detection.reasons[row], ","),
    }


def votes_text(members: Sequence[str], scores: Sequence[float]) -> str:
    """Who saw a face, for a person to read and filter by: `2/3 yunet=93 centerface=88`; NaN = did not see it."""
    seen = [f"{name}={percent(score)}" for name, score in zip(members, scores, strict=True) if not math.isnan(score)]
    return _joined([f"{len(seen)}/{len(members)}", *seen], " ")


def _joined(parts: Iterable[str], separator: str) -> str:
    """As many whole parts as CVAT's longest text holds."""
    text = ""
    for part in parts:
        longer = f"{text}{separator}{part}" if text else part
        if len(longer) > MAX_TEXT:
            break
        text = longer
    return text


def reply(detection: Detection) -> list[dict[str, Any]]:
    """The answer of a Nuclio detector to CVAT: JSON values only, box and skeleton of a face tied by `group_id`."""
    return [item for shape in face_shapes(detection) for item in _reply_items(shape)]


def _reply_items(shape: FaceShape) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {
            "label": FACE,
            "type": "rectangle",
            "confidence": f"{shape.score:.{SCORE_DIGITS}f}",
            "points": list(shape.box),
            "group_id": shape.group,
            "attributes": [{"name": name, "value": value} for name, value in shape.attributes.items()],
        }
    ]
    if shape.points is not None:
        elements = [
            {"label": name, "type": "points", "points": [p.x, p.y], "outside": p.outside, "attributes": []}
            for name, p in zip(LANDMARK_NAMES, shape.points, strict=True)
        ]
        items.append({"label": FACE_LANDMARKS, "type": "skeleton", "group_id": shape.group, "attributes": [], "elements": elements})
    return items


def error_reply(reason: str) -> list[dict[str, Any]]:
    """The answer for a picture that could not be worked on: one image tag with the reason code."""
    return [{"label": FACE_ERROR, "type": "tag", "attributes": [{"name": "reason", "value": reason[:MAX_TEXT]}]}]


def sdk_annotations(detection: Detection) -> list[Any]:
    """The same faces as `LabeledShapeRequest` objects of cvat-sdk, with the ids of `labels.sdk_labels`.

    Raises:
        ImportError: without the extra `cvat`.
    """
    from cvat_sdk import auto_annotation as aa

    face, landmarks = label(FACE), label(FACE_LANDMARKS)
    annotations = []
    for shape in face_shapes(detection):
        common = {"group": shape.group, "score": shape.score}
        annotations.append(aa.rectangle(face.id, list(shape.box), attributes=_sdk_values(face, shape.attributes), **common))
        if shape.points is not None:
            keypoints = [aa.keypoint(i, [p.x, p.y], outside=p.outside) for i, p in enumerate(shape.points, start=1)]
            annotations.append(aa.skeleton(landmarks.id, keypoints, **common))
    return annotations


def sdk_error(reason: str) -> list[Any]:
    """The image tag of `error_reply` as a `LabeledImageRequest` of cvat-sdk.

    Raises:
        ImportError: without the extra `cvat`.
    """
    from cvat_sdk import auto_annotation as aa

    error = label(FACE_ERROR)
    return [aa.tag(error.id, attributes=_sdk_values(error, {"reason": reason[:MAX_TEXT]}))]


def _sdk_values(item: Label, values: dict[str, str]) -> list[Any]:
    from cvat_sdk import models

    ids = {attribute.name: i for i, attribute in enumerate(item.attributes, start=1)}
    return [models.AttributeValRequest(spec_id=ids[name], value=value) for name, value in values.items()]
