"""Detections against truth by the WIDER FACE rule: average precision, corrections per 100 faces, calibration error.

`pair` looks once which face each detection means; levels, thresholds of overlap, sizes and attributes are then masks over its
columns (`match`, `Pairs.matches`), and the measures are functions of `Matches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.labels import BoolArray, Truth
from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Faces, Float32Array

OFFICIAL_STEPS = 1000

FloatColumn = npt.NDArray[np.float64]
IntColumn = npt.NDArray[np.intp]

__all__ = [
    "Corrections",
    "Matches",
    "Pairs",
    "Truth",
    "average_precision",
    "calibration_error",
    "corrections",
    "corrections_per_100",
    "match",
    "official_average_precision",
    "pair",
    "precision_recall",
    "recall_at_false_boxes",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """Every detection of a data set, judged, best score first.

    Attributes:
        scores: (d,) float.
        hits: (d,) bool, first detection of a face that counts. Detections of faces that do not count are left out.
        overlaps: (d,) float, IoU with the face that it hit, else the best IoU with any face.
        picture: (d,) which picture.
        heights: (d,) float, height of the detection in pixels.
        face: (d,) the face it hit, counted over all pictures; -1 = none.
        row: (d,) the detection, counted over all pictures in the order given.
        faces_in_picture: (p,) how many faces count in each picture.
    """

    scores: FloatColumn
    hits: BoolArray
    overlaps: FloatColumn
    picture: IntColumn
    heights: FloatColumn
    face: IntColumn
    row: IntColumn
    faces_in_picture: IntColumn

    @property
    def faces(self) -> int:
        """How many faces count."""
        return int(self.faces_in_picture.sum())

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len(self.faces_in_picture)

    def select(self, mask: BoolArray) -> Matches:
        """The detections of a mask; the faces stay as they are."""
        columns = ("scores", "hits", "overlaps", "picture", "heights", "face", "row")
        return Matches(**{c: getattr(self, c)[mask] for c in columns}, faces_in_picture=self.faces_in_picture)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Detections of a set, best score first, each with the face that it overlaps most.

    Attributes:
        scores, overlaps, heights: (d,) float; overlap 0 where the picture has no face.
        picture, row: (d,) which picture; which detection, counted in the order given.
        target: (d,) the face, counted over all pictures; -1 = the picture has none.
        face_picture: (g,) picture of each face.
        face_heights: (g,) float, in pixels.
        pictures: how many pictures there are.
    """

    scores: FloatColumn
    overlaps: FloatColumn
    heights: FloatColumn
    picture: IntColumn
    row: IntColumn
    target: IntColumn
    face_picture: IntColumn
    face_heights: FloatColumn
    pictures: int

    def matches(self, counts: BoolArray, *, iou: float = 0.5) -> Matches:
        """Judge at an overlap: best overlap decides, a second hit on a face is false, faces that do not count are nothing.

        Args:
            counts: (g,) bool, faces that count.
            iou: least overlap of a hit, 0..1.

        Raises:
            ValueError: if `counts` has not one value per face.
        """
        if len(counts) != len(self.face_picture):
            raise ValueError(f"matches: got {len(counts)} values of counts for {len(self.face_picture)} faces")
        near = np.flatnonzero((self.target >= 0) & (self.overlaps >= iou))
        targets = self.target[near]
        first = np.unique(targets, return_index=True)[1]  # rows are sorted by score: the first one is the best
        hits, ignored = np.zeros(len(self.scores), np.bool_), np.zeros(len(self.scores), np.bool_)
        hits[near[first]] = counts[targets[first]]
        ignored[near] = ~counts[targets]
        kept = ~ignored
        return Matches(
            scores=self.scores[kept],
            hits=hits[kept],
            overlaps=self.overlaps[kept],
            picture=self.picture[kept],
            heights=self.heights[kept],
            face=np.where(hits, self.target, -1)[kept],
            row=self.row[kept],
            faces_in_picture=np.bincount(self.face_picture[counts], minlength=self.pictures),
        )


