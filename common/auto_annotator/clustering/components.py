"""Parts of a graph that can be optimised apart from each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.potts import Labels

BATCH_EDGES = 1_000_000
"""Edges of a batch of components: a second of work, so that sending it does not count."""

Batch = npt.NDArray[np.intp]
"""(m,) the nodes of some components, in rising order."""


def component_batches(graph: Any, start: Labels | None, *, batch_edges: int = BATCH_EDGES) -> list[Batch]:
    """The connected components with edges, several to a batch.

    Nodes that begin in one community belong together as those with an edge do: they leave it one by one.

    Args:
        graph: (n, n) symmetric sparse matrix.
        start: (n,) first partition, None = everybody alone.
        batch_edges: a batch is closed when it has so many; a component is never divided.
    """
    from scipy.sparse import coo_matrix, csr_matrix
    from scipy.sparse.csgraph import connected_components

    n = graph.shape[0]
    # Every stored entry joins, a weight of zero too: what it joins is looked at in one go.
    joined = csr_matrix((np.ones(graph.nnz, np.int32), graph.indices, graph.indptr), shape=(n, n))
    if start is not None:
        order = np.argsort(start, kind="stable")
        same = start[order[1:]] == start[order[:-1]]
        pairs = order[:-1][same], order[1:][same]
        joined = joined + coo_matrix((np.ones(len(pairs[0]), np.int32), pairs), shape=(n, n)).tocsr()
    _, component = connected_components(joined, directed=False)
    edges = np.bincount(component, weights=np.diff(graph.indptr)).astype(np.int64)
    number = np.cumsum(edges) // batch_edges
    number[edges == 0] = -1
    batch = number[component]
    order = np.argsort(batch, kind="stable")
    ends = np.flatnonzero(np.diff(batch[order])) + 1
    return [part for part in np.split(order, ends) if len(part) and batch[part[0]] >= 0]
