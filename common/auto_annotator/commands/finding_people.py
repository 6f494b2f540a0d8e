"""From the faces of a records file to people, in one folder: descriptors, clusters, page. What `people` and `annotate` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.commands.clustering import Clustering, Said, cluster_faces, workspace_of
from auto_annotator.commands.describing import Summary, describe_faces
from auto_annotator.commands.pictures import Picture
from auto_annotator.config import Settings
from auto_annotator.exchange.clusters_file import ClusterFile, read_clusters, write_clusters
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.exchange.journal import journal_path
from auto_annotator.pipeline.protocols import DescribesFaces
from auto_annotator.reports.people_page import write_people_page
from auto_annotator.reports.records import Record, read_records

Method = Literal["potts", "dbscan", "hdbscan"]
"""See `ClusteringSettings.method`."""
DESCRIPTORS, CLUSTERS, PEOPLE = FILES = ("descriptors.npz", "clusters.json", "people.html")
"""Names of what is left in the output folder."""


def leftovers(out: Path) -> list[Path]:
    """Files that do not fit any more once faces are detected anew; not the clusters, which hold ids and names."""
    return [out / DESCRIPTORS, journal_path(out / DESCRIPTORS), out / PEOPLE]


def picture_records(pictures: Sequence[Picture], path: Path) -> list[Record]:
    """The records of the given pictures, in their order."""
    order = {picture.name: number for number, picture in enumerate(pictures)}
    return sorted((r for r in read_records(path) if r.image in order), key=lambda r: order[r.image])


def describe_folder(
    records: Sequence[Record], paths: Mapping[str, Path], out: Path, settings: Settings, describe: DescribesFaces
) -> Summary:
    """Describe the faces of records; those that were described before are kept.

    Raises:
        ConfigError: if other models made what is there.
        KeyboardInterrupt: with a message how to go on.
    """
    return describe_faces(records, paths.get, out / DESCRIPTORS, describe, max_pixels=settings.max_pixels, resume=True)


def earlier_clusters(out: Path, *, fresh: bool = False) -> ClusterFile | None:
    """The clusters of an earlier run in this folder, None if there are none or they are not wanted."""
    return read_clusters(out / CLUSTERS) if (out / CLUSTERS).exists() and not fresh else None


def cluster_folder(
    out: Path,
    faces: DescribedFaces,
    clustering: Clustering | None = None,
    *,
    method: Method = "potts",
    said: Said | None = None,
    threshold: float | None = None,
    fresh: bool = False,
) -> ClusterFile:
    """Cluster the descriptors of a folder and write the clusters; those of an earlier run give their ids and names.

    Raises:
        ConfigError: if a file is damaged, or the earlier clusters are of other models.
    """
    if clustering is None:
        from auto_annotator.pipeline import FaceClustering

        clustering = FaceClustering(ClusteringSettings(method=method))
    previous = earlier_clusters(out, fresh=fresh)
    content = cluster_faces(
        faces, clustering, previous=previous, said=said, threshold=threshold, workspace=workspace_of(out / CLUSTERS), progress=True
    )
    write_clusters(out / CLUSTERS, content)
    return content


def people_page(content: ClusterFile, paths: Mapping[str, Path], out: Path, *, detection_page: str = "") -> None:
    """Write the contact sheet beside the other results."""
    write_people_page(
        content, paths.get, out / PEOPLE, subtitle=f"ensemble {content.meta.model_set}", detection_page=detection_page
    )
