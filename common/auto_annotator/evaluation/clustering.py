"""How well faces were put together: pairwise F, BCubed F, NMI, people that are right, pictures, junk, constraints, changed ids.

All measures work on the non-empty cells of clusters x people only, so a million faces take seconds. Every face of label -1
("unknown") counts as a cluster of its own.

Sources: BCubed in Amigo et al., "A comparison of extrinsic clustering evaluation metrics" (2009); people that are right at 0.9
as in FaceMap's F_I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.types import Constraints

IntArray = npt.NDArray[np.integer]
Int64Array = npt.NDArray[np.int64]

RIGHT = (9, 10)
"""A person is right when one cluster holds at least 9 of 10 of the faces and is to at least 9 of 10 that person."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contingency:
    """The non-empty cells of clusters x people.

    Attributes:
        cluster, person: (m,) numbers from 0 without gaps, sorted by cluster, then person.
        count: (m,) faces in the cell.
        cluster_sizes, person_sizes: (k,) and (p,) faces.
    """

    cluster: Int64Array
    person: Int64Array
    count: Int64Array
    cluster_sizes: Int64Array
    person_sizes: Int64Array

    @property
    def faces(self) -> int:
        """How many faces there are."""
        return int(self.count.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringScores:
    """Measures of one clustering against the truth, shares of 1.

    Attributes:
        pairwise_precision, pairwise_recall, pairwise_f: over pairs of faces; 1 where there is no pair to be wrong about.
        bcubed_precision, bcubed_recall, bcubed_f: mean over faces.
        nmi: mutual information over the mean of the two entropies.
        people_right: share of people that are right (`RIGHT`).
        identity_f: harmonic mean of that share and of the share of clusters that are a right person.
        clusters, people: how many there are, -1 faces counted as clusters of one.
    """

    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    nmi: float
    people_right: float
    identity_f: float
    clusters: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureScores:
    """Faces that share a picture: how many pairs there are, how many were put together, and their share (0 without pairs)."""

    pairs: int
    violations: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JunkScores:
    """What became of faces that are nobody.

    Attributes:
        in_clusters: share of junk faces that sit in a cluster together with another face.
        unknown_recall: share of junk faces of label -1.
        good_unknown: share of good faces of label -1.
    """

    in_clusters: float
    unknown_recall: float
    good_unknown: float


def contingency(labels: npt.ArrayLike, identity: npt.ArrayLike) -> Contingency:
    """Count faces by cluster and person.

    Args:
        labels: (n,) integers; every -1 is a cluster of its own.
        identity: (n,) integers, the truth.

    Raises:
        ValueError: if the lengths differ or there is no face.
    """
    predicted, truth = np.asarray(labels), np.asarray(identity)
    if predicted.shape != truth.shape or predicted.ndim != 1 or not len(predicted):
        raise ValueError(f"labels: got shapes {predicted.shape} and {truth.shape}, expected the same (n,), n > 0")
    _, clusters, cluster_sizes = np.unique(alone(predicted), return_inverse=True, return_counts=True)
    _, people, person_sizes = np.unique(truth, return_inverse=True, return_counts=True)
    keys, count = np.unique(clusters.astype(np.int64) * len(person_sizes) + people, return_counts=True)
    return Contingency(
        cluster=keys // len(person_sizes),
        person=keys % len(person_sizes),
        count=count.astype(np.int64),
        cluster_sizes=cluster_sizes.astype(np.int64),
        person_sizes=person_sizes.astype(np.int64),
    )


def alone(labels: IntArray) -> Int64Array:
    """Labels in which every face of label -1 has a label of its own, beyond all others."""
    result = np.asarray(labels, np.int64).copy()
    unknown = result < 0
    result[unknown] = max(int(result.max(initial=-1)), -1) + 1 + np.arange(np.count_nonzero(unknown))
    return result


def score(labels: npt.ArrayLike, identity: npt.ArrayLike) -> ClusteringScores:
    """Compare a clustering with the truth; arguments and errors as of `contingency`."""
    cells = contingency(labels, identity)
    count, mine, theirs = cells.count, cells.cluster_sizes[cells.cluster], cells.person_sizes[cells.person]
    together = _pairs(count)
    pairwise = _ratio(together, _pairs(cells.cluster_sizes)), _ratio(together, _pairs(cells.person_sizes))
    squares = count.astype(float) ** 2
    bcubed = float((squares / mine).sum() / cells.faces), float((squares / theirs).sum() / cells.faces)
    part, whole = RIGHT
    right = int(np.count_nonzero((whole * count >= part * mine) & (whole * count >= part * theirs)))
    people, clusters = len(cells.person_sizes), len(cells.cluster_sizes)
    return ClusteringScores(
        pairwise_precision=pairwise[0],
        pairwise_recall=pairwise[1],
        pairwise_f=harmonic(*pairwise),
        bcubed_precision=bcubed[0],
        bcubed_recall=bcubed[1],
        bcubed_f=harmonic(*bcubed),
        nmi=_nmi(cells),
        people_right=right / people,
        identity_f=harmonic(right / clusters, right / people),
        clusters=clusters,
        people=people,
    )


def harmonic(first: float, second: float) -> float:
    """Harmonic mean of two shares, 0 where both are 0."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def score_pictures(labels: npt.ArrayLike, images: npt.ArrayLike) -> PictureScores:
    """Count the pairs of faces of one picture that were put together; image -1 = unknown, in no pair."""
    predicted, pictures = alone(np.asarray(labels)), np.asarray(images)
    known = pictures >= 0
    if not known.any():
        return PictureScores(pairs=0, violations=0, share=0.0)
    _, picture, sizes = np.unique(pictures[known], return_inverse=True, return_counts=True)
    _, cluster = np.unique(predicted[known], return_inverse=True)
    _, cells = np.unique(picture.astype(np.int64) * (int(cluster.max()) + 1) + cluster, return_counts=True)
    pairs, violations = _pairs(sizes), _pairs(cells)
    return PictureScores(pairs=pairs, violations=violations, share=violations / pairs if pairs else 0.0)


def score_junk(labels: npt.ArrayLike, is_junk: npt.ArrayLike) -> JunkScores:
    """Say where the junk went; shares of none are 0."""
    predicted, junk = np.asarray(labels), np.asarray(is_junk, bool)
    _, cluster, sizes = np.unique(alone(predicted), return_inverse=True, return_counts=True)
    accompanied, unknown = sizes[cluster] > 1, predicted < 0

    def share(what: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
        return float(what[among].mean()) if among.any() else 0.0

    return JunkScores(in_clusters=share(accompanied, junk), unknown_recall=share(unknown, junk), good_unknown=share(unknown, ~junk))


def changed_ids(before: Sequence[str], after: Sequence[str]) -> float:
    """Share of faces that had an id before (not an empty text) and have another, or none, now.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(before) != len(after):
        raise ValueError(f"after: got {len(after)} ids, expected {len(before)}, one for each face before")
    old, new = np.asarray(before, dtype=np.str_), np.asarray(after, dtype=np.str_)
    had = old != ""
    return float((old[had] != new[had]).mean()) if had.any() else 0.0


def kept_constraints(labels: npt.ArrayLike, constraints: Constraints) -> tuple[int, int]:
    """How many of the human must-links, cannot-links and `never` faces hold, and how many there are.

    A must-link holds when both faces have the same label, not -1; a cannot-link when they have not; `never` when the label is -1.
    """
    predicted = np.asarray(labels)
    must, cannot = predicted[constraints.must], predicted[constraints.cannot]
    kept = np.count_nonzero((must[:, 0] == must[:, 1]) & (must[:, 0] >= 0))
    kept += np.count_nonzero((cannot[:, 0] != cannot[:, 1]) | (cannot[:, 0] < 0))
    kept += np.count_nonzero(predicted[constraints.never] < 0)
    return int(kept), len(must) + len(cannot) + len(constraints.never)


def _pairs(sizes: IntArray) -> int:
    wide = np.asarray(sizes, np.int64)
    return int((wide * (wide - 1) // 2).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _entropy(sizes: IntArray, faces: int) -> float:
    share = sizes / faces
    return float(-(share * np.log(share)).sum())


def _nmi(cells: Contingency) -> float:
    """Mutual information over the mean entropy; 1 where neither side says anything."""
    entropies = _entropy(cells.cluster_sizes, cells.faces) + _entropy(cells.person_sizes, cells.faces)
    mutual = entropies - _entropy(cells.count, cells.faces)
    return max(2 * mutual / entropies, 0.0) if entropies > 0 else 1.0
