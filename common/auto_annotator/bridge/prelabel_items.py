"""Faces of the detectors as raw CVAT items: made, compared and brought up to date; and how we know our own work again. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.faces import face_label
from auto_annotator.bridge.marks import Mark, parse_mark, person_is_human
from auto_annotator.bridge.shapes import Box, Item, attribute_list, attributes_of, box_of, label_named, with_attributes
from auto_annotator.cvat.labels import FACE, FACE_ERROR, FACE_LANDMARKS
from auto_annotator.cvat.shapes import MAX_TEXT, FaceShape, Point
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.keys import face_keys
from auto_annotator.types import LANDMARK_NAMES

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo, TaskInfo

OURS = "auto"
"""CVAT's source of what a machine made; its editor turns it into `semi-auto` when a person edits the shape."""

FOUND = ("score", "votes", "review", "reasons")
"""Attributes that hold what the detectors know; the others belong to people and to the clustering."""

SAME_PIXELS = 0.1
"""Coordinates closer than this are the same: another card or thread count moves an edge by a few hundredths of a pixel."""

DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the faces of a task go: its number, and its labels for boxes, points and frames that could not be worked on."""

    task: int
    face: LabelInfo
    landmarks: LabelInfo
    error: LabelInfo


def target_of(task: TaskInfo, label: str = FACE) -> Target:
    """The labels of the task.

    Args:
        task: as the server describes it.
        label: name of the rectangle label. One that is not our own needs `person`, `name` and `face_key` only; of what the
            detectors know it gets what it has attributes for.

    Raises:
        ConfigError: if a label, a point or an attribute is missing; says how to add it.
    """
    face = face_label(task, label)
    landmarks, error = label_named(task.labels, FACE_LANDMARKS, "skeleton"), label_named(task.labels, FACE_ERROR, "tag")
    missing = [f"attribute {name} of label {label}" for name in FOUND if label == FACE and face.attribute(name) is None]
    points = {point.name for point in landmarks.sublabels} if landmarks else set()
    if not set(LANDMARK_NAMES) <= points:
        missing.append(f"skeleton {FACE_LANDMARKS} with the points {', '.join(LANDMARK_NAMES)}")
    if error is None or error.attribute("reason") is None:
        missing.append(f"tag {FACE_ERROR} with the attribute reason")
    if missing or landmarks is None or error is None:
        where = f"project {task.project}" if task.project is not None else f"task {task.id}"
        raise ConfigError(f"{where}: lacks {'; '.join(missing)}: run `auto-annotator cvat setup --{where}`, which adds them")
    return Target(task=task.id, face=face, landmarks=landmarks, error=error)


def geometry_key(task: int, frame: int, box: Box) -> str:
    """Key of a box in a frame, see `exchange.keys`."""
    return face_keys(f"{task}/{frame}", [box])[0]


def bare(key: str) -> str:
    """A key without the number that tells faces with the very same box apart."""
    return key.partition("-")[0]


def found_values(target: Target, shape: FaceShape) -> dict[str, str]:
    """What the detectors know of a face, as far as the label has attributes for it."""
    return {name: value for name, value in shape.attributes.items() if name in FOUND and target.face.attribute(name) is not None}


def _base(kind: str, label: LabelInfo, frame: int, group: int) -> Item:
    item = {"type": kind, "label_id": label.id, "frame": frame, "group": group, "source": OURS}
    return {**item, "occluded": False, "outside": False, "z_order": 0, "rotation": 0.0, "points": [], "attributes": []}


def new_rectangle(target: Target, frame: int, shape: FaceShape, group: int) -> Item:
    """The box of a face, with its mark; nobody yet."""
    key = Mark(key=geometry_key(target.task, frame, shape.box))
    values = {**found_values(target, shape), "face_key": str(key)}
    attributes = attribute_list(target.face, values)
    base = _base("rectangle", target.face, frame, group)
    return {**base, "points": list(shape.box), "attributes": attributes, "score": shape.score, "elements": []}


def new_skeleton(target: Target, frame: int, points: Sequence[Point], group: int, score: float) -> Item:
    """The five points of a face."""
    base = {**_base("skeleton", target.landmarks, frame, group), "score": score}
    return {**base, "elements": [_element(label, frame, point) for label, point in _labelled(target, points)]}


def new_tag(target: Target, frame: int, reason: str) -> Item:
    """The tag of a frame that could not be worked on."""
    attributes = attribute_list(target.error, {"reason": reason[:MAX_TEXT]})
    return {"label_id": target.error.id, "frame": frame, "group": 0, "source": OURS, "attributes": attributes}


def _labelled(target: Target, points: Sequence[Point]) -> list[tuple[LabelInfo, Point]]:
    labels = {label.name: label for label in target.landmarks.sublabels}
    return [(labels[name], point) for name, point in zip(LANDMARK_NAMES, points, strict=True)]


def _element(label: LabelInfo, frame: int, point: Point) -> Item:
    return {**_base("points", label, frame, 0), "outside": point.outside, "points": [point.x, point.y]}


def updated_rectangle(target: Target, item: Item, shape: FaceShape, group: int) -> Item:
    """A box of ours with what this run knows: same id, person, name and all else; the mark only gets the key of the new box."""
    values = found_values(target, shape)
    if same_box(item, shape):
        return {**with_attributes(item, target.face, values), "group": group}
    mark, key = mark_of(target, item), geometry_key(target.task, item["frame"], shape.box)
    values["face_key"] = str(replace(mark, key=key) if mark else Mark(key=key))
    changed = with_attributes(item, target.face, values)
    score = {"score": shape.score} if "score" in item else {}
    return {**changed, "points": list(shape.box), "rotation": 0.0, "group": group, **score}


def updated_skeleton(target: Target, item: Item, points: Sequence[Point]) -> Item:
    """A skeleton of ours with the points of this run; ids stay, a point it lacks is added."""
    elements = {element["label_id"]: element for element in item.get("elements") or ()}
    for label, point in _labelled(target, points):
        old = elements.get(label.id) or _element(label, item["frame"], point)
        elements[label.id] = {**old, "points": [point.x, point.y], "outside": point.outside}
    return {**item, "elements": list(elements.values())}


def same_box(item: Mapping[str, Any], shape: FaceShape) -> bool:
    """Whether the item's box is the face's, within `SAME_PIXELS`."""
    return all(abs(a - b) <= SAME_PIXELS for a, b in zip(box_of(item), shape.box, strict=True))


def same_rectangle(target: Target, item: Mapping[str, Any], shape: FaceShape) -> bool:
    """Whether there is nothing to write: the same box, and the same words of the detectors."""
    values = attributes_of(item, target.face)
    return same_box(item, shape) and all(values[name] == value for name, value in found_values(target, shape).items())


def same_skeleton(target: Target, item: Mapping[str, Any], points: Sequence[Point]) -> bool:
    """Whether the skeleton shows these points; where an outside point lies means nothing."""
    elements = {element["label_id"]: element for element in item.get("elements") or ()}
    for label, point in _labelled(target, points):
        element = elements.get(label.id)
        if element is None or bool(element.get("outside")) != point.outside:
            return False
        if not point.outside and any(abs(a - b) > SAME_PIXELS for a, b in zip(element["points"], (point.x, point.y), strict=True)):
            return False
    return True


def mark_of(target: Target, item: Mapping[str, Any]) -> Mark | None:
    """What `face_key` of a box says."""
    return parse_mark(attributes_of(item, target.face).get("face_key", ""))


def is_ours(target: Target, item: Mapping[str, Any], mark: Mark | None) -> bool:
    """Whether we made the box and it lies where we put it."""
    if item.get("source") != OURS or mark is None:
        return False
    return bare(mark.key) == geometry_key(target.task, item["frame"], box_of(item))


def has_human_word(target: Target, item: Mapping[str, Any], mark: Mark | None) -> bool:
    """Whether a person said who it is or who it is not; a name is always a person's."""
    values = attributes_of(item, target.face)
    said = person_is_human(mark, values.get("person", "")) or bool(mark and mark.apart)
    return said or bool(values.get("name", "").strip())


def words_digest(target: Target, item: Mapping[str, Any]) -> str:
    """Stands for what the detectors' attributes of a box hold."""
    values = attributes_of(item, target.face)
    return _digest([values[name] for name in FOUND if name in values])


def points_digest(item: Mapping[str, Any]) -> str:
    """Stands for where the points of a skeleton lie, and which of them are outside."""
    elements = sorted(item.get("elements") or (), key=lambda element: int(element["label_id"]))
    return _digest([[e["label_id"], bool(e.get("outside")), [round(float(p), 2) for p in e["points"]]] for e in elements])


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGEST_DIGITS]
