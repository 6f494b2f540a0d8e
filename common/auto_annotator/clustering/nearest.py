"""The clusters nearest to faces: exact below `EXACT_CLUSTERS` comparisons, candidates from an inverted file above."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import SCALE, Grid
from auto_annotator.clustering.merging import Groups

BLOCK = 8192


def nearest_clusters(
    grid: Grid, rows: npt.NDArray[np.intp], groups: Groups, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The clusters whose centroids are most like some faces.

    Args:
        grid: all vectors.
        rows: (m,) the faces.
        groups: the clusters.
        count: how many of them.

    Returns:
        (m, count) cluster numbers, best first, -1 where there are fewer, and (m, count) cosines, -1 there.
    """
    import faiss

    found = np.full((len(rows), count), -1, np.int64)
    scores = np.full((len(rows), count), -1.0)
    centres = np.rint(groups.sums / groups.norms[:, None] * SCALE).astype(np.float32)
    k = min(count, len(centres))
    if not k:
        return found, scores
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        best, number = faiss.knn(grid[rows[part]].astype(np.float32), centres, k, metric=faiss.METRIC_INNER_PRODUCT)
        found[part, :k], scores[part, :k] = number, best / (SCALE * SCALE)
    return found, scores
