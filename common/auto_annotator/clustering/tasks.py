"""What a worker does for the clustering over several machines: plain functions of paths and numbers, results as Parquet.

One task computes at a time in a process, on all its threads: numba's and faiss' own threads are the parallelism inside it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.graph import edge_weights
from auto_annotator.clustering.neighbours import NeighbourLists, Search, choose_search, neighbour_lists
from auto_annotator.clustering.potts import communities
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.clustering.shards import read_columns, read_grid, read_mapped, write_columns, write_lists

_COMPUTING = threading.Lock()
_SEARCH: dict[tuple[str, ClusteringSettings], tuple[Grid, Search]] = {}
"""The index of the run at hand, built once per process; it is the same in all, being a function of vectors and settings."""


def look(folder: str, name: str) -> tuple[str, bool]:
    """The version of the package here, and whether a file of the shared folder can be seen from here."""
    from auto_annotator import __version__

    return __version__, (Path(folder) / name).is_file()


def release() -> None:
    """Forget the vectors and the index."""
    _SEARCH.clear()


def search_block(
    folder: str, faces: npt.NDArray[np.intp], count: int, floor: float, settings: ClusteringSettings, path: str
) -> None:
    """Neighbour lists of a block of faces, written to `path`."""
    with _COMPUTING:
        key = (folder, settings)
        if key not in _SEARCH:
            _SEARCH.clear()  # of an earlier run: two sets of millions do not fit
            grid = read_grid(Path(folder))
            _SEARCH[key] = grid, choose_search(grid, settings)
        grid, search = _SEARCH[key]
        write_lists(Path(path), neighbour_lists(grid, search, faces, count=count, floor=floor))


def weigh_block(stem: str, first: int, last: int, path: str) -> None:
    """Edge weights of the lists of faces `first` to `last`, written to `path`."""
    with _COMPUTING:
        starts, rows, links = (read_mapped(Path(stem), name) for name in ("starts", "rows", "links"))
        lists = NeighbourLists(starts=starts, rows=rows, scores=links)  # cosines are not looked at
        write_columns(Path(path), weight=edge_weights(lists, links, first, last))


def optimise_batch(edges: str, nodes: str, resolution: float, path: str) -> None:
    """Communities of some components of the graph, written to `path`."""
    import scipy.sparse as sparse

    with _COMPUTING:
        edge, node = read_columns(Path(edges)), read_columns(Path(nodes))
        n = len(node["size"])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(node["edges"])])
        graph = sparse.csr_matrix((edge["weight"].copy(), edge["column"].copy(), starts), shape=(n, n))
        start = node["start"].copy() if "start" in node else None
        write_columns(Path(path), label=communities(graph, node["size"].copy(), resolution=resolution, start=start))
