"""A detector and a recogniser without weights that know the people of `albums`, and the ensemble file that names them.

A face is a square whose red is its score in percent plus 100, as in `fakes.picture`; green and blue together are the number of
the person. A texture in red, around the same median, keeps the crop from being flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fakes import SquareDetector

from auto_annotator.detectors.base import Capabilities
from auto_annotator.types import Faces

LEVELS, LOW, STEP = 18, 20, 12
"""Levels of green and of blue, the lowest, and the distance between two."""
RED = 190
DIMENSION = 64


def colours(person: int) -> tuple[int, int, int]:
    """Red, green and blue of a person's squares; `person` from 0 to 323, -1 for somebody whom nobody can tell."""
    if person < 0:
        return RED, 0, 0
    return RED, LOW + STEP * (person % LEVELS), LOW + STEP * (person // LEVELS % LEVELS)


def paint(image: np.ndarray, box: tuple[int, int, int, int], person: int) -> None:
    """Draws a person's square into an (h, w, 3) uint8 picture."""
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = colours(person)
    ys, xs = np.mgrid[y1:y2, x1:x2]
    waves = np.select([(xs // 3 + ys // 3 + person) % 5 == 0, (xs // 3 - ys // 3 + person) % 5 == 0], [20, -20], 0)
    image[y1:y2, x1:x2, 0] = np.clip(int(RED) + waves, 0, 255)


class Squares(SquareDetector):
    """Finds the squares; `landmarks: false` for a detector that sees no points."""

    def __init__(self, context: Any, *, shift: float = 0.0, landmarks: bool = True) -> None:
        super().__init__(shift)
        self.capabilities = Capabilities(landmarks=landmarks, batch=True)

    def _one(self, canvas: np.ndarray, threshold: float) -> Faces:
        faces = super()._one(canvas, threshold)
        return faces if self.capabilities.landmarks else Faces.of(faces.boxes, faces.scores)


class Colours:
    """Tells people apart by the colour of the middle of the crop: one direction per person, none without colour."""

    template = "arcface"
    dimension = DIMENSION

    def __init__(self, context: Any, *, noise: float = 0.0) -> None:
        self.noise = noise

    def describe(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """One vector per crop."""
        rows = np.zeros((len(crops), DIMENSION), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            person = person_of(crop[40:72, 40:72])
            if person is not None:
                row[:] = direction(person)
                if self.noise:
                    seed = int(np.asarray(crop, np.uint64).sum()) % (1 << 32)
                    row += np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32) * self.noise / DIMENSION**0.5
        return rows


def person_of(pixels: np.ndarray) -> int | None:
    """The person whose colours an (h, w, 3) piece of a face has."""
    green, blue = (float(np.median(pixels[..., c])) for c in (1, 2))
    if min(green, blue) < LOW - STEP / 2:
        return None
    return round((green - LOW) / STEP) + LEVELS * round((blue - LOW) / STEP)


def direction(person: int) -> np.ndarray:
    """(64,) float32 unit vector of a person."""
    row = np.random.default_rng(1000 + person).normal(size=DIMENSION)
    return (row / np.linalg.norm(row)).astype(np.float32)


def write_ensemble(folder: Path, *, noise: float = 0.0, landmarks: bool = True, **changes: Any) -> Path:
    """The ensemble file for `--ensemble`; processes need `FakeCvat.environment()` to import its classes."""
    detector = {
        "name": "squares",
        "use": "fake_cvat.ensemble:Squares",
        "views": [{"size": 640}],
        "options": {"landmarks": landmarks},
    }
    recogniser = {"name": "colours", "use": "fake_cvat.ensemble:Colours", "options": {"noise": noise}}
    path = Path(folder) / "fake_people.yaml"
    path.write_text(yaml.safe_dump({"name": "fake-people", "members": [detector], "descriptors": [recogniser]} | changes))
    return path
