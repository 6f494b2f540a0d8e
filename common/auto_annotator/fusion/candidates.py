"""Which boxes of a crowd can have to do with each other: a banded sweep that never looks at all n * n pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
PairTest = Callable[[IntArray, IntArray], BoolArray]

CHUNK = 1 << 13
"""Pairs looked at in one go. Temporaries of 64 kB stay in the processor's cache and on the heap; from 128 kB on, each would be
fetched from the operating system page by page, which takes longer than the arithmetic."""

MAX_PAIRS = 3_000_000
"""Pairs kept at most (48 MB). A picture has that many only if hundreds of boxes of each member lie on top of each other."""

_BANDS_PER_BOX = 4.0
"""Upper limit of the mean number of bands a box is cut into, so that a few huge boxes among tiny ones stay cheap."""

_SLACK = 1e-6
"""Relative slack of the pair tests: a pair too many costs nothing, a pair too few would change the result."""


def pair_iou(a: Float64Array, b: Float64Array) -> Float64Array:
    """(p,) intersection over union of row i of `a` with row i of `b`, both (p, 4) with positive sides."""
    inter = np.maximum(np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]), 0)
    inter *= np.maximum(np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]), 0)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return np.asarray(inter / (area_a + area_b - inter))


def overlap_test(boxes: Float64Array, threshold: float) -> PairTest:
    """Test of pairs: IoU above the threshold (what matters when the centre of a cluster is its best box)."""
    edges = _columns(boxes)

    def test(i: IntArray, j: IntArray) -> BoolArray:
        wi, wj, dx = _projections(edges[0], edges[2], i, j)
        hi, hj, dy = _projections(edges[1], edges[3], i, j)
        inter = dx * dy
        return np.asarray(inter > threshold * (wi * hi + wj * hj - inter))

    return test


def common_centre_test(boxes: Float64Array, threshold: float) -> PairTest:
    """Test of pairs: could there be any box M with IoU(i, M) > threshold and IoU(j, M) > threshold?

    From IoU(i, M) > t follow |i & M| > t / (1 + t) * (|i| + |M|) and |M| < |i| / t. Inclusion and exclusion inside M gives
    |i & j| * (1 + t) > t * (|i| + |j|) - (1 - t) / t * min(|i|, |j|). The same holds for the widths and for the heights,
    because the IoU of two boxes is at most the IoU of their projections.
    """
    t, edges = threshold, _columns(boxes)

    def enough(a: Float64Array, b: Float64Array, common: Float64Array) -> BoolArray:
        needed = (t - _SLACK) * (a + b)
        needed -= (1 - t) / t * np.minimum(a, b)
        return np.asarray(common * (1 + t) >= needed)

    def test(i: IntArray, j: IntArray) -> BoolArray:
        wi, wj, dx = _projections(edges[0], edges[2], i, j)
        hi, hj, dy = _projections(edges[1], edges[3], i, j)
        possible = enough(wi, wj, dx)
        possible &= enough(hi, hj, dy)
        possible &= enough(wi * hi, wj * hj, dx * dy)
        return possible

    return test


def _columns(boxes: Float64Array) -> Float64Array:
    return np.ascontiguousarray(boxes.T)


def _projections(
    low: Float64Array, high: Float64Array, i: IntArray, j: IntArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Lengths of the intervals i and j, and of what they have in common."""
    low_i, high_i, low_j, high_j = low.take(i), high.take(i), low.take(j), high.take(j)
    common = np.minimum(high_i, high_j)
    common -= np.maximum(low_i, low_j)
    return high_i - low_i, high_j - low_j, np.maximum(common, 0, out=common)


def growth(threshold: float) -> float:
    """How far, in sides of its own, each box must be grown so that all pairs with a common centre intersect.

    Two intervals a and b with the gap g between them and an interval with IoU > t to both: g < (1 - 2t) / (2t) * (a + b).
    """
    return max(0.0, (1 - 2 * threshold) / (2 * threshold)) * (1 + _SLACK)


def ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """The numbers starts[0] .. starts[0] + counts[0] - 1, then those of the next range, and so on."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def stable_order(numbers: IntArray) -> IntArray:
    """Stable argsort of numbers 0 .. 2^32 - 1 in one or two passes over 16 bits, which numpy sorts by radix, many times as fast."""
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    high = (numbers >> 16).astype(np.uint16)
    return order.take(np.argsort(high.take(order), kind="stable")) if high.any() else order


def find_pairs(
    boxes: Float64Array, test: PairTest, *, grow: float = 0.0, limit: int = MAX_PAIRS
) -> tuple[IntArray, IntArray] | None:
    """All pairs of rows (i, j), i < j, whose grown boxes intersect and that pass the test.

    Args:
        boxes: (n, 4) float64 x1 y1 x2 y2 with positive sides.
        test: (i, j) -> mask, on arrays of rows.
        grow: each box is grown by this many of its own sides at each edge before the search.
        limit: more pairs than this are not returned.

    Returns:
        Two (p,) arrays in no particular order, or None if there are more than `limit`.
    """
    found_i: list[IntArray] = []
    found_j: list[IntArray] = []
    total = 0
    for a, b in _neighbours(boxes, grow):
        kept = np.flatnonzero(test(a, b))
        a, b = a.take(kept), b.take(kept)
        total += len(a)
        if total > limit:
            return None
        found_i.append(np.minimum(a, b))
        found_j.append(np.maximum(a, b))
    empty = np.zeros(0, np.intp)
    return np.concatenate([empty, *found_i]), np.concatenate([empty, *found_j])


def _neighbours(boxes: Float64Array, grow: float) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield all pairs of intersecting (grown) boxes once, in chunks.

    The picture is cut into horizontal bands about as high as a typical box. Inside a band the boxes are sorted by their left
    edge, so the partners of a box are a contiguous range. A pair that shares several bands counts in the topmost one.
    """
    if len(boxes) < 2:
        return
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * grow
    x1, y1, x2, y2 = _columns(boxes + side * np.array([-1, -1, 1, 1]))
    height = max(float(np.median(y2 - y1)), float(np.mean(y2 - y1)) / _BANDS_PER_BOX)
    first = np.floor((y1 - y1.min()) / height).astype(np.intp)
    last = np.floor((y2 - y1.min()) / height).astype(np.intp)
    by_left = np.argsort(x1)
    row = np.repeat(by_left, (last - first + 1)[by_left])
    band = ranges(first[by_left], (last - first + 1)[by_left])
    by_band = stable_order(band)
    row, band = row[by_band], band[by_band]
    # One increasing key per entry: bands are laid side by side, each as wide as the picture.
    offset = band * (float(x2.max() - x1.min()) * 1.01) - x1.min()
    position = np.arange(len(row))
    partners = np.searchsorted(offset + x1[row], offset + x2[row]) - position - 1
    begins, low, high = first[row] == band, y1[row], y2[row]
    ends = np.cumsum(partners)
    begin = 0
    while begin < len(row):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        counts = partners[begin:end]
        a = np.repeat(position[begin:end], counts)
        b = ranges(position[begin:end] + 1, counts)
        begin = end
        near = np.maximum(low.take(a), low.take(b)) < np.minimum(high.take(a), high.take(b))
        near &= begins.take(a) | begins.take(b)
        kept = np.flatnonzero(near)  # taking by number is several times as fast as by mask
        yield row.take(a.take(kept)), row.take(b.take(kept))
