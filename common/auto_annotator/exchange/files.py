"""Writing a result file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[TextIO]:
    """Open a UTF-8 text file that takes the place of `path` only when the block ends without an error.

    Args:
        path: the file to write; its folder must exist.
        private: readable and writable by its owner only (mode 0600), from the first byte on.

    Raises:
        OSError: if it cannot be written; an older file at `path` is then still whole.
    """
    with _part(path) as part:
        opener = _private if private else None
        with open(part, "w", encoding="utf-8", newline="\n", opener=opener) as stream:
            yield stream
        part.replace(path)


def _private(name: str, flags: int) -> int:
    """Opener of a file that nobody else may read; one that lies there already is replaced, since its mode would stay."""
    Path(name).unlink(missing_ok=True)
    return os.open(name, flags, 0o600)


@contextmanager
def replacing_binary(path: Path) -> Iterator[BinaryIO]:
    """The same for bytes; the stream can seek."""
    with _part(path) as part:
        with part.open("wb") as stream:
            yield stream
        part.replace(path)


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    part = path.with_name(path.name + ".part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
