"""The whole fusion of one picture: boxes, votes and landmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.fusion.boxes import FusionSettings, Source, could_see, fuse_boxes
from auto_annotator.fusion.candidates import Float64Array
from auto_annotator.fusion.edges import PRIOR_SPREAD, fuse_edges
from auto_annotator.fusion.landmarks import POINTS, LandmarkOpinions, fuse_landmarks
from auto_annotator.fusion.stacking import FAINT, Evidence, beside_better
from auto_annotator.types import Faces, Float32Array, Votes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FusedFaces:
    """All that the fusion of one picture gives.

    Attributes:
        faces: best first, landmarks fused.
        votes: who saw them, same rows.
        opinions: on their landmarks, same rows; refiners may add theirs before `fuse_landmarks` is called again.
        evidence: what the final score was made of, same rows.
    """

    faces: Faces
    votes: Votes
    opinions: LandmarkOpinions
    evidence: Evidence

    def select(self, rows: npt.ArrayLike) -> FusedFaces:
        """The rows that a list of indexes picks, in that order."""
        rows = np.asarray(rows, np.intp)
        return FusedFaces(
            faces=self.faces.select(rows),
            votes=self.votes.select(rows),
            opinions=self.opinions.select(rows),
            evidence=self.evidence.select(rows),
        )


def fuse_faces(
    lists: Sequence[Faces],
    sources: Sequence[Source],
    members: Sequence[str],
    settings: FusionSettings,
    landmark_weights: Sequence[float] | None = None,
) -> tuple[Faces, Votes, LandmarkOpinions]:
    """As `fuse_evidence` without a model, its three main answers."""
    fused = fuse_evidence(lists, sources, members, settings, landmark_weights)
    return fused.faces, fused.votes, fused.opinions


def fuse_evidence(
    lists: Sequence[Faces],
    sources: Sequence[Source],
    members: Sequence[str],
    settings: FusionSettings,
    landmark_weights: Sequence[float] | None = None,
    score: Callable[[Evidence], npt.ArrayLike] | None = None,
) -> FusedFaces:
    """Fuse what all members saw in all views of one picture.

    Args:
        lists: one list of faces per source, in pixels of the picture, scores calibrated.
        sources: who made each list.
        members: names of the m members of the ensemble; `Source.member` counts in them.
        settings: rule and thresholds.
        landmark_weights: say of each *source* in the landmarks, on top of its `weight`; 0 = none. None = 1 for all.
        score: evidence -> (n,) final scores 0..1; None = the score of the rule stays.

    Raises:
        ValueError: for lists that cannot be fused (see `fuse_boxes`), a source whose member does not exist, or a wrong number of
            landmark weights.
    """
    if any(s.member >= len(members) for s in sources):
        raise ValueError(f"fusion: got a source of member {max(s.member for s in sources)}, but there are {len(members)} members")
    if landmark_weights is not None and len(landmark_weights) != len(sources):
        raise ValueError(f"fusion: got {len(landmark_weights)} landmark weights for {len(sources)} sources")
    if settings.rule == "stack":
        lists = [faces.select(np.flatnonzero(faces.scores >= FAINT)) for faces in lists]
    fused = fuse_boxes(lists, sources, settings)
    rows = Faces.concat(lists)
    used = np.flatnonzero(fused.membership >= 0)
    opinion = _Opinion(rows=rows.select(used), face=fused.membership[used], source=fused.source[used], count=len(fused))
    weight = np.array([s.weight for s in sources], np.float64)[opinion.source] if len(sources) else np.zeros(0)
    spread = _edge_spread(opinion.rows.boxes.astype(np.float64), opinion.face, weight, len(fused))
    boxes = opinion.fused_edges(sources) if settings.rule == "stack" and len(fused) else fused.boxes
    evidence = _evidence(opinion, boxes, fused.scores, spread, sources, tuple(members))
    scores = fused.scores if score is None or not len(fused) else np.clip(np.asarray(score(evidence), np.float32), 0, 1)
    says = np.ones(len(sources)) if landmark_weights is None else np.asarray(landmark_weights, np.float64)
    opinions = _opinions(len(fused), opinion.rows, opinion.face, weight * says[opinion.source])
    landmarks, landmark_spread = fuse_landmarks(opinions, np.asarray(boxes, np.float32))
    votes = Votes(
        members=tuple(members), scores=opinion.best(sources, len(members)), edge_spread=spread, landmark_spread=landmark_spread
    )
    answer = FusedFaces(
        faces=Faces(boxes=np.asarray(boxes, np.float32), scores=scores, landmarks=landmarks),
        votes=votes,
        opinions=opinions,
        evidence=evidence,
    )
    return answer if score is None else answer.select(np.argsort(-scores, kind="stable"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Opinion:
    """The rows that belong to a fused face, and where each comes from."""

    rows: Faces
    face: npt.NDArray[np.intp]
    source: npt.NDArray[np.intp]
    count: int

    def best(self, sources: Sequence[Source], members: int) -> Float32Array:
        """(faces, m) best score of each member, NaN = not seen."""
        scores = np.full((self.count, members), np.nan, np.float32)
        column = np.array([s.member for s in sources], np.intp)[self.source] if len(self.source) else self.source
        np.fmax.at(scores, (self.face, column), self.rows.scores)
        return scores

    def by_source(self, sources: int) -> Float64Array:
        """(faces, s) score of each list, NaN = silent; `nms` may put several boxes of a list to one face: the best counts."""
        scores = np.full((self.count, sources), np.nan)
        np.fmax.at(scores, (self.face, self.source), self.rows.scores.astype(np.float64))
        return scores

    def fused_edges(self, sources: Sequence[Source]) -> Float64Array:
        """(faces, 4) boxes by `edges.fuse_edges`."""
        boxes, scores = self.rows.boxes.astype(np.float64), self.rows.scores.astype(np.float64)
        side = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6), axis=1))
        share = np.full((len(boxes), 4), PRIOR_SPREAD)
        for number, source in enumerate(sources):
            own = np.flatnonzero(self.source == number)
            if source.edges is not None and len(own):
                share[own] = source.edges.spread_at(side[own] * source.scale)
        weight = np.array([s.weight for s in sources], np.float64)[self.source]
        return fuse_edges(boxes, share * side[:, None] / np.sqrt(weight)[:, None], scores, self.face, self.count)


def _evidence(
    opinion: _Opinion,
    boxes: npt.NDArray[np.floating],
    together: Float32Array,
    spread: Float32Array,
    sources: Sequence[Source],
    members: tuple[str, ...],
) -> Evidence:
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores = opinion.by_source(len(sources))
    overlap, inside = beside_better(boxes, together.astype(np.float64))
    return Evidence(
        boxes=boxes,
        together=together.astype(np.float64),
        scores=scores,
        asked=could_see(boxes, sources) | np.isfinite(scores),
        spread=spread,
        overlap=overlap,
        inside=inside,
        member=np.array([s.member for s in sources], np.intp),
        members=members,
    )


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


def _opinions(count: int, rows: Faces, face: np.ndarray, weight: Float64Array) -> LandmarkOpinions:
    """The rows with landmarks, gathered per face and padded to the same number."""
    says = np.flatnonzero(np.any(np.isfinite(rows.landmarks).all(axis=2), axis=1) & (weight > 0))
    if not len(says):
        return LandmarkOpinions.none(count)
    says = says[np.argsort(face[says], kind="stable")]
    face = face[says]
    counts = np.bincount(face, minlength=count)
    column = np.arange(len(says)) - (np.cumsum(counts) - counts)[face]
    points = np.full((count, int(counts.max()), POINTS, 2), np.nan, np.float32)
    weights = np.zeros(points.shape[:2], np.float32)
    points[face, column], weights[face, column] = rows.landmarks[says], weight[says]
    return LandmarkOpinions(points=points, weights=weights)
