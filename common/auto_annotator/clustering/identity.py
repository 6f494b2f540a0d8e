"""Who keeps which id: clusters of this run are given to the people of earlier runs. Pure.

1. A face that a person confirmed as somebody is that somebody, whatever the clustering says, and its cluster with it; of two
   confirmed people in one cluster the one with more confirmed faces takes the rest.
2. Other clusters take the person of whom they hold most faces of the last run: the greatest overlap first, each person once.
3. Somebody whose faces went mostly into another's cluster is merged: one id stays, the other becomes its alias.
   The confirmed one stays, then the older, unless its faces are few against the other's (`MERGE_SHARE`): a stray face must not
   give a crowd another id.
4. Parts of a person without the id are split off under new ids.
5. Names follow people. Two names in one cluster are never guessed about: the faces keep who they were, and it is reported.

Equal cases go to the older id, then to the surer part, then to the face key that sorts first: neither the order of faces nor the
numbers of labels matter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.registry import Event, EventKind, Person, Registry, age, person_id

__all__ = ["Assignment", "Event", "NameConflict", "Person", "Registry", "assign_people"]

MERGE_SHARE = 0.25
"""An older id takes over in a merge only with at least this share of the other's faces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConflict:
    """Several names in one cluster: a person decides whether they are one person.

    Attributes:
        person: the id that the cluster has.
        others: ids in it that have other names; empty when the names were given to faces only.
        names: all names, sorted.
    """

    person: str
    others: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assignment:
    """Who each face is.

    Attributes:
        people: id of each face, empty for label -1 unless a person confirmed the face.
        registry: for the next run.
        events: what happened in this one.
        name_conflicts: for a person to decide.
    """

    people: tuple[str, ...]
    registry: Registry
    events: tuple[Event, ...]
    name_conflicts: tuple[NameConflict, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Cluster:
    """What speaks for whom in one cluster: confirmed faces, faces of the last run with their confidences, names said now."""

    keys: list[str]
    confirmed: Counter[str]
    before: Counter[str]
    sureness: dict[str, float]
    names: set[str]
    person: str = ""
    apart: set[str] = field(default_factory=set)
    """People whose faces keep them although the cluster is somebody else's."""

    @property
    def first(self) -> str:
        return min(self.keys)


def assign_people(
    registry: Registry,
    keys: Sequence[str],
    labels: npt.ArrayLike,
    *,
    confirmed: Mapping[str, str] = MappingProxyType({}),
    names: Mapping[str, str] = MappingProxyType({}),
    confidence: npt.ArrayLike | None = None,
) -> Assignment:
    """Give every cluster an id.

    Args:
        registry: what the last run left; faces that are not among `keys` stay as they are in it.
        keys: (n,) of the faces, each once.
        labels: (n,) integers of this run, -1 = nobody.
        confirmed: face key -> id that a person said; an alias counts as what it leads to.
        names: face key -> name that a person said.
        confidence: (n,) 0..1; decides between parts of equal size.

    Raises:
        ValueError: if the lengths differ or a key comes twice.
        ConfigError: if `confirmed` has an id that nobody ever had.
    """
    numbers = np.asarray(labels, np.int64)
    sure = np.zeros(len(keys)) if confidence is None else np.asarray(confidence, float)
    if not len(keys) == len(set(keys)) == len(numbers) == len(sure):
        raise ValueError(
            f"keys: got {len(keys)} keys ({len(set(keys))} different), {len(numbers)} labels, {len(sure)} confidences;"
            " expected as many of each, no key twice"
        )
    said = {key: registry.resolve(person) for key, person in confirmed.items()}
    return _Run(registry, keys, numbers.tolist(), sure.tolist(), said, names).assign()


class _Run:
    """One assignment in the making."""

    def __init__(
        self,
        registry: Registry,
        keys: Sequence[str],
        labels: list[int],
        sure: list[float],
        confirmed: Mapping[str, str],
        names: Mapping[str, str],
    ) -> None:
        self.registry, self.keys, self.labels, self.said = registry, keys, labels, confirmed
        self.run, self.next_number = registry.run + 1, registry.next_number
        self.people = dict(registry.people)
        self.events: list[Event] = []
        self.conflicts: list[NameConflict] = []
        ends = {person: registry.resolve(person) for person in registry.people}
        self.before = {key: ends[registry.faces[key]] for key in keys if key in registry.faces}
        self.by_label = self._gather(sure, names)
        self.clusters = sorted(self.by_label.values(), key=lambda cluster: (-len(cluster.keys), cluster.first))
        self.known = Counter(ends[person] for person in registry.faces.values())

    def _gather(self, sure: list[float], names: Mapping[str, str]) -> dict[int, _Cluster]:
        rows: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(self.labels):
            if label >= 0:
                rows[label].append(row)
        return {label: self._cluster(members, sure, names) for label, members in rows.items()}

    def _cluster(self, rows: list[int], sure: list[float], names: Mapping[str, str]) -> _Cluster:
        keys = [self.keys[row] for row in rows]
        shares: dict[str, list[float]] = defaultdict(list)
        for row, key in zip(rows, keys, strict=True):
            if key in self.before:
                shares[self.before[key]].append(sure[row])
        return _Cluster(
            keys=keys,
            confirmed=Counter(self.said[key] for key in keys if key in self.said),
            before=Counter({person: len(values) for person, values in shares.items()}),
            sureness={person: math.fsum(values) for person, values in shares.items()},
            names={names[key] for key in keys if names.get(key)},
        )

    def assign(self) -> Assignment:
        """Do all steps of the module's text in their order."""
        self._give_confirmed()
        self._give_by_overlap()
        self._merge()
        self._create()
        self._name()
        people = tuple(self._face(key, self.by_label.get(label)) for key, label in zip(self.keys, self.labels, strict=True))
        self._split_and_retire(people)
        faces = {**self.registry.faces, **{key: person for key, person in zip(self.keys, people, strict=True) if person}}
        registry = replace(
            self.registry,
            people=MappingProxyType(self.people),
            next_number=self.next_number,
            run=self.run,
            events=(*self.registry.events, *self.events),
            faces=MappingProxyType(faces),
        )
        return Assignment(people=people, registry=registry, events=tuple(self.events), name_conflicts=tuple(self.conflicts))

    def _face(self, key: str, cluster: _Cluster | None) -> str:
        """A human word on the face, else whoever it was if that one stays apart, else the cluster's."""
        if key in self.said or cluster is None:
            return self.said.get(key, "")
        before = self.before.get(key, "")
        return before if before in cluster.apart else cluster.person

    def _note(self, kind: EventKind, person: str, reason: str, others: Sequence[str] = ()) -> None:
        self.events.append(Event(run=self.run, kind=kind, person=person, others=tuple(others), reason=reason))

    def _give_confirmed(self) -> None:
        for cluster in self.clusters:
            if cluster.confirmed:
                cluster.person = min(cluster.confirmed, key=lambda p: (-cluster.confirmed[p], -cluster.before[p], age(p)))

    def _give_by_overlap(self) -> None:
        taken = set(self.said.values())
        claims = [
            (-count, age(person), -cluster.sureness[person], cluster.first, place, person)
            for place, cluster in enumerate(self.clusters)
            if not cluster.person
            for person, count in cluster.before.items()
            if person not in taken
        ]
        for *_, place, person in sorted(claims):
            if not self.clusters[place].person and person not in taken:
                self.clusters[place].person = person
                taken.add(person)

    def _merge(self) -> None:
        """People without a cluster, most of whose faces are in another's."""
        housed = {cluster.person for cluster in self.clusters} | set(self.said.values())
        for cluster in self.clusters:
            guests = [p for p, count in cluster.before.items() if p not in housed and 2 * count > self.known[p]]
            if not cluster.person or not guests:
                continue
            people = [cluster.person, *sorted(guests, key=age)]
            named = [p for p in people if self.people[p].name]
            if len({self.people[p].name for p in named}) > 1:
                self._keep_apart(cluster, [p for p in named if p != cluster.person])
                people = [p for p in people if p == cluster.person or p not in cluster.apart]
            if len(people) > 1:
                self._merge_people(cluster, people)

    def _keep_apart(self, cluster: _Cluster, others: list[str]) -> None:
        """Different names: whoever has another name than the cluster's person keeps the faces."""
        mine = self.people[cluster.person].name
        cluster.apart.update(p for p in others if not mine or self.people[p].name != mine)

    def _merge_people(self, cluster: _Cluster, people: list[str]) -> None:
        largest = max(cluster.before[p] for p in people)

        def rank(person: str) -> tuple[bool, bool, int]:
            few = cluster.before[person] < MERGE_SHARE * largest
            return not cluster.confirmed[person], few, age(person)

        keeps = min(people, key=rank)
        others = sorted((p for p in people if p != keeps), key=age)
        name = next((self.people[p].name for p in [keeps, *others] if self.people[p].name), "")
        self.people[keeps] = replace(self.people[keeps], name=name)
        for person in others:
            self.people[person] = replace(self.people[person], alias_of=keeps)
        cluster.person = keeps
        self._note("merged", keeps, "most of their faces are in one cluster now", others)

    def _create(self) -> None:
        for cluster in self.clusters:
            if cluster.person:
                continue
            cluster.person, self.next_number = person_id(self.next_number), self.next_number + 1
            self.people[cluster.person] = Person(id=cluster.person, created=self.run)
            self._note("created", cluster.person, f"a cluster of {len(cluster.keys)} faces that no earlier person has")

    def _name(self) -> None:
        """Names that people said of faces; contradictions are reported."""
        said: dict[str, set[str]] = defaultdict(set)
        apart: dict[str, set[str]] = defaultdict(set)
        for cluster in self.clusters:
            said[cluster.person] |= cluster.names
            apart[cluster.person] |= cluster.apart
        for person in sorted(said, key=age):
            others = sorted(apart[person], key=age)
            own = self.people[person].name
            names = said[person] | {own} | {self.people[p].name for p in others}
            names.discard("")
            if len(names) > 1:
                self.conflicts.append(NameConflict(person=person, others=tuple(others), names=tuple(sorted(names))))
            elif names and not own and not others:
                self.people[person] = replace(self.people[person], name=names.pop())
                self._note("named", person, "a person named one of the faces")

    def _split_and_retire(self, people: tuple[str, ...]) -> None:
        now = Counter(people)
        moved: dict[str, set[str]] = defaultdict(set)
        for key, person in zip(self.keys, people, strict=True):
            before = self.before.get(key, "")
            if before and person and self._end(before) != person and self.people[person].created == self.run:
                moved[before].add(person)
        elsewhere = self.known - Counter(self.before.values())  # faces that are not part of this run
        retired = {event.person for event in self.registry.events if event.kind == "retired"}
        for person in sorted(set(self.before.values()), key=age):
            if moved[person]:
                others = sorted(moved[person], key=age)
                self._note("split", person, "faces that were one person are in several clusters now", others)
            if not (now[person] or elsewhere[person] or self.people[person].alias_of or person in retired):
                self._note("retired", person, "none of the faces is in a cluster of this person now")

    def _end(self, person: str) -> str:
        while alias := self.people[person].alias_of:
            person = alias
        return person
