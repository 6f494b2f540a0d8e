"""Reading the JSON files that this program keeps beside a plan: which kind they are is checked before anything is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auto_annotator.errors import ConfigError


def read_own(path: Path, what: str, kind: str, version: int, *, hint: str) -> dict[str, Any]:
    """The content of a file of ours.

    Args:
        path: the file.
        what: what it is, for messages: `plan`.
        kind: its entry `kind`.
        version: its entry `version`.
        hint: what to do when it cannot be used.

    Raises:
        ConfigError: if it cannot be read, is not JSON, or of another kind or version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path}: cannot be read ({error.strerror}); {hint}") from error
    except ValueError as error:
        raise ConfigError(f"{what} {path}: got a file that is not JSON, expected {kind}; {hint}") from error
    got = (data.get("kind"), data.get("version")) if isinstance(data, dict) else (None, None)
    if got != (kind, version):
        raise ConfigError(f"{what} {path}: got {got[0]!r} version {got[1]!r}, expected {kind!r} version {version}; {hint}")
    return dict(data)
