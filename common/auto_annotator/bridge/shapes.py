"""What CVAT's raw annotations mean: boxes, attribute values by name, tied skeletons, tracks between keyframes, free groups.

An *item* is a shape, track or tag exactly as the server sends it (JSON, `label_id`, `attributes` as `spec_id` and `value`). CVAT's
update takes a whole item: what is left out falls back to its default, so an item is changed by copying it and replacing values.
The server takes back every field that it sends. All functions are pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auto_annotator.cvat.labels import LANDMARK_TEMPLATE
from auto_annotator.errors import ConfigError
from auto_annotator.types import LANDMARK_NAMES, Float32Array

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo

Item = dict[str, Any]
"""A raw shape, track or tag of CVAT."""

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels of the frame, x1 <= x2 and y1 <= y2."""


def label_named(labels: Sequence[LabelInfo], name: str, kind: str) -> LabelInfo | None:
    """The label of that name and type (`rectangle`, `skeleton`, `tag`; CVAT's `any` counts for each but skeleton), or None."""
    kinds = {kind} if kind == "skeleton" else {kind, "any"}
    return next((label for label in labels if label.name == name and label.type in kinds), None)


def by_id(labels: Iterable[LabelInfo]) -> dict[int, LabelInfo]:
    """The labels by their id on the server."""
    return {label.id: label for label in labels}


def attributes_of(item: Mapping[str, Any], label: LabelInfo) -> dict[str, str]:
    """Attribute values by name; an attribute that the item does not list has the label's default, as on the server."""
    sent = {value["spec_id"]: str(value["value"]) for value in item.get("attributes") or ()}
    return {attribute.name: sent.get(attribute.id, attribute.default) for attribute in label.attributes}


def with_attributes(item: Mapping[str, Any], label: LabelInfo, values: Mapping[str, str]) -> Item:
    """A copy of the item with these attribute values; everything else, the order of its attributes too, as it was.

    Args:
        item: as the server sent it; not changed.
        label: its label.
        values: name to new value. What the item does not list yet is added at the end.

    Raises:
        ConfigError: if the label has no attribute of that name.
    """
    ids = {attribute.name: attribute.id for attribute in label.attributes}
    if missing := [name for name in values if name not in ids]:
        raise ConfigError(f"label {label.name!r} has no attribute {', '.join(missing)}: run auto-annotator cvat setup first")
    changed = {ids[name]: value for name, value in values.items()}
    listed = [value["spec_id"] for value in item.get("attributes") or ()]
    kept = [{**value, "value": changed.get(value["spec_id"], value["value"])} for value in item.get("attributes") or ()]
    added = [{"spec_id": number, "value": value} for number, value in changed.items() if number not in listed]
    whole = {
        name: value for name, value in item.items() if name != "source" or value is not None
    }  # null in old rows, refused on write
    return {**whole, "attributes": kept + added}


