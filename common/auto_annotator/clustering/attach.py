"""Faces too poor for the graph: each joins the cluster that clearly fits best, or stays unknown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.constraints import Links
from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.guards import Guards
from auto_annotator.clustering.merging import Groups
from auto_annotator.clustering.nearest import nearest_clusters
from auto_annotator.clustering.potts import Labels
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.settings import ClusteringSettings


def attach(
    grid: Grid,
    labels: Labels,
    quality: npt.NDArray[np.float32],
    links: Links,
    images: npt.NDArray[np.int64],
    model: ScoreModel,
    settings: ClusteringSettings,
    guards: Guards,
) -> Labels:
    """Labels with the poor faces attached where one cluster is near and the next is clearly farther.

    A face never joins a cluster that has a face in the same picture or one that a person told apart from it; better faces go first.
    """
    poor = np.flatnonzero((labels < 0) & ~links.never)
    if not len(poor) or labels.max(initial=-1) < 0:
        return labels
    near, scores = nearest_clusters(grid, poor, Groups.of(grid, labels, quality).centres(), 2)
    good = scores[:, 0] >= model.above(settings.attach_sigmas)
    good &= scores[:, 0] - scores[:, 1] >= settings.attach_margin * model.sigma
    labels = labels.copy()
    taken = set(zip(labels[labels >= 0].tolist(), images[labels >= 0].tolist(), strict=True))
    foes = _foes(guards)
    for position in np.flatnonzero(good)[np.argsort(-scores[good, 0], kind="stable")].tolist():
        face, cluster = int(poor[position]), int(near[position, 0])
        met = images[face] >= 0 and (cluster, int(images[face])) in taken
        if not met and not any(labels[other] == cluster for other in foes.get(face, ())):
            labels[face] = cluster
            taken.add((cluster, int(images[face])))
    return labels


def drop_unrecognisable(labels: Labels, quality: npt.NDArray[np.float32], links: Links, settings: ClusteringSettings) -> Labels:
    """Labels without the clusters that poor faces form among themselves.

    Faces that a recogniser cannot see look alike to it: it maps them to a few directions of its own. Such a cluster is known by
    the quality of its faces, not by its shape. One that a person or a track holds together stays.
    """
    inside = np.flatnonzero(labels >= 0)
    k = int(labels.max(initial=-1)) + 1
    order = inside[np.lexsort((quality[inside], labels[inside]))]
    sizes = np.bincount(labels[inside], minlength=k)
    middle = quality[order[np.cumsum(sizes) - sizes + sizes // 2]] if k else np.zeros(0)
    certain = np.bincount(links.group, minlength=len(links.group))[links.group] > 1
    held = np.bincount(labels[inside], weights=certain[inside], minlength=k) > 0
    poor = (middle < settings.cluster_quality) & (sizes > 1) & ~held
    return np.where((labels >= 0) & poor[labels.clip(min=0)], -1, labels) if k else labels


def _foes(guards: Guards) -> dict[int, list[int]]:
    foes: dict[int, list[int]] = {}
    for a, b in guards.cannot.tolist():
        foes.setdefault(a, []).append(b)
        foes.setdefault(b, []).append(a)
    return foes
