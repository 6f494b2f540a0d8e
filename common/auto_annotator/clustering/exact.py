"""Vectors on a whole-number grid, in an order that their content alone decides.

Sums of floats depend on their order, so a similarity can differ in its last digits with the number of threads, the size of a
block or the device, and a clustering that compares similarities can differ with it. Here unit vectors are rounded to whole
numbers of 1/2048: such numbers are exact in float16, float32 and TF32, and every partial sum of an inner product stays below
2**24, so float32 adds them without rounding, in any order. A similarity is then one number, on every machine. The price is an
error of about 2e-4 in a cosine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCALE = 2048
"""Whole numbers up to 2**11 are exact in float16; 2048**2 is below 2**24."""

BLOCK = 16_384
UNIT_TOLERANCE = 0.05
"""How far a norm may be from 1: float16 and int8 storage cost far less, a vector that was never normalised far more."""

Grid = npt.NDArray[np.float16]
"""(n, d) float16 whole numbers, 2048 times the unit vector."""


def usable_rows(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """(n,) bool: rows that are vectors; False = all zeros, no descriptor.

    Raises:
        ValueError: for values that are not finite, or rows whose norm is neither 0 nor about 1.
    """
    usable = np.zeros(len(vectors), np.bool_)
    for start in range(0, len(vectors), BLOCK):
        rows = np.asarray(vectors[start : start + BLOCK], np.float32)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        if not np.isfinite(norms).all():
            raise ValueError(
                f"vectors: row {start + int(np.flatnonzero(~np.isfinite(norms))[0])} is not finite, expected unit vectors"
            )
        usable[start : start + BLOCK] = norms > 0
        wrong = (norms > 0) & (np.abs(norms - 1) > UNIT_TOLERANCE)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"vectors: row {start + row} has norm {norms[row]:.3g}, expected 1 (or 0 for no descriptor)")
    return usable


def to_grid(vectors: npt.NDArray[np.floating], rows: npt.NDArray[np.intp]) -> Grid:
    """The chosen rows, normalised and rounded to the grid."""
    grid = np.empty((len(rows), vectors.shape[1]), np.float16)
    for start in range(0, len(rows), BLOCK):
        part = np.asarray(vectors[rows[start : start + BLOCK]], np.float32)
        part = part / np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
        grid[start : start + BLOCK] = np.rint(part * np.float32(SCALE))
    return grid


def content_order(grid: Grid, *keys: npt.NDArray[np.number]) -> npt.NDArray[np.intp]:
    """Rows in an order that does not depend on the order in which they came.

    Args:
        grid: the vectors.
        keys: (n,) further columns that tell rows of equal vectors apart, the most important first.
    """
    mixer = np.random.default_rng(0).integers(1, 2**63, grid.shape[1], dtype=np.uint64) | np.uint64(1)
    digest = np.empty(len(grid), np.uint64)
    for start in range(0, len(grid), BLOCK):
        part = grid[start : start + BLOCK].astype(np.int64).astype(np.uint64)
        digest[start : start + BLOCK] = (part * mixer).sum(axis=1, dtype=np.uint64)
    return np.asarray(np.lexsort((*reversed(keys), digest)), dtype=np.intp)


def cosines(grid: Grid, first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """(m,) cosines of m pairs of rows, exact on the grid."""
    out = np.empty(len(first), np.float32)
    step = max(1, BLOCK * 256 // grid.shape[1])
    for start in range(0, len(first), step):
        a = grid[first[start : start + step]].astype(np.float32)
        b = grid[second[start : start + step]].astype(np.float32)
        out[start : start + step] = np.einsum("ij,ij->i", a, b)
    return out / np.float32(SCALE * SCALE)
