"""Detections against truth by the WIDER FACE rule: average precision, corrections per 100 faces, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Faces, Float32Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The labelled faces of one picture.

    Attributes:
        boxes: (g, 4) float32 x1 y1 x2 y2 in pixels.
        counts: (g,) bool; False = a face that is neither asked for nor an error when found.
    """

    boxes: Float32Array
    counts: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """Every detection of a data set, judged.

    Attributes:
        scores: (d,) float.
        hits: (d,) bool, first detection of a face that counts. Detections of faces that do not count are left out.
        overlaps: (d,) float, IoU with the face that it hit, else the best IoU with any face.
        faces: how many faces count.
    """

    scores: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    overlaps: npt.NDArray[np.float64]
    faces: int


def match(detections: Sequence[Faces], truths: Sequence[Truth], *, iou: float = 0.5) -> Matches:
    """Judge detections by the WIDER FACE rule: best overlap decides, a second hit on a face is false.

    Source: the evaluation protocol of WIDER FACE (Yang et al., CVPR 2016).

    Raises:
        ValueError: if there are not as many pictures with detections as with truth.
    """
    if len(detections) != len(truths):
        raise ValueError(f"match: got {len(detections)} pictures with detections and {len(truths)} with truth")
    parts = [_match_one(d, t, iou) for d, t in zip(detections, truths, strict=True)]
    columns = [np.concatenate(c) if c else np.zeros(0) for c in zip(*parts, strict=True)] or [np.zeros(0)] * 3
    return Matches(
        scores=np.asarray(columns[0], np.float64),
        hits=np.asarray(columns[1], np.bool_),
        overlaps=np.asarray(columns[2], np.float64),
        faces=int(sum(t.counts.sum() for t in truths)),
    )


def _match_one(
    faces: Faces, truth: Truth, iou: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
    order = np.argsort(-faces.scores, kind="stable")
    hits = np.zeros(len(faces), np.bool_)
    ignored = np.zeros(len(faces), np.bool_)
    best = np.zeros(len(faces))
    if len(truth.boxes) and len(faces):
        overlap = iou_matrix(faces.boxes, truth.boxes)
        target = overlap.argmax(1)
        best = overlap.max(1)
        taken = np.zeros(len(truth.boxes), np.bool_)
        for row in order:
            face = target[row]
            if best[row] < iou:
                continue
            ignored[row] = not truth.counts[face]
            hits[row] = truth.counts[face] and not taken[face]
            taken[face] = True
    keep = order[~ignored[order]]
    return faces.scores[keep], hits[keep], best[keep]


def average_precision(matches: Matches) -> float:
    """Area under the interpolated precision-recall curve, 0..1; NaN if no face counts."""
    if matches.faces == 0:
        return float("nan")
    hits = matches.hits[np.argsort(-matches.scores, kind="stable")]
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    recall = found / matches.faces
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def corrections_per_100(matches: Matches, threshold: float, *, tight: float = 0.7) -> float:
    """What a person must mend per 100 faces: missed faces, false boxes, and boxes with an IoU below `tight`."""
    shown = matches.scores >= threshold
    hits = matches.hits & shown
    loose = hits & (matches.overlaps < tight)
    missed = matches.faces - hits.sum()
    return float(100 * (missed + (shown & ~matches.hits).sum() + loose.sum()) / max(1, matches.faces))


def calibration_error(matches: Matches, *, floor: float = 0.1, bins: int = 20) -> float:
    """D-ECE: mean gap between score and share of hits over equal-width bins, weighted by count, for scores >= floor."""
    kept = matches.scores >= floor
    scores, hits = matches.scores[kept], matches.hits[kept]
    if not len(scores):
        return float("nan")
    bin_of = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [abs(scores[bin_of == b].mean() - hits[bin_of == b].mean()) * (bin_of == b).sum() for b in np.unique(bin_of)]
    return float(np.sum(gaps) / len(scores))
