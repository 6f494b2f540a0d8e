"""Two fusion rules of older systems, written anew from their descriptions, to be compared with.

- `first_seen`: boxes above 0.4 are walked in the order of the members and join the cluster whose first box they overlap most
  (IoU > 0.5), else they open one; box and points are means weighted by score, the score is the plain mean. The result depends on
  the order of the members, a lone box keeps its score, and two overlapping faces of one member become one.
- `two_pass_vote`: boxes above 0.2; groups around the most confident box at IoU 0.8 need two votes (one member may cast both),
  then groups at 0.5 need one; of each group the most confident box with points stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Faces

FIRST_SEEN_SCORE, FIRST_SEEN_IOU = 0.4, 0.5
VOTE_SCORE = 0.2
VOTE_PASSES = ((0.8, 2), (0.5, 1))
"""(least IoU with the most confident box, votes needed) of each pass."""


def first_seen(lists: Sequence[Faces], *, weights: Sequence[float] | None = None) -> Faces:
    """Fuse one list of faces per member.

    Args:
        lists: one list per member, raw scores.
        weights: say of each member in boxes and points; None = 1 for all.
    """
    says = [1.0] * len(lists) if weights is None else list(weights)
    clusters: list[list[tuple[Faces, float]]] = []
    for faces, say in zip(lists, says, strict=True):
        for face in faces.select(faces.scores > FIRST_SEEN_SCORE):
            heads = [cluster[0][0].boxes for cluster in clusters]
            overlap = iou_matrix(face.boxes, np.concatenate(heads))[0] if heads else np.zeros(1)
            if overlap.max() > FIRST_SEEN_IOU:
                clusters[int(overlap.argmax())].append((face, say))
            else:
                clusters.append([(face, say)])
    return _best_first([_weighted_mean(cluster) for cluster in clusters])


def _weighted_mean(cluster: Sequence[tuple[Faces, float]]) -> Faces:
    rows = Faces.concat([face for face, _ in cluster])
    weight = rows.scores * np.array([say for _, say in cluster], np.float32)
    pointed = rows.has_landmarks
    points = np.full((1, 5, 2), np.nan, np.float32)
    if pointed.any():
        points = np.average(rows.landmarks[pointed], axis=0, weights=weight[pointed])[None]
    return Faces.of(np.average(rows.boxes, axis=0, weights=weight)[None], [rows.scores.mean()], points)


def two_pass_vote(lists: Sequence[Faces]) -> Faces:
    """Fuse one list of faces per member by two passes of a vote."""
    rows = Faces.concat(list(lists))
    rows = rows.select(rows.scores >= VOTE_SCORE)
    for iou, votes in VOTE_PASSES:
        rows = _vote(rows, iou, votes)
    return _best_first([rows])


def _vote(rows: Faces, iou: float, votes: int) -> Faces:
    left = np.argsort(-rows.scores, kind="stable")
    winners: list[int] = []
    pointed = rows.has_landmarks
    while len(left):
        near = iou_matrix(rows.boxes[left[:1]], rows.boxes[left])[0] >= iou
        near[0] = True  # a box without area does not overlap even itself
        group = left[near]
        if len(group) >= votes:
            with_points = group[pointed[group]]
            winners.append(int(with_points[0] if len(with_points) else group[0]))
        left = left[~near]
    return rows.select(winners)


def _best_first(parts: Sequence[Faces]) -> Faces:
    faces = Faces.concat(list(parts))
    return faces.select(np.argsort(-faces.scores, kind="stable"))
