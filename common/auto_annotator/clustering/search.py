"""Neighbour lists of a whole set: block by block, with progress, kept in a folder so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.neighbours import (
    INDEX,
    NeighbourLists,
    Search,
    choose_search,
    neighbour_lists,
    replaced,
    saturated,
)
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.settings import ClusteringSettings

Report = Callable[[str, float], None]


class Neighbourhood:
    """The nearest neighbours of a set of faces, found in blocks.

    Args:
        grid: the vectors in content order.
        settings: how many neighbours, how large a block.
        workspace: folder in which each finished block is kept; None = memory only. Blocks of other faces or settings that lie
            there are not used: their names hold a digest of both.
        report: told the stage and the share done.
    """

    def __init__(self, grid: Grid, settings: ClusteringSettings, *, workspace: Path | None, report: Report) -> None:
        self._grid, self._settings, self._report = grid, settings, report
        self._search: Search | None = None
        self._folder = workspace
        if workspace is not None:
            workspace.mkdir(parents=True, exist_ok=True)
            self._digest = _digest(grid, settings)

    def first(self, model: ScoreModel) -> NeighbourLists:
        """The `neighbours` nearest of every face."""
        return self._lists(np.arange(len(self._grid)), self._settings.neighbours, model.floor, "neighbours")

    def widened(self, lists: NeighbourLists, model: ScoreModel) -> NeighbourLists:
        """The lists with more neighbours where the last one is still far above the threshold: people with many photos."""
        limit = model.above(self._settings.link_sigmas + self._settings.saturated_sigmas)
        faces = saturated(lists, self._settings.neighbours, limit)
        if not len(faces) or self._settings.more_neighbours <= self._settings.neighbours:
            return lists
        return replaced(lists, faces, [self._lists(faces, self._settings.more_neighbours, model.floor, "more neighbours")])

    def _lists(self, faces: npt.NDArray[np.intp], count: int, floor: float, stage: str) -> NeighbourLists:
        parts = []
        for start in range(0, len(faces), self._settings.block):
            parts.append(self._block(faces[start : start + self._settings.block], count, floor))
            self._report(stage, min(1.0, (start + self._settings.block) / len(faces)))
        return NeighbourLists.join(parts)

    def _block(self, faces: npt.NDArray[np.intp], count: int, floor: float) -> NeighbourLists:
        kept = self._kept(faces, count, floor) if self._folder is not None else None
        if kept is not None and kept.is_file():
            with np.load(kept, allow_pickle=False) as data:
                return NeighbourLists(starts=data["starts"], rows=data["rows"], scores=data["scores"])
        if self._search is None:
            self._search = choose_search(self._grid, self._settings)
        lists = neighbour_lists(self._grid, self._search, faces, count=count, floor=floor)
        if kept is not None:
            part = kept.with_suffix(".part.npz")
            np.savez(part, starts=lists.starts, rows=lists.rows, scores=lists.scores)
            part.replace(kept)
        return lists

    def _kept(self, faces: npt.NDArray[np.intp], count: int, floor: float) -> Path:
        """Where the lists of a block are kept."""
        assert self._folder is not None
        name = hashlib.sha256(faces.tobytes()).hexdigest()[:12]
        return self._folder / f"neighbours-{self._digest}-{count}-{floor:.6f}-{name}.npz"


def _digest(grid: Grid, settings: ClusteringSettings) -> str:
    sha = hashlib.sha256(repr((grid.shape, settings.exact_below, settings.device, INDEX)).encode())
    for start in range(0, len(grid), 65_536):
        sha.update(np.ascontiguousarray(grid[start : start + 65_536]).tobytes())
    return sha.hexdigest()[:16]
