"""The cache of descriptors: one SQLite file per server and project (or task), readable by its owner only, with an expiry.

It holds biometric data. Vectors are found by what they depend on (picture, box, points, models), so nothing has to be told when a
box moves; rows that no run asked for during `EXPIRY_DAYS` are deleted at the next opening. Deleted rows are overwritten
(`secure_delete`) and the file is rewritten after a purge: no residue of a vector stays in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.faces import Look
from auto_annotator.errors import ConfigError

EXPIRY_DAYS: Final = 30
"""A set that nobody has clustered for so long is finished; its vectors can be computed again."""

SUFFIX: Final = ".vectors.sqlite"
DAY: Final = 86_400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
  key TEXT PRIMARY KEY, vector BLOB NOT NULL, quality REAL NOT NULL, failure TEXT NOT NULL, notes TEXT NOT NULL,
  face TEXT NOT NULL, person TEXT NOT NULL DEFAULT '', used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS frames (frame TEXT PRIMARY KEY, picture TEXT NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_face ON vectors (face);
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """The descriptor of one look: (d,) float16 unit row or zeros, quality 0..1, failure code or empty, codes of notes."""

    vector: npt.NDArray[np.float16]
    quality: float
    failure: str
    notes: tuple[str, ...]


def cache_folder() -> Path:
    """Where the caches lie: `AUTO_ANNOTATOR_CVAT_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("AUTO_ANNOTATOR_CVAT_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "auto-annotator" / "cvat"


def cache_path(server: str, scope: str, folder: Path | None = None) -> Path:
    """The cache of a server and a scope (`project 3`, `task 7`); its name tells nobody which server that is."""
    name = hashlib.sha256(f"{server}\n{scope}".encode()).hexdigest()[:16]
    return (folder or cache_folder()) / f"{name}{SUFFIX}"


def caches(folder: Path | None = None) -> list[Path]:
    """All caches that are there."""
    return sorted((folder or cache_folder()).glob(f"*{SUFFIX}"))


def look_key(picture: str, look: Look, model_hash: str) -> str:
    """What a descriptor is found by: picture hash, box and known points in hundredths of a pixel, models."""
    points = "" if look.landmarks is None else " ".join(f"{v:.2f}" for v in np.asarray(look.landmarks, float).ravel())
    text = f"{picture}\n{' '.join(f'{v:.2f}' for v in look.box)}\n{points}\n{model_hash}"
    return hashlib.sha256(text.encode()).hexdigest()


class VectorCache:
    """An open cache. A context manager; every `put` is on disk when it returns.

    Args:
        path: the file; made with mode 0600 in a folder of mode 0700.
        now: seconds since 1970, for tests.

    Raises:
        ConfigError: if it is no such file, or cannot be opened.
    """

    def __init__(self, path: Path, *, now: float | None = None) -> None:
        self.path, self.now = path, time.time() if now is None else now
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            path.chmod(0o600)
            self._db = sqlite3.connect(path, timeout=30)
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = OFF")  # a killed process loses nothing; after a power cut the cache is made anew
            self._db.executescript(_SCHEMA)
            oldest = self.now - EXPIRY_DAYS * DAY
            with self._db:
                for table in ("vectors", "frames"):
                    self._db.execute(f"DELETE FROM {table} WHERE used < ?", (oldest,))  # noqa: S608 - names of our own
        except sqlite3.Error as error:
            raise ConfigError(
                f"cache of descriptors {path}: cannot be used ({error}); `auto-annotator cvat purge --all`"
            ) from error

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def pictures(self, frames: Iterable[str]) -> dict[str, str]:
        """Frame -> hash of its picture, of those that are known; they need not be downloaded again."""
        found: dict[str, str] = {}
        for part in _parts(list(frames)):
            found.update(self._db.execute(f"SELECT frame, picture FROM frames WHERE frame IN ({_marks(part)})", part))  # noqa: S608
        return found

    def get(self, keys: Sequence[str]) -> dict[str, Described]:
        """The descriptors of the keys that are there; they count as used now."""
        found: dict[str, Described] = {}
        with self._db:
            for part in _parts(list(keys)):
                rows = self._db.execute(
                    f"SELECT key, vector, quality, failure, notes FROM vectors WHERE key IN ({_marks(part)})",  # noqa: S608
                    part,
                ).fetchall()
                for key, vector, quality, failure, notes in rows:
                    codes = tuple(notes.split(",")) if notes else ()
                    found[key] = Described(vector=np.frombuffer(vector, "<f2"), quality=quality, failure=failure, notes=codes)
                self._db.execute(
                    f"UPDATE vectors SET used = ? WHERE key IN ({_marks(part)})",  # noqa: S608
                    (self.now, *part),
                )
        return found

    def put(self, frame: str, picture: str, rows: Mapping[str, tuple[str, Described]]) -> None:
        """Keep the descriptors of one frame.

        Args:
            frame: name of the frame, as `pictures` takes it.
            picture: hash of its bytes.
            rows: key of the look -> (geometry key of the face, descriptor).
        """
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?)", (frame, picture, self.now))
            self._db.executemany(
                "INSERT OR REPLACE INTO vectors (key, vector, quality, failure, notes, face, used) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (key, d.vector.astype("<f2").tobytes(), d.quality, d.failure, ",".join(d.notes), face, self.now)
                    for key, (face, d) in rows.items()
                ],
            )

    def give(self, people: Mapping[str, str]) -> None:
        """Note whose each face is (geometry key -> id), so that a person's vectors can be purged."""
        with self._db:
            self._db.executemany("UPDATE vectors SET person = ? WHERE face = ?", [(p, face) for face, p in people.items()])

    def purge(self, person: str) -> int:
        """Delete the vectors of a person; returns how many there were."""
        with self._db:
            count = self._db.execute("DELETE FROM vectors WHERE person = ?", (person,)).rowcount
        if count:
            self._db.execute("VACUUM")
        return count

    def clear(self) -> None:
        """Overwrite everything, so that the blocks of the file hold nothing when it is unlinked."""
        with self._db:
            self._db.execute("DELETE FROM vectors")
            self._db.execute("DELETE FROM frames")
        self._db.execute("VACUUM")

    def count(self) -> int:
        """How many vectors there are."""
        return int(self._db.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])


def _marks(part: Sequence[str]) -> str:
    return ",".join("?" * len(part))


def _parts(items: list[str], size: int = 500) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def remove(path: Path) -> int:
    """Delete a cache, damaged or not; returns how many vectors were in it as far as one can tell."""
    count = 0
    with contextlib.suppress(ConfigError, sqlite3.Error), VectorCache(path) as cache:
        count = cache.count()
        cache.clear()
    for leftover in (path, path.with_name(f"{path.name}-journal")):
        leftover.unlink(missing_ok=True)
    return count
