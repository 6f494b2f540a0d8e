"""The book of people over runs: who has which id and name, what became of earlier ids, and whose each face was.

Ids are never reused. An id that was merged into another stays as an alias, so that what a person wrote down earlier still leads
to somebody. Pure data; `identity` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

from auto_annotator.errors import ConfigError

VERSION: Final = 1
ID_DIGITS = 4
"""Digits that an id has at least, so that short lists sort well."""

_ID = re.compile(r"p(\d{4,})", re.ASCII)

EventKind = Literal["created", "merged", "split", "named", "retired"]


def person_id(number: int) -> str:
    """The id of a number: 42 is `p0042`."""
    return f"p{number:0{ID_DIGITS}d}"


def age(person: str) -> int:
    """The number in an id: a lower one is older."""
    return int(person[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One id.

    Attributes:
        id: such as `p0042`.
        name: what people call the person; empty = not known.
        created: number of the run that gave the id.
        alias_of: the id this one was merged into; empty = it stands for itself.
    """

    id: str
    name: str = ""
    created: int = 0
    alias_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an id.

    Attributes:
        run: number of the run.
        kind: `created`; `merged`: `others` became aliases of `person`; `split`: faces of `person` now belong to `others`;
            `named`: got a name; `retired`: none of the faces is in a cluster any more, said once (the id comes back when they do).
        person: the id it is about.
        others: further ids.
        reason: a sentence for people, without names of people or of pictures.
    """

    run: int
    kind: EventKind
    person: str
    others: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registry:
    """Everybody so far.

    Attributes:
        people: by id, aliases included.
        next_number: number of the next id.
        run: how many runs there were.
        events: all, oldest first.
        faces: key of a face -> whose it was when it last was in a cluster.
    """

    people: Mapping[str, Person] = field(default_factory=lambda: MappingProxyType({}))
    next_number: int = 1
    run: int = 0
    events: tuple[Event, ...] = ()
    faces: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def empty(cls) -> Registry:
        """Nobody yet."""
        return cls()

    def resolve(self, person: str) -> str:
        """The id that an id leads to, through all merges.

        Raises:
            ConfigError: if nobody ever had the id.
        """
        if person not in self.people:
            raise ConfigError(f"person: got {person!r}, expected an id of the registry; its highest is {self._highest()}")
        while alias := self.people[person].alias_of:
            person = alias
        return person

    def renamed(self, person: str, name: str) -> Registry:
        """With another name for somebody, as a person said; an empty one takes the name away.

        Raises:
            ConfigError: if nobody ever had the id.
        """
        person = self.resolve(person)
        if self.people[person].name == name:
            return self
        people = {**self.people, person: replace(self.people[person], name=name)}
        event = Event(run=self.run, kind="named", person=person, reason="a person said so")
        return replace(self, people=MappingProxyType(people), events=(*self.events, event))

    def to_json(self) -> dict[str, Any]:
        """For a file; `from_json` reads it."""
        return {
            "version": VERSION,
            "run": self.run,
            "next_number": self.next_number,
            "people": [asdict(person) for person in self.people.values()],
            "events": [{**asdict(event), "others": list(event.others)} for event in self.events],
            "faces": dict(self.faces),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Registry:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: if it is not a registry, or contradicts itself: such a file could give an id twice.
        """
        version = data.get("version") if isinstance(data, Mapping) else None
        if version != VERSION:
            raise ConfigError(f"registry: got version {version!r}, expected {VERSION}: give a file that this program wrote")
        rows = _each(data, "people", list, lambda row: Person(**row))
        registry = cls(
            people=MappingProxyType({person.id: person for person in rows}),
            next_number=_whole(data, "next_number"),
            run=_whole(data, "run"),
            events=tuple(_each(data, "events", list, lambda row: Event(**{**row, "others": tuple(row["others"])}))),
            faces=MappingProxyType(dict(_each(data, "faces", dict, lambda pair: pair))),
        )
        if len(rows) != len(registry.people):
            raise ConfigError("registry.people: got an id twice, expected each once")
        registry._check()
        return registry

    def _highest(self) -> str:
        return person_id(self.next_number - 1) if self.next_number > 1 else "none: it is empty"

    def _check(self) -> None:
        for person in self.people.values():
            if not all(isinstance(text, str) for text in (person.id, person.name, person.alias_of)):
                raise ConfigError("registry.people: got an id, name or alias_of that is no text, expected texts")
            if not (match := _ID.fullmatch(person.id)) or person_id(int(match[1])) != person.id:
                raise ConfigError(f"registry.people: got id {person.id!r}, expected p and a number such as p0042")
            if not 0 < age(person.id) < self.next_number:
                raise ConfigError(f"registry: got id {person.id} and next_number {self.next_number}, expected a greater one")
            if person.alias_of and (person.alias_of not in self.people or person.alias_of == person.id):
                raise ConfigError(f"registry.people: got {person.id} as alias of {person.alias_of!r}, expected another id of it")
        self._check_aliases()
        for face, owner in self.faces.items():
            if not isinstance(face, str) or owner not in self.people:
                raise ConfigError(f"registry.faces: got the person {owner!r}, expected an id of registry.people")
        for event in self.events:
            if event.kind not in get_args(EventKind):
                raise ConfigError(f"registry.events: got kind {event.kind!r}, expected one of {', '.join(get_args(EventKind))}")

    def _check_aliases(self) -> None:
        """Aliases must end somewhere."""
        ends = {person.id for person in self.people.values() if not person.alias_of}
        for person in self.people:
            path = [person]
            while path[-1] not in ends:
                path.append(self.people[path[-1]].alias_of)
                if len(path) > len(self.people):
                    raise ConfigError(f"registry.people: got {person} as alias of itself through others, expected an end")
            ends.update(path)


def _whole(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"registry.{name}: got {value!r}, expected a whole number")
    return value


def _each(data: Mapping[str, Any], name: str, kind: type, make: Callable[[Any], Any]) -> list[Any]:
    """Entries of a list or mapping of the JSON, made into values."""
    value = data.get(name)
    if not isinstance(value, kind):
        raise ConfigError(f"registry.{name}: got {type(value).__name__}, expected {kind.__name__}")
    try:
        entries: Iterable[Any] = value.items() if isinstance(value, dict) else cast(list[Any], value)
        return [make(entry) for entry in entries]
    except (TypeError, KeyError) as error:
        raise ConfigError(f"registry.{name}: got an entry that does not fit ({error}), expected the fields of to_json") from error
