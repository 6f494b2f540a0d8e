"""The whole fusion of one picture: boxes, votes and landmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.fusion.boxes import Fused, FusionSettings, Source, fuse_boxes
from auto_annotator.fusion.candidates import Float64Array
from auto_annotator.fusion.landmarks import POINTS, LandmarkOpinions, fuse_landmarks
from auto_annotator.types import Faces, Float32Array, Votes


def fuse_faces(
    lists: Sequence[Faces],
    sources: Sequence[Source],
    members: Sequence[str],
    settings: FusionSettings,
    landmark_weights: Sequence[float] | None = None,
) -> tuple[Faces, Votes, LandmarkOpinions]:
    """Fuse what all members saw in all views of one picture.

    Args:
        lists: one list of faces per source, in pixels of the picture, scores calibrated.
        sources: who made each list.
        members: names of the m members of the ensemble; `Source.member` counts in them.
        settings: rule and thresholds.
        landmark_weights: say of each *source* in the landmarks, on top of its `weight`; 0 = none. None = 1 for all.

    Returns:
        The faces, best first, with landmarks fused; who voted for them; and the opinions on their landmarks, same rows, to which
        refiners may add theirs before `fuse_landmarks` is called again.

    Raises:
        ValueError: for lists that cannot be fused (see `fuse_boxes`), a source whose member does not exist, or a wrong number of
            landmark weights.
    """
    if any(s.member >= len(members) for s in sources):
        raise ValueError(f"fusion: got a source of member {max(s.member for s in sources)}, but there are {len(members)} members")
    if landmark_weights is not None and len(landmark_weights) != len(sources):
        raise ValueError(f"fusion: got {len(landmark_weights)} landmark weights for {len(sources)} sources")
    fused = fuse_boxes(lists, sources, settings)
    rows = Faces.concat(lists)
    used = np.flatnonzero(fused.membership >= 0)
    rows, face, source = rows.select(used), fused.membership[used], fused.source[used]
    weight = np.array([s.weight for s in sources], np.float64)[source] if len(source) else np.zeros(0)
    scores = np.full((len(fused), len(members)), np.nan, np.float32)
    column = np.array([s.member for s in sources], np.intp)[source] if len(source) else source
    np.fmax.at(scores, (face, column), rows.scores)
    says = np.ones(len(sources)) if landmark_weights is None else np.asarray(landmark_weights, np.float64)
    opinions = _opinions(fused, rows, face, weight * says[source])
    landmarks, landmark_spread = fuse_landmarks(opinions, fused.boxes)
    votes = Votes(
        members=tuple(members),
        scores=scores,
        edge_spread=_edge_spread(rows.boxes.astype(np.float64), face, weight, len(fused)),
        landmark_spread=landmark_spread,
    )
    return Faces(boxes=fused.boxes, scores=fused.scores, landmarks=landmarks), votes, opinions


def _edge_spread(boxes: Float64Array, face: np.ndarray, weight: Float64Array, faces: int) -> Float32Array:
    """(faces, 4) weighted standard deviation of each edge in pixels; NaN with fewer than two boxes."""

    def total(values: Float64Array) -> Float64Array:
        return np.asarray(np.bincount(face, weights=values, minlength=faces))

    mass = np.maximum(total(weight), np.finfo(np.float64).tiny)
    spread = np.empty((faces, 4), np.float32)
    for edge, values in enumerate(boxes.T):
        mean = total(weight * values) / mass
        spread[:, edge] = np.sqrt(total(weight * (values - mean[face]) ** 2) / mass)
    spread[np.bincount(face, minlength=faces) < 2] = np.nan
    return spread


def _opinions(fused: Fused, rows: Faces, face: np.ndarray, weight: Float64Array) -> LandmarkOpinions:
    """The rows with landmarks, gathered per face and padded to the same number."""
    says = np.flatnonzero(np.any(np.isfinite(rows.landmarks).all(axis=2), axis=1) & (weight > 0))
    if not len(says):
        return LandmarkOpinions.none(len(fused))
    says = says[np.argsort(face[says], kind="stable")]
    face = face[says]
    counts = np.bincount(face, minlength=len(fused))
    column = np.arange(len(says)) - (np.cumsum(counts) - counts)[face]
    points = np.full((len(fused), int(counts.max()), POINTS, 2), np.nan, np.float32)
    weights = np.zeros(points.shape[:2], np.float32)
    points[face, column], weights[face, column] = rows.landmarks[says], weight[says]
    return LandmarkOpinions(points=points, weights=weights)
