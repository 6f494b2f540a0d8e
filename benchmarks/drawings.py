"""Drawings that are no photographed faces: how often the ensemble and its members take them for faces, by size.

Everything is drawn here; nothing is needed. `DRAWINGS_ENSEMBLE` names another ensemble than the packaged default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np

from auto_annotator.config import load_settings
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Image
from benchmarks.common import machine, table

RADII = (10, 16, 24, 40, 70)
EACH = 8
PAPER, INK, SKIN, HAIR = (235, 235, 235), (0, 0, 0), (230, 190, 160), (60, 40, 20)
SMOOTH = 16  # cv2.LINE_AA
Draw = Callable[[Image, tuple[int, int], int], None]


def smiley(image: Image, at: tuple[int, int], radius: int, fill: tuple[int, int, int] = (255, 220, 60)) -> None:
    """A disc with dots for eyes and an arc for a mouth."""
    import cv2

    cv2.circle(image, at, radius, fill, -1, SMOOTH)
    cv2.circle(image, at, radius, INK, max(1, radius // 20), SMOOTH)
    for side in (-1, 1):
        cv2.circle(image, (at[0] + side * radius // 3, at[1] - radius // 4), max(1, radius // 8), INK, -1, SMOOTH)
    cv2.ellipse(image, (at[0], at[1] + radius // 6), (radius // 2, radius // 3), 0, 10, 170, INK, max(1, radius // 14), SMOOTH)


def outline(image: Image, at: tuple[int, int], radius: int) -> None:
    """A smiley in lines only."""
    smiley(image, at, radius, PAPER)


def cartoon(image: Image, at: tuple[int, int], radius: int) -> None:
    """A flat portrait: skin, hair, eyes with whites, brows, nose, lips."""
    import cv2

    (x, y), r = at, radius
    thin = max(1, r // 25)
    cv2.ellipse(image, at, (int(r * 0.8), r), 0, 0, 360, SKIN, -1, SMOOTH)
    cv2.ellipse(image, (x, y - r // 2), (int(r * 0.85), int(r * 0.6)), 0, 180, 360, HAIR, -1, SMOOTH)
    for side in (-1, 1):
        eye = (x + side * int(r * 0.33), y - r // 8)
        cv2.ellipse(image, eye, (int(r * 0.16), int(r * 0.1)), 0, 0, 360, (255, 255, 255), -1, SMOOTH)
        cv2.circle(image, eye, max(1, int(r * 0.07)), HAIR, -1, SMOOTH)
        brow = int(r * 0.18)
        cv2.line(image, (eye[0] - brow, eye[1] - int(r * 0.2)), (eye[0] + brow, eye[1] - int(r * 0.22)), HAIR, thin, SMOOTH)
    cv2.line(image, (x, y), (x - r // 12, y + r // 4), (180, 140, 110), thin, SMOOTH)
    cv2.ellipse(image, (x, y + r // 2), (r // 4, r // 10), 0, 0, 180, (150, 60, 60), max(1, r // 16), SMOOTH)


KINDS: Mapping[str, Draw] = {"smiley, filled": smiley, "smiley, lines": outline, "cartoon portrait": cartoon}


def sheet(draw: Draw, radius: int) -> tuple[Image, np.ndarray]:
    """Drawings of one size on a sheet of 1024 x 640, and their (n, 2) middles."""
    image = np.full((640, 1024, 3), PAPER, np.uint8)
    places = [(130 + 250 * (n % 4), 170 + 300 * (n // 4)) for n in range(EACH)]
    for place in places:
        draw(image, place, radius)
    return image, np.array(places)


def main() -> None:
    """Print one table: share of the drawings that are shown as faces, and their mean score."""
    settings = load_settings(ensemble=os.environ.get("DRAWINGS_ENSEMBLE"), rotations="off")
    pipeline = FaceDetection.from_settings(settings)
    threshold = pipeline.ensemble.config.threshold
    rows = []
    for name, draw in KINDS.items():
        cells = []
        for radius in RADII:
            image, middles = sheet(draw, radius)
            faces = pipeline(image, threshold=0.0).faces
            centre = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
            near = (np.abs(centre[None] - middles[:, None]) < radius).all(axis=2)
            scores = np.where(near, faces.scores[None], 0).max(axis=1, initial=0)
            cells.append(f"{np.mean(scores >= threshold):.2f} ({scores.mean():.2f})")
        rows.append([name, *cells])
    heights = [f"{2 * r} px" for r in RADII]
    print(table(f"Drawings shown as faces by {pipeline.ensemble.config.name} (mean score)", ["drawing", *heights], rows))
    print(f"{EACH} drawings a cell, threshold {threshold:g}. {machine()}")


if __name__ == "__main__":
    main()
