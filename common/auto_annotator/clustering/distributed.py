"""The clustering over several machines: the stages of `stages.py` as Dask tasks, Parquet in and Parquet out in a shared folder.

Split are the search for neighbours (blocks of faces, each compared with all: every worker process holds all vectors, 1 GB a
million), the edge weights (blocks of faces; each needs the lists of its neighbours, wherever they are, so the lists lie in the
folder as files that workers map into memory and read where they look) and the optimisation (batches of connected components,
which do not touch each other). Calibration, merging and outputs are small and stay with the caller. All numbers of a task depend
on its input alone, so the result equals that of one process to the bit, however many workers there are and whoever of them is lost.

A scheduler runs any code that a client sends: keep it inside a trusted network.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.components import Batch, component_batches
from auto_annotator.clustering.crew import Crew
from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.potts import Labels, by_appearance
from auto_annotator.clustering.search import Neighbourhood
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.clustering.shards import (
    read_columns,
    read_lists,
    remove_mapped,
    write_columns,
    write_grid,
    write_mapped,
)
from auto_annotator.clustering.stages import Near, Report
from auto_annotator.clustering.tasks import optimise_batch, search_block, weigh_block

WEIGHT_BLOCK = 32_768
"""Faces of a task of edge weights; each sums up the links of all faces first, so they are few."""


class DaskStages:
    """The heavy stages on the workers of a Dask scheduler.

    Args:
        crew: the connection.
        folder: a folder that all machines see under this path. Finished blocks of neighbours stay there, so that a run that was
            interrupted goes on; everything else is deleted.
    """

    def __init__(self, crew: Crew, folder: Path) -> None:
        self._crew, self._folder = crew, folder
        self._report: Report = lambda *_: None

    def neighbourhood(self, grid: Grid, settings: ClusteringSettings, *, workspace: Path | None, report: Report) -> Near:
        """Share out the vectors; `workspace` is not looked at, the shared folder takes its place."""
        self._report = report
        return _SharedNeighbourhood(grid, settings, crew=self._crew, folder=self._folder, report=report)

    def weights(self, lists: NeighbourLists, links: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Blocks of faces."""
        stem = self._stem("lists")
        blocks = [(start, min(start + WEIGHT_BLOCK, len(lists))) for start in range(0, len(lists), WEIGHT_BLOCK)]
        paths = [stem.with_name(f"{stem.name}-{first}.parquet") for first, _ in blocks]
        try:
            write_mapped(stem, starts=lists.starts, rows=lists.rows, links=links)
            tasks = [(str(stem), first, last, str(path)) for (first, last), path in zip(blocks, paths, strict=True)]
            self._crew.run(weigh_block, tasks, self._telling("edge weights"))
            parts = [read_columns(path)["weight"] for path in paths]
        finally:
            remove_mapped(stem)
            _remove(paths)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def communities(self, graph: Any, sizes: npt.NDArray[np.float64], *, resolution: float, start: Labels | None) -> Labels:
        """Batches of components; nodes without edges are alone without anybody's help."""
        n = graph.shape[0]
        labels = np.arange(n, dtype=np.int64)
        batches = component_batches(graph, start)
        stem = self._stem("graph")
        kinds = ("edges", "nodes", "labels")
        files = [[stem.with_name(f"{stem.name}-{i}-{kind}.parquet") for kind in kinds] for i in range(len(batches))]
        try:
            for batch, (edges, nodes, _) in zip(batches, files, strict=True):
                _write_batch(batch, graph, sizes, start, edges, nodes)
            tasks = [(str(edges), str(nodes), resolution, str(found)) for edges, nodes, found in files]
            self._crew.run(optimise_batch, tasks, self._telling("people"))
            for batch, (_, _, found) in zip(batches, files, strict=True):
                local = read_columns(found)["label"]
                _, first = np.unique(local, return_index=True)  # labels are 0, 1, ... : a community is named after its first node
                labels[batch] = batch[first][local]
        finally:
            _remove([path for paths in files for path in paths])
        return by_appearance(labels)

    def _stem(self, kind: str) -> Path:
        return self._folder / f"{kind}-{uuid.uuid4().hex[:12]}"

    def _telling(self, stage: str) -> Callable[[float], None]:
        return lambda share: self._report(stage, share)


class _SharedNeighbourhood(Neighbourhood):
    """Neighbour lists whose blocks the workers find."""

    def __init__(self, grid: Grid, settings: ClusteringSettings, *, crew: Crew, folder: Path, report: Report) -> None:
        super().__init__(grid, settings, workspace=folder, report=report)
        self._crew = crew
        # Workers with and without a GPU would mix exact and approximate lists; who wants GPUs everywhere says so.
        self._far = replace(settings, device="cpu") if settings.device == "auto" else settings
        self._vectors = folder / f"vectors-{self._digest}"
        write_grid(self._vectors, grid)

    def _lists(self, faces: npt.NDArray[np.intp], count: int, floor: float, stage: str) -> NeighbourLists:
        blocks = [faces[start : start + self._settings.block] for start in range(0, len(faces), self._settings.block)]
        paths = [self._kept(block, count, floor).with_suffix(".parquet") for block in blocks]
        tasks = [
            (str(self._vectors), block, count, floor, self._far, str(path))
            for block, path in zip(blocks, paths, strict=True)
            if not path.is_file()
        ]
        self._crew.run(search_block, tasks, lambda share: self._report(stage, share))
        return NeighbourLists.join([read_lists(path) for path in paths])


def _write_batch(batch: Batch, graph: Any, sizes: npt.NDArray[np.float64], start: Labels | None, edges: Path, nodes: Path) -> None:
    """The edges of some components and their nodes, numbered anew in the same order."""
    part = graph[batch]  # columns of a row lie within its component, so within the batch
    columns = np.searchsorted(batch, part.indices).astype(np.int32)
    write_columns(edges, column=columns, weight=part.data)
    node = {"size": sizes[batch], "edges": np.diff(part.indptr).astype(np.int64)}
    write_columns(nodes, **node, **({} if start is None else {"start": start[batch]}))


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
