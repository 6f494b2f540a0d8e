"""Saving findings into a job: in chunks, each read, compared, written and read again, and then remembered in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.prelabel import Change, Counts, Finding, change_of
from auto_annotator.bridge.prelabel_journal import Journal
from auto_annotator.bridge.prelabel_known import frames_of

if TYPE_CHECKING:
    from auto_annotator.bridge.converge import Write
    from auto_annotator.bridge.prelabel_items import Target
    from auto_annotator.bridge.server import JobInfo, Server

CHUNK_FRAMES = 50
CHUNK_SECONDS = 60.0
"""A chunk is saved after so long although it is not full: slow models would otherwise lose much to a kill."""
CHUNK_FACES = 1000
"""And from so many faces on: crowds would otherwise make requests that a proxy refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How findings are saved.

    Attributes:
        chunk: frames that are saved at once.
        keep_old: leave boxes of ours that no face fits any more.
        restore: add faces again that people deleted.
        dry_run: write nothing.
    """

    chunk: int = CHUNK_FRAMES
    keep_old: bool = False
    restore: bool = False
    dry_run: bool = False


def save_findings(
    server: Server,
    job: JobInfo,
    target: Target,
    findings: Iterable[Finding],
    journal: Journal,
    saving: Saving,
    *,
    saved: Callable[[Counts], object],
) -> None:
    """Take findings as they come and save them chunk by chunk.

    Args:
        server: where the job is.
        job: whose frames these are.
        target: labels of its task.
        findings: one for each frame.
        journal: of the task.
        saving: how.
        saved: told what became of the faces of each chunk.

    Raises:
        ServerError: if the server refuses or does not get well; whole chunks are saved, the same call goes on from there.
    """
    chunk = _Chunk(server, job.id, target, journal, saving)
    for finding in findings:
        chunk.add(finding)
        if chunk.full:
            saved(chunk.save())
    if chunk.findings:
        saved(chunk.save())


class _Chunk:
    def __init__(self, server: Server, job: int, target: Target, journal: Journal, saving: Saving) -> None:
        self._server, self._job, self._target, self._journal, self._saving = server, job, target, journal, saving
        self.findings: dict[int, Finding] = {}
        self._changes: dict[int, Change] = {}
        self._since = time.monotonic()

    @property
    def full(self) -> bool:
        late = time.monotonic() - self._since > CHUNK_SECONDS
        faces = sum(len(finding.faces) for finding in self.findings.values())
        return late or len(self.findings) >= self._saving.chunk or faces >= CHUNK_FACES

    def add(self, finding: Finding) -> None:
        self.findings[finding.frame] = finding

    def save(self) -> Counts:
        from auto_annotator.bridge.converge import converge

        total: list[Counts] = []

        def pending(now: dict[str, Any]) -> list[Write]:
            self._changes = self._compare(now)
            if not total:  # later rounds only see what this one has left
                total.append(Counts())
                for change in self._changes.values():
                    total[0].add(change.counts)
            writes = writes_of(self._changes.values())
            if writes and not self._saving.dry_run:
                self._journal.plan(self._job, {frame: change.planned for frame, change in self._changes.items() if change})
            return writes

        if self._saving.dry_run:
            pending(self._server.annotations(self._job))
        else:
            converge(self._server, self._job, pending)
            self._journal.done(self._job, {frame: change.note for frame, change in self._changes.items()})
        self.findings, self._since = {}, time.monotonic()
        return total[0]

    def _compare(self, now: dict[str, Any]) -> dict[int, Change]:
        how = {"keep_old": self._saving.keep_old, "restore": self._saving.restore}
        frames = frames_of(now, self._target, self.findings)
        notes = {frame: self._journal.note(self._job, frame) for frame in self.findings}
        return {
            frame: change_of(self._target, frames[frame], notes[frame], finding, **how) for frame, finding in self.findings.items()
        }


def writes_of(changes: Iterable[Change]) -> list[Write]:
    """The requests of some frames together: one each to delete, update and create, if there is anything."""
    from auto_annotator.bridge.converge import Write

    changes, writes = list(changes), []
    for action in ("delete", "update", "create"):
        parts = [getattr(change, action) for change in changes]
        body = {kind: [item for part in parts for item in getattr(part, kind)] for kind in ("tags", "shapes")}
        if any(body.values()):
            writes.append(Write(action=action, body={**body, "tracks": []}))
    return writes
