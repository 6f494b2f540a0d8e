"""Human words, tracks and pictures as links between faces; contradictions are found and reported, never silently broken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.types import Conflict, Constraints

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Links:
    """Constraints without contradictions.

    Attributes:
        group: (n,) int64 faces of one number are one person for certain (must-links and tracks), by first appearance.
        cannot: (c, 2) int64 pairs of faces that are two people for certain.
        never: (n,) bool faces that are never clustered.
        conflicts: what was contradictory; a must-link that would join two faces of a cannot-link is left out.
    """

    group: npt.NDArray[np.int64]
    cannot: Pairs
    never: npt.NDArray[np.bool_]
    conflicts: tuple[Conflict, ...]


def check_constraints(constraints: Constraints, n: int) -> None:
    """Check rows and lengths.

    Raises:
        ValueError: names the field, with got and expected.
    """
    for name in ("must", "cannot", "never"):
        rows = getattr(constraints, name)
        if rows.size and not (rows.min() >= 0 and rows.max() < n):
            raise ValueError(f"{name}: got rows {int(rows.min())}..{int(rows.max())}, expected numbers of faces from 0 to {n - 1}")
    for name in ("images", "tracks"):
        value = getattr(constraints, name)
        if value is not None and len(value) != n:
            raise ValueError(f"{name}: got {len(value)} numbers, expected one for each of the {n} faces")
    for name, verb in (("must", "be one person"), ("cannot", "be two people")):
        pairs = getattr(constraints, name)
        same = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
        if len(same) and name == "cannot":
            raise ValueError(f"{name}: pair {int(same[0])} says that face {int(pairs[same[0], 0])} must {verb} with itself")


def resolve(constraints: Constraints, n: int) -> Links:
    """Join what must be together, link by link, and leave out each link that would break a cannot-link.

    Must-links go before tracks: a person's word stands above a tracker's. Among equals the pair with the smaller numbers goes
    first, so the result does not depend on the order in which the links came.
    """
    never = np.zeros(n, np.bool_)
    never[constraints.never] = True
    cannot = _ordered(constraints.cannot)
    forest = _Forest(n, cannot)
    conflicts = []
    for first, second in _ordered(constraints.must).tolist():
        if never[first] or never[second]:
            rows = (first, second) if never[first] else (second, first)
            conflicts.append(Conflict(kind="never_in_must", rows=rows))
        elif (broken := forest.join(first, second)) is not None:
            conflicts.append(Conflict(kind="must_across_cannot", rows=(*broken, first, second)))
    for first, second in _track_pairs(constraints.tracks).tolist():
        if not (never[first] or never[second]) and (broken := forest.join(first, second)) is not None:
            conflicts.append(Conflict(kind="track_across_cannot", rows=(*broken, first, second)))
    return Links(group=forest.groups(), cannot=cannot, never=never, conflicts=tuple(conflicts))


def _ordered(pairs: Pairs) -> Pairs:
    ordered = np.sort(pairs.reshape(-1, 2), axis=1)
    return np.unique(ordered[ordered[:, 0] != ordered[:, 1]], axis=0) if len(ordered) else ordered


def _track_pairs(tracks: npt.NDArray[np.int64] | None) -> Pairs:
    """Each face of a track with the next one of it."""
    if tracks is None:
        return np.zeros((0, 2), np.int64)
    order = np.argsort(tracks, kind="stable")
    order = order[tracks[order] >= 0]
    same = tracks[order[1:]] == tracks[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


class _Forest:
    """Union-find whose trees know the faces that they must not meet, and the links that made them."""

    def __init__(self, n: int, cannot: Pairs) -> None:
        self._parent = np.arange(n)
        self._size = np.ones(n, np.int64)
        self._foes: dict[int, dict[int, tuple[int, int]]] = {}
        self._links: dict[int, list[int]] = {}
        for a, b in cannot.tolist():
            self._foes.setdefault(a, {})[b] = (a, b)
            self._foes.setdefault(b, {})[a] = (b, a)

    def _root(self, face: int) -> int:
        while self._parent[face] != face:
            self._parent[face] = self._parent[self._parent[face]]
            face = int(self._parent[face])
        return face

    def join(self, first: int, second: int) -> tuple[int, ...] | None:
        """Join two trees, or return the two faces of the cannot-link in between and the chain of joined faces between them."""
        a, b = self._root(first), self._root(second)
        if a == b:
            return None
        foe = self._foes.get(a, {}).get(b)
        if foe is not None:
            return (*foe, *self._chain(foe[0], first)[1:-1], *self._chain(second, foe[1])[1:-1])
        if self._size[a] < self._size[b]:
            a, b = b, a
        self._parent[b] = a
        self._size[a] += self._size[b]
        self._links.setdefault(first, []).append(second)
        self._links.setdefault(second, []).append(first)
        for other, pair in self._foes.pop(b, {}).items():
            self._foes.setdefault(a, {}).setdefault(other, pair)
            back = self._foes[other].pop(b)
            self._foes[other].setdefault(a, back)
        return None

    def _chain(self, start: int, end: int) -> list[int]:
        """Faces on the path of links from one face to another of the same tree."""
        came: dict[int, int] = {start: -1}
        queue = deque([start])
        while queue and end not in came:
            face = queue.popleft()
            for other in self._links.get(face, []):
                if other not in came:
                    came[other] = face
                    queue.append(other)
        path, face = [end], end
        while came.get(face, -1) >= 0:
            face = came[face]
            path.append(face)
        return path[::-1]

    def groups(self) -> npt.NDArray[np.int64]:
        roots = np.array([self._root(i) for i in range(len(self._parent))], np.int64)
        _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return np.asarray(rank[inverse.reshape(-1)], np.int64)


def image_pairs(images: npt.NDArray[np.int64], rows: npt.NDArray[np.intp]) -> Pairs:
    """Pairs of positions in `rows` whose faces are in one picture; a picture of f faces has f (f - 1) / 2."""
    own = images[rows]
    order = np.argsort(own, kind="stable")
    order = order[own[order] >= 0]
    pairs = [np.zeros((0, 2), np.int64)]
    going, step = np.arange(len(order)), 1  # first faces of pairs so many steps apart
    while len(going := going[going < len(order) - step]):
        going = going[own[order[going + step]] == own[order[going]]]
        pairs.append(np.sort(np.stack([order[going], order[going + step]], axis=1), axis=1))
        step += 1
    return np.concatenate(pairs)
