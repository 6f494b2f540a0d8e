"""Which pictures a command works on: files and folders from the command line, each with a stable name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_annotator.errors import ConfigError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif"}
)
"""What counts as a picture inside a folder; a file that is named itself is tried whatever its suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to work on.

    Attributes:
        path: where it lies.
        name: its name in results: relative to the folder it was found in, with forward slashes, unique in a run.
    """

    path: Path
    name: str


def find_pictures(paths: Sequence[Path], *, recursive: bool) -> list[Picture]:
    """All pictures of the given files and folders, folders sorted by name, no file twice.

    Args:
        paths: files and folders.
        recursive: also look into subfolders. Hidden files and folders (leading dot) are left out.

    Raises:
        ConfigError: if a path does not exist, or nothing was found.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder")
    found: dict[Path, Picture] = {}
    names: set[str] = set()
    several = len(paths) > 1
    for root in paths:
        for path in [root] if root.is_file() else sorted(_inside(root, recursive=recursive)):
            key = path.resolve()
            if key in found:
                continue
            name = path.name if root.is_file() else path.relative_to(root).as_posix()
            if several and root.is_dir():
                name = f"{root.resolve().name}/{name}"
            if name in names:
                name = path.as_posix().lstrip("/")
            names.add(name)
            found[key] = Picture(path=path, name=name)
    if not found:
        hint = "" if recursive else " (subfolders are not looked into: add --recursive)"
        folders = ", ".join(str(p) for p in paths)
        raise ConfigError(f"no pictures in {folders}{hint}; looked for {', '.join(sorted(SUFFIXES))}")
    return list(found.values())


def _inside(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if recursive and not f.startswith("."))
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES:
                yield Path(parent) / file
