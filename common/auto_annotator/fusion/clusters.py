"""Who belongs together: the greedy clustering behind every fusion rule, exact and without a Python loop over boxes.

The definition is sequential: walk the rows from the best to the worst; each joins the cluster whose centre it overlaps most,
if by more than the threshold, else it founds one. With a *moving* centre (WBF) the centre is the weighted mean of the rows so far.

Most rows have nothing to do with each other, so they can be decided at the same time. Row r can only join a cluster if it overlaps
its centre M by more than the threshold; so does the row q that joined M last, because a mean that moves straight towards q
overlaps q more and more. Hence r waits for its better rows with which it could share a centre
(`candidates.common_centre_test`) and for no others, and the result is that of the walk, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auto_annotator.fusion.candidates import (
    CHUNK,
    BoolArray,
    Float64Array,
    IntArray,
    common_centre_test,
    find_pairs,
    growth,
    overlap_test,
    pair_iou,
    ranges,
    stable_order,
)

SWAP_GAIN = 0.1
"""IoU that a row must gain before the second pass moves it to another face: smaller differences are localisation noise."""

_MAX_SWAP_ROUNDS = 20
"""Each round raises the summed IoU by at least `SWAP_GAIN`; crowds settle in two or three, the limit bounds the time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The boxes of all lists in the order in which they are walked, best first.

    Attributes:
        boxes: (n, 4) float64 x1 y1 x2 y2, positive sides.
        weights: (n,) float64 > 0, say of each row in the mean.
        source: (n,) list each row came from.
        sources: number of lists.
    """

    boxes: Float64Array
    weights: Float64Array
    source: IntArray
    sources: int

    def __len__(self) -> int:
        return len(self.boxes)


def cluster_rows(rows: Rows, *, threshold: float, moving: bool, exclusive: bool) -> IntArray:
    """Cluster of each row, named by the row that founded it.

    Args:
        rows: what to cluster, best first.
        threshold: a row joins a centre that it overlaps by more than this IoU.
        moving: the centre is the weighted mean of the rows so far; else it stays the founder's box.
        exclusive: at most one row of a source in a cluster, and a second pass gives faces that stand close their own rows back.

    Returns:
        (n,) row numbers; a founder has its own. Crowds with more than `candidates.MAX_PAIRS` interacting pairs are walked row by
        row, without the second pass.
    """
    pairs = interacting_pairs(rows.boxes, threshold=threshold, moving=moving, exclusive=exclusive)
    if pairs is None:
        return walk(rows, threshold=threshold, moving=moving, exclusive=exclusive)
    cluster = _decide_in_rounds(rows, pairs, threshold=threshold, moving=moving, exclusive=exclusive)
    return _separate(rows, cluster, pairs, threshold) if exclusive else cluster


def interacting_pairs(boxes: Float64Array, *, threshold: float, moving: bool, exclusive: bool) -> tuple[IntArray, IntArray] | None:
    """Pairs of rows of which the worse one must wait for the better one (see the head of the module); None = too many.

    With fixed centres and any number of rows per source, only rows that overlap each other enough have to do with each other. A
    moving centre ties together all rows that could match it; so does the single place that a centre has for each source.
    """
    if moving or exclusive:
        return find_pairs(boxes, common_centre_test(boxes, threshold), grow=growth(threshold))
    return find_pairs(boxes, overlap_test(boxes, threshold))


def walk(rows: Rows, *, threshold: float, moving: bool, exclusive: bool) -> IntArray:
    """The definition, one row after the other: O(rows * clusters), for crowds and as the yardstick of the tests."""
    n = len(rows)
    cluster = np.arange(n)
    founders = np.zeros(n, np.intp)
    centres, masses = np.zeros((n, 4)), np.zeros(n)
    taken = np.zeros((n, rows.sources), np.bool_)
    count = 0
    for r in range(n):
        iou = pair_iou(centres[:count], rows.boxes[r : r + 1])
        if exclusive:
            iou[taken[:count, rows.source[r]]] = 0
        k = int(np.argmax(iou)) if count else 0
        if count == 0 or iou[k] <= threshold:
            k, count = count, count + 1
            founders[k], centres[k], masses[k] = r, rows.boxes[r], rows.weights[r]
        elif moving:
            masses[k] += rows.weights[r]
            centres[k] += (rows.boxes[r] - centres[k]) * (rows.weights[r] / masses[k])
        cluster[r] = founders[k]
        taken[k, rows.source[r]] = True
    return cluster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Adjacency:
    """Neighbours of each row: those of row r are `target[start[r]:start[r + 1]]`."""

    start: IntArray
    target: IntArray

    @classmethod
    def of(cls, origin: IntArray, target: IntArray, n: int) -> _Adjacency:
        start = np.concatenate([[0], np.cumsum(np.bincount(origin, minlength=n))])
        return cls(start=start, target=target.take(stable_order(origin)))

    def neighbours(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """All neighbours of the rows one after the other, and how many each row has."""
        counts = self.start[rows + 1] - self.start[rows]
        return self.target.take(ranges(self.start[rows], counts)), counts


def _decide_in_rounds(rows: Rows, pairs: tuple[IntArray, IntArray], *, threshold: float, moving: bool, exclusive: bool) -> IntArray:
    """Same result as `walk`; in each round all rows are decided whose better neighbours have been."""
    n = len(rows)
    before, after = _Adjacency.of(pairs[1], pairs[0], n), _Adjacency.of(pairs[0], pairs[1], n)
    waiting = np.bincount(pairs[1], minlength=n)
    # Every row starts as a cluster of its own, so that founding one takes no action.
    state = _State(
        cluster=np.arange(n), centre=rows.boxes.copy(), mass=rows.weights.copy(), newest=np.ones(n, np.bool_), latest=np.arange(n)
    )
    taken = np.zeros((n, rows.sources), np.bool_)
    taken[np.arange(n), rows.source] = True
    ready, last_mention = np.flatnonzero(waiting == 0), np.zeros(n, np.intp)
    while True:
        near, _ = after.neighbours(ready)
        np.subtract.at(waiting, near, 1)
        near = near[waiting[near] == 0]
        last_mention[near] = np.arange(len(near))
        ready = near[last_mention[near] == np.arange(len(near))]  # each once
        if not len(ready):
            return state.cluster
        joiner, host = _best_hosts(rows, ready, before, state, taken if exclusive else None, threshold)
        # Two joiners of one centre would be neighbours and so never ready together: plain assignments are safe.
        state.cluster[joiner] = host
        taken[host, rows.source[joiner]] = True
        if moving:
            state.join(rows, joiner, host)
        else:
            state.newest[joiner] = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """The clusters so far; arrays that `_decide_in_rounds` writes into.

    Attributes:
        cluster: (n,) founder of the cluster of each row.
        centre: (n, 4) centre of the cluster of each founder.
        mass: (n,) weight of the rows in it.
        latest: (n,) row that moved the centre last, for each founder.
        newest: (n,) bool, the row is such a `latest`: it stands for its cluster when others look for a host.
    """

    cluster: IntArray
    centre: Float64Array
    mass: Float64Array
    latest: IntArray
    newest: BoolArray

    def join(self, rows: Rows, joiner: IntArray, host: IntArray) -> None:
        """Move the centres of the hosts towards the rows that joined them."""
        self.mass[host] += rows.weights[joiner]
        self.centre[host] += (rows.boxes[joiner] - self.centre[host]) * (rows.weights[joiner] / self.mass[host])[:, None]
        self.newest[self.latest[host]] = False
        self.latest[host] = joiner


def _best_hosts(
    rows: Rows, ready: IntArray, before: _Adjacency, state: _State, taken: BoolArray | None, threshold: float
) -> tuple[IntArray, IntArray]:
    """Those of the ready rows that join a cluster, and the cluster each joins."""
    near, counts = before.neighbours(ready)
    row = np.repeat(ready, counts)
    stands = np.flatnonzero(state.newest.take(near))
    row, host = row.take(stands), state.cluster.take(near.take(stands))
    if taken is not None:
        free = np.flatnonzero(~taken[host, rows.source.take(row)])
        row, host = row.take(free), host.take(free)
    iou = pair_iou(state.centre.take(host, axis=0), rows.boxes.take(row, axis=0))
    close = np.flatnonzero(iou > threshold)
    row, host, iou = row.take(close), host.take(close), iou.take(close)
    # Best first within a row; of two equally good hosts the one that was founded first.
    order = np.lexsort((host, -iou, row))
    row, host = row[order], host[order]
    first = np.ones(len(row), np.bool_)
    first[1:] = row[1:] != row[:-1]
    return row[first], host[first]


def _separate(rows: Rows, cluster: IntArray, pairs: tuple[IntArray, IntArray], threshold: float) -> IntArray:
    """Second pass: where one member saw two faces in one place, every row goes to the face it fits.

    The walk may put member B's box of face 2 to member A's box of face 1 before A's box of face 2 has had its turn. Both fused
    boxes then lie between the faces. Founders stay; a row of a source moves to (or swaps places at) another founder if the sum of
    the IoUs with the founders gains `SWAP_GAIN`. Only clusters that share a source take part: no evidence, no second face.
    """
    row, host = _moves(rows, cluster, pairs, threshold)
    if not len(row):
        return cluster
    n, s = len(rows), rows.sources
    cluster = cluster.copy()
    slot = np.full(n * s, -1, np.intp)  # which row of a source is in a cluster
    slot[cluster * s + rows.source] = np.arange(n)
    there = pair_iou(rows.boxes[row], rows.boxes[host])
    stay = pair_iou(rows.boxes, rows.boxes[cluster])  # of each row with its own founder
    for _ in range(_MAX_SWAP_ROUNDS):
        home, other = cluster[row], slot[host * s + rows.source[row]]
        back = np.where(other >= 0, pair_iou(rows.boxes[other], rows.boxes[home]), 1.0)
        gain = there - stay[row] + np.where(other >= 0, back - stay[other], 0.0)
        move = np.flatnonzero((gain > SWAP_GAIN) & (home != host) & (other != host) & (back > threshold))
        if not len(move):
            break
        move = move[np.lexsort((row[move], -gain[move]))]
        source = rows.source[row[move]]
        here, target = home[move] * s + source, host[move] * s + source
        chosen = _first_at_both(here, target, n * s)
        move, here, target = move[chosen], here[chosen], target[chosen]
        slot[target], slot[here] = row[move], other[move]
        cluster[row[move]], stay[row[move]] = host[move], there[move]
        partner = other[move] >= 0
        cluster[other[move][partner]], stay[other[move][partner]] = home[move][partner], back[move][partner]
    return cluster


def _moves(rows: Rows, cluster: IntArray, pairs: tuple[IntArray, IntArray], threshold: float) -> tuple[IntArray, IntArray]:
    """Rows and the other founders that they overlap, for pairs of clusters with a common source."""
    founder, close = cluster == np.arange(len(rows)), overlap_test(rows.boxes, threshold)
    found = [np.zeros((2, 0), np.intp)]
    for begin in range(0, len(pairs[0]), CHUNK):
        i, j = pairs[0][begin : begin + CHUNK], pairs[1][begin : begin + CHUNK]
        wanted = np.flatnonzero((cluster.take(i) != cluster.take(j)) & (founder.take(i) != founder.take(j)))
        i, j = i.take(wanted), j.take(wanted)
        wanted = np.flatnonzero(close(i, j))
        found.append(np.stack([i.take(wanted), j.take(wanted)]))
    i, j = np.concatenate(found, axis=1)
    row, host = np.where(founder[i], j, i), np.where(founder[i], i, j)
    present = np.zeros((len(rows), rows.sources), np.bool_)
    present[cluster, rows.source] = True
    common = (present[cluster[row]] & present[host]).any(axis=1)
    return row[common], host[common]


def _first_at_both(a: IntArray, b: IntArray, size: int) -> BoolArray:
    """(p,) mask of the moves that are the first to touch both of their slots (the moves come best first)."""
    order = np.arange(len(a))
    first = np.full(size, len(a))
    np.minimum.at(first, a, order)
    np.minimum.at(first, b, order)
    return np.asarray((first[a] == order) & (first[b] == order))
