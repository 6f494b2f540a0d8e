"""The backup of a push: what every face held before and holds after, so that the push can be taken back exactly.

It is written before the first face is. An interrupted push leaves it unfinished; the next run of the same plan goes on with it.
What a face held before comes from the plan (a face is written only while it holds just that), so it can never be a value that we
pushed. It holds names that people typed: the file is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from auto_annotator.bridge.judging import Goal
from auto_annotator.bridge.own_files import read_own
from auto_annotator.bridge.plan import FaceRef, Kind, Plan
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing

VERSION: Final = 1
KIND: Final = "auto-annotator backup"
DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedFace:
    """One face: where it was, and its attributes by name before and after the push."""

    ref: FaceRef
    before: Mapping[str, str]
    after: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The whole backup.

    Attributes:
        server: `Server.host`.
        plan: `plan_digest` of the plan that was pushed.
        created: ISO 8601, UTC.
        complete: the push came to its end.
        faces: by `FaceRef.place`.
    """

    server: str
    plan: str
    created: str
    complete: bool
    faces: tuple[BackedFace, ...]

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What an undo wants: the values before, where those after still stand."""
        return tuple(Goal(ref=face.ref, old=face.after, new=face.before) for face in self.faces)


def plan_digest(plan: Plan) -> str:
    """Short hex that stands for a plan's content."""
    text = json.dumps(asdict(plan), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def open_backup(path: Path | None, plan_path: Path, plan: Plan, faces: Sequence[Goal]) -> tuple[Path, Backup]:
    """Make the backup of a push, or go on with the one that an interrupted push of the same plan left; it is on disk then.

    Args:
        path: where, None = beside the plan.
        plan_path: where the plan lies.
        plan: the plan.
        faces: those that the push writes, and those that an earlier push of the plan has written.

    Returns:
        Where it is, and what it holds.

    Raises:
        ConfigError: if `path` holds something else, or the backup cannot be written.
    """
    digest = plan_digest(plan)
    found = _resumed(path, plan_path, digest, plan.server)
    now = datetime.now(UTC)
    where, earlier = found or (path or _free_path(plan_path, now), None)
    rows = {face.ref.place: face for face in (earlier.faces if earlier else ())}
    rows |= {f.ref.place: BackedFace(ref=f.ref, before=f.old, after=f.new) for f in faces if f.ref.place not in rows}
    backup = Backup(
        server=plan.server,
        plan=digest,
        created=earlier.created if earlier else now.isoformat(timespec="seconds"),
        complete=False,
        faces=tuple(rows[place] for place in sorted(rows)),
    )
    if backup != earlier:
        write_backup(where, backup)
    return where, backup


def _resumed(path: Path | None, plan_path: Path, digest: str, server: str) -> tuple[Path, Backup] | None:
    """The backup to go on with."""
    if path is None:
        for candidate in sorted(plan_path.parent.glob(f"{_escaped(plan_path.stem)}.backup-*.json"), reverse=True):
            backup = read_backup(candidate)
            if backup.plan == digest and not backup.complete:
                return candidate, backup
        return None
    if not path.exists():
        return None
    backup = read_backup(path)
    if backup.plan != digest or backup.server != server:
        raise ConfigError(f"backup {path}: is of another plan: name a file that does not exist yet")
    return path, backup


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


def _free_path(plan_path: Path, now: datetime) -> Path:
    base = f"{plan_path.stem}.backup-{now:%Y%m%dT%H%M%SZ}"
    names = (f"{base}{f'-{number}' if number else ''}.json" for number in range(1000))
    return next(where for name in names if not (where := plan_path.with_name(name)).exists())


def write_backup(path: Path, backup: Backup) -> None:
    """Write the file whole or not at all, readable by its owner only, and have it on the disk before returning.

    Raises:
        ConfigError: if it cannot be written; nothing may be pushed then.
    """
    try:
        with replacing(path, private=True) as stream:
            json.dump({"kind": KIND, "version": VERSION, **asdict(backup)}, stream, ensure_ascii=False, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        text = f"backup {path}: cannot be written ({error.strerror}); without it nothing is pushed: name another file with --backup"
        raise ConfigError(text) from error


def read_backup(path: Path) -> Backup:
    """Read what `write_backup` wrote.

    Raises:
        ConfigError: if it is not there, or is not a backup of this version.
    """
    data = read_own(path, "backup", KIND, VERSION, hint="`auto-annotator cvat push` writes one")
    try:
        return Backup(
            server=str(data["server"]),
            plan=str(data["plan"]),
            created=str(data["created"]),
            complete=bool(data["complete"]),
            faces=tuple(_face(row) for row in data["faces"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"backup {path}: damaged ({type(error).__name__}); take the annotations from CVAT's own backup"
        ) from error


def _face(row: Mapping[str, Any]) -> BackedFace:
    ref = dict(row["ref"])
    if ref["kind"] not in get_args(Kind):
        raise ValueError("kind")
    x1, y1, x2, y2 = (float(edge) for edge in ref.pop("box"))
    texts = {name: {str(k): str(v) for k, v in row[name].items()} for name in ("before", "after")}
    return BackedFace(ref=FaceRef(**ref, box=(x1, y1, x2, y2)), before=texts["before"], after=texts["after"])
