"""How much a person must still do: a simulated annotator that repairs a clustering until its BCubed F is good enough.

The annotator knows the truth and has two gestures, as on a contact sheet of clusters:

* **merge** two clusters that are mostly the same person: 1 operation, whatever their size; strangers in them come along;
* **move** the faces of one person out of a cluster that is mostly somebody else, to the person's own cluster or to a new one:
  1 operation for every `FACES_PER_GESTURE` faces or part of them, because they must be marked.
  One face is called a move, several a split.

Always the gesture with the greatest gain of BCubed F per operation comes next, so the count is near the least that a well-guided
person needs; looking for the errors costs nothing here. A face of label -1 is a cluster of one: to bring it home is a merge.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

import numpy.typing as npt

from auto_annotator.evaluation.clustering import Contingency, contingency, harmonic

FACES_PER_GESTURE = 10
"""A row of a contact sheet: as many faces are marked in one go."""

GOOD_ENOUGH = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What the annotator did.

    Attributes:
        operations: the cost of all gestures.
        merges, splits, moves: how many gestures of each kind.
        bcubed_f: what was reached.
    """

    operations: int
    merges: int
    splits: int
    moves: int
    bcubed_f: float


@dataclass(frozen=True, slots=True)
class _Gesture:
    kind: str
    source: int
    target: int
    person: int
    cost: int
    gain: float


