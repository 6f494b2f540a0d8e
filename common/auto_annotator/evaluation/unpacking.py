"""A labelled set as a zip: taken apart into a private folder that goes when the program ends."""

from __future__ import annotations

import atexit
import lzma
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from auto_annotator.errors import ConfigError

MOST_FILES = 1_000_000
MOST_TIMES = 100
"""A set of pictures hardly shrinks in a zip, labels alone shrink 20 to 50 times; a zip bomb grows a thousand times and more."""

OF_MACOS, OF_FINDER = "__MACOSX/", ".DS_Store"
"""What macOS adds to a zip beside the folder that is meant."""

ALWAYS_ALLOWED = 1 << 30
"""Bytes that any archive may grow to, however small it is."""


def unpacked(path: Path) -> Path:
    """The folder of a labelled set: the path itself, or what is in the zip.

    Where a zip has one folder and nothing beside it, that folder. It is unpacked into the system's folder for temporary files
    (`TMPDIR`), readable by its owner only, and removed when the program ends.

    Raises:
        ConfigError: if the file is no zip, damaged, encrypted, too large, or names places outside of itself.
    """
    if not path.is_file():
        return path
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"labelled data: got the file {path.name}, expected a folder or a .zip of one")
    folder = Path(tempfile.mkdtemp(prefix="auto-annotator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    damaged = f"labelled data: {path.name} is damaged or packed in an unknown way: make the zip again"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.filename.startswith(OF_MACOS)]
            _check(path, entries)
            for entry in entries:
                _write(archive, entry, folder)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, ValueError) as error:
        raise ConfigError(damaged) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of its own data
            raise ConfigError(damaged) from error
        what = f"labelled data: {path.name} cannot be unpacked ({error.strerror}); TMPDIR may name a larger disk"
        raise ConfigError(what) from error
    inside = [place for place in folder.iterdir() if place.name != OF_FINDER]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name != "images" else folder


def safe_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a relative path as sets name their pictures; None if it could lead out of its folder."""
    path = PurePosixPath(name)
    strange = not path.parts or path.is_absolute() or "\\" in name or "\0" in name or re.match("[A-Za-z]:", name)
    return None if strange or ".." in path.parts else path.parts


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    refused = f"labelled data: {path.name} is refused: "
    if any(safe_parts(entry.filename) is None for entry in entries):
        raise ConfigError(f"{refused}it names files outside of itself (absolute, drive or `..`): make the zip again")
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise ConfigError(f"{refused}it holds links, expected files; make the zip again with the files themselves")
    if any(entry.flag_bits & 1 for entry in entries):
        raise ConfigError(f"{refused}it is encrypted: unpack it into a folder first")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ConfigError(f"{refused}it holds a file twice: make the zip again")
    size = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_FILES or size > max(ALWAYS_ALLOWED, MOST_TIMES * path.stat().st_size):
        raise ConfigError(
            f"{refused}got {len(entries)} files that grow to {size / 1e9:.1f} GB, expected at most {MOST_FILES} and"
            f" {MOST_TIMES} times the size of the zip; unpack it into a folder first if you trust it"
        )


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*(safe_parts(entry.filename) or ()))
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as stream:  # zipfile gives no byte more than the entry says
        shutil.copyfileobj(source, stream, 1 << 20)
