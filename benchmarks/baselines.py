"""Peers of the clustering, all on one exact graph of nearest neighbours, each with a threshold on the cosine.

A method takes a `Graph` and one parameter and returns labels, -1 = unknown. `METHODS` holds the grid each is tried over and the
default that its makers ship. None of them sees pictures, human words or quality.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.common import NotAvailable

NEIGHBOURS = 200
"""Neighbours kept per face; a cosine below that of the last one is unknown to the graph methods."""

QUERY_ROWS = 1024
DENSE_LIMIT = 15_000
"""Largest set for the methods that need all pairs."""

SAMPLE = 20_000
"""Random pairs that tell the cosine of strangers."""

IMMICH_CORE = 3
IMMICH_DISTANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Faces and their nearest others.

    Attributes:
        vectors: (n, d) float32 unit rows.
        neighbours, cosines: (n, k) int32 and float32, nearest first, without the face itself.
    """

    vectors: np.ndarray
    neighbours: np.ndarray
    cosines: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def edges(self, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Undirected edges from `threshold` up, each once: first < second, cosine."""
        rows, places = np.nonzero(self.cosines >= threshold)
        columns = self.neighbours[rows, places].astype(np.int64)
        low, high = np.minimum(rows, columns), np.maximum(rows, columns)
        _, first = np.unique(low * len(self) + high, return_index=True)
        return low[first], high[first], self.cosines[rows, places][first]


def build_graph(vectors: np.ndarray, *, neighbours: int = NEIGHBOURS) -> Graph:
    """The exact nearest others of each face by cosine, in blocks."""
    import faiss

    vectors = np.ascontiguousarray(vectors, np.float32)
    n, k = len(vectors), min(neighbours, len(vectors) - 1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    found, cosines = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    for start in range(0, n, QUERY_ROWS):
        values, numbers = index.search(vectors[start : start + QUERY_ROWS], k + 1)
        rows = start + np.arange(len(numbers))
        others = numbers != rows[:, None]
        others[others.all(axis=1), -1] = False  # more than k equal faces hid the face itself
        found[rows], cosines[rows] = numbers[others].reshape(-1, k), values[others].reshape(-1, k)
    return Graph(vectors=vectors, neighbours=found, cosines=cosines)


def dbscan(graph: Graph, threshold: float, *, core: int = 1) -> np.ndarray:
    """Density clusters at a least cosine; with `core` 1 they are the connected components.

    A face is a core when at least `core` faces, itself included, are that near; others join their nearest core or stay unknown.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    near = graph.cosines >= threshold
    is_core = near.sum(axis=1) + 1 >= core
    first, second, _ = graph.edges(threshold)
    both = is_core[first] & is_core[second]
    links = coo_array((np.ones(both.sum()), (first[both], second[both])), shape=(len(graph), len(graph)))
    labels = connected_components(links, directed=False)[1].astype(np.int64)
    reachable = near & is_core[graph.neighbours]
    nearest_core = graph.neighbours[np.arange(len(graph)), reachable.argmax(axis=1)]
    return np.where(is_core, labels, np.where(reachable.any(axis=1), labels[nearest_core], -1))


def immich(graph: Graph, threshold: float) -> np.ndarray:
    """What Immich does: a person needs three faces within the distance; a face takes the person of its nearest core."""
    return dbscan(graph, threshold, core=IMMICH_CORE)


def chinese_whispers(graph: Graph, threshold: float, *, rounds: int = 20, seed: int = 0) -> np.ndarray:
    """Label propagation over the edges from `threshold` up, weighted by cosine."""
    first, second, cosine = graph.edges(threshold)
    rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], np.arange(len(graph) + 1)).tolist()
    columns, weights = columns[order], np.concatenate([cosine, cosine])[order]
    labels, rng = np.arange(len(graph)), np.random.default_rng(seed)
    for _ in range(rounds):
        changed = 0
        for face in rng.permutation(len(graph)).tolist():
            low, high = starts[face], starts[face + 1]
            if low == high:
                continue
            names, places = np.unique(labels[columns[low:high]], return_inverse=True)
            best = names[np.bincount(places, weights[low:high]).argmax()]
            changed += best != labels[face]
            labels[face] = best
        if not changed:
            break
    return labels


