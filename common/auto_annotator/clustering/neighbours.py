"""Nearest neighbours: exact for small sets, an inverted file in float16 for large ones; bounded blocks, deterministic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import SCALE, Grid
from auto_annotator.clustering.settings import ClusteringSettings

LISTS_PER_ROOT = 4
"""Lists of the inverted file per square root of n, as faiss recommends."""

PROBES = 16
"""Lists searched per face. On 200,000 synthetic faces of 2,900 people 99.0 % of the 80 nearest are found, and 99.97 % of those
above the link threshold; 48 lists find 99.6 and 99.98 % in two and a half times the time."""

TIE_BLOCK = 8192
"""Rows compared at once where ties are settled."""

TRAINING_PER_LIST = 32
ROUNDS = 4
"""Twice as many change the found neighbours above the threshold by 0.01 %."""

INDEX = (LISTS_PER_ROOT, PROBES, TRAINING_PER_LIST, ROUNDS)
"""What kept neighbour lists of large sets depend on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighbourLists:
    """Neighbours of each face in compressed rows, each row in rising order of the neighbour's number.

    Attributes:
        starts: (n + 1,) int64.
        rows: (m,) int32 numbers of the neighbours.
        scores: (m,) float32 cosines.
    """

    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def join(cls, parts: list[NeighbourLists]) -> NeighbourLists:
        """Lists of consecutive blocks of faces as one."""
        counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(p.starts) for p in parts)])
        rows = np.concatenate([p.rows for p in parts]) if parts else np.zeros(0, np.int32)
        scores = np.concatenate([p.scores for p in parts]) if parts else np.zeros(0, np.float32)
        return cls(starts=np.cumsum(counts), rows=rows, scores=scores)