def pair(detections: Sequence[Faces], boxes: Sequence[Float32Array], *, pixel: float = 0.0) -> Pairs:
    """Pair each detection with the face that it overlaps most.

    Args:
        detections: faces found, one list per picture.
        boxes: (g, 4) true boxes of each picture.
        pixel: added to widths and heights in the overlap; 1 = the convention of WIDER FACE's own script.

    Raises:
        ValueError: if there are not as many pictures with detections as with truth.
    """
    if len(detections) != len(boxes):
        raise ValueError(f"match: got {len(detections)} pictures with detections and {len(boxes)} with truth")
    first = np.cumsum([0, *(len(b) for b in boxes)])
    targets: list[IntColumn] = []
    overlaps: list[FloatColumn] = []
    for number, (faces, truth) in enumerate(zip(detections, boxes, strict=True)):
        overlap = np.asarray(iou_matrix(_grown(faces.boxes, pixel), _grown(truth, pixel)), np.float64)
        some = bool(len(truth))
        targets.append(overlap.argmax(1) + first[number] if some else np.full(len(faces), -1))
        overlaps.append(overlap.max(1) if some else np.zeros(len(faces)))
    found = Faces.concat(list(detections))
    true = np.concatenate([np.zeros((0, 4)), *boxes])
    overlap_column = np.concatenate([np.zeros(0), *overlaps])
    order = np.lexsort((-overlap_column, -found.scores))  # of equal scores the better box is the hit, whatever the order given
    picture = np.repeat(np.arange(len(detections)), [len(d) for d in detections])
    heights = (found.boxes[:, 3] - found.boxes[:, 1]).astype(np.float64)
    return Pairs(
        scores=found.scores.astype(np.float64)[order],
        overlaps=overlap_column[order],
        heights=heights[order],
        picture=picture[order],
        row=order,
        target=np.concatenate([np.zeros(0, np.intp), *targets]).astype(np.intp)[order],
        face_picture=np.repeat(np.arange(len(boxes)), [len(b) for b in boxes]),
        face_heights=np.asarray(true[:, 3] - true[:, 1], np.float64),
        pictures=len(boxes),
    )


def _grown(boxes: Float32Array, pixel: float) -> Float32Array:
    return np.asarray(boxes, np.float32) + np.array([0, 0, pixel, pixel], np.float32)


def match(detections: Sequence[Faces], truths: Sequence[Truth], *, iou: float = 0.5) -> Matches:
    """Judge detections by the WIDER FACE rule: best overlap decides, a second hit on a face is false.

    Source: the evaluation protocol of WIDER FACE (Yang et al., CVPR 2016).

    Raises:
        ValueError: if there are not as many pictures with detections as with truth.
    """
    counts = np.concatenate([np.zeros(0, np.bool_), *(t.counts for t in truths)])
    return pair(detections, [t.boxes for t in truths]).matches(counts, iou=iou)


def precision_recall(matches: Matches) -> tuple[FloatColumn, FloatColumn, FloatColumn]:
    """Precision, recall and score at every distinct score, best first; detections of equal score come in together."""
    found, shown, scores = _running(matches)
    return found / shown, found / max(1, matches.faces), scores


def _running(matches: Matches) -> tuple[FloatColumn, FloatColumn, FloatColumn]:
    """Hits and boxes down to each distinct score, and the score."""
    last = score_ends(matches.scores)
    return np.cumsum(matches.hits)[last].astype(np.float64), np.asarray(last + 1, np.float64), matches.scores[last]


def score_ends(scores: FloatColumn) -> IntColumn:
    """Index of the last of each run of equal scores; `scores` are sorted."""
    return np.flatnonzero(np.append(scores[:-1] != scores[1:], True)) if len(scores) else np.zeros(0, np.intp)


