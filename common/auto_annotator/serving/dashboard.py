"""The functions that are served, one row each, and how Nuclio's dashboard describes them to CVAT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from auto_annotator.config import Settings
from auto_annotator.cvat.specs import spec_text
from auto_annotator.pipeline import build_pipeline
from auto_annotator.serving.requests import Reply, handle_body

Handler = Callable[[object], Reply]
"""Request body (the JSON text as bytes) -> reply. Called in one thread, one body at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One row of the table; a test holds it equal to the function file that is deployed to Nuclio.

    Attributes:
        name: `metadata.name`, the id in CVAT's API.
        project: Nuclio project; CVAT shows every function of project `cvat` and none of another.
        kind: annotation `type`.
        title: annotation `name`, what CVAT's interface shows.
        description: `spec.description`; CVAT fails on a list with one that has none.
        port: pinned port of direct mode.
        spec: gives the annotation `spec`, JSON text of the labels; None = the function has no labels.
        load: builds the models and warms them up.
    """

    name: str
    project: str
    kind: str
    title: str
    description: str
    port: int
    spec: Callable[[], str] | None
    load: Callable[[Settings], Handler]

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that CVAT reads."""
        labels = {} if self.spec is None else {"spec": self.spec()}
        return {"name": self.title, "type": self.kind} | labels

    def describe(self, *, state: str, port: int | None) -> dict[str, Any]:
        """The object of `GET /api/functions/{name}`; without a port there is no direct mode."""
        labels = {"nuclio.io/project-name": self.project}
        return {
            "metadata": {"name": self.name, "labels": labels, "annotations": self.annotations},
            "spec": {"description": self.description},
            "status": {"state": state} | ({} if port is None else {"httpPort": port}),
        }


def load_face_detection(settings: Settings) -> Handler:
    """The ensemble of the settings, warmed up.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong.
    """
    return partial(handle_body, pipeline=build_pipeline(settings), settings=settings)


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
)
"""Every function that the gateway serves."""