class Search(Protocol):
    """Finds the most alike vectors of a set."""

    def __call__(
        self, queries: npt.NDArray[np.float32], k: int, floor: float = -1.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The k best of each query.

        Args:
            queries: (m, d) vectors on the grid.
            k: how many; fewer if there are no more.
            floor: cosine below which nobody looks: there it does not matter which of equally good ones are found.

        Returns:
            (m, k) scores (cosines times SCALE squared), best first, and (m, k) rows, -1 where there is none.
        """


def choose_search(grid: Grid, settings: ClusteringSettings) -> Search:
    """Exact on a GPU if there is one (`settings.device`), else exact for small sets and an inverted file for large ones."""
    from auto_annotator.clustering.gpu import gpu_search, wants_gpu

    if wants_gpu(grid.shape, settings.device):
        return gpu_search(grid)
    return exact_search(grid) if len(grid) < settings.exact_below else inverted_search(grid)


def exact_search(grid: Grid) -> Search:
    """Compare with every vector; of equally good last ones those with the smaller numbers."""
    import faiss

    base = grid.astype(np.float32)

    def ties(tied: npt.NDArray[np.intp], queries: npt.NDArray[np.float32], last: npt.NDArray[np.float32]) -> Iterator[Ties]:
        for start in range(0, len(base), TIE_BLOCK):
            query, column = np.nonzero(queries[tied] @ base[start : start + TIE_BLOCK].T == last[:, None])
            yield query, start + column

    def search(
        queries: npt.NDArray[np.float32], k: int, floor: float = -1.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        scores, rows = faiss.knn(queries, base, min(k + 1, len(base)), metric=faiss.METRIC_INNER_PRODUCT)
        return settle_ties(scores, rows, k, floor, lambda tied, last: ties(tied, queries, last))

    return search


Ties = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Some queries, rising, and rows, rising for each query, whose score is the query's last one."""


def settle_ties(
    scores: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    k: int,
    floor: float,
    ties: Callable[[npt.NDArray[np.intp], npt.NDArray[np.float32]], Iterable[Ties]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The k best of k + 1, where of several that are equally good the smaller rows count: what a search keeps is no rule.

    Args:
        scores: (m, k + 1) best first, or (m, all) if there are fewer.
        rows: (m, k + 1) in any order among equal scores.
        k: how many to keep.
        floor: cosine below which it does not matter.
        ties: numbers of the few queries whose k-th and next are equal, and that score -> who has it, in blocks of rising rows.
    """
    if scores.shape[1] <= k:
        return scores, rows
    last = scores[:, k - 1]
    tied = np.flatnonzero((last == scores[:, k]) & (last / np.float32(SCALE * SCALE) >= floor))
    scores, rows = scores[:, :k], rows[:, :k].copy()
    if len(tied):
        filled = (scores[tied] > last[tied, None]).sum(axis=1)
        for query, row in ties(tied, last[tied]):
            counts = np.bincount(query, minlength=len(tied))
            place = filled[query] + np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
            fits = place < k
            rows[tied[query[fits]], place[fits]] = row[fits]
            filled = np.minimum(filled + counts, k)
    return scores, rows


def inverted_search(grid: Grid) -> Search:
    """Compare with the vectors of the `PROBES` nearest of some 4 * sqrt(n) lists (faiss IVF with float16 vectors)."""
    import faiss

    centres = _centres(grid, round(LISTS_PER_ROOT * len(grid) ** 0.5))
    dimension = grid.shape[1]
    quantiser = faiss.IndexFlatIP(dimension)
    quantiser.add(centres)
    kind = faiss.ScalarQuantizer.QT_fp16
    index: Any = faiss.IndexIVFScalarQuantizer(quantiser, dimension, len(centres), kind, faiss.METRIC_INNER_PRODUCT, False)
    index.train(centres)
    index.nprobe = PROBES
    for start in range(0, len(grid), 65_536):
        index.add(grid[start : start + 65_536].astype(np.float32))

    def search(
        queries: npt.NDArray[np.float32], k: int, floor: float = -1.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        scores, rows = index.search(queries, k)
        return scores, rows

    return search


def _centres(grid: Grid, count: int) -> npt.NDArray[np.float32]:
    """Spherical k-means on a sample, with centres rounded to the grid, so that it too is exact and deterministic."""
    import faiss

    step = max(1, len(grid) // (count * TRAINING_PER_LIST))
    sample = grid[::step].astype(np.float32)  # rows are in content order: any regular choice is a random one
    centres = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(ROUNDS):
        _, nearest = faiss.knn(sample, centres, 1, metric=faiss.METRIC_INNER_PRODUCT)
        order = np.argsort(nearest[:, 0], kind="stable")
        owners, starts = np.unique(nearest[order, 0], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0, dtype=np.float64)
        centres[owners] = np.rint(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9) * SCALE)
    return centres


def neighbour_lists(grid: Grid, search: Search, faces: npt.NDArray[np.intp], *, count: int, floor: float) -> NeighbourLists:
    """Neighbour lists of some faces.

    Args:
        grid: the vectors of the whole set.
        search: exact or approximate.
        faces: (m,) their numbers, in rising order; a block of them.
        count: neighbours of a face.
        floor: cosines below it are left out.
    """
    scores, rows = search(grid[faces].astype(np.float32), count + 1, floor)
    place, row, score = _pairs(faces, rows, scores, floor)
    order = np.lexsort((row, -score, place))
    place, row, score = place[order], row[order], score[order]
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(place, minlength=len(faces)))])
    keep = np.arange(len(place)) - first[place] < count  # a face that is not its own nearest one brings one too many
    place, row, score = place[keep], row[keep], score[keep]
    order = np.lexsort((row, place))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(place, minlength=len(faces)))])
    return NeighbourLists(starts=starts, rows=row[order].astype(np.int32), scores=score[order].astype(np.float32))


def saturated(lists: NeighbourLists, count: int, limit: float) -> npt.NDArray[np.intp]:
    """Faces whose list is full although its last neighbour is still at least `limit` alike: the list may end too early."""
    counts = np.diff(lists.starts)
    lowest = np.full(len(lists), np.inf, np.float32)
    if len(lists.scores):
        lowest[counts > 0] = np.minimum.reduceat(lists.scores, lists.starts[:-1][counts > 0])
    return np.flatnonzero((counts >= count) & (lowest >= limit))


def replaced(lists: NeighbourLists, faces: npt.NDArray[np.intp], parts: list[NeighbourLists]) -> NeighbourLists:
    """The lists with those of some faces (rising) replaced by the ones of `parts`, in the same order."""
    new = NeighbourLists.join(parts)
    counts = np.diff(lists.starts)
    counts[faces] = np.diff(new.starts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    rows, scores = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    changed = np.zeros(len(lists), np.bool_)
    changed[faces] = True
    inside = np.repeat(changed, counts)
    old = ~np.repeat(changed, np.diff(lists.starts))
    rows[inside], scores[inside] = new.rows, new.scores
    rows[~inside], scores[~inside] = lists.rows[old], lists.scores[old]
    return NeighbourLists(starts=starts, rows=rows, scores=scores)


def _pairs(
    own: npt.NDArray[np.intp], rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], floor: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    cosine = scores / np.float32(SCALE * SCALE)
    keep = (rows >= 0) & (rows != own[:, None]) & (cosine >= floor)
    place = np.broadcast_to(np.arange(len(own))[:, None], rows.shape)[keep]
    return place, rows[keep], cosine[keep]
