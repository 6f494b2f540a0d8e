"""What CVAT asks of the `spec` annotation; one bad spec of one function breaks its Models page for all of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

LABEL_TYPES = frozenset({"any", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "rectangle", "skeleton", "tag"})
INPUT_TYPES = frozenset({"checkbox", "radio", "number", "text", "select"})
LABEL_KEYS = frozenset({"id", "name", "color", "type", "attributes", "sublabels", "svg"})
ATTRIBUTE_KEYS = frozenset({"id", "name", "input_type", "values", "mutable", "default_value"})
MAX_VALUE = 200
"""Longest value of an attribute that CVAT's serializer takes, in characters."""

_NODE = re.compile(r'data-label-name="([^"]*)"')


def spec_problems(text: str) -> Iterator[str]:
    """Everything wrong with the JSON text of a `spec` annotation, one line each."""
    try:
        labels = json.loads(text)
    except ValueError as error:
        yield f"spec is not JSON: {error}"
        return
    if not isinstance(labels, list) or not labels:
        yield f"spec: got {type(labels).__name__}, expected a list with at least one label"
        return
    yield from _repeated(labels, "label")
    for entry in labels:
        yield from _label_problems(entry, "label")


def _repeated(entries: Sequence[Any], kind: str) -> Iterator[str]:
    names = Counter(str(entry.get("name")) for entry in entries if isinstance(entry, dict))
    yield from (f"{kind} {name!r} is there {count} times" for name, count in names.items() if count > 1)


def _label_problems(entry: object, kind: str) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{kind}: got {type(entry).__name__}, expected an object"
        return
    name = entry.get("name")
    where = f"{kind} {name!r}"
    if not isinstance(name, str) or not name.strip():
        yield f"{kind}: name is {name!r}, expected text"
    yield from (f"{where}: unknown key {key!r}" for key in sorted(entry.keys() - LABEL_KEYS))
    if entry.get("type") not in LABEL_TYPES:
        yield f"{where}: type is {entry.get('type')!r}, expected one of {', '.join(sorted(LABEL_TYPES))}"
    attributes = entry.get("attributes", [])
    if isinstance(attributes, list):
        yield from _repeated(attributes, f"{where}: attribute")
        for attribute in attributes:
            yield from _attribute_problems(attribute, where)
    else:
        yield f"{where}: attributes must be a list"
    if kind == "label":
        yield from _skeleton_problems(entry, where)


def _skeleton_problems(entry: dict[str, Any], where: str) -> Iterator[str]:
    if entry.get("type") != "skeleton":
        yield from (f"{where}: only a skeleton has {key!r}" for key in ("sublabels", "svg") if key in entry)
        return
    sublabels, svg = entry.get("sublabels"), entry.get("svg")
    if not isinstance(sublabels, list) or not sublabels:
        yield f"{where}: a skeleton needs sublabels"
        return
    yield from _repeated(sublabels, f"{where}: sublabel")
    for sublabel in sublabels:
        yield from _label_problems(sublabel, f"{where}: sublabel")
        if isinstance(sublabel, dict) and sublabel.get("type") != "points":
            yield f"{where}: sublabel {sublabel.get('name')!r} must have type points"
    if not isinstance(svg, str) or not svg:
        yield f"{where}: a skeleton needs an svg, CVAT draws it"
    elif _NODE.findall(svg) != [s.get("name") for s in sublabels if isinstance(s, dict)]:
        yield f"{where}: the svg's nodes (data-label-name) must be the sublabels in their order"


def _attribute_problems(attribute: object, where: str) -> Iterator[str]:
    if not isinstance(attribute, dict):
        yield f"{where}: attribute must be an object"
        return
    where = f"{where}: attribute {attribute.get('name')!r}"
    yield from (f"{where}: unknown key {key!r}" for key in sorted(attribute.keys() - ATTRIBUTE_KEYS))
    missing = sorted({"name", "input_type", "values"} - attribute.keys())
    if missing:
        yield f"{where}: no {' and no '.join(missing)}; without it CVAT cannot list any function"
        return
    kind, values = attribute["input_type"], attribute["values"]
    if kind not in INPUT_TYPES:
        yield f"{where}: input_type is {kind!r}, expected one of {', '.join(sorted(INPUT_TYPES))}"
    if not isinstance(values, list) or not all(isinstance(v, str) and len(v) <= MAX_VALUE for v in values):
        yield f"{where}: values must be a list of texts of at most {MAX_VALUE} characters"
        return
    if problem := _values_problem(kind, values):
        yield f"{where}: {problem}"


def _values_problem(kind: object, values: list[str]) -> str | None:
    if kind == "number" and not _is_range(values):
        return f"values are {values}, expected whole minimum, maximum and a step that divides their distance"
    if kind in ("select", "radio") and (not values or len(set(values)) < len(values)):
        return "options must be there and differ"
    if kind == "checkbox" and not set(values) <= {"true", "false"}:
        return f"values are {values}, expected true or false"
    return None


def _is_range(values: list[str]) -> bool:
    try:
        low, high, step = map(int, values)
    except ValueError:
        return False
    return low < high and step > 0 and (high - low) % step == 0
