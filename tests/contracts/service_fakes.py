"""People made of colours: a detector that finds them and a describer that knows them, without weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
from contract_fakes import detection_of

from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.types import Clusters, Conflict, Descriptors, Faces, MergeSuggestion

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
BACKGROUND = 40
DIMENSION = 16
PEOPLE = {"ann": (250, 60, 60), "bob": (60, 250, 60), "eve": (60, 60, 250)}
"""Colour of the square that is the face of a person."""


def scene(width: int, height: int, faces: Sequence[tuple[str, tuple[int, int, int, int]]], *, grey: bool = False) -> np.ndarray:
    """A grey picture with a square of the person's colour for each face; later ones cover earlier ones."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    for name, (x1, y1, x2, y2) in faces:
        image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = PEOPLE[name]
    if grey:
        image[:] = np.rint(image @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None]
    return image


class ColourDetector:
    """Finds every whole rectangle of one colour; says how large the pictures were that it saw."""

    device, members = "cpu", ("colours",)

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, image: np.ndarray, *, threshold: float | None = None):
        import cv2

        height, width = image.shape[:2]
        self.sizes.append((width, height))
        boxes = []
        for colour in np.unique(image.reshape(-1, 3), axis=0):
            if (colour == BACKGROUND).all():
                continue
            mask = (image == colour).all(axis=2).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            whole = [row for row in stats[1:count].tolist() if row[4] >= max(16, 0.95 * row[2] * row[3])]
            boxes += [(x, y, x + w, y + h) for x, y, w, h, _ in whole]
        boxes = np.array(sorted(boxes), np.float32).reshape(-1, 4)
        corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        points = corner + side * np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        return detection_of(boxes, np.full(len(boxes), 0.9), points, width=width, height=height)


class ColourDescription:
    """The colour in the middle of a box as a vector; people of PEOPLE are nearly orthogonal, and grey is nobody in particular."""

    model_set, model_hash, dimension, device, members = "colours", "c0ffee00", DIMENSION, "cpu", ("colour",)

    def __init__(self, threshold: float | None = 0.4) -> None:
        self.threshold = threshold
        self.quality = 0.9
        self.rows: list[int] = []
        self.error: BaseException | None = None

    def vector(self, colour: np.ndarray) -> np.ndarray:
        raw = np.zeros(self.dimension, np.float32)
        raw[:3] = colour.astype(np.float32) - colour.min() + 1
        return raw / np.linalg.norm(raw)

    def __call__(self, image: np.ndarray, faces: Faces) -> Descriptors:
        if self.error is not None:
            raise self.error
        self.rows.append(len(faces))
        vectors = np.zeros((len(faces), self.dimension), np.float32)
        for row, box in enumerate(faces.boxes):
            x, y = np.clip((box[:2] + box[2:]) / 2, 0, np.array(image.shape[1::-1]) - 1).astype(int)
            vectors[row] = self.vector(image[y, x])
        by_box = np.isnan(faces.landmarks).any(axis=(1, 2))
        return Descriptors(
            vectors=vectors,
            quality=np.full(len(faces), self.quality),
            failures=("",) * len(faces),
            notes=tuple(("aligned_by_box",) if b else () for b in by_box),
            model_set=self.model_set,
            model_hash=self.model_hash,
        )


@dataclass
class RecordingClustering:
    """Remembers what it was asked; every face is a person of its own but for one suggestion."""

    calls: list[dict]
    error: BaseException | None = None

    def with_settings(self, settings: ClusteringSettings | None = None) -> RecordingClustering:
        """In the place of `FaceClustering`."""
        return self.engine((settings or ClusteringSettings()).method)

    def engine(self, method: str) -> RecordingClustering:
        self.calls.append({"method": method})
        return self

    def __call__(self, vectors, *, threshold=None, **options) -> Clusters:
        options["threshold"] = threshold
        if self.error is not None:
            raise self.error
        self.calls[-1] |= {"vectors": np.array(vectors), **options}
        n = len(vectors)
        return Clusters(
            labels=np.arange(n),
            confidence=np.full(n, 0.98766),
            purity=np.ones(n),
            nearest=np.full(n, -1),
            nearest_score=np.zeros(n),
            suggestions=(MergeSuggestion(first=0, second=1, score=0.51234, reason="look_alike"),) if n > 1 else (),
            doubtful=(np.int64(0),) if n else (),
            conflicts=(Conflict(kind="never_in_must", rows=(0, 1)),) if n > 1 else (),
            threshold=float("nan") if options["threshold"] is None else options["threshold"],
            warnings=("few faces",),
        )


def conforms(value: object, schema: str) -> None:
    """Raise unless a value is what the published schema says, base64 included."""
    text = json.loads((SCHEMAS / f"{schema}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(text)
    jsonschema.Draft202012Validator(text).validate(value)


def moved(box: tuple[int, int, int, int], dx: int, dy: int = 0) -> tuple[int, int, int, int]:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy
