"""CVAT for images 1.1: the XML that CVAT exports for an image task and imports with *Upload annotations*, "CVAT 1.1".

The form, as the format page of CVAT's documentation and its importer have it:

    annotations
      version                         1.1
      meta / task                     name, mode ("annotation"), labels
        label                         name, [color], type, attributes, [svg], [parent]
          attribute                   name, mutable, input_type, default_value, values (one per line)
      image id name width height      id counts from 0; the importer finds the frame by the name without its suffix, then by id
        box label source occluded xtl ytl xbr ybr z_order group_id
          attribute name              text of the element = value
        skeleton label source z_order group_id
          points label source outside occluded points="x,y"
        tag label source
          attribute name

Points of a skeleton are labels of their own in meta, with the skeleton's name in `parent`; `svg` is the drawing of the skeleton
as escaped text. Box and skeleton of one face share a `group_id`, counted from 1 in each picture.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET  # only writes; nothing is parsed here
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auto_annotator.cvat.labels import LANDMARK_TEMPLATE
from auto_annotator.errors import ConfigError
from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.points import into_picture, seen_points
from auto_annotator.reports.records import FaceRecord, Point, Record
from auto_annotator.types import LANDMARK_NAMES

FACE, LANDMARKS, ERROR = "face", "face_landmarks", "face_error"
"""Label names of the schema: the rectangle, the skeleton and the tag."""
MAX_TEXT = 4096
"""CVAT refuses a longer attribute value."""

Label = Mapping[str, Any]
"""A label as CVAT's raw label editor takes it: name, type, attributes, for skeletons also sublabels and svg."""

More = Callable[[Record], Sequence[Mapping[str, str]]]
"""A record -> for each of its faces attribute values by name, such as `person`."""


def write_cvat_xml(
    records: Iterable[Record],
    path: Path,
    *,
    labels: Sequence[Label],
    name: str = "faces",
    error_tags: bool = True,
    more: More | None = None,
) -> None:
    """Write all records; memory use does not grow with their number.

    An attribute of the label schema that a record knows nothing about gets the schema's default.

    Args:
        records: in the order of the pictures; the first gets id 0.
        path: the file to write.
        labels: the label schema, as CVAT's raw label editor takes it.
        name: name of the task in the file's meta part; CVAT does not use it on import.
        error_tags: give a picture that could not be read an entry with the tag `face_error`. CVAT refuses a whole file that
            names a picture the task does not have, so switch it off when such pictures were left out of the task.
        more: for each face of a record attribute values that detection does not know, or that replace its own.

    Raises:
        ConfigError: if the schema lacks one of the three labels.
        OSError: if the file cannot be written.
    """
    schema = {label["name"]: label for label in labels}
    if missing := [n for n in (FACE, LANDMARKS, ERROR) if n not in schema]:
        raise ConfigError(f"labels: got {', '.join(schema) or 'none'}, expected also {', '.join(missing)}")
    with replacing(path) as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        stream.write(_text(_meta(labels, name)))
        for number, record in enumerate(records):
            if record.error is None or error_tags:
                stream.write(_text(_image(number, record, schema, more)))
        stream.write("</annotations>\n")


def _text(element: ET.Element) -> str:
    ET.indent(element, level=1)
    return f"  {ET.tostring(element, encoding='unicode')}\n"


