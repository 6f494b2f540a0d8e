"""What CVAT does with a detector's answer and with function metadata, as observed on 2.15 and 2.54 and written down anew.

Strict: a thing that CVAT takes by accident ("surprises") counts as dropped here. Servers judge the same in both versions unless
a `version` is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LABEL_TYPES = {"any", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "rectangle", "skeleton", "tag"}
SHAPE_TYPES = LABEL_TYPES - {"any"}
ROTATABLE = {"rectangle", "ellipse"}
MAX_TEXT = 4096


class Refused(Exception):
    """CVAT answers 400; in a batch the run fails."""


class Crashed(Exception):
    """CVAT answers 500; in a batch the run fails."""


@dataclass
class Verdict:
    """What was stored and what was lost on the way."""

    shapes: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    dropped_items: list[str] = field(default_factory=list)
    dropped_attributes: list[str] = field(default_factory=list)


def receive(body: str, labels: Sequence[Mapping[str, Any]], *, version: str = "2.54") -> Verdict:
    """Take the body of a detector's 200 answer, with the task's labels in label-constructor form."""
    try:
        items = json.loads(body)
    except ValueError as error:
        raise Crashed("body is not JSON") from error
    if not isinstance(items, list):
        raise Crashed(f"{type(items).__name__} instead of a list")
    verdict, by_name = Verdict(), {entry["name"]: entry for entry in labels}
    for item in items:
        _take(item, by_name, verdict, version)
    return verdict


def _take(item: Any, labels: Mapping[str, Mapping[str, Any]], verdict: Verdict, version: str) -> None:
    if not isinstance(item, dict) or "label" not in item or "type" not in item:
        raise Crashed("item without label or type")
    label = labels.get(item["label"])
    if label is None:
        verdict.dropped_items.append(f"label {item['label']!r} is not in the task")
        return
    kind = item["type"]
    if kind not in SHAPE_TYPES:
        raise Refused(f"type {kind!r}")
    attributes = _attributes(item.get("attributes", []), label, verdict, version)
    if kind == "tag":
        verdict.tags.append({"label": item["label"], "attributes": attributes})
        return
    _check_group(item.get("group_id", 0))
    stored = {"label": item["label"], "type": kind, "group": item.get("group_id", 0), "attributes": attributes}
    if kind == "skeleton":
        elements = _elements(item, label, verdict, version)
        if elements is None:
            verdict.dropped_items.append("skeleton without a visible point")
            return
        stored["elements"] = elements
    else:
        if "elements" in item:
            raise Crashed("elements on a shape that is no skeleton")
        stored["points"] = _points(item.get("points"), kind)
        if not 0 <= item.get("rotation", 0) <= 360 or (item.get("rotation") and kind not in ROTATABLE):
            raise Refused("rotation")
    if label["type"] not in ("any", kind):
        verdict.dropped_items.append(f"{kind} on a {label['type']} label")  # CVAT takes it, an annotator would not
    verdict.shapes.append(stored)


def _check_group(group: Any) -> None:
    if type(group) is not int or group < 0:
        raise Refused(f"group_id {group!r}")


def _points(points: Any, kind: str) -> list[float]:
    if not isinstance(points, list) or not all(type(p) in (int, float) for p in points):
        raise Refused("points are not numbers")
    if not all(math.isfinite(p) for p in points):
        raise Crashed("NaN or Infinity in points")
    if len(points) != {"rectangle": 4, "points": 2}.get(kind, len(points)):
        raise Refused(f"{kind} with {len(points)} numbers")
    return points


def _elements(item: Mapping[str, Any], label: Mapping[str, Any], verdict: Verdict, version: str) -> list[dict[str, Any]] | None:
    if label["type"] != "skeleton":
        raise Crashed("skeleton on a label that is none")
    if "elements" not in item:
        raise Crashed("skeleton without elements")
    sublabels = {entry["name"]: entry for entry in label["sublabels"]}
    found: dict[str, dict[str, Any]] = {}
    for element in item["elements"]:
        if "type" not in element:
            raise Crashed("element without type")
        sublabel = sublabels.get(element["label"])
        if sublabel is None:
            verdict.dropped_items.append(f"element {element['label']!r}")
            continue
        attributes = _attributes(element.get("attributes", []), sublabel, verdict, version)
        points = _points(element.get("points"), "points")
        outside = bool(element.get("outside", False))
        found.setdefault(element["label"], {"points": points, "outside": outside, "attributes": attributes})
    if not found or all(e["outside"] for e in found.values()):
        return None
    verdict.dropped_items.extend(f"element {name!r} is missing" for name in sublabels.keys() - found.keys())
    return [{"label": name, **found[name]} for name in sublabels if name in found]


def _attributes(values: Any, label: Mapping[str, Any], verdict: Verdict, version: str) -> dict[str, str]:
    if not isinstance(values, list):
        raise Crashed("attributes are not a list")
    specs = {spec["name"]: spec for spec in label["attributes"]}
    stored: dict[str, str] = {}
    for entry in values:
        if not isinstance(entry, dict) or "name" not in entry or "value" not in entry:
            raise Crashed("attribute without name or value")
        name, value = entry["name"], entry["value"]
        spec = specs.get(name)
        if spec is None or name in stored or not _accepts(spec, value, version):
            verdict.dropped_attributes.append(f"{name}={value!r}")
        else:
            stored[name] = str(value)
    return stored


def _accepts(spec: Mapping[str, Any], value: Any, version: str) -> bool:
    kind = spec["input_type"]
    if kind == "number":
        return _accepts_number(spec["values"], value, version)
    if kind in ("select", "radio"):
        if not isinstance(value, str):
            raise Crashed(f"{kind} with {type(value).__name__}")
        return value in spec["values"]
    if kind == "checkbox":
        return value in ("true", "false") and isinstance(value, str)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Refused("text too long")
    return isinstance(value, str)


def _accepts_number(values: Sequence[str], value: Any, version: str) -> bool:
    if value is None:
        raise Crashed("number without value")
    if version == "2.15":
        if not isinstance(value, str):
            raise Crashed("2.15 asks isnumeric() of a value that is no text")
        return value.isnumeric()
    try:
        low, high, step = map(int, values)
    except ValueError as error:
        raise Crashed("range is not whole") from error
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        return False
    return low <= int(value) <= high and (int(value) - low) % step == 0


def list_functions(functions: Sequence[Mapping[str, Any]], *, version: str = "2.54") -> list[dict[str, Any]]:
    """What `GET /api/lambda/functions` gives for the objects of Nuclio's dashboard; one bad one may crash the whole list."""
    listed = []
    for function in functions:
        try:
            listed.append(_listed(function))
        except _LeftOut as error:
            if version == "2.15":
                raise Crashed(str(error)) from error
    return listed


