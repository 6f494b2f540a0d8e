"""Neighbours on a GPU: equal to the exact search on the CPU, and seconds; needs torch with CUDA and little else.

python -m benchmarks.gpu_check [--equal 20000] [--sizes 200000 1000000] [--people 200000]

Without faiss the CPU search is a product in numpy; seconds of the CPU and the clustering from end to end need faiss.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from auto_annotator.clustering.exact import SCALE, Grid, to_grid
from auto_annotator.clustering.gpu import gpu_search
from auto_annotator.clustering.neighbours import NeighbourLists, Search, exact_search, inverted_search, neighbour_lists, settle_ties
from auto_annotator.clustering.settings import ClusteringSettings

DIMENSION = 512
FACES_PER_PERSON = 20
BLOCK = 4096
FLOOR = 0.2
"""Cosines that the lists keep; the engine's own floor on such sets lies at 0.25."""

HAS_FAISS = importlib.util.find_spec("faiss") is not None


def people(n: int, seed: int = 0) -> Grid:
    """Vectors of people with 20 photos each, on the grid; a tenth of them are exact duplicates, so that there are ties."""
    rng = np.random.default_rng(seed)
    vectors = np.empty((n, DIMENSION), np.float16)
    for start in range(0, n, 100_000):
        rows = np.arange(start, min(n, start + 100_000))
        means = rng.standard_normal((len(rows) // FACES_PER_PERSON + 1, DIMENSION), np.float32)
        part = means[(rows - start) // FACES_PER_PERSON] + rng.standard_normal((len(rows), DIMENSION), np.float32)
        copies = rng.integers(0, len(rows), (2, len(rows) // 10))
        part[copies[0]] = part[copies[1]]
        vectors[rows] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return to_grid(vectors, np.arange(n))


def numpy_search(grid: Grid) -> Search:
    """The exact search without faiss."""
    base = grid.astype(np.float32)

    def search(queries: np.ndarray, k: int, floor: float = -1.0) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ base.T
        rows = np.argpartition(-scores, k, axis=1)[:, : k + 1]
        found = np.take_along_axis(scores, rows, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        found, rows = np.take_along_axis(found, order, axis=1), np.take_along_axis(rows, order, axis=1)
        return settle_ties(found, rows, k, floor, lambda tied, last: [np.nonzero(queries[tied] @ base.T == last[:, None])])

    return search


def lists_of(grid: Grid, search: Search, count: int, *, most: int | None = None) -> NeighbourLists:
    """Lists of the first `most` faces."""
    faces = np.arange(len(grid) if most is None else min(most, len(grid)))
    blocks = [faces[start : start + BLOCK] for start in range(0, len(faces), BLOCK)]
    return NeighbourLists.join([neighbour_lists(grid, search, block, count=count, floor=FLOOR) for block in blocks])


def equal(a: NeighbourLists, b: NeighbourLists) -> bool:
    """To the bit."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("starts", "rows", "scores"))


def timed(what: str, work: Callable[[], NeighbourLists]) -> NeighbourLists:
    """Do it and print the seconds."""
    start = time.perf_counter()
    found = work()
    print(f"{what}: {time.perf_counter() - start:.1f} s, {len(found.rows)} neighbours", flush=True)
    return found


def check_equality(n: int) -> None:
    """GPU against CPU, at the two numbers of neighbours that the engine asks for."""
    grid = people(n)
    settings = ClusteringSettings()
    on_gpu, on_cpu = gpu_search(grid), exact_search(grid) if HAS_FAISS else numpy_search(grid)
    for count in (settings.neighbours, settings.more_neighbours):
        same = equal(
            timed(f"{n} x {DIMENSION}, K={count}, GPU", lambda c=count: lists_of(grid, on_gpu, c)),
            timed(f"{n} x {DIMENSION}, K={count}, CPU exact", lambda c=count: lists_of(grid, on_cpu, c)),
        )
        print(f"equal to the bit: {same}", flush=True)
        assert same


def measure(n: int) -> None:
    """Seconds of the neighbours of n faces; recall of the CPU's inverted file where it takes no longer than minutes."""
    import torch

    grid, count = people(n, seed=1), ClusteringSettings().neighbours
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    on_gpu = gpu_search(grid)
    exact = timed(f"{n} x {DIMENSION}, K={count}, GPU exact", lambda: lists_of(grid, on_gpu, count))
    print(f"  with loading {time.perf_counter() - start:.1f} s, {torch.cuda.max_memory_allocated() >> 20} MB of GPU memory")
    if HAS_FAISS and n <= 200_000:
        inverted = timed(f"{n} x {DIMENSION}, K={count}, CPU inverted file", lambda: lists_of(grid, inverted_search(grid), count))
        codes = [np.repeat(np.arange(n), np.diff(x.starts)) * n + x.rows for x in (exact, inverted)]
        print(f"  neighbours that the inverted file finds: {np.isin(*codes, assume_unique=True).mean():.4f}", flush=True)


def whole(n: int) -> None:
    """The clustering from end to end on both devices."""
    from auto_annotator.clustering.engine import cluster_faces
    from auto_annotator.evaluation.clustering import score
    from auto_annotator.evaluation.synthetic import generate
    from auto_annotator.types import Constraints

    cluster_faces(people(300).astype(np.float32) / np.float32(SCALE))  # compiles
    for size in (min(n, 30_000), n):
        made = generate("album", size, seed=100)
        found = {}
        for device in ("cuda", "cpu"):
            settings, start = replace(ClusteringSettings(), device=device), time.perf_counter()
            found[device] = cluster_faces(
                made.vectors, quality=made.quality, constraints=Constraints(images=made.image), settings=settings
            )
            told = score(found[device].labels, made.identity)
            seconds = time.perf_counter() - start
            print(f"album {size}, {device}: {seconds:.1f} s, pairwise F {told.pairwise_f:.4f}, BCubed F {told.bcubed_f:.4f}")
        same = all(np.array_equal(getattr(found["cuda"], f), getattr(found["cpu"], f)) for f in ("labels", "confidence"))
        print(f"  labels and confidences equal: {same} (expected below {ClusteringSettings().exact_below})", flush=True)


def main() -> None:
    """Check and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description="Neighbours on a GPU.")
    parser.add_argument("--equal", type=int, default=20_000, metavar="N", help="faces of the comparison")
    parser.add_argument("--sizes", type=int, nargs="*", default=[200_000, 1_000_000], metavar="N", help="faces to time")
    parser.add_argument("--people", type=int, default=0, metavar="N", help="also cluster so many; needs faiss")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch sees no NVIDIA GPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, faiss {'there' if HAS_FAISS else 'missing'}")
    check_equality(given.equal)
    for n in given.sizes:
        measure(n)
    if given.people and HAS_FAISS:
        whole(given.people)


if __name__ == "__main__":
    main()
