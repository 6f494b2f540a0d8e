"""Which frames of a task people have finished, and which job says what is true of each. Pure but for the reading of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.infos import is_annotation_job

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server, TaskInfo

GROUND_TRUTH = "ground_truth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The frames of a task that can be learned from.

    Attributes:
        task: the task.
        jobs: frame -> job whose faces are true for it, by frame; no deleted frames.
        taken, left_out: numbers of the jobs that count, and of those that nobody has finished.
        unfinished: numbers of the jobs that count although nobody has finished them.
        ground_truth: numbers of the ground truth jobs among those taken.
    """

    task: TaskInfo
    jobs: Mapping[int, int] = field(default_factory=dict)
    taken: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()
    ground_truth: tuple[int, ...] = ()


def is_finished(raw: Mapping[str, Any]) -> bool:
    """Whether people have done with a job: it is completed, or its annotation and validation are over and nobody sent it back."""
    return raw.get("state") == "completed" or (raw.get("stage") == "acceptance" and raw.get("state") != "rejected")


def finished(
    server: Server, *, tasks: Sequence[int] = (), jobs: Sequence[int] = (), projects: Sequence[int] = (), all_jobs: bool = False
) -> list[Finished]:
    """The finished frames of what is in scope, by task.

    Args:
        server: where they are.
        tasks: whole tasks.
        jobs: single jobs, ground truth too.
        projects: all tasks of these projects.
        all_jobs: take jobs that nobody has finished as well.

    Raises:
        ServerError: if one does not exist, is not ready, or is a consensus replica.
    """
    single: dict[int, list[dict[str, Any]]] = {}
    for number in dict.fromkeys(jobs):
        raw = server.raw_job(number)
        if not _counts(raw):
            raise ServerError(f"job {number}: got a consensus replica, expected a job of the task or its ground truth")
        single.setdefault(int(raw["task_id"]), []).append(raw)
    whole = server.tasks(tasks=tasks, projects=projects) if tasks or projects else []
    found = {task.id: _of_task(server, task, server.raw_jobs(task.id), all_jobs=all_jobs) for task in whole}
    for number, raws in single.items():
        if number not in found:
            found[number] = _of_task(server, server.tasks(tasks=[number])[0], raws, all_jobs=all_jobs)
    return [found[number] for number in sorted(found)]


def _counts(raw: Mapping[str, Any]) -> bool:
    return raw.get("type") == GROUND_TRUTH or is_annotation_job(raw)


def _of_task(server: Server, task: TaskInfo, raws: Sequence[Mapping[str, Any]], *, all_jobs: bool) -> Finished:
    counted = sorted((raw for raw in raws if _counts(raw)), key=lambda raw: (int(raw["start_frame"]), int(raw["id"])))
    done = [raw for raw in counted if is_finished(raw)]
    taken = counted if all_jobs else done
    truths = [int(raw["id"]) for raw in taken if raw.get("type") == GROUND_TRUTH]
    frames = {number: server.job_frames(number) for number in truths}
    for raw in taken:
        if raw.get("type") != GROUND_TRUTH:
            frames[int(raw["id"])] = tuple(range(int(raw["start_frame"]), int(raw["stop_frame"]) + 1))
    return Finished(
        task=task,
        jobs=owners(frames, [*_ranked(done), *_ranked(raw for raw in taken if raw not in done)], task.deleted_frames),
        taken=tuple(int(raw["id"]) for raw in taken),
        left_out=tuple(int(raw["id"]) for raw in counted if raw not in taken),
        unfinished=tuple(int(raw["id"]) for raw in taken if raw not in done),
        ground_truth=tuple(truths),
    )


def _ranked(raws: Iterable[Mapping[str, Any]]) -> list[int]:
    """Ground truth first: it was drawn without looking at what detectors had found."""
    return [int(raw["id"]) for raw in sorted(raws, key=lambda raw: raw.get("type") != GROUND_TRUTH)]


def owners(frames: Mapping[int, Sequence[int]], order: Sequence[int], deleted: frozenset[int]) -> dict[int, int]:
    """Which job says what is true of each frame.

    Args:
        frames: job -> its frames.
        order: the jobs; where several hold a frame, the first one says.
        deleted: frames that are left out.

    Returns:
        Job by frame, in order of frames.
    """
    found: dict[int, int] = {}
    for number in order:
        for frame in frames[number]:
            found.setdefault(frame, number)
    return {frame: found[frame] for frame in sorted(found) if frame not in deleted}
