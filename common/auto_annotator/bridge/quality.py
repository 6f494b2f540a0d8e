"""Faces of a task and of what it is compared with, as columns: which frames count, and every face in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auto_annotator.bridge.shapes import Box, Item, attributes_of, box_of, by_id, label_named, tied_landmarks, track_boxes
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError
from auto_annotator.types import LANDMARK_NAMES, Faces

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo, Server, TaskInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a face is in CVAT: `kind` is `shape` or `track`."""

    task: int
    job: int
    frame: int
    kind: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotated:
    """The faces of some pictures, one row each, picture after picture.

    Attributes:
        pictures: the faces of each picture; scores are all 1, since people give none.
        people: (n,) `person`, where that is empty `name`; empty = not said, `none` = never to be clustered.
        votes: (n,) text of the attribute `votes`.
        sources: (n,) CVAT's source: `auto`, `semi-auto`, `manual`, `file`, ...
        places: (n,) where each face is.
        frame_places: (p,) where each picture is; kind and id are empty.
    """

    pictures: tuple[Faces, ...]
    people: tuple[str, ...]
    votes: tuple[str, ...]
    sources: tuple[str, ...]
    places: tuple[Place, ...]
    frame_places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a task is compared with: a job or a whole task."""

    kind: Literal["job", "task"]
    id: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


def sides(server: Server, number: int, against: Against, *, label: str = FACE) -> tuple[Annotated, Annotated]:
    """Read both sides: the faces of the task, and the true ones, of the same pictures in the same order.

    Pictures of two tasks belong together by their file names, where those are different within each task, else by their numbers.

    Args:
        server: where they are.
        number: of the task that is judged.
        against: what is true: a ground truth job, or another task or a job of it. Only its frames count.
        label: name of the rectangles on both sides.

    Raises:
        ConfigError: if something would be compared with itself, there is no such label, or no picture is on both sides.
        ServerError: if the server cannot be read.
    """
    (task,) = server.tasks(tasks=[number])
    truth, jobs = _truth(server, task, against)
    deleted = truth.deleted_frames
    frames = [frame for frame in sorted(jobs) if frame not in deleted]
    ours = _frames_in(task, truth, frames)
    owners = {frame: job.id for job in reversed(task.jobs) for frame in range(job.start, job.stop + 1)}
    kept = [(a, b) for a, b in zip(ours, frames, strict=True) if a is not None and a in owners and a not in task.deleted_frames]
    if not kept:
        raise ConfigError(f"{against}: has no picture in common with task {number}: got {len(frames)} frames that are none of its")
    found = _read(server, task, [(a, owners[a]) for a, _ in kept], label)
    return found, _read(server, truth, [(b, jobs[b]) for _, b in kept], label)


def _truth(server: Server, task: TaskInfo, against: Against) -> tuple[TaskInfo, dict[int, int]]:
    """The task of the truth, and its frames with the job that holds each."""
    if against.kind == "task":
        if against.id == task.id:
            raise ConfigError(f"{against}: is the task itself: name its ground truth job (job:N), or another task")
        (other,) = server.tasks(tasks=[against.id])
        return other, {frame: job.id for job in reversed(other.jobs) for frame in range(job.start, job.stop + 1)}
    raw = server.raw_job(against.id)
    owner = int(raw["task_id"])
    if owner == task.id and any(job.id == against.id for job in task.jobs):
        raise ConfigError(f"{against}: is a part of task {task.id} itself: name its ground truth job, or another task")
    other = task if owner == task.id else server.tasks(tasks=[owner])[0]
    return other, dict.fromkeys(server.job_frames(against.id), against.id)


def _frames_in(task: TaskInfo, truth: TaskInfo, frames: Sequence[int]) -> list[int | None]:
    """The task's frame for each frame of the truth."""
    if task.id == truth.id:
        return list(frames)
    ours, theirs = task.frame_names, truth.frame_names
    unique = all(max(Counter(names).values(), default=0) == 1 for names in (ours, theirs))
    if unique and set(ours) & set(theirs):
        numbers = {name: frame for frame, name in enumerate(ours)}
        return [numbers.get(theirs[frame]) for frame in frames]
    if task.size != truth.size:
        raise ConfigError(
            f"tasks {task.id} and {truth.id}: their file names have nothing in common and they have {task.size} and {truth.size}"
            " frames, expected tasks of the same pictures"
        )
    return list(frames)


