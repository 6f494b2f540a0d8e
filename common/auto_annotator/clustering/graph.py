"""From neighbour lists to a graph: link probability times the overlap of neighbourhoods."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from auto_annotator.clustering.neighbours import NeighbourLists

EDGE_FLOOR = 0.02
"""Edges below it are dropped: they cost memory and hold nothing together."""


def edge_weights(lists: NeighbourLists, links: npt.NDArray[np.float32], first: int, last: int) -> npt.NDArray[np.float32]:
    """Weight of each entry of the lists of faces `first` to `last`: link probability times soft overlap of neighbourhoods.

    The overlap of i and j is sum_t min(L_it, L_jt) / min(sum_t L_it, sum_t L_jt) over all t, each face its own neighbour with
    L = 1. Divided by the smaller neighbourhood it is near 1 for two photos of someone seen twice as for two of someone seen
    500 times; the raw overlap of FC-ES is not.

    Args:
        lists: of all faces, rows in rising order.
        links: (m,) link probability of each entry.
        first: first face.
        last: one past the last face.
    """
    return np.asarray(_overlaps(lists.starts, lists.rows, links, first, last), np.float32)


@njit(cache=True, parallel=True)  # type: ignore[untyped-decorator]
def _overlaps(starts: Any, rows: Any, links: Any, first: int, last: int) -> Any:
    n = len(starts) - 1
    total = np.ones(n, np.float32)
    for i in range(n):
        for e in range(starts[i], starts[i + 1]):
            total[i] += links[e]
    base = starts[first]
    out = np.zeros(starts[last] - base, np.float32)
    for i in prange(first, last):
        for e in range(starts[i], starts[i + 1]):
            j = rows[e]
            shared = links[e]  # t = j
            a, b = starts[i], starts[j]
            while a < starts[i + 1] and b < starts[j + 1]:
                if rows[a] < rows[b]:
                    a += 1
                elif rows[a] > rows[b]:
                    if rows[b] == i:  # t = i
                        shared += links[b]
                    b += 1
                else:
                    shared += min(links[a], links[b])
                    a += 1
                    b += 1
            while b < starts[j + 1]:
                if rows[b] == i:
                    shared += links[b]
                b += 1
            overlap = shared / min(total[i], total[j])
            out[e - base] = links[e] * min(np.float32(1.0), overlap)
    return out


def symmetric_graph(lists: NeighbourLists, weights: npt.NDArray[np.float32]) -> Any:
    """(n, n) sparse matrix: an edge is as strong as its stronger direction; no loops, sorted rows."""
    import scipy.sparse as sparse

    n = len(lists)
    keep = weights >= EDGE_FLOOR
    counts = (
        np.add.reduceat(np.append(keep, False), lists.starts[:-1].clip(max=len(keep))).astype(np.int64)
        if len(keep)
        else np.zeros(n, np.int64)
    )
    counts[np.diff(lists.starts) == 0] = 0
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    graph = sparse.csr_matrix((weights[keep], lists.rows[keep], starts), shape=(n, n))
    graph = graph.maximum(graph.T.tocsr())
    graph.sort_indices()
    return graph
