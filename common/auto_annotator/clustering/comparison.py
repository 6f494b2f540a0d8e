"""DBSCAN and HDBSCAN of scikit-learn behind the same door, for comparison: no constraints, no pictures, no earlier labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.constraints import Links, check_constraints, resolve
from auto_annotator.clustering.exact import SCALE, to_grid, usable_rows
from auto_annotator.clustering.guards import Guards
from auto_annotator.clustering.outputs import assess
from auto_annotator.clustering.scores import fit_scores
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.types import Clusters, Constraints

MOST_FACES = 50_000
"""Both methods compare all pairs; at this number that takes minutes."""


def compare_faces(
    vectors: npt.NDArray[np.floating],
    quality: npt.NDArray[np.floating] | None,
    constraints: Constraints,
    settings: ClusteringSettings,
    *,
    threshold: float | None,
) -> Clusters:
    """Cluster as the seed did (`dbscan`: cosine distance, `min_samples` 2) or with `hdbscan`; noise becomes persons seen once.

    Of the constraints only `never` has an effect; a warning says so where there are others.

    Raises:
        ValueError: for wrong arrays, or more than `MOST_FACES` faces.
    """
    n = len(vectors)
    if n > MOST_FACES:
        raise ValueError(f"{settings.method}: got {n} faces, expected at most {MOST_FACES}; use the method potts")
    check_constraints(constraints, n)
    links: Links = resolve(constraints, n)
    rows = np.flatnonzero(usable_rows(vectors) & ~links.never)
    labels = np.full(n, -1, np.int64)
    grid = to_grid(vectors, rows)
    model = fit_scores(grid, settings, threshold=threshold)
    if len(rows):
        found = _fit(grid.astype(np.float32) / np.float32(SCALE), settings, model.threshold)
        noise = found < 0
        found[noise] = found.max(initial=-1) + 1 + np.arange(int(noise.sum()))
        labels[rows] = found
    ignored = len(constraints.must) or len(constraints.cannot) or constraints.tracks is not None
    warnings = (f"{settings.method}: must-links, cannot-links and tracks have no effect; use the method potts",) if ignored else ()
    whole = np.zeros((n, vectors.shape[1]), np.float16)
    whole[rows] = grid
    good = np.ones(n, np.float32) if quality is None else np.asarray(quality, np.float32)
    clusters = assess(whole, labels, good, Guards.of(links, np.full(n, -1)), model, model, settings)
    return Clusters(
        labels=clusters.labels,
        confidence=clusters.confidence,
        purity=clusters.purity,
        nearest=clusters.nearest,
        nearest_score=clusters.nearest_score,
        suggestions=clusters.suggestions,
        doubtful=clusters.doubtful,
        conflicts=links.conflicts,
        threshold=model.threshold,
        warnings=warnings,
    )


def _fit(vectors: npt.NDArray[np.float32], settings: ClusteringSettings, threshold: float) -> npt.NDArray[np.int64]:
    from sklearn.cluster import DBSCAN, HDBSCAN

    if settings.method == "dbscan":
        eps = settings.dbscan_eps if settings.dbscan_eps is not None else max(1e-6, 1 - threshold)
        model = DBSCAN(eps=eps, min_samples=settings.dbscan_min_samples, metric="cosine")
        return np.asarray(model.fit_predict(vectors), np.int64)
    if len(vectors) < settings.dbscan_min_samples:
        return np.full(len(vectors), -1, np.int64)
    return np.asarray(HDBSCAN(min_cluster_size=settings.dbscan_min_samples).fit_predict(vectors), np.int64)
