"""What happens to a clustering over time: human words kept, ids that change when faces come, names that stay.

Two stories on albums: 80 % of the pictures first, then all of them (ids by the identity registry); and growing numbers of random
must-links between parts of one person and cannot-links inside mixed clusters, as a person who corrects would say them.
A DBSCAN at its best threshold with the same registry stands beside ours; it cannot hear human words.

python -m benchmarks.clustering_growth [--preset album] [--faces 20000] [--seeds 100]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np

from auto_annotator.clustering.identity import Registry, assign_people
from auto_annotator.evaluation.clustering import changed_ids, kept_constraints, score
from auto_annotator.types import Constraints
from benchmarks.baselines import METHODS, build_graph
from benchmarks.clustering_sets import FaceSet, synthetic
from benchmarks.common import NotAvailable, table

FIRST_PICTURES = 0.8
WORDS = (50, 100, 150)
"""Pairs of each kind that a person says."""

TRIES = 200
"""Draws for each pair that is asked for; a good clustering has few errors to talk about."""


def clustering() -> Callable[..., object]:
    """The product's clustering."""
    try:
        from auto_annotator.pipeline import FaceClustering
    except ImportError as error:
        raise NotAvailable(f"FaceClustering: {error}") from error
    return FaceClustering()


def ours(faces: FaceSet, previous: np.ndarray | None = None, constraints: Constraints | None = None) -> np.ndarray:
    """Labels of the product at its default."""
    words = constraints or Constraints(images=faces.images)
    found = clustering()(faces.vectors, quality=faces.quality, constraints=words, previous=previous, threshold=faces.threshold)
    return np.asarray(found.labels)


def dbscan(faces: FaceSet, previous: np.ndarray | None = None) -> np.ndarray:
    """Labels of DBSCAN at its default; it has no memory."""
    del previous
    method = METHODS["Immich-like DBSCAN"]
    return method.run(build_graph(faces.vectors), method.default or 0.5)


def grow(faces: FaceSet, run: Callable[..., np.ndarray], *, warm: bool, names: int = 200) -> list[object]:
    """Cells: scores at the end, ids of old faces that changed in %, names that were lost of `names` given."""
    rng = np.random.default_rng(0)
    pictures = np.unique(faces.images)
    first = np.isin(faces.images, rng.choice(pictures, round(FIRST_PICTURES * len(pictures)), replace=False))
    keys = np.array([f"face {row}" for row in range(len(first))])
    old_labels = run(faces.select(np.flatnonzero(first)))
    named = rng.choice(np.flatnonzero(old_labels >= 0), min(names, np.count_nonzero(old_labels >= 0)), replace=False)
    by_person = {int(old_labels[row]): row for row in named.tolist()}  # one name for each cluster
    said = {keys[first][row]: f"name {label}" for label, row in by_person.items()}
    before = assign_people(Registry.empty(), keys[first].tolist(), old_labels, names=said)
    previous = np.full(len(first), -1)
    previous[first] = old_labels
    labels = run(faces, previous if warm else None)
    after = assign_people(before.registry, keys.tolist(), labels)
    ids = [person for person, old in zip(after.people, first, strict=True) if old]
    living = {after.registry.people[person].name for person in after.registry.people if not after.registry.people[person].alias_of}
    scores = score(labels, faces.identity)
    lost = sum(name not in living for name in said.values())
    return [100 * scores.pairwise_f, 100 * scores.bcubed_f, 100 * changed_ids(list(before.people), ids), f"{lost} of {len(said)}"]


def words(faces: FaceSet, labels: np.ndarray, count: int) -> Constraints:
    """True human words about what is wrong: up to `count` must-links across clusters and as many cannot-links inside them."""
    rng = np.random.default_rng(1)
    must = _pairs_where_differ(faces.identity, labels, count, rng)
    cannot = _pairs_where_differ(labels, faces.identity, count, rng)
    return Constraints(must=must, cannot=cannot, images=faces.images)


def _pairs_where_differ(group: np.ndarray, value: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `count` random pairs of rows of one group (0 or above) whose values differ."""
    pairs = set()
    order = np.argsort(group, kind="stable")
    _, starts = np.unique(group[order], return_index=True)
    mixed = [rows for rows in np.split(order, starts[1:]) if group[rows[0]] >= 0 and len(np.unique(value[rows])) > 1]
    for _ in range(TRIES * count if mixed else 0):
        a, b = rng.choice(mixed[rng.integers(len(mixed))], 2, replace=False).tolist()
        if value[a] != value[b]:
            pairs.add((min(a, b), max(a, b)))
        if len(pairs) == count:
            break
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def main(arguments: Sequence[str] = ()) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clustering_growth")
    parser.add_argument("--preset", default="album")
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    chosen = parser.parse_args(list(arguments))
    clustering()
    growth, heard = [], []
    for seed in chosen.seeds:
        faces = synthetic(chosen.preset, chosen.faces, seed)
        growth.append([seed, "ours, from the earlier labels", *grow(faces, ours, warm=True)])
        growth.append([seed, "ours, from nothing", *grow(faces, ours, warm=False)])
        growth.append([seed, "Immich-like DBSCAN, default", *grow(faces, dbscan, warm=False)])
        start = ours(faces)
        for count in (0, *WORDS):
            constraints = words(faces, start, count)
            labels = ours(faces, start, constraints) if count else start
            kept, all_words = kept_constraints(labels, constraints)
            scores = score(labels, faces.identity)
            heard.append([seed, count, f"{kept} of {all_words}", 100 * scores.pairwise_f, 100 * scores.bcubed_f])
    header = ("seed", "clustering", "pairwise F", "BCubed F", "old ids changed %", "names lost")
    print(table(f"{chosen.preset}: {FIRST_PICTURES:.0%} of the pictures, then all", header, growth))
    header = ("seed", "words of each kind", "kept", "pairwise F", "BCubed F")
    print(table(f"{chosen.preset}: human words", header, heard))


if __name__ == "__main__":
    main(sys.argv[1:])