def attribute_list(label: LabelInfo, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The values as a new item's `attributes`; what is not named gets the label's default on the server.

    Raises:
        ConfigError: if the label has no attribute of that name.
    """
    attributes: list[dict[str, Any]] = with_attributes({}, label, values)["attributes"]
    return attributes


def box_of(shape: Mapping[str, Any]) -> Box:
    """The box of a rectangle; of a rotated one (degrees about its middle) the upright box around it.

    The points of any other shape give the box around them; without points it is 0 0 0 0.
    """
    points = [float(v) for v in shape.get("points") or ()]
    if not points:
        points = [v for e in shape.get("elements") or () if not e.get("outside") for v in map(float, e["points"])]
    xs, ys = points[::2] or [0.0], points[1::2] or [0.0]
    x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    angle = math.radians(float(shape.get("rotation") or 0.0))
    if not angle:
        return x1, y1, x2, y2
    c, s = abs(math.cos(angle)), abs(math.sin(angle))
    half_w, half_h = ((x2 - x1) * c + (y2 - y1) * s) / 2, ((x2 - x1) * s + (y2 - y1) * c) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def track_boxes(track: Mapping[str, Any], frames: range) -> dict[int, Box]:
    """The boxes of a rectangle track on the frames where CVAT shows it.

    Between keyframes the corners move in a straight line; after the last one the box stays. It is not shown before the first
    keyframe, and from a keyframe that is `outside` up to the next that is not.

    Args:
        track: raw track with its keyframes in `shapes`.
        frames: which frames are asked for, such as `range(job.start, job.stop + 1)`.

    Returns:
        Box by frame, in order of frames.
    """
    keys = sorted(track.get("shapes") or (), key=lambda shape: shape["frame"])
    boxes = {}
    for here, following in zip(keys, [*keys[1:], None], strict=True):
        if here.get("outside"):
            continue
        end = frames.stop if following is None else min(int(following["frame"]), frames.stop)
        for frame in range(max(int(here["frame"]), frames.start), end):
            if frame in frames:
                boxes[frame] = box_of(here if following is None else _between(here, following, frame))
    return boxes


def _between(a: Mapping[str, Any], b: Mapping[str, Any], frame: int) -> Item:
    share = (frame - a["frame"]) / (b["frame"] - a["frame"])
    if len(a.get("points") or ()) != len(b.get("points") or ()):
        return dict(a)
    turn = (float(b.get("rotation") or 0) - float(a.get("rotation") or 0) + 180) % 360 - 180  # the shorter way round
    points = [p + (q - p) * share for p, q in zip(a["points"], b["points"], strict=True)]
    return {"points": points, "rotation": float(a.get("rotation") or 0) + turn * share}


def groups_in(annotations: Mapping[str, Any], frame: int) -> set[int]:
    """Group numbers that mean something in the frame: those of its shapes and tags, and of every track."""
    here = [item for kind in ("shapes", "tags") for item in annotations.get(kind) or () if item["frame"] == frame]
    return {int(item.get("group") or 0) for item in [*here, *(annotations.get("tracks") or ())]} - {0}


def free_group(used: set[int]) -> int:
    """The smallest group number from 1 that is not used; add it to `used` before asking for the next."""
    return next(number for number in range(1, len(used) + 2) if number not in used)


def landmarks_of(skeleton: Mapping[str, Any], label: LabelInfo) -> Float32Array | None:
    """(5, 2) points of a skeleton in the order of `LANDMARK_NAMES`, NaN where outside; None if the label has other points."""
    ids = {point.name: point.id for point in label.sublabels}
    if not set(LANDMARK_NAMES) <= set(ids):
        return None
    elements = {element["label_id"]: element for element in skeleton.get("elements") or ()}
    points = np.full((len(LANDMARK_NAMES), 2), np.nan, np.float32)
    for row, name in enumerate(LANDMARK_NAMES):
        element = elements.get(ids[name])
        if element is not None and not element.get("outside") and len(element.get("points") or ()) == 2:
            points[row] = element["points"]
    return points


def tied_skeleton(shape: Mapping[str, Any], shapes: Iterable[Item], labels: Mapping[int, LabelInfo]) -> Item | None:
    """The five-point skeleton that belongs to a face box: of its group in its frame, else the one that lies best in the box.

    Args:
        shape: the rectangle.
        shapes: at least the shapes of its frame; others do not matter.
        labels: of the task, by id (`by_id`).

    Returns:
        The raw skeleton. One that shares a group with another rectangle is nobody else's; None if there is none.
    """
    here = [other for other in shapes if other["frame"] == shape["frame"]]
    box, group = box_of(shape), int(shape.get("group") or 0)
    skeletons = [other for other in here if _is_skeleton(other, labels)]
    tied = _with_landmarks([o for o in skeletons if group and int(o.get("group") or 0) == group], labels)
    if not tied:
        taken = {int(other.get("group") or 0) for other in here if other.get("type") == "rectangle"} - {0}
        free = _with_landmarks([o for o in skeletons if int(o.get("group") or 0) not in taken], labels)
        tied = [(o, found) for o, found in free if _lies_in(found, box)]
    return min(tied, key=lambda pair: _misfit(pair[1], box), default=(None, None))[0]


def _with_landmarks(skeletons: Iterable[Item], labels: Mapping[int, LabelInfo]) -> list[tuple[Item, Float32Array]]:
    """The skeletons of five points with their landmarks; others are left out."""
    known = [(one, landmarks_of(one, labels[one["label_id"]])) for one in skeletons]
    return [(one, found) for one, found in known if found is not None]


def tied_landmarks(shape: Mapping[str, Any], shapes: Iterable[Item], labels: Mapping[int, LabelInfo]) -> Float32Array | None:
    """(5, 2) points of `tied_skeleton` in pixels, NaN where outside; None if the face has no skeleton."""
    skeleton = tied_skeleton(shape, shapes, labels)
    return None if skeleton is None else landmarks_of(skeleton, labels[skeleton["label_id"]])


def _is_skeleton(shape: Mapping[str, Any], labels: Mapping[int, LabelInfo]) -> bool:
    return shape.get("type") == "skeleton" and shape.get("label_id") in labels


def _lies_in(points: Float32Array, box: Box) -> bool:
    """Whether every point that was seen lies in the box; one that nobody saw says nothing, and no point at all is no fit."""
    seen = points[np.isfinite(points).all(axis=1)]
    return bool(len(seen) and (seen >= box[:2]).all() and (seen <= box[2:]).all())


def _misfit(points: Float32Array, box: Box) -> float:
    """Mean distance of the seen points from where they lie on a frontal face, as a share of the box's sides."""
    size = np.maximum(np.subtract(box[2:], box[:2]), 1e-6)
    away = np.linalg.norm((points - box[:2]) / size - np.asarray(LANDMARK_TEMPLATE), axis=1)
    return float(np.nanmean(away)) if np.isfinite(away).any() else math.inf