def _read(server: Server, task: TaskInfo, frames: Sequence[tuple[int, int]], name: str) -> Annotated:
    """The faces of the frames, each frame from its job."""
    label = label_of_faces(task, name)
    annotations = {job: server.annotations(job) for job in sorted({job for _, job in frames})}
    return collect(task, frames, annotations, label)


def label_of_faces(task: TaskInfo, name: str) -> LabelInfo:
    """The rectangle label of that name.

    Raises:
        ConfigError: if the task has none; names those that it has.
    """
    label = label_named(task.labels, name, "rectangle")
    if label is None:
        others = ", ".join(one.name for one in task.labels if one.type in ("rectangle", "any")) or "none"
        raise ConfigError(
            f"task {task.id}: has no rectangle label {name!r} (its rectangle labels: {others}); name one with --label"
        )
    return label


def collect(
    task: TaskInfo, frames: Sequence[tuple[int, int]], annotations: Mapping[int, Mapping[str, Any]], label: LabelInfo
) -> Annotated:
    """The faces of some frames as columns. Pure.

    Args:
        task: the task of the frames.
        frames: number and job of each.
        annotations: raw, by job.
        label: of the faces.
    """
    labels = by_id(task.labels)
    rows = {place: _Rows() for place in frames}
    shapes: dict[tuple[int, int], list[Item]] = defaultdict(list)
    for job, content in annotations.items():
        for shape in content.get("shapes") or ():
            shapes[int(shape["frame"]), job].append(shape)
    for place, here in rows.items():
        for shape in sorted(shapes[place], key=lambda one: int(one["id"])):
            if shape["label_id"] == label.id and shape.get("type") == "rectangle":
                here.add(shape, "shape", box_of(shape), tied_landmarks(shape, shapes[place], labels), label)
    for job, content in annotations.items():
        wanted = [frame for frame, owner in frames if owner == job]
        for track in content.get("tracks") or ():
            if track["label_id"] != label.id or not wanted:
                continue
            for frame, box in track_boxes(track, range(min(wanted), max(wanted) + 1)).items():
                if (frame, job) in rows:
                    shape = {"frame": frame, "points": list(box), "type": "rectangle", "group": track.get("group")}
                    rows[frame, job].add(track, "track", box, tied_landmarks(shape, shapes[frame, job], labels), label)
    return _columns(task.id, rows)


class _Rows:
    """The faces of one picture while they are gathered."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.points: list[Any] = []
        self.texts: list[tuple[str, str, str]] = []
        self.items: list[tuple[str, int]] = []

    def add(self, item: Item, kind: str, box: Box, points: Any, label: LabelInfo) -> None:
        """One more face."""
        values = attributes_of(item, label)
        self.boxes.append(box)
        self.points.append(np.full((len(LANDMARK_NAMES), 2), np.nan, np.float32) if points is None else points)
        person = values.get("person", "").strip() or values.get("name", "").strip()
        self.texts.append((person, values.get("votes", ""), str(item.get("source") or "manual")))
        self.items.append((kind, int(item["id"])))


def _columns(task: int, rows: Mapping[tuple[int, int], _Rows]) -> Annotated:
    texts = [text for here in rows.values() for text in here.texts]
    return Annotated(
        pictures=tuple(
            Faces.of(
                np.reshape(here.boxes, (-1, 4)), np.ones(len(here.boxes)), np.reshape(here.points, (-1, len(LANDMARK_NAMES), 2))
            )
            for here in rows.values()
        ),
        people=tuple(person for person, _, _ in texts),
        votes=tuple(votes for _, votes, _ in texts),
        sources=tuple(source for _, _, source in texts),
        places=tuple(
            Place(task=task, job=job, frame=frame, kind=kind, id=number)
            for (frame, job), here in rows.items()
            for kind, number in here.items
        ),
        frame_places=tuple(Place(task=task, job=job, frame=frame, kind="", id=0) for frame, job in rows),
    )
