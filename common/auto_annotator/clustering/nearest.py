"""The clusters nearest to faces: by comparison with all of them where that is little work, else with those that can matter.

Centroids are rounded to the grid as vectors are, so a cosine is one number however it comes about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from auto_annotator.clustering.exact import SCALE, Grid
from auto_annotator.clustering.merging import Groups
from auto_annotator.clustering.neighbours import NeighbourLists, exact_search, inverted_search
from auto_annotator.clustering.potts import Labels

BLOCK = 8192

EXACT_COMPARISONS = 10**9
"""Above so many pairs of a face and a cluster (10 s on two cores at 512 numbers) only candidates are compared."""

KIN_FROM = 3
"""Faces of a cluster may have nobody else in their lists, and centroids are more alike than faces are. Of clusters of so many
faces the neighbours of the centroid are candidates, too; of smaller ones, which are most, the lists say enough."""

Nearest = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""(m, count) cluster numbers, best first, -1 where there are fewer, and (m, count) cosines, -1 there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """Faces whose neighbours are known.

    Attributes:
        faces: (c,) their rows.
        lists: neighbours of each, as positions in `faces`.
    """

    faces: npt.NDArray[np.intp]
    lists: NeighbourLists


def nearest_clusters(grid: Grid, rows: npt.NDArray[np.intp], centres: Grid, count: int) -> Nearest:
    """The clusters whose centroids are most like some faces; of very many, those that an inverted file finds.

    Args:
        grid: all vectors.
        rows: (m,) the faces.
        centres: (k, d) centroids.
        count: how many of them.
    """
    found, scores = np.full((len(rows), count), -1, np.int64), np.full((len(rows), count), -1.0)
    k = min(count, len(centres))
    if not k or not len(rows):
        return found, scores
    search = exact_search(centres) if len(rows) * len(centres) <= EXACT_COMPARISONS else inverted_search(centres)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        best, number = search(grid[rows[part]].astype(np.float32), k)
        found[part, :k], scores[part, :k] = number, np.where(number >= 0, best / (SCALE * SCALE), -1.0)
    return found, scores


def two_nearest(grid: Grid, labels: Labels, groups: Groups, listed: Listed | None) -> Nearest:
    """The two nearest clusters of every face.

    Where faces times clusters are too many, the candidates of a face with known neighbours are their clusters, its own one and,
    unless that is tiny, the two nearest to it.

    Args:
        grid: (n, d) all vectors.
        labels: (n,) cluster of each, -1 = none.
        groups: the clusters.
        listed: whose neighbours are known; None = nobody's.
    """
    centres = groups.centres()
    if listed is None or len(grid) * len(centres) <= EXACT_COMPARISONS:
        return nearest_clusters(grid, np.arange(len(grid)), centres, 2)
    found, scores = np.full((len(grid), 2), -1, np.int64), np.full((len(grid), 2), -1.0)
    others = np.setdiff1d(np.arange(len(grid)), listed.faces, assume_unique=True)
    found[others], scores[others] = nearest_clusters(grid, others, centres, 2)
    large = np.flatnonzero(groups.sizes >= KIN_FROM)
    kin = np.full((len(centres), 3), -1, np.int64)
    kin[large], _ = nearest_clusters(centres, large, centres, 3)
    own, whole = labels[listed.faces], centres.astype(np.int16)
    for start in range(0, len(listed.faces), BLOCK):
        faces = listed.faces[start : start + BLOCK]
        vectors = grid[faces].astype(np.int16)
        best, number = _two_best(listed.lists.starts, listed.lists.rows, own, kin, whole, vectors, start)
        found[faces], scores[faces] = number, np.where(number >= 0, best / (SCALE * SCALE), -1.0)
    return found, scores


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _two_best(starts: Any, rows: Any, labels: Any, kin: Any, centres: Any, vectors: Any, first: int) -> Any:
    """Whole-number products with the two best candidates of each face; of equal ones the smaller numbers."""
    best = np.full((len(vectors), 2), -(2**31), np.int64)
    number = np.full((len(vectors), 2), -1, np.int64)
    for i in prange(len(vectors)):
        face = first + i
        length = starts[face + 1] - starts[face]
        looked, count = np.empty(length + 1 + kin.shape[1], np.int64), 0
        own = labels[face]
        for e in range(len(looked)):
            if e < length:
                c = labels[rows[starts[face] + e]]
            elif e == length:
                c = own
            else:
                c = kin[own, e - length - 1] if own >= 0 else -1
            known = c < 0
            for t in range(count):
                known = known or looked[t] == c
            if known:
                continue
            looked[count] = c
            count += 1
            product = np.int32(0)
            for d in range(vectors.shape[1]):
                product += np.int32(vectors[i, d]) * np.int32(centres[c, d])
            if product > best[i, 0] or (product == best[i, 0] and c < number[i, 0]):
                best[i, 1], number[i, 1] = best[i, 0], number[i, 0]
                best[i, 0], number[i, 0] = product, c
            elif product > best[i, 1] or (product == best[i, 1] and c < number[i, 1]):
                best[i, 1], number[i, 1] = product, c
    return best, number
