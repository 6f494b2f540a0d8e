"""Merging of clusters whose centroids are alike, best pairs first, and the merges that only a person should make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import SCALE, Grid
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.potts import Labels, by_appearance
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.settings import ClusteringSettings

WEIGHT_STEPS = 16
"""Quality weights are whole numbers of sixteenths, so that sums of weighted vectors are exact in any order."""

PAIR_BLOCK = 16_384
"""Rows of vectors of 8 bytes a number at once: 64 MB at 512 numbers."""

LIST_BLOCK = 262_144
"""Faces whose lists are turned into pairs of clusters at once."""

MAX_ROUNDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """Clusters as sums of their members' vectors.

    Attributes:
        sums: (k, d) float64 sums of whole-number vectors times whole-number weights.
        norms: (k,) float64 their lengths.
        sizes: (k,) int64 members.
    """

    sums: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, grid: Grid, labels: Labels, quality: npt.NDArray[np.float32]) -> Groups:
        """Sum up the members of each label 0..k-1; every member counts by its quality."""
        k = int(labels.max(initial=-1)) + 1
        weights = quality_steps(quality)
        sums = np.zeros((k, grid.shape[1]), np.float64)
        order = np.argsort(labels, kind="stable")
        order = order[labels[order] >= 0]
        for start in range(0, len(order), PAIR_BLOCK):
            part = order[start : start + PAIR_BLOCK]
            owners, starts = np.unique(labels[part], return_index=True)
            sums[owners] += np.add.reduceat(grid[part].astype(np.float64) * weights[part, None], starts, axis=0)
        return cls.from_sums(sums, np.bincount(labels[labels >= 0], minlength=k))

    @classmethod
    def from_sums(cls, sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> Groups:
        """From sums already made."""
        return cls(sums=sums, norms=np.sqrt(np.einsum("ij,ij->i", sums, sums)).clip(1e-9), sizes=sizes)

    def centres(self) -> Grid:
        """(k, d) the centroids, rounded to the grid."""
        out = np.empty(self.sums.shape, np.float16)
        for start in range(0, len(out), PAIR_BLOCK):
            part = slice(start, start + PAIR_BLOCK)
            out[part] = np.rint(self.sums[part] / self.norms[part, None] * SCALE)
        return out

    def cosine(self, first: Labels, second: Labels) -> npt.NDArray[np.float64]:
        """(m,) cosine of the centroids of m pairs."""
        out = np.empty(len(first), np.float64)
        for start in range(0, len(first), PAIR_BLOCK):
            a, b = first[start : start + PAIR_BLOCK], second[start : start + PAIR_BLOCK]
            out[start : start + PAIR_BLOCK] = np.einsum("ij,ij->i", self.sums[a], self.sums[b]) / (self.norms[a] * self.norms[b])
        return out


def quality_steps(quality: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Whole-number weights 1..16 of faces by quality."""
    return np.clip(np.rint(quality * WEIGHT_STEPS), 1, WEIGHT_STEPS).astype(np.float64)


Pairs = npt.NDArray[np.int64]
"""(m, 2) pairs of cluster numbers, the smaller number first, in rising order, each once."""

Blocked = Callable[[Pairs], npt.NDArray[np.bool_]]
"""Pairs of present clusters -> which of them must stay apart."""


def merge_limit(groups: Groups, pairs: Pairs, model: ScoreModel, settings: ClusteringSettings) -> npt.NDArray[np.float64]:
    """(m,) centroid cosine from which two clusters merge.

    Strangers' centroids are no more alike than strangers, however large the clusters; those of one person come closer with
    every face. So the limit rises with the size of the smaller cluster, from a link of two faces to `merge_similarity`: what
    large clusters of look-alikes (families, twins) reach must not be enough, and single faces could never reach it.
    """
    small = groups.sizes[pairs].min(axis=1)
    share = (1 - 1 / small) ** 2
    single, many = model.above(settings.merge_sigmas), model.stretched(settings.merge_similarity)
    return np.asarray(single + (max(many, single) - single) * share)


