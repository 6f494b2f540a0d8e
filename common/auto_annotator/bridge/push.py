"""Push a plan: back up, write the attribute values of its faces, read back. Safe to repeat after any interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.bridge.backup import open_backup, write_backup
from auto_annotator.bridge.judging import Goal, Judged, State
from auto_annotator.bridge.plan import Plan
from auto_annotator.bridge.writing import CHUNK, Survey, write_all
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a push or an undo did.

    Attributes:
        judged: every face with its state at the end.
        written: faces that this run wrote.
        backup: where the push can be taken back from, None = nothing was to be written.
    """

    judged: tuple[Judged, ...]
    written: int
    backup: Path | None = None

    @property
    def skipped(self) -> tuple[Judged, ...]:
        """Faces that were left alone although they were to be written."""
        return tuple(one for one in self.judged if one.state.skipped)


def goals_of(plan: Plan) -> tuple[Goal, ...]:
    """The plan's faces, those without a change too."""
    return tuple(Goal(ref=face.ref, old=face.before, new=face.after) for face in plan.faces)


def check_server(server: Server, host: str, what: str) -> None:
    """Refuse to write what was made for another server.

    Raises:
        ConfigError: if it is another.
    """
    if server.host != host:
        raise ConfigError(f"{what}: was made for {host}, got {server.host}: connect to the server it was made for (--server-host)")


def push(
    server: Server,
    plan: Plan,
    plan_path: Path,
    found: Survey,
    *,
    backup: Path | None = None,
    chunk: int = CHUNK,
    begun: Callable[[Path], object] = lambda path: None,
    progress: Callable[[int], object] = lambda faces: None,
) -> Outcome:
    """Write what the plan says.

    Args:
        server: the one the plan was made for.
        plan: what to write.
        plan_path: where it lies; the backup is put beside it.
        found: `writing.survey` of `goals_of(plan)`.
        backup: another place for the backup; one of the same plan is gone on with.
        chunk: faces in one request.
        begun: told where the backup is, before the first request that writes.
        progress: told how many more faces are written.

    Raises:
        ConfigError: if the backup cannot be written; nothing was pushed then.
        ServerError: if the server refuses or does not get well again; what was written stays, the next run goes on.
    """
    todo = found.count(State.TODO)
    if not todo:
        return Outcome(judged=found.judged, written=0)
    ours = [one.goal for one in found.judged if one.state in (State.TODO, State.DONE)]
    where, content = open_backup(backup, plan_path, plan, ours)
    begun(where)
    judged = write_all(server, found, chunk=chunk, progress=progress)
    write_backup(where, replace(content, complete=True))
    return Outcome(judged=judged, written=newly_done(found, judged), backup=where)


def newly_done(found: Survey, judged: tuple[Judged, ...]) -> int:
    """How many faces were to be written before and hold the new values now."""
    return sum(a.state is State.TODO and b.state is State.DONE for a, b in zip(found.judged, judged, strict=True))