class _Sheet:
    """The state of the repair: faces by cluster and person, and the sums that BCubed is made of.

    `main` is who most faces of a cluster are, the lower number of two. No gesture ever changes it: only others leave a cluster,
    and only clusters of the same main person merge.
    """

    def __init__(self, cells: Contingency) -> None:
        self.faces = cells.faces
        self.person_sizes = cells.person_sizes.tolist()
        self.clusters: dict[int, dict[int, int]] = defaultdict(dict)
        self.homes: dict[int, dict[int, int]] = defaultdict(dict)
        self.size: dict[int, int] = dict(enumerate(cells.cluster_sizes.tolist()))
        for cluster, person, count in zip(cells.cluster.tolist(), cells.person.tolist(), cells.count.tolist(), strict=True):
            self.clusters[cluster][person] = count
            self.homes[person][cluster] = count
        self.next = len(self.size)
        self.main = {c: min(p.items(), key=lambda cell: (-cell[1], cell[0]))[0] for c, p in self.clusters.items()}
        self.squares = {cluster: float(sum(c * c for c in people.values())) for cluster, people in self.clusters.items()}
        self.precision = sum(self.squares[c] / self.size[c] for c in self.clusters)
        self.recall = sum(count**2 / self.person_sizes[p] for people in self.clusters.values() for p, count in people.items())

    def f(self, precision: float = 0.0, recall: float = 0.0) -> float:
        """BCubed F after a change of the two sums."""
        return harmonic((self.precision + precision) / self.faces, (self.recall + recall) / self.faces)

    def home(self, person: int) -> int:
        """The largest cluster of the person in which nobody else is more, or -1."""
        owned = [(-count, cluster) for cluster, count in self.homes[person].items() if self.main[cluster] == person]
        return min(owned)[1] if owned else -1

    def gesture(self, cluster: int, person: int) -> _Gesture | None:
        """What to do about the person's faces in the cluster; None if they are at home or no longer there."""
        count = self.clusters.get(cluster, {}).get(person, 0)
        home = self.home(person) if count else cluster
        if not count or home == cluster:
            return None
        if self.main[cluster] == person:
            return _Gesture("merge", cluster, home, person, 1, self._merge_gain(cluster, home))
        kind, cost = ("move" if count == 1 else "split"), -(-count // FACES_PER_GESTURE)
        return _Gesture(kind, cluster, home, person, cost, self._move_gain(cluster, home, person) / cost)

    def _merge_gain(self, source: int, target: int) -> float:
        shared = [(p, c * self.clusters[target][p]) for p, c in self.clusters[source].items() if p in self.clusters[target]]
        squares = self.squares[source] + self.squares[target] + 2 * sum(product for _, product in shared)
        before = self.squares[source] / self.size[source] + self.squares[target] / self.size[target]
        precision = squares / (self.size[source] + self.size[target]) - before
        return self.f(precision, sum(2 * product / self.person_sizes[p] for p, product in shared)) - self.f()

    def _move_gain(self, source: int, target: int, person: int) -> float:
        count, there = self.clusters[source][person], self.clusters.get(target, {}).get(person, 0)
        left = self.size[source] - count
        precision = (self.squares[source] - count**2) / left if left else 0.0
        old = self.squares.get(target, 0.0)
        precision += (old - there**2 + (there + count) ** 2) / (self.size.get(target, 0) + count)
        precision -= self.squares[source] / self.size[source] + (old / self.size[target] if target >= 0 else 0.0)
        return self.f(precision, 2 * there * count / self.person_sizes[person]) - self.f()

    def apply(self, gesture: _Gesture) -> list[tuple[int, int]]:
        """Do it; returns the cells that changed."""
        target = gesture.target
        if target < 0:
            target, self.next = self.next, self.next + 1
            self.main[target] = gesture.person
        people = list(self.clusters[gesture.source]) if gesture.kind == "merge" else [gesture.person]
        for cluster in (gesture.source, target):
            self.precision -= self.squares.get(cluster, 0.0) / self.size.get(cluster, 1)
        for person in people:
            self._carry(gesture.source, target, person)
        for cluster in (gesture.source, target):
            if self.size[cluster]:
                self.precision += self.squares[cluster] / self.size[cluster]
        return [(cluster, p) for p in people for cluster in self.homes[p]]

    def _carry(self, source: int, target: int, person: int) -> None:
        count = self.clusters[source].pop(person)
        del self.homes[person][source]
        there = self.clusters[target].get(person, 0)
        self.clusters[target][person] = self.homes[person][target] = there + count
        self.squares[source] -= count**2
        self.squares[target] = self.squares.get(target, 0.0) - there**2 + (there + count) ** 2
        self.size[source] -= count
        self.size[target] = self.size.get(target, 0) + count
        self.recall += 2 * there * count / self.person_sizes[person]


def operations_to(labels: npt.ArrayLike, identity: npt.ArrayLike, *, bcubed_f: float = GOOD_ENOUGH) -> Corrections:
    """Repair a clustering until BCubed F reaches `bcubed_f`, and count.

    Args:
        labels: (n,) integers, -1 = unknown, a cluster of its own.
        identity: (n,) integers, the truth.
        bcubed_f: when to stop, 0..1.

    Raises:
        ValueError: if the lengths differ or there is no face.
    """
    sheet = _Sheet(contingency(labels, identity))
    heap: list[tuple[float, int, int]] = []

    def push(cluster: int, person: int) -> None:
        gesture = sheet.gesture(cluster, person)
        if gesture:
            heapq.heappush(heap, (-gesture.gain, cluster, person))

    for cluster, people in list(sheet.clusters.items()):
        for person in people:
            push(cluster, person)
    done: dict[str, int] = defaultdict(int)
    operations = 0
    while heap and sheet.f() < bcubed_f:
        _, cluster, person = heapq.heappop(heap)
        gesture = sheet.gesture(cluster, person)
        if gesture is None:
            continue
        if heap and gesture.gain < -heap[0][0]:  # worth less than when it was queued: wait for its turn
            heapq.heappush(heap, (-gesture.gain, cluster, person))
            continue
        operations += gesture.cost
        done[gesture.kind] += 1
        for cell in sheet.apply(gesture):
            push(*cell)
    return Corrections(operations=operations, merges=done["merge"], splits=done["split"], moves=done["move"], bcubed_f=sheet.f())
