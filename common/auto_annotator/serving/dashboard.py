"""The functions that are served, one row each, and how Nuclio's dashboard describes them to CVAT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auto_annotator.config import Settings, load_ensemble
from auto_annotator.cvat.specs import spec_text
from auto_annotator.errors import ConfigError
from auto_annotator.serving.loaders import load_face_clustering, load_face_descriptor, load_face_detection, load_face_tracker
from auto_annotator.serving.models import Models, Service
from auto_annotator.serving.replies import Reply

Handler = Callable[[object], Reply]
"""Request body (the JSON text as bytes) -> reply. Called in one thread, one body at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One row of the table; a test holds it equal to the function file that is deployed to Nuclio.

    Attributes:
        name: `metadata.name`, the id in CVAT's API.
        project: Nuclio project; CVAT shows every function of project `cvat` and none of another.
        kind: annotation `type`; empty = a service that CVAT cannot call.
        title: annotation `name`, what CVAT's interface shows.
        description: `spec.description`; CVAT fails on a list with one that has none.
        port: pinned port of direct mode.
        spec: gives the annotation `spec`, JSON text of the labels; None = the function has no labels.
        load: builds the models and warms them up.
        shape_types: annotation `supported_shape_types` of a tracker.
        describes: whether it needs an ensemble with descriptors.
        too_large: what to do with more than one request carries, for the message.
    """

    name: str
    project: str
    kind: str
    title: str
    description: str
    port: int
    spec: Callable[[], str] | None
    load: Callable[[Models], Service]
    shape_types: str = ""
    describes: bool = False
    too_large: str = ""

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that CVAT reads."""
        labels = {} if self.spec is None else {"spec": self.spec()}
        kind = {"type": self.kind} if self.kind else {}
        shapes = {"supported_shape_types": self.shape_types} if self.shape_types else {}
        return {"name": self.title} | kind | shapes | labels

    def describe(self, *, state: str, port: int | None) -> dict[str, Any]:
        """The object of `GET /api/functions/{name}`; without a port there is no direct mode."""
        labels = {"nuclio.io/project-name": self.project}
        return {
            "metadata": {"name": self.name, "labels": labels, "annotations": self.annotations},
            "spec": {"description": self.description},
            "status": {"state": state} | ({} if port is None else {"httpPort": port}),
        }


FUNCTIONS = (
    Function(
        name="auto-annotator-face-detection",
        project="cvat",
        kind="detector",
        title="Faces and landmarks (ensemble)",
        description="Boxes, five landmarks, votes of an ensemble of detectors, and a review flag where they disagree",
        port=18101,
        spec=spec_text,
        load=load_face_detection,
    ),
    Function(
        name="auto-annotator-face-tracker",
        project="cvat",
        kind="tracker",
        title="Follow a face (detection and descriptor)",
        description="Finds the same person in the next frames; says so when the person is lost",
        port=18102,
        spec=None,
        load=load_face_tracker,
        shape_types="rectangle",
        describes=True,
    ),
    Function(
        name="auto-annotator-face-descriptor",
        project="faces",
        kind="",
        title="Face descriptors (ensemble)",
        description="One vector for each face of a picture, with its quality; not for CVAT, see docs/functions.md",
        port=18103,
        spec=None,
        load=load_face_descriptor,
        describes=True,
    ),
    Function(
        name="auto-annotator-face-clustering",
        project="faces",
        kind="",
        title="Face clusters",
        description="Who is who among face descriptors, under what people have said; not for CVAT, see docs/functions.md",
        port=18104,
        spec=None,
        load=load_face_clustering,
        too_large="for more faces name a file with `path`, or use the command line (`auto-annotator cluster`)",
    ),
)
"""Every function of this project. Detection stands first, so that it is loaded and answers first."""


def function_of(name: str) -> Function:
    """The row of a function.

    Raises:
        ConfigError: if there is none of that name.
    """
    for function in FUNCTIONS:
        if function.name == name:
            return function
    raise ConfigError(f"function: got {name!r}, expected one of {', '.join(f.name for f in FUNCTIONS)}")


def functions_for(settings: Settings) -> tuple[Function, ...]:
    """The functions that the ensemble of the settings can serve: one without descriptors describes and follows nobody.

    Raises:
        ConfigError: if the ensemble file is wrong.
    """
    describes = bool(load_ensemble(settings.ensemble).descriptors)
    return tuple(function for function in FUNCTIONS if describes or not function.describes)