def average_linkage(graph: Graph, threshold: float) -> np.ndarray:
    """Agglomeration by the mean cosine between all faces of two clusters."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    _all_pairs(graph)
    if _tree.get("graph") is not graph:
        _tree.update(graph=graph, links=linkage(pdist(graph.vectors.astype(np.float32), "cosine"), "average"))
    return fcluster(_tree["links"], 1 - threshold, "distance")


_tree: dict[str, Any] = {}
"""The tree of the last graph: a threshold only cuts it."""


def hdbscan(graph: Graph, size: float) -> np.ndarray:
    """scikit-learn's HDBSCAN with a least cluster size."""
    from sklearn.cluster import HDBSCAN

    _all_pairs(graph)
    return HDBSCAN(min_cluster_size=int(size), min_samples=1, copy=True).fit_predict(graph.vectors)


def map_equation(graph: Graph, threshold: float) -> np.ndarray:
    """NetworKit's map equation over the edges from `threshold` up, weighted by cosine."""
    networkit = _optional("networkit", "pip install networkit")
    networkit.engineering.setSeed(0, False)
    network = networkit.GraphFromCoo(
        (graph.edges(threshold)[2].astype(float), graph.edges(threshold)[:2]), n=len(graph), weighted=True
    )
    found = networkit.community.LouvainMapEquation(network, True, 32, "none")
    found.run()
    return np.asarray(found.getPartition().getVector())


def infomap(graph: Graph, threshold: float) -> np.ndarray:
    """Infomap over the same edges, when the user has installed it (GPL: never a dependency)."""
    package = _optional("infomap", "pip install infomap (GPL-3)")
    runner = package.Infomap("--two-level --flow-model undirected --silent --seed 1")
    first, second, cosine = graph.edges(threshold)
    runner.add_links(zip(first.tolist(), second.tolist(), cosine.tolist(), strict=True))
    runner.run()
    labels = np.full(len(graph), -1)
    for node in runner.nodes:
        labels[node.node_id] = node.module_id
    return labels


def _optional(name: str, how: str):  # noqa: ANN202
    if importlib.util.find_spec(name) is None:
        raise NotAvailable(f"{name} is not installed ({how})")
    return importlib.import_module(name)


def _all_pairs(graph: Graph) -> None:
    if len(graph) > DENSE_LIMIT:
        raise NotAvailable(f"needs all pairs: got {len(graph)} faces, at most {DENSE_LIMIT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A peer: its function, the parameters it is tried with, and the one it ships with (None = it has none)."""

    run: Callable[[Graph, float], np.ndarray]
    grid: Sequence[float]
    default: float | None
    parameter: str = "cosine"

    def on(self, graph: Graph) -> list[float]:
        """What to try on a set. Thresholds lie between the cosine of strangers there and 1: some recognisers start at .8."""
        if self.parameter != "cosine":
            return list(self.grid)
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, len(graph), (2, SAMPLE))
        strangers = float(np.median(np.einsum("ij,ij->i", graph.vectors[first], graph.vectors[second])))
        return [strangers + (1 - strangers) * share for share in self.grid]


THRESHOLDS = tuple(np.arange(0.30, 0.86, 0.05).round(2).tolist())

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "DBSCAN": Method(run=dbscan, grid=THRESHOLDS, default=0.5),
        "Immich-like DBSCAN": Method(run=immich, grid=THRESHOLDS, default=1 - IMMICH_DISTANCE),
        "HDBSCAN": Method(run=hdbscan, grid=(2, 3, 5), default=5, parameter="least size"),
        "chinese whispers": Method(run=chinese_whispers, grid=THRESHOLDS, default=0.5),
        "average linkage": Method(run=average_linkage, grid=THRESHOLDS, default=None),
        "map equation (networkit)": Method(run=map_equation, grid=THRESHOLDS, default=0.5),
        "Infomap": Method(run=infomap, grid=THRESHOLDS, default=0.58),
    }
)
"""Defaults: the seed's DBSCAN 0.5; Immich's maximum distance 0.5 with 3 faces; scikit-learn's HDBSCAN 5; dlib's chinese whispers
ships a distance for its own model only, so 0.5 as well; Infomap 0.58 as in the public face recipe."""
