"""The clustering: calibrate, gate, neighbours, overlap graph, signed Potts, guarded merge, attach; every step deterministic.

The result depends on the faces and on what is known of them, not on their order, the number of threads or the size of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.attach import attach, drop_unrecognisable
from auto_annotator.clustering.constraints import Links, check_constraints, resolve
from auto_annotator.clustering.exact import Grid, content_order, to_grid, usable_rows
from auto_annotator.clustering.graph import symmetric_graph
from auto_annotator.clustering.guards import Guards
from auto_annotator.clustering.merging import Groups, merge_groups, near_pairs
from auto_annotator.clustering.nearest import Listed
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.outputs import assess
from auto_annotator.clustering.pictures import same_picture, without_mirrors
from auto_annotator.clustering.potts import Labels, aggregate, by_appearance
from auto_annotator.clustering.scores import ScoreModel, fit_scores, raise_threshold
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.clustering.stages import LocalStages, Stages
from auto_annotator.types import Clusters, Constraints

Report = Callable[[str, float], None]
"""Called with the name of a stage and the share of it that is done, 0..1."""

HARD = 1e6
"""Edge weight of a cannot-link, on top of all that the faces of the set together can pull."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """The faces of a run in content order, and what is known of them in the same order.

    Attributes:
        order: (m,) the row of each face in the caller's numbering.
        grid: (m, d) vectors on the grid; m counts the faces that have one and may be clustered.
        quality: (m,) float32.
        links: constraints among them.
        images: (m,) picture numbers, -1 = unknown.
        previous: (m,) labels of an earlier run, -1 = new; None = first run.
        core: (k,) positions of the faces good enough for the graph.
        followers: (f, 2) a row without a vector that a must-link or a track joins to others, in the caller's numbering, and the
            position of one of these: it gets that face's label.
    """

    order: npt.NDArray[np.intp]
    grid: Grid
    quality: npt.NDArray[np.float32]
    links: Links
    images: npt.NDArray[np.int64]
    previous: npt.NDArray[np.int64] | None
    core: npt.NDArray[np.intp]
    followers: npt.NDArray[np.int64]


def cluster_faces(
    vectors: npt.NDArray[np.floating],
    *,
    quality: npt.NDArray[np.floating] | None = None,
    constraints: Constraints | None = None,
    previous: npt.NDArray[np.integer] | None = None,
    threshold: float | None = None,
    settings: ClusteringSettings | None = None,
    workspace: Path | None = None,
    report: Report | None = None,
    stages: Stages | None = None,
) -> Clusters:
    """Who is who.

    Args:
        vectors: (n, d) unit rows, float16 or float32, a memory map if they are many; a row of zeros = no descriptor.
        quality: (n,) 0..1; None = all good.
        constraints: human words, pictures, tracks.
        previous: (n,) labels of an earlier run, -1 = new face: the run starts from them.
        threshold: calibrated cosine of the recogniser; None = found from the vectors.
        settings: None = the shipped defaults.
        workspace: folder for neighbour lists, so that an interrupted run goes on; None = memory.
        report: told about progress.
        stages: who does the heavy stages; None = this process. The result is the same.

    Raises:
        ValueError: for arrays of wrong shape, values or rows.
    """
    settings, constraints, report = settings or ClusteringSettings(), constraints or Constraints(), report or (lambda *_: None)
    stages = stages or LocalStages()
    n = len(vectors)
    problem = arrange(vectors, quality, constraints, previous, settings)
    core, every = problem.core, len(problem.core) == len(problem.order)
    grid = problem.grid if every else problem.grid[core]  # a copy only where it must be: a million faces are a gigabyte
    model = strangers = fit_scores(grid, settings, threshold=threshold)
    labels = np.full(len(problem.order), -1, np.int64)
    lists = NeighbourLists.join([])
    if len(core):
        near = stages.neighbourhood(grid, settings, workspace=workspace, report=report)
        lists = near.first(model)
        problem = _without_mirrors(problem, lists, model, settings)
        labels[core] = partition(problem, lists, model, settings, stages)
        model = raise_threshold(model, lists, labels[core], settings)
        lists = near.widened(lists, model)
        del near  # and the index with it
        labels[core] = partition(problem, lists, model, settings, stages)
        report("graph", 1.0)
    guards = Guards.of(problem.links, problem.images)
    labels = merge_clusters(problem, labels, lists, model, settings, guards)
    labels = drop_unrecognisable(labels, problem.quality, problem.links, settings)
    labels = attach(problem.grid, labels, problem.quality, problem.links, problem.images, model, settings, guards)
    report("merge", 1.0)
    listed = Listed(faces=core, lists=lists)
    clusters = assess(problem.grid, labels, problem.quality, guards, model, strangers, settings, listed)
    return restore(clusters, problem, n, model)


def arrange(
    vectors: npt.NDArray[np.floating],
    quality: npt.NDArray[np.floating] | None,
    constraints: Constraints,
    previous: npt.NDArray[np.integer] | None,
    settings: ClusteringSettings,
) -> Problem:
    """Check everything, drop faces that cannot be clustered, and put the others into content order."""
    if vectors.ndim != 2:
        raise ValueError(f"vectors: got shape {vectors.shape}, expected (n, d)")
    n = len(vectors)
    for name, column in (("quality", quality), ("previous", previous)):
        if column is not None and np.shape(column) != (n,):
            raise ValueError(f"{name}: got shape {np.shape(column)}, expected ({n},)")
    check_constraints(constraints, n)
    good = np.ones(n, np.float32) if quality is None else np.nan_to_num(np.asarray(quality, np.float32)).clip(0, 1)
    rows = np.flatnonzero(usable_rows(vectors))
    grid = to_grid(vectors, rows)
    images = np.full(n, -1, np.int64) if constraints.images is None else constraints.images
    order = content_order(grid, good[rows], images[rows])
    rows, grid = rows[order], grid[order]
    quality_here = good[rows]
    links, joined, followers = _links(constraints, rows, n)
    core = np.flatnonzero(((quality_here >= settings.gate_quality) | joined) & ~links.never)
    return Problem(
        order=rows,
        grid=grid,
        quality=quality_here,
        links=links,
        images=images[rows],
        previous=None if previous is None else np.asarray(previous, np.int64)[rows],
        core=core,
        followers=followers,
    )


def _links(
    constraints: Constraints, rows: npt.NDArray[np.intp], n: int
) -> tuple[Links, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Links among the faces that have a vector, which of these are joined to others, and the followers.

    Faces without a vector take part in the words: two faces that are both joined to such a face are one person, too.
    """
    m = len(rows)
    everybody = np.concatenate([rows, np.setdiff1d(np.arange(n), rows)])
    links = resolve(_renumbered(constraints, everybody), n)
    _, first = np.unique(links.group, return_index=True)
    leader = first[links.group]
    cannot = np.where(links.cannot < m, links.cannot, leader[links.cannot])
    followers = np.flatnonzero(leader < m)
    followers = followers[followers >= m]
    kept = Links(
        group=links.group[:m],
        cannot=cannot[(cannot < m).all(axis=1)],
        never=links.never[:m],
        conflicts=tuple(replace(c, rows=tuple(int(everybody[r]) for r in c.rows)) for c in links.conflicts),
    )
    joined = np.bincount(links.group, minlength=n)[links.group] > 1
    return kept, joined[:m], np.stack([everybody[followers], leader[followers]], axis=1)


