"""The function face-descriptor: a picture in, one vector per face out, for those who keep and compare faces outside CVAT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from auto_annotator.config import Settings
from auto_annotator.crops import usable_boxes
from auto_annotator.exchange.vectors import encode_vector
from auto_annotator.imageio import decode_base64
from auto_annotator.pipeline.protocols import DescribesFaces
from auto_annotator.serving import values
from auto_annotator.serving.replies import Answer, Reply, RequestError, handle_object
from auto_annotator.serving.requests import Pipeline, parse_image, parse_threshold
from auto_annotator.types import LANDMARK_NAMES, Descriptors, Faces, Float32Array, Image, Problem

EXPECTED = "a JSON object with an `image` key (base64)"

OUTSIDE_PICTURE = "outside_picture"
"""Failure code of a face whose box has no pixel of the picture, or no area."""

TOO_MANY_FACES = "too_many_faces"
"""Failure code of a face that was found beyond the number that one request describes."""

DIGITS = 2
"""Decimals of a coordinate, as in the replies to CVAT."""


class Description(DescribesFaces, Protocol):
    """What the functions need of `pipeline.FaceDescription`."""

    @property
    def device(self) -> str:
        """Where the models run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceDescriptor:
    """The function after its models are loaded; called with bodies.

    Attributes:
        detection: finds the faces of a request that names none.
        description: describes them.
        settings: `max_pixels` and `max_request_faces` are used here.
        points: places the points of given faces that come without (an image and (n, 4) boxes in, (n, 5, 2) out); None = such faces
            are aligned by their box.
    """

    detection: Pipeline
    description: Description
    settings: Settings
    points: Callable[[Image, Float32Array], Float32Array] | None = None

    def __call__(self, body: object) -> Reply:
        """Answer one request; there is always a reply."""
        return handle_object(body, self._answer, expected=EXPECTED, task="description")

    def _answer(self, given: dict[str, Any]) -> Answer:
        threshold = parse_threshold(given.get("threshold"))
        faces = parse_faces(given.get("faces"), self.settings.max_request_faces)
        image = decode_base64(parse_image(given), max_pixels=self.settings.max_pixels)
        found = faces is None
        problems: tuple[Problem, ...] = ()
        if faces is None:
            detection = self.detection(image, threshold=threshold)
            faces, problems = detection.faces, detection.problems
        elif self.points is not None:
            faces = _with_points(image, faces, self.points)
        described, failures = describe(image, faces, self.description, self.settings.max_request_faces)
        value = {
            "model_set": self.description.model_set,
            "model_hash": self.description.model_hash,
            "dimension": self.description.dimension,
            "threshold": self.description.threshold,
            "width": image.shape[1],
            "height": image.shape[0],
            "faces": [_face(faces, row, described, failures[row], found=found) for row in range(len(faces))],
            "problems": [{"member": p.member, "reason": p.reason} for p in problems],
        }
        return Answer(
            value=value, fields=self._fields(image, failures, problems, found=found), level="warn" if problems else "info"
        )

    def _fields(self, image: Image, failures: Sequence[str], problems: Sequence[Problem], *, found: bool) -> dict[str, Any]:
        return {
            "faces": len(failures),
            "described": sum(not failure for failure in failures),
            "given": not found,
            "width": image.shape[1],
            "height": image.shape[0],
            "device": self.description.device,
            "problems": [f"{p.member}:{p.reason}" for p in problems],
        }


def parse_faces(value: object, most: int) -> Faces | None:
    """The faces of a request, None if it names none.

    Raises:
        RequestError: for anything but a list of at most `most` objects with a box and perhaps landmarks.
    """
    if value is None:
        return None
    if not isinstance(value, list):
        raise RequestError("faces: got no list, expected a list of objects with a `box`, or no such key to have the faces found")
    if len(value) > most:
        raise RequestError(
            f"faces: got {len(value)}, expected at most {most} in one request: send the picture again with the others"
        )
    boxes, landmarks = np.zeros((len(value), 4), np.float32), np.full((len(value), len(LANDMARK_NAMES), 2), np.nan, np.float32)
    for row, entry in enumerate(value):
        if not isinstance(entry, dict) or "box" not in entry:
            raise RequestError(
                f"faces[{row}]: got no object with a `box`, expected {{box: [x1, y1, x2, y2], landmarks?: [[x, y] * 5]}}"
            )
        boxes[row] = values.box(entry["box"], f"faces[{row}].box")
        if entry.get("landmarks") is not None:
            landmarks[row] = values.points(entry["landmarks"], f"faces[{row}].landmarks", len(LANDMARK_NAMES))
    return Faces.of(boxes, np.ones(len(value)), landmarks)


def _with_points(image: Image, faces: Faces, points: Callable[[Image, Float32Array], Float32Array]) -> Faces:
    rows = np.flatnonzero(~faces.has_landmarks & usable_boxes(faces.boxes, image.shape[1], image.shape[0]))
    if not len(rows):
        return faces
    landmarks = faces.landmarks.copy()
    landmarks[rows] = points(image, faces.boxes[rows])
    return Faces(boxes=faces.boxes, scores=faces.scores, landmarks=landmarks)


def describe(image: Image, faces: Faces, description: Description, most: int) -> tuple[Descriptors | None, list[str]]:
    """Describe the faces that lie in the picture, at most `most` of them.

    Returns:
        Descriptors of all rows (None for no face at all), and for each face why it has none, else an empty text.
    """
    height, width = image.shape[:2]
    usable = usable_boxes(faces.boxes, width, height)
    failures = ["" if ok else OUTSIDE_PICTURE for ok in usable]
    rows = np.flatnonzero(usable)
    for row in rows[most:]:
        failures[row] = TOO_MANY_FACES
    rows = rows[:most]
    if not len(faces):
        return None, failures
    part = description(image, faces.select(rows))
    vectors, quality = np.zeros((len(faces), description.dimension), np.float32), np.zeros(len(faces), np.float32)
    vectors[rows], quality[rows] = part.vectors, part.quality
    notes: list[tuple[str, ...]] = [()] * len(faces)
    for row, failure, note in zip(rows.tolist(), part.failures, part.notes, strict=True):
        failures[row], notes[row] = failure, note
    names = {"model_set": part.model_set, "model_hash": part.model_hash}
    described = Descriptors(vectors=vectors, quality=quality, failures=tuple(failures), notes=tuple(notes), **names)
    return described, failures


def _face(faces: Faces, row: int, described: Descriptors | None, failure: str, *, found: bool) -> dict[str, Any]:
    assert described is not None, "there is a face"
    score = {"score": round(float(faces.scores[row]), 4)} if found else {}
    return {
        "box": _rounded(faces.boxes[row]),
        **score,
        "landmarks": _landmarks(faces, row),
        "descriptor": None if failure else encode_vector(described.vectors[row]),
        "quality": round(float(described.quality[row]), 4),
        "failure": failure or None,
        "notes": list(described.notes[row]),
    }


def _landmarks(faces: Faces, row: int) -> list[list[float] | None] | None:
    known = np.isfinite(faces.landmarks[row]).all(axis=1)
    if not known.any():
        return None
    return [_rounded(point) if ok else None for point, ok in zip(faces.landmarks[row], known, strict=True)]


def _rounded(row: Any) -> list[float]:
    return [round(float(v), DIGITS) for v in row]
