"""Every number of the clustering that has a meaning, in one place; the shipped defaults serve all sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringSettings:
    """How faces become people. Similarities are cosines; `sigma` is the spread of cosines of strangers.

    Attributes:
        method: `potts` (ours), or `dbscan` and `hdbscan` of scikit-learn for comparison.
        link_sigmas: two faces link with probability 1/2 where their cosine lies this many sigmas above that of strangers.
        member_sigmas: the threshold rises until it lies only so many sigmas below the usual cosine of two faces of one person.
        link_width: width of the logistic link, in sigmas.
        resolution: gamma of the constant Potts model: a group holds together where its mean edge weight is above it.
        gate_quality: faces below it take no part in the graph; they are attached at the end or stay unknown.
        cluster_quality: a cluster whose middle face is poorer than this is faces that the recogniser cannot tell apart: unknown.
        neighbours: nearest neighbours of each face.
        more_neighbours: of faces whose last neighbour is still `saturated_sigmas` above the link threshold.
        saturated_sigmas: see `more_neighbours`.
        same_image: penalty of two faces of one picture in one group, in edge weights.
        mirror_similarity: two faces of one picture at least this alike (0 = strangers, 1 = equal) are taken for a mirror image or
            a double box: no penalty.
        merge_sigmas: clusters of one face each merge from this many sigmas on.
        merge_similarity: clusters of many faces merge when their centroids are at least this alike (0 = strangers, 1 = equal).
        suggest_sigmas, suggest_similarity: the same two limits from which on a merge that was not made is suggested to a person.
        shared_images: two clusters that meet in more than this share of the pictures of the smaller one are two people.
        attach_sigmas: a low-quality face joins a cluster from this many sigmas on,
        attach_margin: if the next cluster is this many sigmas worse.
        exact_below: nearest neighbours are exact below this many faces, approximate (IVF, float16) from there on.
        block: rows searched at once.
        device: where neighbours are searched. `cuda` = on a GPU, exact at any size; `auto` = there from `gpu.GPU_FROM` faces on if
            torch sees one that they fit in; `cpu`. Below `exact_below` the device changes nothing; from there on the CPU search is
            approximate, so give `cpu` or `cuda` where runs on different machines must be equal.
        dbscan_eps: cosine distance for `dbscan`; None = the link threshold.
        dbscan_min_samples: for `dbscan` and `hdbscan`.
    """

    method: Literal["potts", "dbscan", "hdbscan"] = "potts"
    link_sigmas: float = 5.75
    member_sigmas: float = 1.5
    link_width: float = 0.5
    resolution: float = 0.15
    gate_quality: float = 0.15
    cluster_quality: float = 0.3
    neighbours: int = 80
    more_neighbours: int = 240
    saturated_sigmas: float = 4.0
    same_image: float = 50.0
    mirror_similarity: float = 0.75
    merge_sigmas: float = 5.0
    merge_similarity: float = 0.8
    suggest_sigmas: float = 4.25
    suggest_similarity: float = 0.6
    shared_images: float = 0.02
    attach_sigmas: float = 4.5
    attach_margin: float = 1.0
    exact_below: int = 50_000
    block: int = 4096
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dbscan_eps: float | None = None
    dbscan_min_samples: int = 2
