"""Nearest neighbours on a GPU through torch: every vector compared with every one, equal to the exact search on the CPU.

Numbers of the grid are exact in TF32 as in float32 and so are the float32 sums of their products (`exact.py`), so tensor cores
may do the work and the lists are the same to the bit. From `exact_below` faces on the CPU search is approximate (an inverted file,
recall of the 80 nearest 0.996 to 0.999) and this one is not: there the device can change a few neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.neighbours import Search, Ties, settle_ties
from auto_annotator.errors import DeviceError

GPU_FROM = 20_000
"""Faces from which the search is worth the seconds that torch takes to load."""

CHUNK = 65_536
"""Rows compared with a block of queries at once: 1 GB of scores with 4096 queries."""

SPARE_MEMORY = 6 * 2**30
"""Device memory for scores, the work space of the selection and torch itself."""


def wants_gpu(shape: tuple[int, ...], device: str) -> bool:
    """Whether a set of vectors of this shape is to be searched on a GPU.

    Raises:
        DeviceError: if `device` is `cuda` and there is none, or the set does not fit.
    """
    if device == "cpu" or (device == "auto" and shape[0] < GPU_FROM):
        return False
    reason = _why_not(shape)
    if reason and device == "cuda":
        raise DeviceError(f"device cuda: {reason}; use the device cpu or auto")
    return not reason


def _why_not(shape: tuple[int, ...]) -> str:
    """Why a GPU cannot take the set; empty = it can."""
    try:
        import torch
    except ImportError:
        return "torch is not installed (pip install 'auto-annotator[gpu]')"
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU"
    free, _ = torch.cuda.mem_get_info()
    needed = 2 * shape[0] * shape[1] + SPARE_MEMORY
    return "" if needed <= free else f"{shape[0]} vectors need {needed >> 20} MB of GPU memory, {free >> 20} MB are free"


def gpu_search(grid: Grid, *, device: str = "cuda") -> Search:
    """Compare with every vector on a GPU; the vectors stay there as float16 while the search lives.

    Args:
        grid: vectors on the grid.
        device: a device of torch; `cpu` for tests.
    """
    import torch

    base = torch.from_numpy(np.ascontiguousarray(grid)).to(device)

    def chunks(queries: Any) -> Iterator[tuple[int, Any]]:
        for start in range(0, len(base), CHUNK):
            with _tensor_cores():
                scores = queries @ base[start : start + CHUNK].float().T
            yield start, scores

    def ties(few: Any, last: npt.NDArray[np.float32]) -> Iterator[Ties]:
        bound = torch.from_numpy(last).to(device)[:, None]
        for start, found in chunks(few):
            query, column = torch.nonzero(found == bound, as_tuple=True)  # in rising order, as numpy's
            yield query.cpu().numpy(), start + column.cpu().numpy()

    def search(
        queries: npt.NDArray[np.float32], k: int, floor: float = -1.0
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        asked = torch.from_numpy(np.ascontiguousarray(queries, np.float32)).to(device)
        scores, rows = None, None
        for start, found in chunks(asked):
            best, place = torch.topk(found, min(k + 1, found.shape[1]), dim=1)
            place += start
            if scores is not None:
                best, place = torch.cat([scores, best], dim=1), torch.cat([rows, place], dim=1)
                best, order = torch.topk(best, min(k + 1, best.shape[1]), dim=1)
                place = torch.gather(place, 1, order)
            scores, rows = best, place
        assert scores is not None and rows is not None, "a grid has rows"

        return settle_ties(
            scores.cpu().numpy(),
            rows.cpu().numpy(),
            k,
            floor,
            lambda tied, last: ties(asked[torch.from_numpy(tied).to(device)], last),
        )

    return search


@contextmanager
def _tensor_cores() -> Iterator[None]:
    """TF32 for products while it lasts: exact here, but not elsewhere in the process."""
    import torch

    flags = torch.backends.cuda.matmul
    before = flags.allow_tf32
    flags.allow_tf32 = True
    try:
        yield
    finally:
        flags.allow_tf32 = before
