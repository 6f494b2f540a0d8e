"""Faces on their side or upside down: the picture is turned, looked at like any other, and the faces are brought back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.candidates import BoolArray, Float64Array, IntArray, PairTest, find_pairs
from auto_annotator.fusion.faces import FusedFaces
from auto_annotator.geometry import box_sides, turn_edges, turn_faces
from auto_annotator.types import Detection, Faces, Float32Array, Image, Votes

QUARTERS = (1, 2, 3)
"""Quarters of a clockwise turn after which the picture is looked at again."""

SAME_IOU, SAME_INSIDE = 0.4, 0.6
"""Two boxes of different orientations are of one face above this IoU, or when this share of the smaller lies in the other: a
detector draws an upright face higher than wide, so a quarter turn between two boxes of one face alone brings their IoU to 0.6."""

SURE = 0.5
"""Score from which a box tells by itself how the face stands. Below it, it is more likely no face, and upright the better guess."""

ASTRAY, ASTRAY_PIXELS = 0.1, 4.0
"""Spread of a point over the detectors' opinions, as a share of the side and in pixels, from which a face does not stand upright:
of one on its side or head each detector takes other parts for eyes and mouth. Of 24 portraits of Helen the spread is .02 to .06
upright, .13 to .49 turned by 90 or 180 degrees, while the scores are often the same."""


def stands_upright(fused: FusedFaces) -> BoolArray:
    """(n,) whether the detectors agree where the points are; True where fewer than two of their looks placed them."""
    limit = np.maximum(ASTRAY * np.asarray(box_sides(fused.faces.boxes), np.float64), ASTRAY_PIXELS)
    return np.asarray(~(fused.votes.landmark_spread > limit[:, None]).any(axis=1))


def turned_picture(image: Image, quarters: int) -> Image:
    """RGB (h, w, 3) uint8 turned clockwise by quarters of a full turn, a copy that lies in memory row by row."""
    return np.ascontiguousarray(np.rot90(image, -quarters))


def faces_turned_back(faces: Faces, quarters: int, width: int, height: int) -> Faces:
    """Faces in a picture turned clockwise by quarters of a full turn, in pixels of the picture of that size before."""
    size = (width, height) if quarters % 2 == 0 else (height, width)
    return turn_faces(faces, -quarters, *size)


def turned_back(detection: Detection, quarters: int) -> Detection:
    """What was found in a picture turned clockwise by quarters of a full turn, in pixels of the picture as it was before."""
    width, height = (detection.width, detection.height) if quarters % 2 == 0 else (detection.height, detection.width)
    faces = faces_turned_back(detection.faces, quarters, width, height)
    votes = replace(detection.votes, edge_spread=np.asarray(turn_edges(detection.votes.edge_spread, -quarters), np.float32))
    return replace(detection, width=width, height=height, faces=faces, votes=votes)


def less_likely(probabilities: npt.ArrayLike, odds: float) -> npt.NDArray[np.floating]:
    """Probabilities after their odds p / (1 - p) are multiplied: faces that do not stand upright are rarer."""
    p = np.asarray(probabilities)
    return p if odds == 1 else np.asarray(odds * p / (1 - p + odds * p))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What stays of the faces of one orientation: their rows, in order, and the score (n,) that each is shown with."""

    rows: IntArray
    scores: npt.NDArray[np.float32]

    def select(self, places: IntArray) -> Choice:
        """Those at some places of the choice."""
        return Choice(rows=self.rows[places], scores=self.scores[places])


