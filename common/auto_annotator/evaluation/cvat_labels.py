"""Labels of an `annotations.xml`: *CVAT for images 1.1*, as CVAT exports tasks and projects and our exporter writes it.

Read by expat without a document type: no entity is ever declared or resolved. The form is described in `reports.cvat_xml`; a
project's pictures also have `subset` and `task_id`, and lie in `images/<subset>/`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np

from auto_annotator.bridge.ignored import is_ignored
from auto_annotator.bridge.label_export import VIDEO_BLOCK
from auto_annotator.bridge.shapes import Box, box_of
from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.drawn import (
    DrawnFace,
    DrawnPoints,
    Pictures,
    chosen_label,
    labelled_picture,
    without_lone_event,
)
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.types import LANDMARK_NAMES

CVAT_XML = "annotations.xml"
DEEPEST, LONGEST = 32, 1_000_000
"""Levels of elements, and characters of a text, that no export of CVAT comes near."""

VIDEO_FRAME = re.compile("frame_[0-9]{6,}")
"""How CVAT names the frames of a video, without a suffix."""

BOXES = ("box", "ellipse", "polygon", "mask")
"""Shapes that can be a face; of all but the first the upright box around them counts."""


@dataclass(slots=True)
class _Shape:
    kind: str
    given: Mapping[str, str]
    attributes: dict[str, str] = field(default_factory=dict)
    elements: list[Mapping[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Image:
    given: Mapping[str, str]
    shapes: list[_Shape] = field(default_factory=list)


class _Stop(Exception):
    """Ends the parsing with a text for the user."""


class _Reader:
    """Gathers images and their shapes while expat goes through the file."""

    def __init__(self) -> None:
        self.images: list[_Image] = []
        self.labels: list[str] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._meta: list[str] = []
        self._attribute = ""

    def doctype(self, *_: object) -> None:
        raise _Stop("refused: got a document type, which CVAT never writes")

    def start(self, tag: str, given: dict[str, str]) -> None:
        self._path.append(tag)
        self._forget()
        if len(self._path) > DEEPEST:
            raise _Stop("refused: nested too deeply for CVAT's format")
        if self._path[0] != "annotations":
            raise _Stop(f"got <{self._path[0][:40]}>, expected <annotations> of CVAT for images 1.1")
        match self._path:
            case ["annotations", "track"]:
                raise _Stop(
                    "got 'CVAT for video 1.1', which names no pictures: export as 'CVAT for images 1.1' with images, which CVAT"
                    " offers for videos too, or use `auto-annotator cvat export-labels`"
                )
            case ["annotations", "meta", *_, "label"]:
                self._meta = ["", "", ""]
            case ["annotations", "image"]:
                self.images.append(_Image(given))
            case ["annotations", "image", kind]:
                self.images[-1].shapes.append(_Shape(kind, given))
            case ["annotations", "image", "skeleton", "points"]:
                self.images[-1].shapes[-1].elements.append(given)
            case ["annotations", "image", _, "attribute"]:
                self._attribute = given.get("name", "")

    def end(self, tag: str) -> None:
        text = "".join(self._text).strip()
        match self._path:
            case ["annotations", "meta", *_, "label", ("name" | "type" | "parent") as key]:
                self._meta[("name", "type", "parent").index(key)] = text
            case ["annotations", "meta", *_, "label"]:
                name, kind, parent = self._meta
                if not parent and kind in ("", "any", "rectangle", "ellipse", "polygon", "mask"):
                    self.labels.append(name)
            case ["annotations", "image", _, "attribute"]:
                self.images[-1].shapes[-1].attributes[self._attribute] = text
        self._path.pop()
        self._forget()

    def characters(self, text: str) -> None:
        self._text.append(text)
        self._length += len(text)
        if self._length > LONGEST:
            raise _Stop("refused: a text is far longer than CVAT writes any")

    def _forget(self) -> None:
        self._text.clear()
        self._length = 0


def read_cvat_xml(folder: Path, path: Path, *, label: str | None = None) -> list[LabelledPicture]:
    """The labelled pictures of a *CVAT for images 1.1* export.

    Every listed picture counts, those without a face too. Points come from a skeleton with the names of `LANDMARK_NAMES`, from a
    shape of five points in that order, or from five single points that have those names as labels.

    Args:
        folder: of the export; its pictures lie in `images/`, or beside the file.
        path: the XML file.
        label: of the faces; None = `face`, or the only label that boxes have.

    Raises:
        ConfigError: if the file is of another kind, damaged or hostile, or pictures are missing.
    """
    reader = _parse(path)
    boxed = [s.given.get("label", "") for image in reader.images for s in image.shapes if s.kind in BOXES]
    name = chosen_label(path.name, label, [*boxed, *reader.labels]) if boxed or label else ""
    pictures = Pictures(folder, path.name)
    found: list[LabelledPicture] = []
    for image in reader.images:
        try:
            faces, points = _drawn(image, name)
            number = int(image.given.get("id", 0))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{path.name}: image number {len(found)} has a shape that CVAT would not write ({type(error).__name__}):"
                " export it again"
            ) from error
        where = pictures.find(image.given.get("name", ""), image.given.get("subset", ""))
        found.append(labelled_picture(where, faces, points, event=_event(image, number)))
    pictures.check()
    video = any(VIDEO_FRAME.fullmatch(image.given.get("name", "")) for image in reader.images)
    return found if video else without_lone_event(found)


def _parse(path: Path) -> _Reader:
    reader, parser = _Reader(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
    except _Stop as stop:
        raise ConfigError(f"{path.name}: {stop}") from None
    except expat.ExpatError as error:
        raise ConfigError(f"{path.name}: is not whole XML (line {error.lineno}): export it again") from None
    except (LookupError, ValueError) as error:
        raise ConfigError(f"{path.name}: is in an unknown encoding, expected UTF-8: export it again") from error
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read ({error.strerror})") from error
    return reader


def _event(image: _Image, number: int) -> str:
    """Pictures of one folder, or frames of a video that are near each other, are alike."""
    task = "/".join(image.given.get(key, "") for key in ("subset", "task_id"))
    if VIDEO_FRAME.fullmatch(image.given.get("name", "")):
        return f"{task}/frames {number // VIDEO_BLOCK}"
    parent = image.given.get("name", "").rpartition("/")[0]
    return f"{task}/{parent}" if parent else ""


def _drawn(image: _Image, name: str) -> tuple[list[DrawnFace], list[DrawnPoints]]:
    faces, points = [], []
    singles: dict[int, dict[str, tuple[float, float]]] = {}
    for shape in image.shapes:
        label, group = shape.given.get("label", ""), int(shape.given.get("group_id") or 0)
        if shape.kind in BOXES:
            ignored = is_ignored(label, shape.attributes)
            if label == name or (ignored and is_ignored(label, {})):
                faces.append(DrawnFace(box=_box(shape), group=group, ignored=ignored))
        elif shape.kind == "skeleton":
            named = {p["label"]: _pairs(p["points"])[0] for p in shape.elements if p.get("outside", "0") != "1"}
            if set(LANDMARK_NAMES) <= {p["label"] for p in shape.elements}:
                points.append(_points(named, group))
        elif shape.kind == "points":
            pairs = _pairs(shape.given["points"])
            if len(pairs) == len(LANDMARK_NAMES):
                points.append(_points(dict(zip(LANDMARK_NAMES, pairs, strict=True)), group))
            elif len(pairs) == 1 and group and label in LANDMARK_NAMES:
                singles.setdefault(group, {})[label] = pairs[0]
    return faces, points + [_points(named, group) for group, named in singles.items()]


def _points(named: Mapping[str, tuple[float, float]], group: int) -> DrawnPoints:
    rows = [named.get(name, (math.nan, math.nan)) for name in LANDMARK_NAMES]
    return DrawnPoints(points=np.asarray(rows, np.float32), group=group)


def _pairs(text: str) -> list[tuple[float, float]]:
    pairs = []
    for pair in text.split(";"):
        x, y = map(_number, pair.split(","))
        pairs.append((x, y))
    return pairs


def _box(shape: _Shape) -> Box:
    """x1 y1 x2 y2; of what is turned the upright box around it."""
    given = shape.given
    if shape.kind == "box":
        points = [_number(given[key]) for key in ("xtl", "ytl", "xbr", "ybr")]
    elif shape.kind == "ellipse":
        cx, cy, rx, ry = (_number(given[key]) for key in ("cx", "cy", "rx", "ry"))
        points = [cx - rx, cy - ry, cx + rx, cy + ry]
    elif shape.kind == "mask":
        left, top, width, height = (_number(given[key]) for key in ("left", "top", "width", "height"))
        points = [left, top, left + width, top + height]
    else:
        points = [value for pair in _pairs(given["points"]) for value in pair]
    return box_of({"points": points, "rotation": _number(given.get("rotation") or "0")})


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value
