"""Communities of a signed graph by the constant Potts model.

Maximised is the sum over pairs of one community of (edge weight - gamma) (Traag, Van Dooren, Nesterov 2011), by local moving with
a queue and aggregation as in the Louvain and Leiden methods. Weights may be negative, which is how pairs that must not be
together enter. Everything runs in the order of the faces' numbers, so the result is a function of the graph alone, and a
component of the graph comes out the same alone or among others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Labels = npt.NDArray[np.int64]

PASSES = 50
"""A face is looked at most this often on average; real graphs need three to five."""

CYCLES = 4
"""Rounds of aggregation, then of single moves again; later rounds move next to nothing."""

GAIN_FLOOR = 1e-9


def communities(graph: Any, sizes: npt.NDArray[np.float64], *, resolution: float, start: Labels | None = None) -> Labels:
    """Community of each node, numbered by first appearance.

    Args:
        graph: (n, n) symmetric sparse matrix without loops, sorted rows.
        sizes: (n,) how many faces each node stands for.
        resolution: gamma.
        start: first partition (warm start); None = everybody alone.
    """
    labels = np.arange(graph.shape[0]) if start is None else by_appearance(start)
    for _ in range(CYCLES):
        before = labels
        labels = _louvain(graph, sizes, resolution, labels)
        if np.array_equal(before, labels):
            break
    return labels


def by_appearance(labels: npt.NDArray[np.integer]) -> Labels:
    """The same partition numbered 0, 1, ... in the order of each group's first member."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[inverse.reshape(-1)], np.int64)


def _louvain(graph: Any, sizes: npt.NDArray[np.float64], resolution: float, start: Labels) -> Labels:
    """Single moves from a given partition, then moves of whole groups until none helps."""
    total = np.arange(graph.shape[0])
    labels, first = start.copy(), True
    while True:
        _move(graph.indptr, graph.indices, graph.data, sizes, labels, resolution)
        groups = by_appearance(labels)
        total = groups[total]
        count = int(groups.max(initial=-1)) + 1
        if count == graph.shape[0] and not first:
            return total
        first = False
        graph = aggregate(graph, groups, count)
        sizes = np.bincount(groups, weights=sizes, minlength=count).astype(np.float64)
        labels = np.arange(count, dtype=np.int64)


def aggregate(graph: Any, groups: Labels, count: int) -> Any:
    """The graph between groups: summed weights, no loops."""
    import scipy.sparse as sparse

    edges = graph.tocoo()
    rows, columns = groups[edges.row], groups[edges.col]
    between = rows != columns
    out = sparse.coo_matrix(
        (edges.data[between].astype(np.float64), (rows[between], columns[between])), shape=(count, count)
    ).tocsr()
    out.sort_indices()
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(starts: Any, rows: Any, weights: Any, sizes: Any, labels: Any, gamma: float) -> int:
    """Move single nodes while that helps; `labels` changes in place. Returns the number of moves."""
    n = len(starts) - 1
    mass = np.zeros(n, np.float64)
    for i in range(n):
        mass[labels[i]] += sizes[i]
    empty, empties = np.empty(n, np.int64), 0
    for c in range(n - 1, -1, -1):
        if mass[c] == 0:
            empty[empties] = c
            empties += 1
    pull, seen, touched = np.zeros(n, np.float64), np.zeros(n, np.bool_), np.empty(n, np.int64)
    queue, waiting = np.arange(n), np.ones(n, np.bool_)
    head, length, moves, budget = 0, n, 0, PASSES * n
    while length > 0 and budget > 0:
        budget -= 1
        i = queue[head]
        head = head + 1 if head + 1 < n else 0
        length -= 1
        waiting[i] = False
        own, count = labels[i], 0
        for e in range(starts[i], starts[i + 1]):
            c = labels[rows[e]]
            if not seen[c]:
                seen[c] = True
                touched[count] = c
                count += 1
            pull[c] += weights[e]
        stay = pull[own] - gamma * sizes[i] * (mass[own] - sizes[i])
        best, target = 0.0, -1  # alone
        for t in range(count):
            c = touched[t]
            if c != own:
                gain = pull[c] - gamma * sizes[i] * mass[c]
                if gain > best + GAIN_FLOOR:
                    best, target = gain, c
        for t in range(count):
            pull[touched[t]] = 0.0
            seen[touched[t]] = False
        if best <= stay + GAIN_FLOOR or (target == -1 and mass[own] == sizes[i]):
            continue
        if target == -1:
            empties -= 1
            target = empty[empties]
        mass[own] -= sizes[i]
        if mass[own] == 0:
            empty[empties] = own
            empties += 1
        mass[target] += sizes[i]
        labels[i] = target
        moves += 1
        for e in range(starts[i], starts[i + 1]):
            j = rows[e]
            if labels[j] != target and not waiting[j]:
                waiting[j] = True
                tail = head + length
                queue[tail if tail < n else tail - n] = j
                length += 1
    return moves
