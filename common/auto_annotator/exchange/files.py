"""Writing a result file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file that takes the place of `path` only when the block ends without an error.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: if it cannot be written; an older file at `path` is then still whole.
    """
    with _part(path) as part:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        part.replace(path)


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
