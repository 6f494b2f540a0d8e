"""The label schema, once: function specs, the SDK spec and the raw editor's JSON are renderings of `LABELS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from auto_annotator.types import LANDMARK_EDGES, LANDMARK_NAMES

InputType = Literal["checkbox", "number", "text"]

FACE = "face"
FACE_LANDMARKS = "face_landmarks"
FACE_ERROR = "face_error"

LANDMARK_TEMPLATE = ((0.30, 0.40), (0.70, 0.40), (0.50, 0.60), (0.34, 0.80), (0.66, 0.80))
"""Where the five points lie on an upright frontal face, as shares of its box, in the order of `LANDMARK_NAMES`.

Draws the skeleton's picture in CVAT and places points that nobody saw; never used as a measured position.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a label.

    Attributes:
        name: its name in CVAT.
        input_type: CVAT's kind of value.
        values: `(minimum, maximum, step)` as whole numbers for `number`; the default for the others. Never empty: CVAT's raw
            editor refuses an empty list, and a number range that is not whole makes CVAT's server fail.
        default: value that CVAT fills in when none is sent.
        mutable: whether it may change from frame to frame of a track; what names a person may not.
    """

    name: str
    input_type: InputType
    values: tuple[str, ...]
    default: str
    mutable: bool = True


def _percent(name: str) -> Attribute:
    return Attribute(name=name, input_type="number", values=("0", "100", "1"), default="0")


def _text(name: str, *, mutable: bool = True) -> Attribute:
    return Attribute(name=name, input_type="text", values=("",), default="", mutable=mutable)


def _flag(name: str) -> Attribute:
    return Attribute(name=name, input_type="checkbox", values=("false",), default="false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label of the schema.

    Attributes:
        id: number of the label within the SDK spec; CVAT gives its own on the server.
        name: its name in CVAT.
        type: CVAT's label type.
        color: `#rrggbb` in the label constructor.
        attributes: in the order an annotator sees them.
        points: names of a skeleton's points; empty for the other types.
    """

    id: int
    name: str
    type: Literal["rectangle", "skeleton", "tag"]
    color: str
    attributes: tuple[Attribute, ...] = ()
    points: tuple[str, ...] = ()


LABELS = (
    Label(
        id=1,
        name=FACE,
        type="rectangle",
        color="#1fc8a9",
        attributes=(
            _percent("score"),
            _text("votes"),
            _flag("review"),
            _text("reasons"),
            _percent("quality"),
            _text("person", mutable=False),
            _text("name", mutable=False),
            _text("face_key", mutable=False),
        ),
    ),
    Label(id=2, name=FACE_LANDMARKS, type="skeleton", color="#ffb020", points=LANDMARK_NAMES),
    Label(id=3, name=FACE_ERROR, type="tag", color="#e5484d", attributes=(_text("reason"),)),
)
"""The whole schema, in the order in which CVAT shows it."""


def label(name: str) -> Label:
    """The label of that name.

    Raises:
        KeyError: if the schema has none.
    """
    for item in LABELS:
        if item.name == name:
            return item
    raise KeyError(f"label: got {name!r}, expected one of {', '.join(item.name for item in LABELS)}")


def skeleton_svg(points: tuple[str, ...] = LANDMARK_NAMES) -> str:
    """Picture of the skeleton in CVAT's 100 x 100 box; nodes are numbered from 1 and carry the names of the points."""
    places = [(x * 100, y * 100) for x, y in LANDMARK_TEMPLATE]
    lines = [
        f'<line x1="{places[a][0]:g}" y1="{places[a][1]:g}" x2="{places[b][0]:g}" y2="{places[b][1]:g}"'
        f' data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
        for a, b in LANDMARK_EDGES
    ]
    circles = [
        f'<circle r="1.5" cx="{x:g}" cy="{y:g}" data-type="element node"'
        f' data-element-id="{i}" data-node-id="{i}" data-label-name="{name}"></circle>'
        for i, (name, (x, y)) in enumerate(zip(points, places, strict=True), start=1)
    ]
    return "\n".join(lines + circles)


def nuclio_spec() -> list[dict[str, Any]]:
    """The schema as the `spec` annotation of a Nuclio function: names, types, and all three attribute keys CVAT reads."""
    return [_nuclio_label(item) for item in LABELS]


def _nuclio_label(item: Label) -> dict[str, Any]:
    attributes = [{"name": a.name, "input_type": a.input_type, "values": list(a.values)} for a in item.attributes]
    entry: dict[str, Any] = {"name": item.name, "type": item.type, "attributes": attributes}
    if item.points:
        entry["svg"] = skeleton_svg(item.points)
        entry["sublabels"] = [{"name": name, "type": "points", "attributes": []} for name in item.points]
    return entry


def label_constructor() -> list[dict[str, Any]]:
    """The schema as CVAT's label constructor and `labels` field of its API take it."""
    return [_constructor_label(item) for item in LABELS]


def _constructor_label(item: Label) -> dict[str, Any]:
    attributes = [
        {"name": a.name, "mutable": a.mutable, "input_type": a.input_type, "default_value": a.default, "values": list(a.values)}
        for a in item.attributes
    ]
    entry: dict[str, Any] = {"name": item.name, "color": item.color, "type": item.type, "attributes": attributes}
    if item.points:
        entry["svg"] = skeleton_svg(item.points)
        entry["sublabels"] = [{"name": name, "type": "points", "attributes": []} for name in item.points]
    return entry


def sdk_labels() -> list[Any]:
    """The schema as `PatchedLabelRequest` objects of cvat-sdk, with the ids of `Label.id`; attributes and points count from 1.

    Raises:
        ImportError: without the extra `cvat`.
    """
    from cvat_sdk import models

    def attributes(item: Label) -> list[Any]:
        return [
            models.AttributeRequest(
                id=i, name=a.name, mutable=a.mutable, input_type=a.input_type, default_value=a.default, values=list(a.values)
            )
            for i, a in enumerate(item.attributes, start=1)
        ]

    def one(item: Label) -> Any:
        skeleton = {}
        if item.points:
            points = [models.SublabelRequest(id=i, name=name, type="points") for i, name in enumerate(item.points, start=1)]
            skeleton = {"sublabels": points, "svg": skeleton_svg(item.points)}
        return models.PatchedLabelRequest(id=item.id, name=item.name, type=item.type, attributes=attributes(item), **skeleton)

    return [one(item) for item in LABELS]
