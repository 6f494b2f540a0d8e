"""Detectors and ensembles without weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from auto_annotator.config import EnsembleConfig, Settings
from auto_annotator.detectors.base import Capabilities
from auto_annotator.ensemble import Ensemble, Member, NamedRefiner
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Faces

BACKGROUND = 40
"""Grey of the test pictures; a face is a brighter square whose grey level is its score in percent plus 100."""


def picture(width: int, height: int, faces: Sequence[tuple[int, int, int, int]], score: float = 0.9) -> np.ndarray:
    """A grey picture with bright squares that `SquareDetector` takes for faces."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    for x1, y1, x2, y2 in faces:
        image[y1:y2, x1:x2] = 100 + round(score * 100)
    return image


class SquareDetector:
    """Finds the bright squares of `picture`, moved by `shift` pixels, with points at fixed places of the box."""

    capabilities = Capabilities(landmarks=True, batch=True)
    stride = 32
    fixed_size = None

    def __init__(self, shift: float = 0.0, blind_below: int = 0) -> None:
        self.shift, self.blind_below = shift, blind_below
        self.calls: list[tuple[int, ...]] = []

    def detect(self, canvases, *, threshold):
        self.calls.extend(c.shape for c in canvases)
        return [self._one(c, threshold) for c in canvases]

    def _one(self, canvas: np.ndarray, threshold: float) -> Faces:
        bright = canvas[..., 0] > 100
        boxes, scores, points = [], [], []
        for component in _rectangles(bright):
            x1, y1, x2, y2 = component
            if min(x2 - x1, y2 - y1) < max(2, self.blind_below):
                continue
            score = (float(np.median(canvas[y1:y2, x1:x2, 0])) - 100) / 100
            if score < threshold:
                continue
            box = np.array([x1, y1, x2, y2], float) + self.shift
            w, h = x2 - x1, y2 - y1
            boxes.append(box)
            scores.append(min(1.0, score))
            offsets = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
            points.append(box[:2] + offsets * [w, h])
        return Faces.of(boxes, scores, np.array(points).reshape(-1, 5, 2))


def _rectangles(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    import cv2

    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:count].tolist()]


class RaisingDetector(SquareDetector):
    """Raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def detect(self, canvases, *, threshold):
        raise self.error


class AnsweringDetector(SquareDetector):
    """Answers with what a function makes of each canvas."""

    def __init__(self, answer: Callable[[np.ndarray], Faces]) -> None:
        super().__init__()
        self.answer = answer

    def detect(self, canvases, *, threshold):
        return [self.answer(c) for c in canvases]


def pipeline(
    detectors: dict[str, object],
    *,
    views=({"size": 640},),
    refiners: dict[str, object] | None = None,
    settings: dict | None = None,
    **config,
) -> FaceDetection:
    """A FaceDetection over fake members that all have the same views."""
    settings = {"threads": 1} | (settings or {})
    members = [{"name": name, "use": "tests:Fake", "views": list(views)} for name in detectors]
    parsed = EnsembleConfig.model_validate(
        {"name": "fakes", "members": members, "refiners": [{"name": n, "use": "tests:Fake"} for n in refiners or {}], **config}
    )
    built = tuple(Member(index=i, config=m, detector=detectors[m.name], curves={}) for i, m in enumerate(parsed.members))
    named = tuple(NamedRefiner(config=r, refiner=refiners[r.name]) for r in parsed.refiners) if refiners else ()
    return FaceDetection(Ensemble(config=parsed, members=built, refiners=named, devices=("cpu",)), Settings(**settings))
