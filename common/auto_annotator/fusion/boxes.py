"""Many lists of boxes in, one box per face out, with the membership that tells who saw what.

Rules (`FusionSettings.rule`):

- `wbf`: weighted boxes fusion, Solovyev et al. 2021: a cluster's centre is the running mean of its boxes, weighted by score.
- `stack`: the same clusters; edges weighted by measured spread, score by a fitted model (`fusion.faces`, `edges`, `stacking`).
- `vote`: the same clusters; the score says how sure the members are that saw the face, and `min_votes` who counts (k of n).
- `nmw`: non-maximum weighted, Zhou et al. 2017: boxes around the best one, weighted by score x IoU with it; its score stays.
- `nms`: the best box stays, boxes that overlap it go; the baseline.
- `soft_nms`: Gaussian Soft-NMS, Bodla et al. 2017: nothing goes, scores of overlapping boxes fade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auto_annotator.fusion.candidates import BoolArray, Float64Array, IntArray, pair_iou
from auto_annotator.fusion.clusters import Rows, cluster_rows
from auto_annotator.fusion.edges import EdgeHabit
from auto_annotator.fusion.soft_nms import soft_nms
from auto_annotator.types import Faces, Float32Array

_SCORE_FLOOR = 1e-9
"""Boxes of score 0 still have a place; it only must not divide by zero."""

SIDE_SLACK = 1e-6
"""Relative; many times the rounding of a mean in double precision, far less than a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One list of boxes: one member looking at one view of the picture.

    Attributes:
        member: column of `Votes` that it belongs to.
        weight: its say, > 0; only ratios matter.
        min_side, max_side: geometric mean sides of faces, in pixels of the picture, that it could have seen at all. Its silence
            about a face outside this range does not lower the face's score.
        scale: canvas pixels per picture pixel: what the detector saw.
        edges: how it places the edges of a box, for the rule `stack`; None = not measured.

    Raises:
        ValueError: for a weight that is not positive, a negative member, or an empty range of sides.
    """

    member: int
    weight: float = 1.0
    min_side: float = 0.0
    max_side: float = math.inf
    scale: float = 1.0
    edges: EdgeHabit | None = None

    def __post_init__(self) -> None:
        if self.member < 0 or not (0 < self.weight < math.inf) or not self.min_side <= self.max_side:
            raise ValueError(f"source: got {self}, expected member >= 0, a positive weight and min_side <= max_side")


def could_see(boxes: Float64Array, sources: Sequence[Source]) -> BoolArray:
    """(n, s) bool: the size of face n lies in what list s could have seen.

    A mean of boxes is right to the last digits only, which depend on the order of the sum: `SIDE_SLACK` keeps them from deciding.
    """
    side = np.sqrt(np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0))[:, None]
    low, high = np.array([(s.min_side, s.max_side) for s in sources], np.float64).reshape(len(sources), 2).T
    return np.asarray((side >= low * (1 - SIDE_SLACK)) & (side <= high * (1 + SIDE_SLACK)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionSettings:
    """How boxes become one.

    Attributes:
        rule: see the head of the module.
        iou: boxes belong together above this intersection over union, 0 < iou < 1.
        min_votes: faces seen by fewer distinct members are dropped (views of one member count once).
        one_per_source: at most one box of a source in a cluster: a detector that gives two overlapping boxes means two faces.
            False is the published algorithm, for comparisons: any number of boxes per source, walked by weight x score, score of
            `wbf` as `conf_type="avg"` of ensemble-boxes.
        sigma: `soft_nms` multiplies the score of a box by exp(-IoU^2 / sigma).
        faded_below: `soft_nms` drops a box once its score has faded below this.

    Raises:
        ValueError: for a value outside its range.
    """

    rule: Literal["nms", "soft_nms", "nmw", "wbf", "vote", "stack"] = "wbf"
    iou: float = 0.5
    min_votes: int = 1
    one_per_source: bool = True
    sigma: float = 0.5
    faded_below: float = 0.001

    def __post_init__(self) -> None:
        if self.rule not in ("nms", "soft_nms", "nmw", "wbf", "vote", "stack"):
            raise ValueError(f"rule: got {self.rule!r}, expected nms, soft_nms, nmw, wbf, vote or stack")
        if not 0 < self.iou < 1 or not self.sigma > 0 or self.min_votes < 1:
            raise ValueError(f"fusion: got {self}, expected 0 < iou < 1, sigma > 0 and min_votes >= 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fused:
    """Fused boxes, best score first, and where each input row went.

    Attributes:
        boxes: (k, 4) float32 x1 y1 x2 y2 in the pixels of the input.
        scores: (k,) float32.
        membership: (n,) fused box that each input row belongs to (rows of all lists one after the other); -1 = none. A box that
            `nms` or `soft_nms` suppressed belongs to the box that suppressed it.
        source: (n,) list that each input row came from.
    """

    boxes: Float32Array
    scores: Float32Array
    membership: IntArray
    source: IntArray

    def __len__(self) -> int:
        return len(self.boxes)


def fuse_boxes(lists: Sequence[Faces], sources: Sequence[Source], settings: FusionSettings) -> Fused:
    """Fuse lists of boxes of one picture.

    The result does not depend on the order of the lists or of the rows in them: rows are walked by score, and equal scores by
    geometry. Rows without area belong to no face.

    Args:
        lists: boxes in pixels of one picture, scores 0..1 that are comparable between the lists (calibrated).
        sources: who made each list; empty lists stay in (their silence counts).
        settings: rule and thresholds.

    Raises:
        ValueError: if lists and sources differ in number, or a list has coordinates that are not finite, inverted boxes or
            scores outside 0..1.
    """
    check_lists(lists, sources)
    source = np.repeat(np.arange(len(lists)), [len(faces) for faces in lists])
    every = Faces.concat(lists)
    boxes, scores = every.boxes.astype(np.float64), every.scores.astype(np.float64)
    weight = np.array([s.weight for s in sources], np.float64)[source] if len(source) else np.zeros(0)
    solid = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    key = scores if settings.one_per_source else scores * weight
    order = solid[_walking_order(boxes[solid], key[solid], source[solid], lists, sources)]
    rows = Rows(
        boxes=boxes[order],
        weights=weight[order] * np.maximum(scores[order], _SCORE_FLOOR),
        source=source[order],
        sources=len(lists),
    )
    picture = _Picture(rows=rows, scores=scores[order], weight=weight[order], sources=sources, settings=settings)
    cluster, fused, fused_scores = picture.soft_nms() if settings.rule == "soft_nms" else picture.clustered()
    return picture.best_first(cluster, fused, fused_scores, order, source)


def check_lists(lists: Sequence[Faces], sources: Sequence[Source]) -> None:
    """Refuse what cannot be fused.

    Raises:
        ValueError: says which list and what is wrong with it.
    """
    if len(lists) != len(sources):
        raise ValueError(f"fusion: got {len(lists)} lists and {len(sources)} sources, expected one source per list")
    for number, faces in enumerate(lists):
        if not np.isfinite(faces.boxes).all():
            raise ValueError(f"fusion: list {number} has boxes that are not finite; drop them first")
        if (faces.boxes[:, 2:] < faces.boxes[:, :2]).any():
            raise ValueError(f"fusion: list {number} has inverted boxes, expected x1 <= x2 and y1 <= y2; drop them first")
        if not ((faces.scores >= 0) & (faces.scores <= 1)).all():
            raise ValueError(f"fusion: list {number} has scores outside 0..1; calibrate or clip them first")


def _walking_order(
    boxes: Float64Array, key: Float64Array, source: IntArray, lists: Sequence[Faces], sources: Sequence[Source]
) -> IntArray:
    """Rows by falling key; equal keys by geometry (large and high up first), so that the order of the lists has no say."""
    order = np.argsort(-key, kind="stable")
    same = np.diff(key[order]) == 0
    tied = np.flatnonzero(np.r_[False, same] | np.r_[same, False])
    if not len(tied):
        return order
    rows = order[tied]
    x1, y1, x2, y2 = boxes[rows].T
    # Left and right come last: a mirrored picture then gives the mirrored result unless all else is equal.
    geometry = (x2, x1, y2, y1, -(x2 - x1) * (y2 - y1), -key[rows])
    rows = rows[np.lexsort(geometry)]
    if ((np.diff(key[rows]) == 0) & (np.diff(boxes[rows], axis=0) == 0).all(axis=1)).any():
        rows = order[tied][np.lexsort((_standing(lists, sources)[source[order[tied]]], *geometry))]
    order[tied] = rows
    return order


def _standing(lists: Sequence[Faces], sources: Sequence[Source]) -> IntArray:
    """(lists,) rank of each list by what it says, for rows that are the same in two of them."""
    content = []
    for faces, source in zip(lists, sources, strict=True):
        table = np.column_stack([faces.scores, faces.boxes])
        table = table[np.lexsort(table.T)]
        content.append((source.weight, source.min_side, source.max_side, table.tobytes()))
    rank = np.zeros(len(lists), np.intp)
    rank[sorted(range(len(lists)), key=content.__getitem__)] = np.arange(len(lists))
    return rank


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Picture:
    """All rows of one picture in walking order, on their way to fused boxes."""

    rows: Rows
    scores: Float64Array
    weight: Float64Array
    sources: Sequence[Source]
    settings: FusionSettings

    def soft_nms(self) -> tuple[IntArray, Float64Array, Float64Array]:
        """Cluster (row number of its box, -1 = none) of each row; box and score of each row that is a cluster."""
        settings = self.settings
        faded, cluster = soft_nms(self.rows.boxes, self.scores, sigma=settings.sigma, faded_below=settings.faded_below)
        return cluster, self.rows.boxes, faded

    def clustered(self) -> tuple[IntArray, Float64Array, Float64Array]:
        """As `soft_nms`, for the rules that cluster."""
        rule, rows = self.settings.rule, self.rows
        moving = rule in ("wbf", "vote", "stack")
        cluster = cluster_rows(rows, threshold=self.settings.iou, moving=moving, exclusive=self.settings.one_per_source)
        boxes = rows.boxes
        if rule != "nms":
            near = pair_iou(rows.boxes, rows.boxes[cluster]) if rule == "nmw" else 1.0
            boxes = self._means(cluster, rows.weights * near)
        if moving:
            return cluster, boxes, self._mean_scores(cluster, boxes)
        if self.settings.one_per_source or rule == "nms":
            return cluster, boxes, self.scores
        return cluster, boxes, self.scores * self.weight / max(s.weight for s in self.sources)

    def _sum(self, cluster: IntArray, values: Float64Array) -> Float64Array:
        return np.asarray(np.bincount(cluster, weights=values, minlength=len(self.rows)))

    def _means(self, cluster: IntArray, weights: Float64Array) -> Float64Array:
        """(n, 4) weighted mean box of the cluster of each founder; other rows hold nothing of use."""
        mass = np.maximum(self._sum(cluster, weights), np.finfo(np.float64).tiny)
        return np.stack([self._sum(cluster, weights * edge) / mass for edge in self.rows.boxes.T], axis=1)

    def _mean_scores(self, cluster: IntArray, boxes: Float64Array) -> Float64Array:
        """(n,) score of the cluster of each founder, for the rules that average."""
        n, s = len(self.rows), len(self.sources)
        given = self._sum(cluster, self.weight * self.scores)
        if self.settings.rule == "vote":
            return np.asarray(given / np.maximum(self._sum(cluster, self.weight), np.finfo(np.float64).tiny))
        weights = np.array([source.weight for source in self.sources], np.float64)
        if not self.settings.one_per_source:
            count = np.maximum(np.bincount(cluster, minlength=n), 1)
            return np.asarray(given * np.minimum(count, s) / count / weights.sum())
        # A source counts if it saw the face or could have seen it: one of n does not keep its full score (seed bug B3).
        asked = could_see(boxes, self.sources)
        asked[cluster, self.rows.source] = True
        return np.asarray(given / np.maximum(asked @ weights, np.finfo(np.float64).tiny))

    def best_first(self, cluster: IntArray, boxes: Float64Array, scores: Float64Array, order: IntArray, source: IntArray) -> Fused:
        """Number the clusters that have enough votes by falling score and lead every input row to its own."""
        n = len(self.rows)
        founders = np.flatnonzero(cluster == np.arange(n))
        founders = founders[self._votes(cluster)[founders] >= self.settings.min_votes]
        founders = founders[np.argsort(-scores[founders], kind="stable")]
        number = np.full(n + 1, -1, np.intp)  # the last entry is where -1 leads
        number[founders] = np.arange(len(founders))
        membership = np.full(len(source), -1, np.intp)
        membership[order] = number[cluster]
        return Fused(
            boxes=boxes[founders].astype(np.float32),
            scores=scores[founders].astype(np.float32),
            membership=membership,
            source=source,
        )

    def _votes(self, cluster: IntArray) -> IntArray:
        """(n,) distinct members in the cluster of each founder."""
        member = np.array([s.member for s in self.sources], np.intp)
        seen = np.zeros((len(self.rows) + 1, int(member.max(initial=-1)) + 1), np.bool_)
        seen[cluster, member[self.rows.source]] = True
        return np.asarray(seen[:-1].sum(axis=1), dtype=np.intp)
