"""Writing a result file: whole or not at all, and only characters that its readers accept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\u007e\u0085\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """The text with every character that XML 1.0 or HTML forbids replaced by U+FFFD.

    These are control characters, lone surrogates (file names that are not valid UTF-8 have them) and noncharacters.
    """
    return _FORBIDDEN.sub("\ufffd", text)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file that takes the place of `path` only when the block ends without an error.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: if it cannot be written; an older file at `path` is then still whole.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
