"""Classes that an ensemble file names by their import path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auto_annotator.errors import ConfigError


def import_object(path: str, *, beside: Path | None = None) -> Any:
    """The object behind `package.module:Name`.

    Args:
        path: what the ensemble file says under `use`.
        beside: folder in which modules are looked for first while the import runs: that of the user's ensemble file, so that a
            detector file beside it is found from any working directory.

    Raises:
        ConfigError: if the module or the name is not there, or the module fails while it is imported.
    """
    module_name, _, name = path.partition(":")
    try:
        with _importable(beside):
            module = importlib.import_module(module_name)
    except Exception as error:  # a user's own file may fail in any way
        detail = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"use: cannot import {path!r} ({detail}); expected package.module:Class, the module beside the ensemble file or on"
            " PYTHONPATH"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        found = getattr(module, "__file__", None) or "built in"
        raise ConfigError(
            f"use: cannot import {path!r}: {module_name} ({found}) has no {name}; expected package.module:Class."
            " Is it another module of that name? Then rename yours"
        ) from error


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Put a folder in front of `sys.path`, as Python does with that of a script, for as long as an import runs."""
    if folder is None:
        yield
        return
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    try:
        yield
    finally:
        sys.path.remove(entry)
