"""One clustering of one set, measured: accuracy, pictures, junk, what is left to do by hand, seconds, peak memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auto_annotator.evaluation.clustering import score, score_junk, score_pictures
from auto_annotator.evaluation.corrections import operations_to
from benchmarks.clustering_sets import FaceSet

HEADER = (
    "method",
    "parameter",
    "pairwise F",
    "BCubed F",
    "NMI",
    "people right at 0.9",
    "clusters / people",
    "same picture %",
    "junk in clusters %",
    "junk unknown %",
    "operations to BF 99",
    "seconds",
    "peak MB",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a method did on a set; shares of 1. `parameter` is NaN where there is none."""

    parameter: float
    pairwise_f: float
    bcubed_f: float
    nmi: float
    people_right: float
    clusters: int
    people: int
    same_picture: float
    junk_in_clusters: float
    junk_unknown: float
    operations: int
    seconds: float
    megabytes: float

    def cells(self) -> list[str]:
        """Columns of `HEADER` after the first two."""
        percents = [f"{100 * v:.2f}" for v in (self.pairwise_f, self.bcubed_f, self.nmi, self.people_right)]
        shares = [f"{100 * v:.2f}" for v in (self.same_picture, self.junk_in_clusters, self.junk_unknown)]
        cost = [str(self.operations), f"{self.seconds:.1f}", f"{self.megabytes:.0f}"]
        return [*percents, f"{self.clusters} / {self.people}", *shares, *cost]


def measure(faces: FaceSet, labels: np.ndarray, *, parameter: float, seconds: float, megabytes: float) -> Measured:
    """All measures of some labels."""
    scores, junk = score(labels, faces.identity), score_junk(labels, faces.junk)
    images = np.full(len(labels), -1) if faces.images is None else faces.images
    return Measured(
        parameter=parameter,
        pairwise_f=scores.pairwise_f,
        bcubed_f=scores.bcubed_f,
        nmi=scores.nmi,
        people_right=scores.people_right,
        clusters=scores.clusters,
        people=scores.people,
        same_picture=score_pictures(labels, images).share,
        junk_in_clusters=junk.in_clusters,
        junk_unknown=junk.unknown_recall,
        operations=operations_to(labels, faces.identity).operations,
        seconds=seconds,
        megabytes=megabytes,
    )


def mean_and_spread(rows: list[Measured]) -> list[str]:
    """The cells of several runs: mean, and +- standard deviation where it tells."""
    if len(rows) == 1:
        return rows[0].cells()
    texts = [row.cells() for row in rows]
    cells = []
    for column in zip(*texts, strict=True):
        if "/" in column[0]:
            cells.append(column[0] + " ...")
            continue
        values = np.array(column, float)
        digits = len(column[0].partition(".")[2])
        cells.append(f"{values.mean():.{digits}f} +- {values.std(ddof=1):.{digits}f}")
    return cells
