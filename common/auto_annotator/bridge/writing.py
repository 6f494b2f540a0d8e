"""Writing attribute values of faces into CVAT until the server holds them: push and undo are both this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.converge import Write, converge
from auto_annotator.bridge.judging import Goal, Judged, State, judge, writable
from auto_annotator.bridge.shapes import by_id, with_attributes

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo, Server, TaskInfo

CHUNK = 200
"""Faces in one request: about a second of a real server's time, so that a proxy's time limit is far."""
CHUNKS_PER_READ = 5
"""After so many requests a job is read again: an edit that a person saves between the read and the write is lost."""


def writes_of(judged: Iterable[Judged], labels: Mapping[int, LabelInfo], *, chunk: int = CHUNK) -> list[Write]:
    """Requests that write every face that is to be written, whole items as the server's update wants them."""
    items = []
    for one in judged:
        if one.state is State.TODO and one.item is not None:
            label = labels[one.goal.ref.label]
            items.append((one.goal.ref.kind, with_attributes(one.item, label, writable(one.goal, label) or {})))
    bodies = []
    for start in range(0, len(items), chunk):
        part = items[start : start + chunk]
        sorted_out = {f"{kind}s": [item for own, item in part if own == kind] for kind in ("shape", "track")}
        bodies.append(Write(action="update", body={"tags": [], **sorted_out}))
    return bodies


def settle(
    server: Server,
    job: int,
    goals: Sequence[Goal],
    labels: Mapping[int, LabelInfo],
    *,
    hidden: Iterable[int] = (),
    chunk: int = CHUNK,
    progress: Callable[[int], object] = lambda left: None,
) -> list[Judged]:
    """Write the faces of one job until the server holds what it should.

    Args:
        server: where they are.
        job: its number.
        goals: all known faces of the job.
        labels: of the task, by id.
        hidden: deleted frames.
        chunk: faces in one request.
        progress: told, after each read, how many faces at most are still to be written.

    Returns:
        What the last read of the job says; nothing is left to be written.

    Raises:
        ConfigError: if a label lacks an attribute.
        ServerError: if the server refuses, or does not get well again.
    """
    frames = frozenset(hidden)
    size = chunk * CHUNKS_PER_READ
    changed = [row for row, goal in enumerate(goals) if goal.changed]
    now: dict[str, Any] | None = None
    for start in range(0, len(changed), size):
        batch, later = changed[start : start + size], len(changed[start + size :])

        def pending(now: dict[str, Any], batch: list[int] = batch, later: int = later) -> list[Write]:
            judged = judge(now, goals, labels, frames, rows=batch)
            progress(later + sum(one.state is State.TODO for one in judged))
            return writes_of(judged, labels, chunk=chunk)

        now = converge(server, job, pending, first=now)
    return judge(now or {}, goals, labels, frames)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """What the server held before anything was written.

    Attributes:
        tasks: by number, with their labels and deleted frames.
        goals: by task and job, in that order.
        judged: every face, in the order of `goals`; without its raw item.
    """

    tasks: Mapping[int, TaskInfo]
    goals: Mapping[tuple[int, int], tuple[Goal, ...]]
    judged: tuple[Judged, ...]

    def count(self, state: State) -> int:
        """How many faces are in a state."""
        return sum(one.state is state for one in self.judged)


def survey(server: Server, goals: Iterable[Goal], *, progress: Callable[[int], object] = lambda faces: None) -> Survey:
    """Read every job with faces once; nothing is written.

    Args:
        server: where they are.
        goals: all faces, those without a change too.
        progress: told how many more faces were looked at.

    Raises:
        ConfigError: if a label lacks an attribute that is to be written.
        ServerError: if the server cannot be read, or a task is no longer there.
    """
    by_job: dict[tuple[int, int], list[Goal]] = defaultdict(list)
    for goal in goals:
        by_job[goal.ref.task, goal.ref.job].append(goal)
    ordered = {place: tuple(by_job[place]) for place in sorted(by_job)}
    numbers = sorted({task for task, _ in ordered})
    tasks = {task.id: task for task in server.tasks(tasks=numbers)} if numbers else {}
    judged = []
    for (task, job), faces in ordered.items():
        judged += [replace(one, item=None) for one in _judge_job(server, tasks[task], job, faces)]
        progress(len(faces))
    return Survey(tasks=tasks, goals=ordered, judged=tuple(judged))


def _judge_job(server: Server, task: TaskInfo, job: int, goals: Sequence[Goal]) -> list[Judged]:
    there = any(one.id == job for one in task.jobs)  # a task can be cut into other jobs
    now = server.annotations(job) if there and any(goal.changed for goal in goals) else {}
    return judge(now, goals, by_id(task.labels), task.deleted_frames)


def write_all(
    server: Server, found: Survey, *, chunk: int = CHUNK, progress: Callable[[int], object] = lambda faces: None
) -> tuple[Judged, ...]:
    """Write every face that is to be written, job by job, and read all back.

    Args:
        server: where they are.
        found: what `survey` found; each job is read again before it is written.
        chunk: faces in one request.
        progress: told how many more faces are written.

    Returns:
        Every face of `found`, in its order, with its state now; nothing is left to be written.

    Raises:
        ServerError: if the server refuses, or does not get well again.
    """
    judged: list[Judged] = []
    start = 0
    for (number, job), goals in found.goals.items():
        before = found.judged[start : start + len(goals)]
        start += len(goals)
        todo = sum(one.state is State.TODO for one in before)
        if not todo:
            judged += before
            continue
        task = found.tasks[number]
        told = _Told(progress, todo)
        after = settle(server, job, goals, by_id(task.labels), hidden=task.deleted_frames, chunk=chunk, progress=told)
        told(0)
        judged += [replace(one, item=None) for one in after]
    return tuple(judged)


class _Told:
    """Turns how many faces are left into how many more are done; never backwards."""

    def __init__(self, progress: Callable[[int], object], todo: int) -> None:
        self._progress = progress
        self._left = todo

    def __call__(self, left: int) -> None:
        self._progress(max(self._left - left, 0))
        self._left = min(self._left, left)
