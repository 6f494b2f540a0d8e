"""Reads a Dockerfile and a .dockerignore far enough to check them without Docker."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One `FROM` with what follows it, as (instruction, text without line continuations)."""

    base: str
    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [text for kind, text in self.lines if kind == instruction]


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Global ARGs with their defaults, and the stages in order."""
    logical = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, (part.strip() for part in logical.splitlines())):
        kind, rest = line.split(maxsplit=1)
        if kind == "FROM":
            base, _, name = re.fullmatch(r"(\S+)(\s+AS\s+(\S+))?", rest).groups()
            stages.append(Stage(base, name or ""))
        elif not stages:
            assert kind == "ARG", f"{kind} before the first FROM"
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            stages[-1].lines.append((kind, rest))
    return arguments, stages


def chain(stages: list[Stage], arguments: dict[str, str]) -> list[Stage]:
    """The stages that the last one is built on, from the base image up, with arguments filled in."""
    named, found = {s.name: s for s in stages}, [stages[-1]]
    while (base := fill(found[0].base, arguments)) in named:
        found.insert(0, named[base])
    return found


def fill(text: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], text)


def shell_of(run: str) -> str:
    """The command of a RUN without its mounts."""
    return re.sub(r"^(--\S+\s+)+", "", run)


def context(root: Path, target: Path) -> Path:
    """Copy what `docker build root` would send: .dockerignore in the forms we use (`*`, `!path`, `**/name`)."""
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing is sent but what is named"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    dropped = [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]
    for entry in kept:
        source, place = root / entry, target / entry
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns(*dropped))
        else:
            shutil.copy(source, place)
    return target
