"""What people said about faces in CVAT, read from the attributes alone, and as constraints for the clustering. Pure.

- A `person` that is not what we last pushed is a human decision: same value = one person, different values = two people,
  `none` = never cluster. Whom we had said it was before, it is not.
- A `person` that was cleared says only whom the face is not.
- A `name` that is not what we last pushed was typed by a person and names whoever the face is; one that was cleared stays away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.marks import NEVER, Mark, digest, name_is_human, parse_mark, person_is_human, token

SPOKESMEN = 3
"""Faces that stand for a person whom nobody confirmed: the best ones, so that a human word reaches the person's cluster and does
not nail down all of its faces."""

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is known of one face from its attributes.

    Attributes:
        never: `none`: it is not to be clustered.
        person: the id or text that a person gave it, empty = nobody decided.
        machine: the id that we gave it and nobody changed.
        apart: tokens of people whom it is not.
        name: the name that a person typed on it.
        name_is_human: a person typed or cleared the name: it is never written.
        pushed_name: the name that we wrote and nobody changed.
    """

    never: bool = False
    person: str = ""
    machine: str = ""
    apart: tuple[str, ...] = ()
    name: str = ""
    name_is_human: bool = False
    pushed_name: str = ""

    @property
    def human(self) -> bool:
        """Whether a person decided who it is: then `person` is never written."""
        return self.never or bool(self.person)

    @property
    def now(self) -> str:
        """Who the face is in CVAT, by whomever; empty for `none` and for faces not clustered yet."""
        return self.person or self.machine


def decide(attributes: Mapping[str, str]) -> Decision:
    """Read the decision from `person`, `name` and `face_key`; missing ones count as empty."""
    mark = parse_mark(attributes.get("face_key", ""))
    person, name = attributes.get("person", "").strip(), attributes.get("name", "").strip()
    typed = name_is_human(mark, name)
    said = Decision(
        name=name if typed else "",
        name_is_human=typed,
        pushed_name="" if typed else name,
        apart=mark.apart if mark else (),
    )
    if not person_is_human(mark, person):
        return replace(said, machine=person)
    if mark and mark.person:
        said = replace(said, apart=tuple(dict.fromkeys((*said.apart, mark.person))))
    if person.casefold() == NEVER:
        return replace(said, never=True)
    return replace(said, person=person, apart=tuple(one for one in said.apart if one != token(person)))


def mark_after(key: str, before: Mark | None, decision: Decision, person: str, name: str) -> Mark:
    """The mark to push with these values; what a person said stays recognisable as that.

    Args:
        key: geometry key of the box as it is now.
        before: the mark that is there.
        decision: what is known of the face.
        person: `person` after the push.
        name: `name` after the push.
    """
    kept = before or Mark(key=key)
    return Mark(
        key=key,
        person=kept.person if decision.human else token(person),
        name=kept.name if decision.name_is_human else digest(name) if name else "",
        apart=kept.apart if decision.human else decision.apart,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Links:
    """Decisions as pairs of faces (numbers in the order of the decisions)."""

    must: Pairs = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    cannot: Pairs = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    never: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def links_of(
    decisions: Sequence[Decision],
    quality: npt.ArrayLike,
    same: Callable[[str], str] = lambda person: person,
    ever: Iterable[str] = (),
) -> Links:
    """Turn decisions into links.

    Args:
        decisions: of each face.
        quality: (n,) 0..1; the best faces speak for a person.
        same: what an id stands for (aliases lead to the id they were merged into).
        ever: everybody as CVAT shows them, those too whom no face has any more: a face that is not somebody is not the one either
            into whom that one was merged.
    """
    told, given = _by_person(decisions, np.asarray(quality, float), same)
    must = [(rows[i], rows[i + 1]) for rows in told.values() for i in range(len(rows) - 1)]
    must += [(rows[0], given[person][0]) for person, rows in told.items() if given.get(person)]
    heads = [rows[0] for _, rows in sorted(told.items())]
    first, second = np.triu_indices(len(heads), 1)
    different = np.array(heads, np.int64)
    cannot = [*zip(different[first].tolist(), different[second].tolist(), strict=True), *_apart(decisions, told, given, same, ever)]
    return Links(
        must=np.array(must, np.int64).reshape(-1, 2),
        cannot=np.array(cannot, np.int64).reshape(-1, 2),
        never=np.array([row for row, decision in enumerate(decisions) if decision.never], np.int64),
    )


def _by_person(
    decisions: Sequence[Decision], quality: npt.NDArray[np.float64], same: Callable[[str], str]
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Rows that people gave to each person, and the best rows that we gave to each."""
    told: dict[str, list[int]] = defaultdict(list)
    given: dict[str, list[int]] = defaultdict(list)
    for row, decision in enumerate(decisions):
        if decision.person:
            told[same(decision.person)].append(row)
        elif decision.machine:
            given[same(decision.machine)].append(row)
    best = {person: sorted(rows, key=lambda row: (-quality[row], row))[:SPOKESMEN] for person, rows in given.items()}
    return dict(told), best


def _apart(
    decisions: Sequence[Decision],
    told: Mapping[str, list[int]],
    given: Mapping[str, list[int]],
    same: Callable[[str], str],
    ever: Iterable[str],
) -> list[tuple[int, int]]:
    """Faces and those who speak for the people they are not; marks name people as CVAT shows them."""
    shown = {token(value): same(value) for value in ({decision.now for decision in decisions} | set(ever)) - {""}}
    speakers = {mark: [*told.get(person, [])[:1], *given.get(person, [])] for mark, person in shown.items()}
    return [
        (row, other)
        for row, decision in enumerate(decisions)
        if not decision.never
        for apart in decision.apart
        if not decision.person or shown.get(apart) != same(decision.person)  # the last word counts: they were merged since
        for other in speakers.get(apart, [])
        if other != row
    ]
