"""People of descriptors: one vector per face in, who is who and how sure out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.errors import ConfigError
from auto_annotator.types import Clusters, Constraints

if TYPE_CHECKING:
    from auto_annotator.clustering.stages import Report, Stages


class FaceClustering:
    """Clusters faces by their vectors, with constraints and earlier labels.

    Attributes:
        settings: method and limits; the defaults serve all sets.
    """

    def __init__(self, settings: ClusteringSettings | None = None) -> None:
        self.settings = settings or ClusteringSettings()

    def __call__(
        self,
        vectors: npt.NDArray[np.floating],
        *,
        quality: npt.NDArray[np.floating] | None = None,
        constraints: Constraints | None = None,
        previous: npt.NDArray[np.integer] | None = None,
        threshold: float | None = None,
        workspace: Path | None = None,
        progress: bool = False,
        scheduler: str | None = None,
    ) -> Clusters:
        """Find out who is who.

        Args:
            vectors: (n, d) float16 or float32 unit rows, may be a memory map; a row of zeros = no descriptor.
            quality: (n,) 0..1, None = all good.
            constraints: what is known of the faces beside their vectors.
            previous: (n,) labels of an earlier run, -1 = a new face.
            threshold: calibrated cosine of the recogniser, None = found from the vectors.
            workspace: folder for what an interrupted run need not do again; None = memory only. With a scheduler it is needed, and
                all machines must see it under the same path.
            progress: show a bar on stderr, if that is a terminal.
            scheduler: address of a Dask scheduler that shares out the work; None = this machine. The result is the same.

        Raises:
            ValueError: for arrays of wrong shapes or values.
            ConfigError: if the scheduler cannot be used.
        """
        from auto_annotator.clustering.comparison import compare_faces  # numba and faiss load only where they are used
        from auto_annotator.clustering.engine import cluster_faces

        if self.settings.method != "potts":
            if scheduler is not None:
                raise ConfigError(
                    f"scheduler {scheduler}: the method {self.settings.method} runs on one machine only, expected potts"
                )
            return compare_faces(vectors, quality, constraints or Constraints(), self.settings, threshold=threshold)
        with _bar(progress) as report, _stages(scheduler, workspace) as stages:
            return cluster_faces(
                vectors,
                quality=quality,
                constraints=constraints,
                previous=previous,
                threshold=threshold,
                settings=self.settings,
                workspace=workspace,
                report=report,
                stages=stages,
            )


@contextmanager
def _stages(scheduler: str | None, workspace: Path | None) -> Iterator[Stages | None]:
    """Who does the heavy work: None = this process."""
    if scheduler is None:
        yield None
        return
    if workspace is None:
        raise ConfigError(
            f"scheduler {scheduler}: got no workspace, expected a folder that all machines share under one path; give workspace"
        )
    from auto_annotator.clustering.crew import connect
    from auto_annotator.clustering.distributed import DaskStages

    folder = workspace.resolve()
    with connect(scheduler, folder) as crew:
        yield DaskStages(crew, folder)


@contextmanager
def _bar(show: bool) -> Iterator[Report | None]:
    """A progress bar in percent that names the stage."""
    if not show:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=100, desc="clustering", unit="%", disable=None, leave=False) as bar:

        def report(stage: str, share: float) -> None:
            bar.set_description(stage)
            bar.n = round(100 * share)
            bar.refresh()

        yield report