class _LeftOut(Exception):
    """CVAT logs an error and leaves this function out."""


def _listed(function: Mapping[str, Any]) -> dict[str, Any]:
    try:
        annotations, name = function["metadata"]["annotations"], function["metadata"]["name"]
        description, _ = function["spec"]["description"], function["status"]
        labels = [_listed_label(entry) for entry in json.loads(annotations.get("spec", "[]"))]
        version = int(annotations.get("version", "1"))
        kind = annotations.get("type")
    except (KeyError, ValueError, TypeError) as error:
        raise Crashed(f"metadata: {type(error).__name__} {error}") from error
    names = [label["name"] for label in labels]
    if kind not in ("detector", "interactor", "reid", "tracker") or len(set(names)) < len(names):
        raise _LeftOut(f"type {kind!r} or repeated label")
    return {"id": name, "kind": kind, "labels_v2": labels, "description": description, "version": version}


def _listed_label(entry: Mapping[str, Any]) -> dict[str, Any]:
    attributes = [{key: a[key] for key in ("name", "input_type", "values")} for a in entry.get("attributes", [])]
    names = [a["name"] for a in attributes]
    if len(set(names)) < len(names):
        raise _LeftOut("repeated attribute")
    label = {"name": entry["name"], "type": entry.get("type", "any"), "attributes": attributes}
    if label["type"] == "skeleton":
        label |= {"svg": entry["svg"], "sublabels": [_listed_label(s) for s in entry["sublabels"]]}
    return label
