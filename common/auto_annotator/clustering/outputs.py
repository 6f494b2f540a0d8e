"""How sure: confidence of each face, purity of each cluster, merges to suggest, faces that a person should look at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import SCALE, Grid
from auto_annotator.clustering.guards import Guards
from auto_annotator.clustering.merging import Groups, Pairs, quality_steps, unique_pairs
from auto_annotator.clustering.nearest import Listed, two_nearest
from auto_annotator.clustering.potts import Labels, by_appearance
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.types import Clusters, MergeSuggestion

DOUBTFUL_BELOW = 0.5
"""Confidence below which a face of a cluster is listed for a person."""

HINT_SIGMAS = 3.0
"""A cluster is named as the next-best one only where it is more like the face than 999 of 1,000 strangers."""

BLOCK = 16_384


def assess(
    grid: Grid,
    labels: Labels,
    quality: npt.NDArray[np.float32],
    guards: Guards,
    model: ScoreModel,
    strangers: ScoreModel,
    settings: ClusteringSettings,
    listed: Listed | None = None,
) -> Clusters:
    """Everything about a partition that a person may want to know.

    Confidence of a face is the logistic of how much more it is like the rest of its own cluster than like the next one, in widths
    of the link; a person seen once is compared with the threshold instead. Purity of a cluster is the mean confidence of its faces.

    Args:
        grid: vectors in content order.
        labels: (n,) any numbers, -1 = nobody.
        quality: (n,) 0..1.
        guards: cannot-links and pictures.
        model: what cosines mean among these faces.
        strangers: what they mean before the threshold was raised: what is unlike strangers is worth a question.
        settings: limits of suggestions.
        listed: faces whose neighbours are known; None = none.
    """
    labels = _compact(labels)
    groups = Groups.of(grid, labels, quality)
    n, k = len(labels), len(groups.sizes)
    near, scores = two_nearest(grid, labels, groups, listed)
    second = np.where(near[:, 0] == labels, 1, 0)
    rows = np.arange(n)
    other, other_score = near[rows, second], scores[rows, second]
    own = _own_scores(grid, labels, quality, groups)
    alone = np.isnan(own)
    margin = np.where(alone, model.threshold - other_score, own - np.maximum(other_score, model.centre))
    confidence = np.where(labels >= 0, 1 / (1 + np.exp(-np.clip(margin / (2 * model.width), -50, 50))), 0.0)
    inside = labels >= 0
    purity = np.bincount(labels[inside], weights=confidence[inside], minlength=k) / np.maximum(groups.sizes, 1)
    order = np.argsort(confidence, kind="stable")
    unsure = order[inside[order] & (confidence[order] < DOUBTFUL_BELOW)]
    near_enough = other_score >= strangers.above(HINT_SIGMAS)
    return Clusters(
        labels=labels.astype(np.int32),
        confidence=confidence.astype(np.float32),
        purity=purity.astype(np.float32),
        nearest=np.where(near_enough, other, -1).astype(np.int32),
        nearest_score=np.where(near_enough, other_score, 0.0).astype(np.float32),
        suggestions=_suggestions(labels, other, other_score, groups, guards, strangers, settings),
        doubtful=tuple(unsure.tolist()),
    )


def _compact(labels: Labels) -> Labels:
    out = np.full(len(labels), -1, np.int64)
    inside = labels >= 0
    if inside.any():
        out[inside] = by_appearance(labels[inside])
    return out


def _own_scores(grid: Grid, labels: Labels, quality: npt.NDArray[np.float32], groups: Groups) -> npt.NDArray[np.float64]:
    """(n,) cosine of each face to the centroid of the others of its cluster; NaN where there are none."""
    weights = quality_steps(quality)
    own = np.full(len(labels), np.nan)
    member = np.flatnonzero(labels >= 0)
    member = member[groups.sizes[labels[member]] > 1]
    for start in range(0, len(member), BLOCK):
        rows = member[start : start + BLOCK]
        vectors = grid[rows].astype(np.float64)
        rest = groups.sums[labels[rows]] - vectors * weights[rows, None]
        norms = np.sqrt(np.einsum("ij,ij->i", rest, rest)).clip(1e-9)
        own[rows] = np.einsum("ij,ij->i", rest, vectors) / (norms * SCALE)
    return own


def _suggestions(
    labels: Labels,
    other: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64],
    groups: Groups,
    guards: Guards,
    model: ScoreModel,
    settings: ClusteringSettings,
) -> tuple[MergeSuggestion, ...]:
    """Pairs of clusters that are alike but were left apart, most alike first; none that a person told apart."""
    facing = (labels >= 0) & (other >= 0) & (score >= model.above(settings.suggest_sigmas))
    pairs: Pairs = unique_pairs(np.stack([labels[facing], other[facing]], axis=1))
    if not len(pairs):
        return ()
    cosine = groups.cosine(pairs[:, 0], pairs[:, 1])
    share = (1 - 1 / groups.sizes[pairs].min(axis=1)) ** 2
    single, many = model.above(settings.suggest_sigmas), model.stretched(settings.suggest_similarity)
    wanted = cosine >= single + (max(many, single) - single) * share
    forbidden = guards.forbidden(labels)
    meet = guards.shared(labels)(pairs) > settings.shared_images
    found = []
    for row in np.lexsort((pairs[:, 1], pairs[:, 0], -cosine)).tolist():
        if wanted[row] and (int(pairs[row, 0]), int(pairs[row, 1])) not in forbidden:
            first, second = sorted(pairs[row].tolist(), key=lambda c: (-groups.sizes[c], c))
            reason = "same_picture" if meet[row] else "look_alike"
            found.append(MergeSuggestion(first=first, second=second, score=float(cosine[row]), reason=reason))
    return tuple(found)
