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
"""What counts as a picture inside a folder, in any case; a file that is named itself is tried whatever its suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to work on.

    Attributes:
        path: where it lies.
        name: its name in results: relative, with forward slashes, unique in a run.
    """

    path: Path
    name: str


def find_pictures(paths: Sequence[Path], *, recursive: bool) -> list[Picture]:
    """All pictures of the given files and folders, those of a folder sorted by name, nothing twice.

    A picture of the only folder is named by its path within it, a file by its file name; with several PATHs the folder's own name
    goes in front. Where two names would then be the same, all are named by their path below the folder that all PATHs share.

    Args:
        paths: files and folders.
        recursive: also look into subfolders, but not through links to folders, which can go round in circles. Hidden files and
            folders (leading dot) are left out.

    Raises:
        ConfigError: if a path does not exist or cannot be read, or nothing was found.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: no such file or folder")
        if not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{path}: neither a file nor a folder; expected pictures")
    found: dict[Path, str] = {}
    for root in paths:
        for path in [root] if root.is_file() else sorted(_inside(root, recursive=recursive)):
            # The place in the folder tree, not what a link there leads to: two links are two pictures, for CVAT as well.
            found.setdefault(path.parent.resolve() / path.name, _short_name(path, root, alone=len(paths) == 1))
    if not found:
        hint = "" if recursive else " (subfolders are not looked into: add --recursive)"
        folders = ", ".join(str(p) for p in paths)
        raise ConfigError(f"no pictures in {folders}{hint}; looked for {', '.join(sorted(SUFFIXES))}")
    names = list(found.values())
    if len(set(names)) < len(names):
        names = _names_below_shared_folder(list(found))
    return [Picture(path=path, name=name) for path, name in zip(found, names, strict=True)]


def _short_name(path: Path, root: Path, *, alone: bool) -> str:
    if path == root:
        return path.name
    name = path.relative_to(root).as_posix()
    return name if alone else f"{root.resolve().name}/{name}".lstrip("/")


def _names_below_shared_folder(paths: Sequence[Path]) -> list[str]:
    try:
        shared = os.path.commonpath([path.parent for path in paths])
    except ValueError as error:  # drives of Windows
        raise ConfigError("pictures of the same name lie on different drives: run them one drive at a time") from error
    return [path.relative_to(shared).as_posix() for path in paths]


def _inside(folder: Path, *, recursive: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        message = f"{error.filename}: cannot be read ({error.strerror}); make it readable, or name the folders without it"
        raise ConfigError(message) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):  # os.walk alone would leave it out and say nothing
        folders[:] = [f for f in folders if recursive and not f.startswith(".")]
        for file in files:
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES:
                yield Path(parent) / file