def average_precision(matches: Matches) -> float:
    """Area under the interpolated precision-recall curve, 0..1; NaN if no face counts."""
    if matches.faces == 0:
        return float("nan")
    precision, recall, _ = precision_recall(matches)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def official_average_precision(pairs: Pairs, counts: BoolArray) -> float:
    """AP as WIDER FACE's own script works it out, for comparison with published figures; NaN if no face counts.

    Its curve has `OFFICIAL_STEPS` points at even steps of the score, stretched to 0..1 over the set. Pair with `pixel=1`.

    Args:
        pairs: detections and the faces they mean.
        counts: (g,) bool, faces that count.
    """
    matches = pairs.matches(counts)
    if matches.faces == 0:
        return float("nan")
    if not len(matches.scores):
        return 0.0
    low, high = pairs.scores.min(), pairs.scores.max()
    scores = (matches.scores - low) / max(high - low, np.finfo(np.float64).tiny)
    steps = 1 - np.arange(1, OFFICIAL_STEPS + 1) / OFFICIAL_STEPS
    shown = np.searchsorted(-scores, -steps, side="right")
    found = np.concatenate([[0], np.cumsum(matches.hits)])[shown]
    precision, recall = found / np.maximum(shown, 1), found / matches.faces
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def recall_at_false_boxes(matches: Matches, *, per_picture: float = 1.0) -> float:
    """Share of the faces found at the lowest score with at most `per_picture` false boxes per picture; NaN if no face counts."""
    if matches.faces == 0:
        return float("nan")
    found, shown, _ = _running(matches)
    allowed = shown - found <= per_picture * matches.pictures
    return float(found[allowed].max(initial=0.0) / matches.faces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What a person must mend at a threshold; all but `faces` are counts of corrections."""

    faces: int
    missed: int
    false_boxes: int
    loose: int
    bad_landmarks: int = 0

    @property
    def per_100(self) -> float:
        """C100: corrections per 100 faces; NaN without faces."""
        total = self.missed + self.false_boxes + self.loose + self.bad_landmarks
        return 100.0 * total / self.faces if self.faces else float("nan")


def corrections(
    matches: Matches, threshold: float, *, tight: float = 0.7, landmark_errors: FloatColumn | None = None, failure: float = 0.1
) -> Corrections:
    """What a person must mend: missed faces, false boxes, boxes with an IoU below `tight`, landmark sets that are off.

    Args:
        matches: judged detections.
        threshold: boxes from this score up are shown.
        tight: least IoU of a box that stays.
        landmark_errors: (d,) NME of each detection's points, a share; NaN = not labelled or no face. None = points not judged.
        failure: NME above which a set of points must be mended.
    """
    shown = matches.scores >= threshold
    hits = matches.hits & shown
    bad = 0 if landmark_errors is None else int((hits & (landmark_errors > failure)).sum())
    return Corrections(
        faces=matches.faces,
        missed=int(matches.faces - hits.sum()),
        false_boxes=int((shown & ~matches.hits).sum()),
        loose=int((hits & (matches.overlaps < tight)).sum()),
        bad_landmarks=bad,
    )


def corrections_per_100(matches: Matches, threshold: float, *, tight: float = 0.7) -> float:
    """Missed faces, false boxes, and boxes with an IoU below `tight`, per 100 faces; NaN without faces."""
    return corrections(matches, threshold, tight=tight).per_100


def calibration_error(matches: Matches, *, floor: float = 0.1, bins: int = 20) -> float:
    """D-ECE: mean gap between score and share of hits over equal-width bins, weighted by count, for scores >= floor."""
    bin_of, kept = reliability_bins(matches, floor=floor, bins=bins)
    if not kept.any():
        return float("nan")
    scores, hits = matches.scores[kept], matches.hits[kept]
    gaps = np.bincount(bin_of, scores - hits, minlength=bins)
    return float(np.abs(gaps).sum() / len(scores))


def reliability_bins(matches: Matches, *, floor: float = 0.1, bins: int = 20) -> tuple[IntColumn, BoolArray]:
    """Bin of each detection from `floor` up, and the mask of those."""
    kept = matches.scores >= floor
    return np.minimum((matches.scores[kept] * bins).astype(np.intp), bins - 1), kept