def merge_groups(
    groups: Groups, pairs: Pairs, model: ScoreModel, settings: ClusteringSettings, blocked: Callable[[Labels], Blocked]
) -> Labels:
    """Merge mutually best pairs until no pair passes its limit.

    Args:
        groups: the clusters; changed.
        pairs: those that are near enough to be looked at.
        model: what cosines mean.
        settings: limits.
        blocked: for a mapping of the clusters given to present ones, says which pairs of present ones must stay apart.

    Returns:
        (k,) new cluster of each cluster, by first appearance.
    """
    k = len(groups.sizes)
    mapping = np.arange(k)
    excess = _excess(groups, pairs, model, settings)
    for _ in range(MAX_ROUNDS):
        passing = np.flatnonzero(excess >= 0)
        if len(passing):
            passing = passing[~blocked(mapping)(pairs[passing])]
        chosen = pairs[passing[_mutually_best(pairs[passing], excess[passing], k)]]
        if not len(chosen):
            break
        groups = _joined(groups, chosen)
        target = np.arange(k)
        target[chosen[:, 1]] = chosen[:, 0]
        mapping = target[mapping]
        stale = np.isin(pairs, chosen).any(axis=1)
        new = unique_pairs(target[pairs[stale]])
        pairs = np.concatenate([pairs[~stale], new])
        excess = np.concatenate([excess[~stale], _excess(groups, new, model, settings)])
    return by_appearance(mapping)


def _excess(groups: Groups, pairs: Pairs, model: ScoreModel, settings: ClusteringSettings) -> npt.NDArray[np.float64]:
    """(m,) how far two clusters are above their limit."""
    return groups.cosine(pairs[:, 0], pairs[:, 1]) - merge_limit(groups, pairs, model, settings)


def _joined(groups: Groups, chosen: Pairs) -> Groups:
    """The second cluster of each pair added to the first and left empty; no cluster is in two pairs. In place: k can be large."""
    first, second = chosen.T
    for values in (groups.sums, groups.sizes):
        values[first] += values[second]
        values[second] = 0
    groups.norms[first] = np.sqrt(np.einsum("ij,ij->i", groups.sums[first], groups.sums[first])).clip(1e-9)
    return groups


def unique_pairs(pairs: npt.NDArray[np.integer]) -> Pairs:
    """Pairs of different numbers, the smaller first, in rising order, each once."""
    ordered = np.sort(np.asarray(pairs, np.int64).reshape(-1, 2), axis=1)
    ordered = ordered[ordered[:, 0] != ordered[:, 1]]
    width = int(ordered.max(initial=0)) + 1
    codes = np.unique(ordered[:, 0] * width + ordered[:, 1])
    return np.stack([codes // width, codes % width], axis=1)


def _mutually_best(pairs: Pairs, excess: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    """Pairs that are the best of both their ends; of equal ones the first."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -excess))
    best = np.full(count, -1)
    ends = pairs[order].reshape(-1)
    owners, first = np.unique(ends, return_index=True)
    best[owners] = order[first // 2]
    number = np.arange(len(pairs))
    return np.asarray((best[pairs[:, 0]] == number) & (best[pairs[:, 1]] == number), np.bool_)


def near_pairs(lists: NeighbourLists, labels: Labels) -> Pairs:
    """Pairs of clusters between which some face has a neighbour; a face of no cluster (-1) has none."""
    found = []
    for first in range(0, len(lists), LIST_BLOCK):
        starts = lists.starts[first : first + LIST_BLOCK + 1]
        one = np.repeat(labels[first : first + LIST_BLOCK], np.diff(starts))
        other = labels[lists.rows[starts[0] : starts[-1]]]
        apart = (one != other) & (one >= 0) & (other >= 0)
        found.append(unique_pairs(np.stack([one[apart], other[apart]], axis=1)))
    return unique_pairs(np.concatenate(found)) if found else np.zeros((0, 2), np.int64)