def _renumbered(constraints: Constraints, everybody: npt.NDArray[np.intp]) -> Constraints:
    """Constraints by position: face `everybody[i]` becomes i."""
    position = np.empty(len(everybody), np.int64)
    position[everybody] = np.arange(len(everybody))
    return Constraints(
        must=position[constraints.must],
        cannot=position[constraints.cannot],
        never=position[constraints.never],
        tracks=None if constraints.tracks is None else constraints.tracks[everybody],
    )


def partition(problem: Problem, lists: NeighbourLists, model: ScoreModel, settings: ClusteringSettings, stages: Stages) -> Labels:
    """Communities of the faces of `core`: certain groups as one node each, signed edges for pictures and cannot-links."""
    import scipy.sparse as sparse

    graph = symmetric_graph(lists, stages.weights(lists, model.link(lists.scores)))
    groups = by_appearance(problem.links.group[problem.core])
    count = int(groups.max()) + 1
    if count < len(groups):
        graph = aggregate(graph, groups, count)
    place = np.full(len(problem.order), -1, np.int64)
    place[problem.core] = groups
    same = same_picture(problem.images, problem.core, Listed(faces=problem.core, lists=lists))
    hard = HARD + float(graph.data.sum(dtype=np.float64))
    repelled = [(place[same], settings.same_image), (place[problem.links.cannot], hard)]
    for pairs, weight in repelled:
        pairs = pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
        if len(pairs):
            values = np.full(len(pairs), -weight)
            negative = sparse.coo_matrix((values, (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr()
            graph = (graph + negative + negative.T).tocsr()
    graph.sort_indices()
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    start = None if problem.previous is None else _start(problem.previous[problem.core], groups, count)
    return stages.communities(graph, sizes, resolution=settings.resolution, start=start)[groups]


def _start(earlier: npt.NDArray[np.int64], groups: Labels, count: int) -> Labels:
    """First community of each group: the earlier label of its first known face, whatever numbers labels are; new ones are alone."""
    known = np.flatnonzero(earlier >= 0)
    start = len(known) + np.arange(count)
    owners, first = np.unique(groups[known], return_index=True)
    start[owners] = by_appearance(earlier[known])[first]
    return start


def _without_mirrors(problem: Problem, lists: NeighbourLists, model: ScoreModel, settings: ClusteringSettings) -> Problem:
    listed = Listed(faces=problem.core, lists=lists)
    return replace(problem, images=without_mirrors(problem.images, problem.grid, problem.quality, model, settings, listed))


def merge_clusters(
    problem: Problem, labels: Labels, lists: NeighbourLists, model: ScoreModel, settings: ClusteringSettings, guards: Guards
) -> Labels:
    """Merge the clusters of the graph whose centroids are alike."""
    core = labels[problem.core]
    if not len(core):
        return labels
    groups = Groups.of(problem.grid, labels, problem.quality)
    mapping = merge_groups(
        groups, near_pairs(lists, core), model, settings, lambda m: guards.blocked(_mapped(labels, m), settings.shared_images)
    )
    return _mapped(labels, mapping)


def _mapped(labels: Labels, mapping: Labels) -> Labels:
    return np.where(labels >= 0, mapping[labels.clip(min=0)], -1)


def restore(clusters: Clusters, problem: Problem, n: int, model: ScoreModel) -> Clusters:
    """Back to the caller's numbering; clusters numbered by size, largest first, then by their first face in that numbering."""
    labels = np.full(n, -1, np.int64)
    labels[problem.order] = clusters.labels
    follower, led = problem.followers.T
    labels[follower] = clusters.labels[led]
    k = clusters.count
    sizes = np.bincount(labels[labels >= 0], minlength=k)
    first = np.full(k, n)
    np.minimum.at(first, labels[labels >= 0], np.flatnonzero(labels >= 0))
    rank = np.empty(k + 1, np.int64)
    order = np.lexsort((first, -sizes))
    rank[order], rank[k] = np.arange(k), -1

    def column(values: npt.NDArray[Any], empty: float) -> npt.NDArray[Any]:
        out = np.full(n, empty, values.dtype)
        out[problem.order] = values
        out[follower] = values[led]
        return out

    suggestions = tuple(
        replace(s, first=int(min(a, b)), second=int(max(a, b)))
        for s in clusters.suggestions
        for a, b in [(rank[s.first], rank[s.second])]
    )
    return Clusters(
        labels=rank[labels].astype(np.int32),
        confidence=column(clusters.confidence, 0),
        purity=clusters.purity[order],
        nearest=rank[column(clusters.nearest, -1)].astype(np.int32),
        nearest_score=column(clusters.nearest_score, 0),
        suggestions=suggestions,
        doubtful=tuple(int(problem.order[r]) for r in clusters.doubtful),
        conflicts=problem.links.conflicts,
        threshold=model.threshold,
        warnings=(model.warning,) if model.warning else (),
    )
