"""The rules of a function file's labels and annotations: what CVAT makes of them, and that it makes nothing of a service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from auto_annotator.cvat.label_rules import LABEL_TYPES, spec_problems

Problem = tuple[str, str]
"""Rule and message."""

ANNOTATIONS = frozenset({"name", "type", "spec", "version", "framework", "help_message", "animated_gif"})
INTERACTOR_ANNOTATIONS = frozenset({"min_pos_points", "min_neg_points", "startswith_box", "startswith_box_optional"})
SERVICE_ANNOTATIONS = frozenset({"name"})
"""Of a service that CVAT cannot call; Nuclio itself reads no annotation, people do."""

PROJECT_LABEL = "nuclio.io/project-name"
CVAT_PROJECT, SERVICE_PROJECT = "cvat", "faces"
"""CVAT lists every function of its own project, and fails to call what is no detector, interactor, reid or tracker."""

FUNCTION_TYPES = frozenset({"detector", "interactor", "reid", "tracker"})


def is_service(labels: object) -> bool:
    """Whether the labels of a function file say that CVAT is not to see the function."""
    return isinstance(labels, dict) and labels.get(PROJECT_LABEL) == SERVICE_PROJECT


def project_problems(labels: object) -> Iterator[Problem]:
    """Everything wrong with the project that the labels name."""
    if labels is None:
        return
    if not isinstance(labels, dict):
        yield "project", f"metadata.labels: got {type(labels).__name__}, expected a mapping"
    elif labels.get(PROJECT_LABEL, CVAT_PROJECT) not in (CVAT_PROJECT, SERVICE_PROJECT):
        got = labels[PROJECT_LABEL]
        yield "project", f"{PROJECT_LABEL} is {got!r}, expected {SERVICE_PROJECT} for a service, none for what CVAT calls"


def annotation_problems(annotations: object, *, service: bool) -> Iterator[Problem]:
    """Everything wrong with the annotations, of a function that CVAT calls or of a service."""
    if not isinstance(annotations, dict):
        yield "annotation", "metadata.annotations is missing; CVAT then cannot list any function"
        return
    kind = annotations.get("type")
    if service and kind is not None:
        yield "type", f"type is {kind!r}, expected none in project {SERVICE_PROJECT}: a type asks CVAT to call the function"
    elif not service and kind not in FUNCTION_TYPES:
        types = ", ".join(sorted(FUNCTION_TYPES))
        yield "type", f"type is {kind!r}, expected one of {types}, or the label {PROJECT_LABEL}: {SERVICE_PROJECT} for a service"
    own = {"interactor": INTERACTOR_ANNOTATIONS, "tracker": {"supported_shape_types"}}.get(str(kind), set())
    allowed = SERVICE_ANNOTATIONS | {"type"} if service else ANNOTATIONS | own
    for key, value in annotations.items():
        if key not in allowed:
            what = "a service has no use for this annotation" if service else f"CVAT does not read this annotation of a {kind}"
            yield "annotation", f"{key}: {what}"
        elif not isinstance(value, str) or not value.strip():
            yield "annotation", f"{key}: got {type(value).__name__}, expected text in quotes"
        elif key.startswith("startswith") and value != "true":
            yield "annotation", f"{key}: CVAT takes any text for true; leave the key out"
    if not re.fullmatch(r"\d+", str(annotations.get("version", "1"))):
        yield "version", f"version is {annotations['version']!r}, expected a whole number"
    yield from _kind_problems(kind, annotations)


def _kind_problems(kind: object, annotations: dict[str, Any]) -> Iterator[Problem]:
    shapes = annotations.get("supported_shape_types")
    unknown = {shape.strip() for shape in str(shapes or "").split(",")} - LABEL_TYPES
    if kind == "tracker" and shapes is not None and unknown:
        yield "annotation", f"supported_shape_types is {shapes!r}, expected shape types between commas"
    if kind == "detector" and "spec" not in annotations:
        yield "label", "a detector without spec offers no labels"
    if "spec" in annotations:
        yield from (("label", problem) for problem in spec_problems(str(annotations["spec"])))
