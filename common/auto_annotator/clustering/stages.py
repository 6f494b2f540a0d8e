"""The heavy stages of the clustering, so that other machines can do them: the engine asks, whoever answers gives equal results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.graph import edge_weights
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.potts import Labels, communities
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.search import Neighbourhood
from auto_annotator.clustering.settings import ClusteringSettings

Report = Callable[[str, float], None]


class Near(Protocol):
    """Neighbour lists of one set; `search.Neighbourhood` says what the methods do."""

    def first(self, model: ScoreModel) -> NeighbourLists:
        """The nearest neighbours of every face."""

    def widened(self, lists: NeighbourLists, model: ScoreModel) -> NeighbourLists:
        """The lists with more neighbours where they may end too early."""


class Stages(Protocol):
    """Who searches, weighs and optimises."""

    def neighbourhood(self, grid: Grid, settings: ClusteringSettings, *, workspace: Path | None, report: Report) -> Near:
        """Prepare the search in a set; the first call of a run."""

    def weights(self, lists: NeighbourLists, links: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Weight of each entry of the lists, as `graph.edge_weights`."""

    def communities(self, graph: Any, sizes: npt.NDArray[np.float64], *, resolution: float, start: Labels | None) -> Labels:
        """Community of each node, as `potts.communities`."""


class LocalStages:
    """Everything in this process."""

    def neighbourhood(self, grid: Grid, settings: ClusteringSettings, *, workspace: Path | None, report: Report) -> Near:
        """Search in blocks."""
        return Neighbourhood(grid, settings, workspace=workspace, report=report)

    def weights(self, lists: NeighbourLists, links: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """All faces at once."""
        return edge_weights(lists, links, 0, len(lists))

    def communities(self, graph: Any, sizes: npt.NDArray[np.float64], *, resolution: float, start: Labels | None) -> Labels:
        """The whole graph at once."""
        return communities(graph, sizes, resolution=resolution, start=start)
