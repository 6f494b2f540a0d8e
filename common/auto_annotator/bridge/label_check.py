"""The labels of a project or task against our schema: what is missing, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from auto_annotator.bridge.infos import AttributeInfo, LabelInfo
from auto_annotator.cvat.labels import FACE, LABELS, Attribute, Label, label

Kind = Literal["missing_label", "missing_attribute", "conflict", "mutable"]

PER_TRACK = "a track can then hold another value on every frame; `cvat` commands use the one of the whole track"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between the server's labels and ours.

    Attributes:
        kind: `missing_label` and `missing_attribute` can be added; `conflict` needs a person; `mutable` does no harm to shapes.
        label: name of the label on the server.
        attribute: name of the attribute, empty = the label itself.
        text: what it is, what happens to values then, and what to do.
    """

    kind: Kind
    label: str
    attribute: str = ""
    text: str = ""


def wanted_labels(name: str | None) -> tuple[Label, ...]:
    """Our schema; with the name of another rectangle label, the face label's attributes on that label alone."""
    if name is None or name == FACE:
        return LABELS
    face = label(FACE)
    return (Label(id=face.id, name=name, type=face.type, color=face.color, attributes=face.attributes),)


def check_labels(there: Sequence[LabelInfo], wanted: Sequence[Label] = LABELS) -> list[Difference]:
    """Every difference, in the order of the schema; what is there beyond the schema does not matter."""
    return [finding for item in wanted for finding in _label(there, item)]


def _label(there: Sequence[LabelInfo], wanted: Label) -> Iterator[Difference]:
    found = next((item for item in there if item.name == wanted.name), None)
    if found is None:
        yield Difference(kind="missing_label", label=wanted.name, text=f"label {wanted.name} ({wanted.type}) is not there")
        return
    if found.type != wanted.type and (found.type != "any" or wanted.type == "skeleton"):
        text = f"label {wanted.name}: got type {found.type}, expected {wanted.type}: rename that label in CVAT"
        if wanted.name == FACE:
            text += ", or name a rectangle label of yours with --label NAME"
        yield Difference(kind="conflict", label=wanted.name, text=text)
        return
    if problem := _points_problem(found, wanted):
        yield Difference(kind="conflict", label=wanted.name, text=problem)
    for attribute in wanted.attributes:
        yield from _attribute(found.attribute(attribute.name), attribute, wanted.name)


def _points_problem(found: LabelInfo, wanted: Label) -> str | None:
    names = [point.name for point in found.sublabels]
    if not wanted.points or sorted(names) == sorted(wanted.points):
        return None
    return (
        f"label {wanted.name}: got a skeleton of the points {', '.join(names) or '(none)'}, expected {', '.join(wanted.points)}; "
        "CVAT cannot change a skeleton's points: rename that label in CVAT, and run setup again to get ours beside it"
    )


def _attribute(found: AttributeInfo | None, wanted: Attribute, name: str) -> Iterator[Difference]:
    where = f"label {name}, attribute {wanted.name}"
    if found is None:
        text = f"{where} ({wanted.input_type}) is not there: its values are dropped"
        yield Difference(kind="missing_attribute", label=name, attribute=wanted.name, text=text)
    elif found.input_type != wanted.input_type:
        text = f"{where}: got input type {found.input_type}, expected {wanted.input_type}, so its values are dropped or refused"
        yield Difference(kind="conflict", label=name, attribute=wanted.name, text=f"{text}: rename that attribute in CVAT")
    elif wanted.input_type == "number" and found.values != wanted.values:
        got, expected = (", ".join(values) or "(none)" for values in (found.values, wanted.values))
        text = f"{where}: got the range {got} (minimum, maximum, step), expected {expected}, so its values are dropped"
        if not all(value.lstrip("-").isdigit() for value in found.values):
            text += " and CVAT's automatic annotation fails"
        yield Difference(kind="conflict", label=name, attribute=wanted.name, text=f"{text}: rename that attribute in CVAT")
    elif found.mutable and not wanted.mutable:
        text = f"{where} may change from frame to frame (mutable), expected not to: {PER_TRACK}"
        yield Difference(kind="mutable", label=name, attribute=wanted.name, text=text)
