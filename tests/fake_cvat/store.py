"""Everything the fake server holds: projects, tasks, jobs, labels, issues; plain objects, one lock."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fake_cvat.frames import Frames

JSON = dict[str, Any]
MOMENT = "2026-01-02T03:04:05.678901Z"


class Refused(Exception):
    """A request that CVAT answers with an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(body)
        self.status, self.body = status, body


def not_found(what: str) -> Refused:
    """CVAT's answer for what is not there."""
    return Refused(404, {"detail": f"No {what} matches the given query."})


@dataclass(slots=True)
class Attribute:
    """One attribute of a label."""

    id: int
    name: str
    mutable: bool
    input_type: str
    default_value: str
    values: list[str]


@dataclass(slots=True)
class Label:
    """A label, or a point of a skeleton label (then `parent` is that label's id)."""

    id: int
    name: str
    type: str
    color: str
    attributes: dict[int, Attribute] = field(default_factory=dict)
    sublabels: dict[int, Label] = field(default_factory=dict)
    svg: str = ""
    parent: int | None = None

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name."""
        return next(a for a in self.attributes.values() if a.name == name)


@dataclass(slots=True)
class Project:
    """A project and its labels."""

    id: int
    name: str
    labels: dict[int, Label]
    organization: int | None = None


@dataclass(slots=True)
class Job:
    """A job and the annotations stored in it: id -> object, in the order of the database."""

    id: int
    task: int
    start: int
    stop: int
    type: str = "annotation"
    stage: str = "annotation"
    state: str = "new"
    parent_job: int | None = None
    frames: tuple[int, ...] | None = None
    tags: dict[int, JSON] = field(default_factory=dict, repr=False)
    shapes: dict[int, JSON] = field(default_factory=dict, repr=False)
    tracks: dict[int, JSON] = field(default_factory=dict, repr=False)

    def holds(self, frame: int) -> bool:
        """Whether that frame of the task belongs to this job."""
        return self.start <= frame <= self.stop and (self.frames is None or frame in self.frames)

    def table(self, kind: str) -> dict[int, JSON]:
        """The annotations of one kind: "tags", "shapes" or "tracks"."""
        return {"tags": self.tags, "shapes": self.shapes, "tracks": self.tracks}[kind]


@dataclass(slots=True)
class Task:
    """A task; `labels` is empty when its project has them."""

    id: int
    name: str
    frames: Frames = field(repr=False)
    video: bool
    project: int | None
    labels: dict[int, Label] = field(repr=False)
    jobs: list[Job]
    segment_size: int
    chunk_size: int = 36
    subset: str = ""
    deleted_frames: set[int] = field(default_factory=set)
    organization: int | None = None

    @property
    def size(self) -> int:
        """Number of frames."""
        return len(self.frames)


@dataclass(slots=True)
class Issue:
    """An issue of a job; its first comment is the message that it was made with."""

    id: int
    job: int
    frame: int
    position: list[float]
    resolved: bool = False
    assignee: int | None = None


@dataclass(slots=True)
class Comment:
    """A comment of an issue."""

    id: int
    issue: int
    message: str


class Store:
    """The data base.

    Args:
        seed: decides the order in which attributes and elements come back.
        ids_change_on_update: an update gives new ids, as CVAT 2.15 does.
        keeps_score: shapes have a `score`, as SDK 2.80 knows it; CVAT 2.54 drops it.
        version: what `/api/server/about` says.
    """

    def __init__(
        self, *, seed: int = 0, ids_change_on_update: bool = False, keeps_score: bool = True, version: str = "2.54.1"
    ) -> None:
        self.seed, self.ids_change_on_update, self.keeps_score, self.version = seed, ids_change_on_update, keeps_score, version
        self.lock = threading.RLock()
        self.reads = 0
        self.projects: dict[int, Project] = {}
        self.tasks: dict[int, Task] = {}
        self.jobs: dict[int, Job] = {}
        self.issues: dict[int, Issue] = {}
        self.comments: dict[int, Comment] = {}
        self.organizations: dict[int, str] = {}
        self.used: dict[str, set[int]] = defaultdict(set)
        """Ids in use of each table of annotations: tag, shape, track, tracked_shape."""
        self._last: dict[str, int] = defaultdict(int)

    def next_id(self, table: str) -> int:
        """The next number of that table; numbers only grow."""
        self._last[table] += 1
        return self._last[table]

    def seen_id(self, table: str, number: int) -> None:
        """A row was stored under a number that the client chose."""
        self._last[table] = max(self._last[table], number)

    def project(self, number: int) -> Project:
        """The project of that id, or 404."""
        if number not in self.projects:
            raise not_found("Project")
        return self.projects[number]

    def task(self, number: int) -> Task:
        """The task of that id, or 404."""
        if number not in self.tasks:
            raise not_found("Task")
        return self.tasks[number]

    def job(self, number: int) -> Job:
        """The job of that id, or 404."""
        if number not in self.jobs:
            raise not_found("Job")
        return self.jobs[number]

    def labels_of(self, task: Task) -> dict[int, Label]:
        """The labels of a task: its project's, if it has one."""
        return self.projects[task.project].labels if task.project is not None else task.labels

    def every_label(self, task: Task) -> dict[int, Label]:
        """The labels of a task and the points of its skeletons."""
        labels = self.labels_of(task)
        return labels | {number: point for label in labels.values() for number, point in label.sublabels.items()}

    def label_owners(self) -> Iterator[tuple[Project | Task, dict[int, Label]]]:
        """Every project and task with labels of its own."""
        for project in self.projects.values():
            yield project, project.labels
        for task in self.tasks.values():
            if task.project is None:
                yield task, task.labels
