"""One method on one set in a process of its own, so that seconds and peak memory are its alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.baselines import METHODS, Graph
from benchmarks.clustering_sets import FaceSet
from benchmarks.common import REPOSITORY, NotAvailable

OURS, OURS_BLIND = "ours", "ours, vectors only"

WARM_UP_FACES = 300
"""Faces of a first call that compiles what is compiled once per machine."""


def run_alone(method: str, parameter: float, faces: FaceSet, graph: Graph) -> tuple[np.ndarray, float, float]:
    """Labels, seconds without reading the faces and importing, and peak resident megabytes of the whole process.

    Peers get the graph and do not pay for it here; ours does everything itself.

    Raises:
        NotAvailable: if the method needs what is not installed, or failed (its last line says why).
    """
    with tempfile.TemporaryDirectory() as folder:
        given, labels = Path(folder) / "faces.npz", Path(folder) / "labels.npy"
        columns = {name: value for name in ("quality", "images", "threshold") if (value := getattr(faces, name)) is not None}
        if method not in (OURS, OURS_BLIND):
            columns |= {"neighbours": graph.neighbours, "cosines": graph.cosines}
        np.savez(given, vectors=faces.vectors, **columns)
        command = [sys.executable, "-m", __name__, method, repr(parameter), str(given), str(labels)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise NotAvailable(last.removeprefix("benchmarks.common.NotAvailable: "))
        told = json.loads(done.stdout.splitlines()[-1])
        return np.load(labels), told["seconds"], told["megabytes"]


def run_ours(faces: FaceSet, *, blind: bool = False) -> np.ndarray:
    """Labels of the product at its shipped default, with all that is known of the faces or with the vectors only."""
    from auto_annotator.pipeline import FaceClustering
    from auto_annotator.types import Constraints

    clustering = FaceClustering()
    if blind:
        return np.asarray(clustering(faces.vectors, threshold=faces.threshold).labels)
    constraints = Constraints(images=faces.images)
    found = clustering(faces.vectors, quality=faces.quality, constraints=constraints, threshold=faces.threshold)
    return np.asarray(found.labels)


def peak_megabytes() -> float:
    """Peak resident memory of this process so far; getrusage would count the parent's from before the exec."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main(arguments: list[str]) -> None:
    """The child."""
    method, parameter, given, written = arguments
    with np.load(given) as file:
        columns = dict(file)
    if method in (OURS, OURS_BLIND):
        n = len(columns["vectors"])
        if "threshold" in columns:
            columns["threshold"] = float(columns["threshold"])
        faces = FaceSet(name="", identity=np.arange(n), junk=np.zeros(n, bool), **columns)
        run_ours(faces.select(np.arange(min(n, WARM_UP_FACES))))
        start = time.perf_counter()
        labels = run_ours(faces, blind=method == OURS_BLIND)
    else:
        graph = Graph(**{name: columns[name] for name in ("vectors", "neighbours", "cosines")})
        start = time.perf_counter()
        labels = METHODS[method].run(graph, float(parameter))
    seconds = time.perf_counter() - start
    np.save(written, labels)
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main(sys.argv[1:])
