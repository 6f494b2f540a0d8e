"""A strict linter for Nuclio function files.

Nuclio ignores unknown and misspelt keys without a word, and CVAT's Models page fails for all functions if one is wrong; so
what these two let through is refused here. `auto-annotator specs functions --check` prints the findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from auto_annotator.cvat.function_rules import at, file_problems
from auto_annotator.cvat.specs import function_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule of one file."""

    path: Path
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: [{self.rule}] {self.message}"


class _UniqueKeys(yaml.SafeLoader):
    """YAML without tags that run code, and without keys that silently replace earlier ones."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key {key!r} is there twice")
        return super().construct_mapping(node, deep=deep)


def lint(functions_dir: Path, *, deploy_dir: Path | None = None) -> list[Finding]:
    """Check every function file under a folder.

    Args:
        functions_dir: folder of the functions.
        deploy_dir: folder with the `Dockerfile` of all base images, or `Dockerfile.<tag>` of a single one, which goes first;
            None = `deploy` beside `functions_dir`. Its Python must be that of the runtime; without either file this is not checked.

    Returns:
        The findings, file by file; empty = all is well.

    Raises:
        ConfigError: if there is no function file.
    """
    deploy = functions_dir.parent / "deploy" if deploy_dir is None else deploy_dir
    findings, functions = [], {}
    for path in function_files(functions_dir):
        try:
            # _UniqueKeys is a SafeLoader.
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            findings.append(Finding(path=path, rule="yaml", message=" ".join(str(error).split())))
            continue
        functions[path] = data
        findings += [Finding(path=path, rule=rule, message=text) for rule, text in file_problems(path, data, deploy)]
    findings += [Finding(path=path, rule=rule, message=text) for path, rule, text in _set_problems(functions)]
    return findings


def _set_problems(functions: dict[Path, Any]) -> Iterator[tuple[Path, str, str]]:
    """Rules between files: both flavours of a function agree, and no two functions share a name or a port."""
    taken: dict[tuple[str, str], Path] = {}
    for path, data in functions.items():
        other = path.with_name("function.yaml" if path.name == "function-gpu.yaml" else "function-gpu.yaml")
        if not other.is_file():
            yield path, "pair", f"{other.name} is missing"
        elif other in functions and path.name == "function-gpu.yaml":
            for place in ("metadata", "spec.description", "spec.runtime", "spec.handler", "spec.triggers"):
                if at(data, place) != at(functions[other], place):
                    yield path, "pair", f"{place} differs from {other.name}"
        triggers = at(data, "spec.triggers")
        ports = [at(t, "attributes.port") for t in triggers.values()] if isinstance(triggers, dict) else []
        for what in (("name", repr(at(data, "metadata.name"))), *(("port", repr(port)) for port in ports)):
            if taken.setdefault(what, path.parent) != path.parent:
                yield path, f"unique-{what[0]}", f"{what[1]} is taken by {taken[what].parent.name}"
