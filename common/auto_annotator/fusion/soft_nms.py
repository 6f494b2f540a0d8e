"""Gaussian Soft-NMS without a Python loop over boxes."""

from __future__ import annotations

import numpy as np

from auto_annotator.fusion.candidates import Float64Array, IntArray, find_pairs, pair_iou


def soft_nms(boxes: Float64Array, scores: Float64Array, *, sigma: float, faded_below: float) -> tuple[Float64Array, IntArray]:
    """Fade the scores of boxes that overlap better ones (Bodla et al. 2017, Gaussian form).

    The definition takes the best box left, fades all others by exp(-IoU^2 / sigma), and starts again. A box that is the best among
    the boxes it overlaps cannot fade any more, whatever happens elsewhere, so all such boxes are taken at once.

    Args:
        boxes: (n, 4) float64 with positive sides, best first.
        scores: (n,) float64.
        sigma: width of the fading.
        faded_below: boxes whose faded score is below this are suppressed.

    Returns:
        (n,) faded scores, and (n,) the row each row belongs to: itself if it stays, else the staying row taken before it that it
        overlaps most, -1 if there is none.
    """
    n = len(boxes)
    pairs = find_pairs(boxes, lambda i, j: pair_iou(boxes[i], boxes[j]) > 0)
    if pairs is None:
        return _one_by_one(boxes, scores, sigma=sigma, faded_below=faded_below)
    (i, j), faded = pairs, scores.copy()
    iou = pair_iou(boxes[i], boxes[j])
    fading = np.exp(-(iou**2) / sigma)
    alive, taken_in = np.ones(n, np.bool_), np.zeros(n, np.intp)
    a, b, factor = i, j, fading
    for turn in range(n):
        if not alive.any():
            break
        first = faded[a] >= faded[b]  # of equals the one that was better at the start: a < b
        beaten = np.zeros(n, np.bool_)
        beaten[np.where(first, b, a)] = True
        taken = alive & ~beaten
        taken_in[taken], alive[taken] = turn, False
        hit = taken[a] | taken[b]
        np.multiply.at(faded, np.where(taken[a], b, a)[hit], factor[hit])
        left = ~hit
        a, b, factor = a[left], b[left], factor[left]
    return faded, _hosts(faded >= faded_below, taken_in, i, j, iou)


def _hosts(stays: np.ndarray, taken_in: IntArray, i: IntArray, j: IntArray, iou: Float64Array) -> IntArray:
    host = np.where(stays, np.arange(len(stays)), -1)
    row, other, near = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([iou, iou])
    wanted = ~stays[row] & stays[other] & (taken_in[other] < taken_in[row])
    row, other, near = row[wanted], other[wanted], near[wanted]
    order = np.lexsort((-other, near))  # the closest is written last; of equals the better
    host[row[order]] = other[order]
    return host


def _one_by_one(boxes: Float64Array, scores: Float64Array, *, sigma: float, faded_below: float) -> tuple[Float64Array, IntArray]:
    """The definition itself, O(n^2), for crowds with too many overlapping pairs to keep."""
    n = len(boxes)
    faded, host, closest = scores.copy(), np.full(n, -1, np.intp), np.zeros(n)
    alive = np.arange(n)
    while len(alive):
        best = int(alive[np.argmax(faded[alive])])
        alive = alive[alive != best]
        iou = pair_iou(boxes[best : best + 1], boxes[alive])
        if faded[best] >= faded_below:
            host[best] = best
            closer = iou > closest[alive]
            host[alive[closer]], closest[alive[closer]] = best, iou[closer]
        faded[alive] *= np.exp(-(iou**2) / sigma)
    return faded, host
