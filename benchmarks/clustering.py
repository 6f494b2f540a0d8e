"""Clusterings side by side: ours at its one shipped default, peers at their default and at their best threshold in hindsight.

Peers work on one exact graph of nearest neighbours: its seconds are added to theirs, its making is not in their memory. They
see vectors only; ours sees quality and pictures as well, and a second row of ours shows what it does without them. Every method
runs in a process of its own; memory is the peak of that whole process.

python -m benchmarks.clustering [--sets lfw celeba_wild ms1m-hard album twins] [--faces 20000] [--seeds 100 101 102 103 104]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from auto_annotator.evaluation.clustering import score
from benchmarks.baselines import METHODS, Graph, Method, build_graph
from benchmarks.clustering_child import OURS, OURS_BLIND, run_alone
from benchmarks.clustering_measure import HEADER, Measured, mean_and_spread, measure
from benchmarks.clustering_sets import FaceSet, face_sets
from benchmarks.common import NotAvailable, table

SETS = ("lfw", "celeba_wild", "ms1m-hard", "album", "album-junk", "twins")
FACES = 20_000
SEED = 100

Rows = dict[tuple[str, str], list[Measured]]


def quality_of(labels: np.ndarray, identity: np.ndarray) -> float:
    """What "best" means for a peer: the mean of pairwise and BCubed F."""
    scores = score(labels, identity)
    return (scores.pairwise_f + scores.bcubed_f) / 2


def best_parameter(method: Method, graph: Graph, identity: np.ndarray) -> float:
    """The parameter with the best result in hindsight: over the grid and the default, then half a step to either side."""
    grid = method.on(graph)
    tried = {p: quality_of(method.run(graph, p), identity) for p in {*grid, method.default or grid[0]}}
    best = max(sorted(tried), key=lambda p: tried[p])
    if method.parameter == "cosine":
        step = (grid[1] - grid[0]) / 2
        tried |= {p: quality_of(method.run(graph, p), identity) for p in (best - step, best + step)}
    return max(sorted(tried), key=lambda p: tried[p])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A set, the faces of it that have a vector, their graph and the seconds that it took."""

    faces: FaceSet
    described: np.ndarray
    graph: Graph
    graph_seconds: float

    @classmethod
    def of(cls, faces: FaceSet) -> Bench:
        """Build the graph."""
        described = np.abs(faces.vectors).sum(axis=1) > 0
        start = time.perf_counter()
        graph = build_graph(faces.vectors[described])
        return cls(faces=faces, described=described, graph=graph, graph_seconds=time.perf_counter() - start)

    def measured(self, method: str, parameter: float) -> Measured:
        """A method in a process of its own. Faces without a vector are unknown to all."""
        labels = np.full(len(self.described), -1)
        some = self.faces.select(np.flatnonzero(self.described))
        labels[self.described], seconds, megabytes = run_alone(method, parameter, some, self.graph)
        seconds += self.graph_seconds if method in METHODS else 0.0
        return measure(self.faces, labels, parameter=parameter, seconds=seconds, megabytes=megabytes)

    def rows(self) -> Iterator[tuple[str, str, Callable[[], float]]]:
        """Rows of the table: name, kind, and what finds the parameter."""
        yield OURS, "default", lambda: float("nan")
        if self.faces.quality is not None or self.faces.images is not None:
            yield OURS_BLIND, "default", lambda: float("nan")
        identity = self.faces.identity[self.described]
        for name, method in METHODS.items():
            if method.default is not None:
                yield name, "default", partial(float, method.default)
            yield name, "best", partial(best_parameter, method, self.graph, identity)


def side_by_side(sets: list[FaceSet]) -> tuple[Rows, list[str]]:
    """Rows of all methods over sets of one kind, and why some are missing."""
    rows: Rows = {}
    missing: list[str] = []
    for faces in sets:
        bench = Bench.of(faces)
        for name, kind, parameter in bench.rows():
            try:
                rows.setdefault((name, kind), []).append(bench.measured(name, parameter()))
            except NotAvailable as error:
                missing.append(f"{name}: {error}")
    return {key: values for key, values in rows.items() if values}, list(dict.fromkeys(missing))


def with_parameter(kind: str, values: list[Measured]) -> str:
    """`best 0.55`: the kind of row and the parameter, its mean over the seeds."""
    mean = float(np.mean([value.parameter for value in values]))
    return kind if np.isnan(mean) else f"{kind} {mean:.3g}"


def report(sets: list[FaceSet]) -> tuple[str, Rows]:
    """The table of sets of one kind, and its rows."""
    first = sets[0]
    rows, missing = side_by_side(sets)
    lines = [[name, with_parameter(kind, values), *mean_and_spread(values)] for (name, kind), values in rows.items()]
    title = first.name if len(sets) == 1 else f"{first.name.rsplit(' seed', 1)[0]}, {len(sets)} seeds"
    text = table(f"{title}: {len(first.identity)} faces", HEADER, lines)
    if first.person is not None:
        ceilings = [score(faces.person, faces.identity) for faces in sets]
        f, b = (100 * np.mean([getattr(c, name) for c in ceilings]) for name in ("pairwise_f", "bcubed_f"))
        text += f"\nceiling of the labels: {f:.2f} / {b:.2f}\n"
    return text + "".join(f"\nnot available: {line}" for line in missing) + ("\n" if missing else ""), rows


def main(arguments: Sequence[str] = ()) -> None:
    """Print a table for each set and draw the plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clustering")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--faces", type=int, default=FACES, help="of a synthetic set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED], help="of the synthetic sets")
    chosen = parser.parse_args(list(arguments))
    results = {}
    for name in chosen.sets:
        try:
            for sets in face_sets([name], chosen.faces, chosen.seeds):
                text, rows = report(sets)
                print(text, flush=True)
                results[sets[0].name] = rows
        except NotAvailable as error:
            print(f"\n### {name}\n\nnot available: {error}")
    if results:
        from benchmarks.clustering_plots import draw

        print(f"plot: {draw(results)}")


if __name__ == "__main__":
    main(sys.argv[1:])
