"""From described faces to a clusters file: constraints, clustering, stable ids. What `cluster`, `people` and `annotate` share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.identity import Registry, assign_people
from auto_annotator.commands.carrying import carried
from auto_annotator.commands.cluster_result import cluster_file
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.clusters_file import ClusterFile, Meta, Words
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.types import Clusters, Constraints

WORKSPACE_FROM = 50_000
"""Faces from which the clustering keeps its tables on disk beside the output: below, it is done before one could interrupt it."""

Pairs = npt.NDArray[np.int64]
Clustering = Callable[..., Clusters]
"""What `FaceClustering` is."""


def _no_pairs() -> Pairs:
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What a person says on the command line, rows of the described faces; names by face key or person id."""

    must: Pairs = field(default_factory=_no_pairs)
    cannot: Pairs = field(default_factory=_no_pairs)
    never: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    names: Mapping[str, str] = field(default_factory=dict)


def cluster_faces(
    faces: DescribedFaces,
    clustering: Clustering,
    *,
    previous: ClusterFile | None = None,
    said: Said | None = None,
    threshold: float | None = None,
    workspace: Path | None = None,
    progress: bool = False,
    scheduler: str | None = None,
) -> ClusterFile:
    """Cluster, give ids and put together what the file says.

    Args:
        faces: of one or more descriptors files.
        clustering: `pipeline.FaceClustering`.
        previous: the result of an earlier run: its ids, names and human words go on.
        said: new human words; where they contradict those of the earlier run, the new ones count.
        threshold: cosine, None = that of the model set, or found from the data where it has none.
        workspace: folder of this run alone for tables of many faces; an interrupted run goes on from it, a finished one removes it.
        progress: progress bars on stderr.
        scheduler: address of a Dask scheduler, whose workers must see `workspace` under the same path.

    Raises:
        ConfigError: if the earlier run used other models, or the scheduler or its workers cannot be used.
    """
    said = said or Said()
    previous = carried(previous, faces) if previous is not None else None
    words = _words(faces, previous.words if previous is not None else Words(), said)
    keep = workspace if workspace is not None and (scheduler or len(faces) >= WORKSPACE_FROM) else None
    clusters = clustering(
        faces.vectors,
        quality=faces.quality,
        constraints=_constraints(faces, words),
        previous=_previous_labels(faces, previous) if previous is not None else None,
        threshold=faces.threshold if threshold is None else threshold,
        workspace=keep,
        progress=progress,
        **({"scheduler": scheduler} if scheduler else {}),
    )
    if keep is not None:  # an interrupted run leaves it, and the next one goes on from it
        shutil.rmtree(keep, ignore_errors=True)
    registry = Registry.from_json(previous.registry) if previous is not None else Registry.empty()
    registry, names = _names(registry, said.names)
    assignment = assign_people(registry, faces.keys, clusters.labels, names=names, confidence=clusters.confidence)
    settings = getattr(clustering, "settings", None)
    meta = Meta(
        model_set=faces.model_set,
        model_hash=faces.model_hash,
        threshold=None if np.isnan(clusters.threshold) else float(clusters.threshold),
        settings=asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {},
    )
    return cluster_file(faces, clusters, assignment, words, meta, set(said.names))


def _constraints(faces: DescribedFaces, words: Words) -> Constraints:
    rows = {key: row for row, key in enumerate(faces.keys)}
    never = np.array([rows[key] for key in words.never if key in rows], np.int64)
    return Constraints(must=_rows(words.must, rows), cannot=_rows(words.cannot, rows), never=never, images=faces.images)


def _rows(pairs: tuple[tuple[str, str], ...], rows: Mapping[str, int]) -> Pairs:
    """Pairs of keys as rows; a pair of which a face is not here says nothing now, but stays in the file."""
    return np.array([(rows[a], rows[b]) for a, b in pairs if a in rows and b in rows], np.int64).reshape(-1, 2)


def _words(faces: DescribedFaces, earlier: Words, said: Said) -> Words:
    """Earlier and new human words; of two that contradict each other about the same pair or face the new one counts."""

    def keyed(pairs: Pairs) -> dict[frozenset[str], tuple[str, str]]:
        named = [(faces.keys[a], faces.keys[b]) for a, b in pairs.tolist()]
        return {frozenset(pair): pair for pair in named}

    must, cannot = keyed(said.must), keyed(said.cannot)
    if both := [pair for same, pair in must.items() if same in cannot]:
        raise ConfigError(f"must and cannot: the faces {both[0][0]} and {both[0][1]} are in both, expected in one of them")
    new = set(must) | set(cannot)
    new_never = {faces.keys[i] for i in said.never.tolist()}
    old_must = [pair for pair in earlier.must if frozenset(pair) not in new and new_never.isdisjoint(pair)]
    old_cannot = [pair for pair in earlier.cannot if frozenset(pair) not in new]
    in_new_must = {key for pair in must.values() for key in pair}
    never = [key for key in earlier.never if key not in in_new_must] + [faces.keys[i] for i in said.never.tolist()]
    return Words(must=(*old_must, *must.values()), cannot=(*old_cannot, *cannot.values()), never=tuple(dict.fromkeys(never)))


def _previous_labels(faces: DescribedFaces, previous: ClusterFile) -> npt.NDArray[np.int64]:
    """(n,) number of the person each face was in the earlier run, -1 = new or nobody."""
    numbers = {person.id: number for number, person in enumerate(previous.people)}
    before = {face.key: numbers.get(face.person, -1) for face in previous.faces}
    return np.array([before.get(key, -1) for key in faces.keys], np.int64)


def _names(registry: Registry, said: Mapping[str, str]) -> tuple[Registry, dict[str, str]]:
    """The registry with the names that were said of people, and those that were said of faces."""
    for key, name in said.items():
        if key in registry.people:
            registry = registry.renamed(key, name)
    return registry, {key: name for key, name in said.items() if key not in registry.people}


def workspace_of(output: Path) -> Path:
    """The folder for tables of a run, beside its output."""
    return output.with_name(f".{output.name}.work")
