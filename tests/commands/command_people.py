"""A recogniser and a clustering without weights: people are told apart by the green of their squares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from fakes import BACKGROUND

from auto_annotator.types import Clusters, MergeSuggestion

STEP = 12
"""Green levels between two people."""


def photo(path: Path, people: list[int], *, width: int = 400) -> Path:
    """A picture with a bright square for each person; -1 is a face too dark to be described."""
    image = np.full((240, width, 3), BACKGROUND, np.uint8)
    for place, person in enumerate(people):
        x = 10 + 80 * place
        image[20:80, x : x + 60] = (190, 0 if person < 0 else 20 + STEP * person, 100)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path, "PNG")
    return path


class Greens:
    """Describes a face by the green of its middle, one direction per person; none for a face without green."""

    template = "arcface"
    dimension = 24

    def __init__(self, context) -> None:
        pass

    def describe(self, crops):
        rows = np.zeros((len(crops), self.dimension), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            green = float(np.median(crop[40:70, 40:70, 1]))
            if green >= 20:
                row[round((green - 20) / STEP) % self.dimension] = 1
        return rows


class FailsOnBlack(Greens):
    """Breaks on the person with number 5."""

    def describe(self, crops):
        rows = super().describe(crops)
        if rows[:, 5].any():
            raise RuntimeError("secret of the picture")
        return rows


@dataclass(frozen=True)
class _Settings:
    method: str = "potts"


class FakeClustering:
    """Groups equal vectors; must-links join, cannot-links cut the second face off; remembers how it was called."""

    calls: list[dict] = []  # noqa: RUF012 - tests look at it

    def __init__(self, settings=None) -> None:
        self.settings = _Settings(getattr(settings, "method", "potts"))

    def __call__(
        self, vectors, *, quality=None, constraints=None, previous=None, threshold=None, workspace=None, progress=False
    ) -> Clusters:
        self.calls.append({"previous": previous, "threshold": threshold, "workspace": workspace, "constraints": constraints})
        v = np.asarray(vectors, np.float32)
        labels = np.full(len(v), -1, np.int64)
        never = set(constraints.never.tolist())
        for row in range(len(v)):
            if v[row].any() and row not in never:
                same = [i for i in range(row) if labels[i] >= 0 and v[i] @ v[row] > 0.9]
                labels[row] = labels[same[0]] if same else labels.max() + 1
        for a, b in constraints.must.tolist():
            labels[labels == labels[b]] = labels[a]
        for _, b in constraints.cannot.tolist():
            labels[b] = labels.max() + 1
        used = [x for x in dict.fromkeys(labels.tolist()) if x >= 0]
        labels = np.array([used.index(x) if x >= 0 else -1 for x in labels.tolist()], np.int32)
        k = len(used)
        suggestions = (MergeSuggestion(first=0, second=1, score=0.61, reason="look_alike"),) if k > 1 else ()
        return Clusters(
            labels=labels,
            confidence=np.where(labels >= 0, 0.7, 0),
            purity=np.full(k, 0.95),
            nearest=np.where(labels == 0, min(1, k - 1), min(0, k - 1)),
            nearest_score=np.full(len(v), 0.3),
            suggestions=suggestions,
            doubtful=tuple(np.flatnonzero(labels == 0)[:1].tolist()),
            threshold=0.5 if threshold is None else threshold,
            warnings=("A sentence about the data.",),
        )