def chosen(orientations: Sequence[Faces], odds: float, upright: Sequence[BoolArray] | None = None) -> list[Choice]:
    """Of the boxes of one face, that of the orientation in which it stands upright, and of several the one with the best score.

    Whether it is a face is another question: what only a turned picture shows is less likely one, by `odds`, than what has the same
    score upright, and of several boxes of one face the likeliest tells. Boxes below `SURE` are compared by that, too.

    Args:
        orientations: faces in pixels of one and the same picture, scored as in an upright one, the upright ones first. Between
            equal scores the earlier orientation wins; boxes of one orientation never drive each other out: its fusion has decided.
        odds: of a turned face against an upright one, 0..1.
        upright: for each orientation which of its faces stand upright there, see `stands_upright`; None = all may.
    """
    together = Faces.concat(orientations)
    source = np.repeat(np.arange(len(orientations)), [len(faces) for faces in orientations])
    shown = np.where(source > 0, less_likely(together.scores.astype(np.float64), odds), together.scores).astype(np.float32)
    kept = np.ones(len(source), bool)
    rank = np.where(together.scores < SURE, shown, together.scores)
    if upright is not None:
        rank = rank + ((together.scores >= SURE) & np.concatenate(upright))
    for better, worse in _rivals(together.boxes, rank, source):
        if kept[better] and kept[worse]:
            kept[worse] = False
            shown[better] = max(shown[better], shown[worse])
    rows = [np.flatnonzero(kept & (source == number)) for number in range(len(orientations))]
    starts = np.cumsum([0, *(len(faces) for faces in orientations)])
    return [Choice(rows=own - start, scores=shown[own]) for own, start in zip(rows, starts, strict=False)]


def _rivals(boxes: Float32Array, rank: npt.NDArray[np.floating], source: IntArray) -> Iterator[tuple[int, int]]:
    """Pairs (better, worse) of boxes of one face in different orientations, those of the best box first."""
    order = np.argsort(-rank, kind="stable")
    order = order[(boxes[order, 2:] > boxes[order, :2]).all(axis=1)]
    edges = boxes[order].astype(np.float64)
    pairs = find_pairs(edges, _one_face(edges, source[order]))
    if pairs is not None:
        better, worse = pairs
        for place in np.lexsort((worse, better)):
            yield int(order[better[place]]), int(order[worse[place]])


def _one_face(boxes: Float64Array, source: IntArray) -> PairTest:
    def test(i: IntArray, j: IntArray) -> BoolArray:
        a, b = boxes[i], boxes[j]
        common = np.prod(np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0), axis=1)
        area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
        close = (common >= SAME_IOU * (area_a + area_b - common)) | (common >= SAME_INSIDE * np.minimum(area_a, area_b))
        return np.asarray(close & (source[i] != source[j]))

    return test


def rated(fused: FusedFaces, choice: Choice) -> FusedFaces:
    """The faces of a choice, with its scores."""
    fused = fused.select(choice.rows)
    return replace(fused, faces=Faces(boxes=fused.faces.boxes, scores=choice.scores, landmarks=fused.faces.landmarks))


def selected(detection: Detection, rows: IntArray) -> Detection:
    """The rows of a detection that a list of indexes picks, in that order."""
    return replace(
        detection,
        faces=detection.faces.select(rows),
        votes=detection.votes.select(rows),
        reasons=tuple(detection.reasons[row] for row in rows),
        review_scores=None if detection.review_scores is None else detection.review_scores[rows],
        hidden=None if detection.hidden is None else detection.hidden[rows],
    )


def joined(parts: Sequence[Detection]) -> Detection:
    """The rows of all parts, best score first; size, problems and times are those of the first part."""
    first = parts[0]
    votes = Votes(
        members=first.votes.members,
        scores=np.concatenate([part.votes.scores for part in parts]),
        edge_spread=np.concatenate([part.votes.edge_spread for part in parts]),
        landmark_spread=np.concatenate([part.votes.landmark_spread for part in parts]),
    )
    scores = [part.review_scores for part in parts if part.review_scores is not None]
    hidden = [part.hidden for part in parts if part.hidden is not None]
    everything = replace(
        first,
        faces=Faces.concat([part.faces for part in parts]),
        votes=votes,
        reasons=tuple(reasons for part in parts for reasons in part.reasons),
        review_scores=np.concatenate(scores) if len(scores) == len(parts) else None,
        hidden=np.concatenate(hidden) if len(hidden) == len(parts) else None,
    )
    return selected(everything, np.argsort(-everything.faces.scores, kind="stable"))