def _leaf(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = printable(text)


def _meta(labels: Sequence[Label], name: str) -> ET.Element:
    meta = ET.Element("meta")
    task = ET.SubElement(meta, "task")
    _leaf(task, "name", name)
    _leaf(task, "mode", "annotation")
    listed = ET.SubElement(task, "labels")
    for label in labels:
        _meta_label(listed, label)
        for point in label.get("sublabels", ()):
            _meta_label(listed, point, parent=label["name"])
    return meta


def _meta_label(listed: ET.Element, label: Label, parent: str | None = None) -> None:
    element = ET.SubElement(listed, "label")
    _leaf(element, "name", label["name"])
    if "color" in label:
        _leaf(element, "color", label["color"])
    _leaf(element, "type", label["type"])
    attributes = ET.SubElement(element, "attributes")
    for attribute in label.get("attributes", ()):
        one = ET.SubElement(attributes, "attribute")
        _leaf(one, "name", attribute["name"])
        _leaf(one, "mutable", str(bool(attribute.get("mutable", False))))
        _leaf(one, "input_type", attribute["input_type"])
        _leaf(one, "default_value", _default(attribute))
        _leaf(one, "values", "\n".join(map(str, attribute.get("values", ()))))
    if "svg" in label:
        _leaf(element, "svg", label["svg"])
    if parent is not None:
        _leaf(element, "parent", parent)


def _default(attribute: Mapping[str, Any]) -> str:
    """The schema's default; without one what CVAT itself would take, the first of the values."""
    return str(attribute.get("default_value") or next(iter(attribute.get("values", ())), ""))


def _image(number: int, record: Record, schema: Mapping[str, Label], more: More | None) -> ET.Element:
    image = ET.Element("image", id=str(number), name=printable(record.image))
    if record.error is not None:
        tag = ET.SubElement(image, "tag", label=ERROR, source="auto")
        _attributes(tag, schema[ERROR], {"reason": record.error.reason})
        return image
    image.set("width", str(record.width))
    image.set("height", str(record.height))
    values = more(record) if more is not None else [{}] * len(record.faces)
    for group, (face, known) in enumerate(zip(record.faces, values, strict=True), start=1):
        _box(image, face, group, schema[FACE], known)
        _skeleton(image, face, record, group)
    return image


def _box(image: ET.Element, face: FaceRecord, group: int, label: Label, known: Mapping[str, str]) -> None:
    box = ET.SubElement(image, "box", label=FACE, source="auto", occluded="0")
    for name, value in zip(("xtl", "ytl", "xbr", "ybr"), face.box, strict=True):
        box.set(name, _pixels(value))
    box.set("z_order", "0")
    box.set("group_id", str(group))
    _attributes(box, label, {**face_attributes(face), **known})


def face_attributes(face: FaceRecord) -> dict[str, str]:
    """Attribute values of the `face` rectangle that detection knows, as text in the form that the function's reply has.

    Whole percents, true or false, `2/3 yunet=93 centerface=88` for the votes and reason codes joined by commas.
    """
    seen = {member: score for member, score in face.votes.items() if score is not None}
    return {
        "score": _percent(face.score),
        "votes": " ".join([f"{len(seen)}/{len(face.votes)}", *(f"{m}={_percent(s)}" for m, s in seen.items())]),
        "review": "true" if face.review else "false",
        "reasons": ",".join(face.reasons),
    }


def _percent(score: float) -> str:
    return str(round(min(max(score, 0.0), 1.0) * 100))


def _pixels(value: float) -> str:
    return f"{value:.2f}"


def _attributes(element: ET.Element, label: Label, values: Mapping[str, str]) -> None:
    for attribute in label.get("attributes", ()):
        one = ET.SubElement(element, "attribute", name=attribute["name"])
        one.text = printable(values.get(attribute["name"], _default(attribute)))[:MAX_TEXT]


def _skeleton(image: ET.Element, face: FaceRecord, record: Record, group: int) -> None:
    points = seen_points(face, record)
    if not any(points):  # CVAT drops a skeleton of which no point is inside
        return
    skeleton = ET.SubElement(image, "skeleton", label=LANDMARKS, source="auto", z_order="0", group_id=str(group))
    for number, (name, point) in enumerate(zip(LANDMARK_NAMES, points, strict=True)):
        x, y = point or _stand_in(face, record, number)
        ET.SubElement(
            skeleton, "points", label=name, source="auto",
            outside="0" if point else "1", occluded="0", points=f"{_pixels(x)},{_pixels(y)}",
        )  # fmt: skip


def _stand_in(face: FaceRecord, record: Record, number: int) -> Point:
    """A place to drag a point from that nobody saw: where predicted, else where a frontal face has it; inside the picture."""
    (x1, y1, x2, y2), (u, v) = face.box, LANDMARK_TEMPLATE[number]
    place = face.landmarks[number] or (x1 + u * (x2 - x1), y1 + v * (y2 - y1))
    return into_picture(place, float(record.width or 0), float(record.height or 0))
