"""Projects and tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from auto_annotator.cvat.labels import label_constructor
from fake_cvat.frames import Frames
from fake_cvat.labels import make_labels
from fake_cvat.store import JSON, Job, Project, Store, Task


def add_organization(store: Store, slug: str) -> int:
    """An organisation of that slug."""
    number = store.next_id("organization")
    store.organizations[number] = slug
    return number


def make_project(store: Store, name: str, *, labels: list[JSON] | None = None, organization: int | None = None) -> Project:
    """A project; `labels` as of CVAT's label constructor, ours without."""
    project = Project(store.next_id("project"), name, make_labels(store, label_constructor() if labels is None else labels))
    project.organization = organization
    store.projects[project.id] = project
    return project


def make_task(
    store: Store,
    frames: int | Sequence[Any] | Frames,
    *,
    video: bool = False,
    job_size: int = 0,
    overlap: int = 0,
    labels: list[JSON] | None = None,
    project: Project | None = None,
    name: str = "",
    names: Sequence[str] | None = None,
    chunk_size: int = 36,
    deleted_frames: Iterable[int] = (),
    ground_truth: Sequence[int] = (),
    replicas: int = 0,
    subset: str = "",
    organization: int | None = None,
) -> Task:
    """A task with its jobs.

    Args:
        store: the server's.
        frames: number of empty 640 x 480 frames, the pictures (see `frames.Frames`), or ready frames.
        video: a video task: one entry in the list of frames.
        job_size: frames in a job; 0 for one job.
        overlap: frames that a job shares with the one before.
        labels: as of CVAT's label constructor; ours without. Not with a project.
        project: the task is in it and has its labels.
        name: of the task.
        names: file name of each frame.
        chunk_size: frames in a chunk.
        deleted_frames: frames that are deleted from the start.
        ground_truth: frames of a ground-truth job, added as the last job; none for no such job.
        replicas: consensus replicas of every annotation job.
        subset: of the task.
        organization: id of its organisation.
    """
    if not isinstance(frames, Frames):
        frames = Frames([(640, 480)] * frames if isinstance(frames, int) else list(frames), names)
    number, size = store.next_id("task"), len(frames)
    own = make_labels(store, label_constructor() if labels is None else labels) if project is None else {}
    step = job_size or max(size, 1)
    task = Task(
        id=number,
        name=name or f"task {number}",
        frames=frames,
        video=video,
        project=project.id if project else None,
        labels=own,
        jobs=[],
        segment_size=step,
        chunk_size=chunk_size,
        subset=subset,
        deleted_frames=set(deleted_frames),
        organization=project.organization if project and organization is None else organization,
    )
    start = 0
    while start < size:
        stop = min(start + step, size) - 1
        first = _add_job(store, task, Job(0, number, start, stop))
        for _ in range(replicas):
            _add_job(store, task, Job(0, number, start, stop, parent_job=first.id, type="consensus_replica"))
        if stop == size - 1:
            break
        start = stop + 1 - overlap
    if ground_truth:
        _add_job(store, task, Job(0, number, 0, size - 1, type="ground_truth", frames=tuple(sorted(ground_truth))))
    store.tasks[number] = task
    return task


def _add_job(store: Store, task: Task, job: Job) -> Job:
    job.id = store.next_id("job")
    store.jobs[job.id] = job
    task.jobs.append(job)
    return job
