"""Time by stage and peak memory of the clustering at 10k, 50k, 200k and 1M synthetic faces, each in a process of its own.

python -m benchmarks.clustering_scale [--sizes 10000 50000 200000 1000000] [--preset ms1m-hard] [--seed 100]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.clustering_child import WARM_UP_FACES, peak_megabytes
from benchmarks.common import REPOSITORY, NotAvailable, table

SIZES = (10_000, 50_000, 200_000, 1_000_000)


class Stages:
    """Seconds of each stage, from the reports of the engine: a stage lasts until the next report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()
        self._lock = threading.Lock()

    def __call__(self, stage: str, _share: float) -> None:
        """Note that this stage is at work."""
        with self._lock:
            now = time.perf_counter()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
            self._last = now


def child(arguments: list[str]) -> None:
    """Generate (in another process), cluster, tell."""
    preset, size, seed, folder = arguments[0], int(arguments[1]), int(arguments[2]), Path(arguments[3])
    from auto_annotator.clustering.engine import cluster_faces
    from auto_annotator.evaluation.clustering import score
    from auto_annotator.types import Constraints

    columns = np.load(folder / "columns.npz")
    vectors = np.load(folder / "faces.npy", mmap_mode="r")
    few = np.asarray(vectors[:WARM_UP_FACES], np.float32)
    cluster_faces(few, constraints=Constraints(images=columns["image"][:WARM_UP_FACES]))  # compiles
    stages, start = Stages(), time.perf_counter()
    found = cluster_faces(
        vectors, quality=columns["quality"], constraints=Constraints(images=columns["image"]), workspace=folder, report=stages
    )
    total = time.perf_counter() - start
    megabytes = peak_megabytes()
    scores = score(found.labels, columns["identity"])
    ceiling = score(columns["person"], columns["identity"])
    told = {"faces": size, **stages.seconds, "total": total, "peak_mb": megabytes}
    accuracy = [scores.pairwise_f, scores.bcubed_f, ceiling.pairwise_f, ceiling.bcubed_f]
    print(json.dumps({"row": told, "accuracy": accuracy, "preset": preset, "seed": seed}))


def generate_files(arguments: list[str]) -> None:
    """Write a set to a folder."""
    from auto_annotator.evaluation.synthetic import generate

    made = generate(arguments[0], int(arguments[1]), seed=int(arguments[2]), file=Path(arguments[3]) / "faces.npy")
    columns = {name: getattr(made, name) for name in ("identity", "person", "quality", "image")}
    np.savez(Path(arguments[3]) / "columns.npz", **columns)


def measure(preset: str, size: int, seed: int) -> tuple[dict[str, float], list[float]]:
    """Seconds by stage, peak memory and accuracy at one size.

    Raises:
        NotAvailable: if the child failed; its last line says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        for job in ("generate", "cluster"):
            command = [sys.executable, "-m", "benchmarks.clustering_scale", "--job", job, preset, str(size), str(seed), folder]
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotAvailable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    told = json.loads(done.stdout.splitlines()[-1])
    return told["row"], told["accuracy"]


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clustering_scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--preset", default="ms1m-hard")
    parser.add_argument("--seed", type=int, default=100)
    chosen = parser.parse_args(list(arguments))
    rows: list[Mapping[str, float]] = []
    accuracy = []
    for size in chosen.sizes:
        row, scores = measure(chosen.preset, size, chosen.seed)
        rows.append(row)
        accuracy.append(scores)
        print(f"{size} faces: {row['total']:.1f} s, {row['peak_mb']:.0f} MB", flush=True)
    stages = list(dict.fromkeys(name for row in rows for name in row if name not in ("faces", "total", "peak_mb")))
    lines = [
        [f"{int(row['faces'])}", *(f"{row.get(stage, 0):.1f}" for stage in stages), f"{row['total']:.1f}", f"{row['peak_mb']:.0f}"]
        + [f"{100 * a:.2f} / {100 * b:.2f}" for a, b in ((s[0], s[1]), (s[2], s[3]))]
        for row, s in zip(rows, accuracy, strict=True)
    ]
    header = ("faces", *(f"{stage} s" for stage in stages), "total s", "peak MB", "pairwise / BCubed F", "ceiling")
    print(table(f"scale, {chosen.preset} x 512, seed {chosen.seed}", header, lines))
    from benchmarks.clustering_plots import draw_scale

    print(f"plot: {draw_scale(rows)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        {"generate": generate_files, "cluster": child}[sys.argv[2]](sys.argv[3:])
    else:
        main(sys.argv[1:])
