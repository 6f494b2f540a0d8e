"""Renders the label schema into the `spec` annotation of the function files; everything else in them is left as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.errors import ConfigError

FUNCTION_FILES = ("function.yaml", "function-gpu.yaml")
"""The two names that CVAT's deploy scripts look for."""

_BLOCK = re.compile(r"^(?P<indent> +)spec: \|\n(?:(?:[ \t]*\n)*(?P=indent) +\S.*\n)*", re.MULTILINE)
"""The block scalar of the annotation: its lines are indented deeper than its key."""


def function_files(functions_dir: Path) -> list[Path]:
    """Every function file under the folder, in a fixed order.

    Raises:
        ConfigError: if there is none.
    """
    found = sorted(path for name in FUNCTION_FILES for path in functions_dir.rglob(name))
    if not found:
        raise ConfigError(f"functions: no {' or '.join(FUNCTION_FILES)} under {functions_dir}; give the folder of the functions")
    return found


def spec_text(spec: Sequence[dict[str, Any]] | None = None) -> str:
    """The spec as JSON text, one attribute and one point a line so that a change shows as one line in a review."""
    labels = [_label_text(entry) for entry in (nuclio_spec() if spec is None else spec)]
    return "[\n" + ",\n".join(labels) + "\n]\n"


def _label_text(entry: dict[str, Any]) -> str:
    lines = []
    for key, value in entry.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"      {json.dumps(row)}" for row in value)
            lines.append(f'    "{key}": [\n{rows}\n    ]')
        else:
            lines.append(f'    "{key}": {json.dumps(value)}')
    return "  {\n" + ",\n".join(lines) + "\n  }"


def rendered(text: str) -> str:
    """The text of a function file with a fresh spec; a file without a `spec: |` annotation (no labels) stays as it is."""

    def block(match: re.Match[str]) -> str:
        indent = match["indent"]
        body = "".join(f"{indent}  {line}\n" for line in spec_text().splitlines())
        return f"{indent}spec: |\n{body}"

    return _BLOCK.sub(block, text, count=1)


def render_specs(functions_dir: Path, *, check: bool = False) -> list[Path]:
    """Write the spec into every function file under the folder.

    Args:
        functions_dir: folder of the functions.
        check: write nothing.

    Returns:
        The files that were written, or with `check` those that are stale.

    Raises:
        ConfigError: if there is no function file.
    """
    stale = []
    for path in function_files(functions_dir):
        old = path.read_text(encoding="utf-8")
        new = rendered(old)
        if new != old:
            stale.append(path)
            if not check:
                path.write_text(new, encoding="utf-8")
    return stale
