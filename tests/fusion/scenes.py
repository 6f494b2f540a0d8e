"""Random scenes for the tests of the fusion."""

import numpy as np

from auto_annotator.fusion.boxes import Source
from auto_annotator.types import Faces

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def faces(*rows):
    """Faces from (x1, y1, x2, y2, score) rows, with points at fixed places of each box."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Faces.of(table[:, :4], table[:, 4], points_in(table[:, :4]))


def points_in(boxes):
    return boxes[:, None, :2] + POINTS * (boxes[:, None, 2:] - boxes[:, None, :2])


def seen(rng, *, count, members, jitter=0.1, size=1000.0, clutter=2, side=(0.05, 0.2)):
    """`count` faces seen by all members with jitter, with clutter of their own; no two scores are equal."""
    middle, half = rng.uniform(0.2, 0.8, (count, 2)), rng.uniform(*side, count)[:, None] / 2
    true = np.hstack([middle - half, middle + half])
    lists = []
    for _ in range(members):
        boxes = true + rng.normal(0, jitter, (count, 4)) * half
        corner, extent = rng.uniform(0, 0.7, (clutter, 2)), rng.uniform(*side, (clutter, 2))
        boxes = np.vstack([boxes, np.hstack([corner, corner + extent])])
        boxes = np.clip(np.hstack([np.minimum(boxes[:, :2], boxes[:, 2:] - 0.01), boxes[:, 2:]]), 0, 1) * size
        lists.append(Faces.of(boxes, rng.permutation(np.linspace(0.02, 0.98, len(boxes))) + rng.uniform(0, 1e-3), points_in(boxes)))
    return lists


def sources_of(lists, weights=None):
    """One member per list."""
    return [Source(member=i, weight=1.0 if weights is None else float(weights[i])) for i in range(len(lists))]
