"""The small state kept beside the plan: ids that were given, merged and named. Without it ids are read back from CVAT alone."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from auto_annotator.bridge.decisions import Decision
from auto_annotator.bridge.own_files import read_own
from auto_annotator.clustering.registry import Person, Registry, age, person_id
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing

VERSION: Final = 1
KIND: Final = "auto-annotator identities"

_ID = re.compile(r"p(\d{4,9})", re.ASCII)


def _is_id(text: str) -> bool:
    match = _ID.fullmatch(text)
    return match is not None and int(match[1]) > 0 and person_id(int(match[1])) == text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identities:
    """Who is known.

    Attributes:
        server: `Server.host`; ids of one server mean nothing on another.
        registry: everybody; `faces` is empty here, it is kept per task below.
        typed: text that people typed as `person` instead of an id -> the id that stands for it inside; CVAT keeps showing the text.
        faces: by task: face key -> id inside.
        news: digest of what the next run finds if the plan is pushed and nothing else happens, see `identities.news`.
    """

    server: str
    registry: Registry = field(default_factory=Registry.empty)
    typed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    faces: Mapping[int, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    news: str = ""

    def inside(self, person: str) -> str:
        """The id inside of a value in CVAT; empty stays empty."""
        return self.typed.get(person, person)

    def outside(self, person: str) -> str:
        """What CVAT shows for an id inside."""
        return next((text for text, number in self.typed.items() if number == person), person) if person else ""


def state_path(plan: Path) -> Path:
    """Where the state of a plan lies."""
    return plan.with_name(f"{plan.stem}.identities.json")


def read_identities(path: Path, server: str) -> Identities:
    """The state of an earlier run; an empty one if there is none.

    Raises:
        ConfigError: if it is damaged, or of another server.
    """
    if not path.exists():
        return Identities(server=server)
    data = read_own(path, "identities", KIND, VERSION, hint="remove it, ids are then read back from CVAT")
    if data.get("server") != server:
        raise ConfigError(f"{path}: belongs to another CVAT server than {server}: name another plan with --output")
    try:
        faces = {int(task): {str(k): str(v) for k, v in keys.items()} for task, keys in data["faces"].items()}
        typed = {str(text): str(person) for text, person in data["typed"].items()}
    except (KeyError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}: damaged ({type(error).__name__}); remove it, ids are then read back from CVAT") from error
    news = str(data.get("news", ""))
    return Identities(server=server, registry=Registry.from_json(data["registry"]), typed=typed, faces=faces, news=news)


def write_identities(path: Path, identities: Identities) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    content: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "server": identities.server,
        "registry": replace(identities.registry, faces=MappingProxyType({})).to_json(),
        "typed": dict(identities.typed),
        "news": identities.news,
        "faces": {str(task): dict(keys) for task, keys in identities.faces.items()},
    }
    with replacing(path, private=True) as stream:
        stream.write(json.dumps(content, ensure_ascii=False) + "\n")


def completed(identities: Identities, decisions: Sequence[Decision]) -> Identities:
    """With everybody who is in CVAT and not in the state: a lost state is made anew this way.

    An id that was merged into another and that a person gives to a face again stands for itself again. An id that stands for a text
    is never shown in CVAT: where a person makes it up, it is a text like any other.
    """
    registry, typed = identities.registry, dict(identities.typed)
    people, top = dict(registry.people), registry.next_number
    values = sorted({decision.now for decision in decisions} - {""} - set(typed))
    hidden = set(typed.values())
    # Somebody whose last face was taken away stands in marks only; a new person must not get that id.
    for value in sorted({one for decision in decisions for one in decision.apart if _is_id(one)} - hidden):
        people.setdefault(value, Person(id=value, created=registry.run))
        top = max(top, age(value) + 1)
    for value in (v for v in values if _is_id(v) and v not in hidden):
        people.setdefault(value, Person(id=value, created=registry.run))
        top = max(top, age(value) + 1)
    for value in (v for v in values if not _is_id(v) or v in hidden):
        typed[value] = person_id(top)
        people[typed[value]] = Person(id=typed[value], created=registry.run)
        top += 1
    for value in {decision.person for decision in decisions} - {""}:
        person = typed.get(value, value)
        people[person] = replace(people[person], alias_of="")
    registry = replace(registry, people=MappingProxyType(people), next_number=top)
    return replace(identities, registry=registry, typed=MappingProxyType(typed))


def named(identities: Identities, decisions: Sequence[Decision]) -> Identities:
    """With the names of CVAT: the one that people typed on a person's faces, else the one that we pushed and nobody changed.

    Several typed names on one person are no name: a person decides (`identities.identify` reports it).
    """
    typed: dict[str, set[str]] = defaultdict(set)
    pushed: dict[str, Counter[str]] = defaultdict(Counter)
    for decision in decisions:
        if person := identities.inside(decision.now):
            person = identities.registry.resolve(person)
            typed[person] |= {decision.name} - {""}
            pushed[person].update({decision.pushed_name} - {""})
    registry = identities.registry
    for person in sorted({*typed, *pushed}):
        if len(typed[person]) == 1:
            registry = registry.renamed(person, next(iter(typed[person])))
        elif not typed[person] and pushed[person] and not registry.people[person].name:
            registry = registry.renamed(person, min(pushed[person].items(), key=lambda item: (-item[1], item[0]))[0])
    return replace(identities, registry=registry)
