"""What people say about faces, as text files with tabs: pairs that are or are not one person, names, faces to leave alone.

One entry a line, columns separated by a tab; empty lines and lines that begin with `#` are skipped. Every message names the line.

    must.tsv, cannot.tsv    face key, face key
    names.tsv               face key or person id, name
    never.tsv               face key
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError

MAX_NAME = 200
"""Characters of a name; CVAT's attribute takes more, no person's name is longer."""


def read_pairs(path: Path, rows: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Pairs of faces as rows.

    Args:
        path: the file.
        rows: face key -> row.

    Returns:
        (m, 2) int64.

    Raises:
        ConfigError: for a line without two known, different face keys.
    """
    pairs = []
    for where, (first, second) in _lines(path, 2):
        pair = _row(first, rows, where), _row(second, rows, where)
        if pair[0] == pair[1]:
            raise ConfigError(f"{where}: names the same face twice, expected two faces")
        pairs.append(pair)
    return np.array(pairs, np.int64).reshape(-1, 2)


def read_faces(path: Path, rows: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Rows of the faces that a file lists.

    Raises:
        ConfigError: for a line that is not one known face key.
    """
    return np.array([_row(key, rows, where) for where, (key,) in _lines(path, 1)], np.int64)


def read_names(path: Path, rows: Mapping[str, int], people: Collection[str]) -> dict[str, str]:
    """Names by face key or person id.

    Args:
        path: the file.
        rows: face key -> row.
        people: ids that exist.

    Raises:
        ConfigError: for a line without a known key or id, an empty or too long name, or two names for one.
    """
    names: dict[str, str] = {}
    for where, (key, name) in _lines(path, 2):
        if key not in people:
            _row(key, rows, where, or_else=" or the id of a person of the previous run")
        if not name or len(name) > MAX_NAME:
            raise ConfigError(f"{where}: got a name of {len(name)} characters, expected 1 to {MAX_NAME}")
        if names.setdefault(key, name) != name:
            raise ConfigError(f"{where}: a second name for {key}, expected one")
    return names


def _row(key: str, rows: Mapping[str, int], where: str, *, or_else: str = "") -> int:
    if key not in rows:
        raise ConfigError(f"{where}: got {_shown(key)}, expected the key of a face in the descriptors{or_else}")
    return rows[key]


def _shown(text: str) -> str:
    limit = 40  # characters: a key has 17, and a message stays one line whatever the file holds
    return repr(text if len(text) <= limit else text[:limit] + "…")


def _lines(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a byte order mark in front
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text, expected lines with tabs") from error
    for number, line in enumerate(text.split("\n"), start=1):
        cells = [cell.strip() for cell in line.rstrip("\r").split("\t")]
        if not any(cells) or cells[0].startswith("#"):
            continue
        where = f"{path.name} line {number}"
        if len(cells) != columns:
            raise ConfigError(f"{where}: got {len(cells)} columns, expected {columns}, separated by a tab")
        yield where, cells
