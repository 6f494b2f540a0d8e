"""What the bridge knows about tasks, jobs and labels: columns of the server's JSON that matter, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeInfo:
    """One attribute of a label on the server.

    Attributes:
        id: number on the server, `spec_id` of annotations.
        name: its name.
        input_type: checkbox, number, radio, select or text.
        mutable: whether it may change from frame to frame of a track.
        default: what the server fills in when no value is sent.
        values: as the server has them; minimum, maximum and step of a number.
    """

    id: int
    name: str
    input_type: str
    mutable: bool
    default: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelInfo:
    """One label on the server.

    Attributes:
        id: number on the server, `label_id` of annotations.
        name: its name.
        type: CVAT's label type: any, rectangle, skeleton, tag, points, ...
        attributes: in the server's order.
        sublabels: points of a skeleton.
    """

    id: int
    name: str
    type: str
    attributes: tuple[AttributeInfo, ...] = ()
    sublabels: tuple[LabelInfo, ...] = ()

    def attribute(self, name: str) -> AttributeInfo | None:
        """The attribute of that name, or None."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """One annotation job: frames `start` to `stop` of its task, both included."""

    id: int
    task: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One task.

    Attributes:
        id: its number.
        project: number of its project, None = none.
        name: its name; personal data may stand in it, so it is for reports, never for logs.
        size: number of frames.
        video: frames come from a video.
        jobs: the annotation jobs in scope, by first frame; no ground truth, no consensus replicas. Jobs may overlap.
        labels: of the task, or of its project.
        deleted_frames: frames that were removed; they are never annotated.
        sizes: (width, height) in pixels, one for each frame, or a single one that holds for all.
        names: file names, as `sizes`; never logged.
    """

    id: int
    project: int | None
    name: str
    size: int
    video: bool
    jobs: tuple[JobInfo, ...]
    labels: tuple[LabelInfo, ...]
    deleted_frames: frozenset[int]
    sizes: tuple[tuple[int, int], ...]
    names: tuple[str, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames of the jobs in scope, each once, in order, without deleted ones."""
        numbers = {frame for job in self.jobs for frame in range(job.start, job.stop + 1)}
        return tuple(sorted(numbers - self.deleted_frames))

    @property
    def frame_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) in pixels of every frame of the task, deleted ones too."""
        return self.sizes * self.size if len(self.sizes) == 1 else self.sizes

    def frame_size(self, frame: int) -> tuple[int, int]:
        """(width, height) in pixels of a frame."""
        return self.sizes[0] if len(self.sizes) == 1 else self.sizes[frame]

    @property
    def frame_names(self) -> tuple[str, ...]:
        """File name of every frame of the task; of a video the same one for all. Never log them."""
        return self.names * self.size if len(self.names) == 1 else self.names

    def job_of(self, frame: int) -> JobInfo | None:
        """The first job in scope that holds the frame, or None."""
        return next((job for job in self.jobs if job.start <= frame <= job.stop), None)


def label_info(raw: Mapping[str, Any]) -> LabelInfo:
    """A label of the server's JSON."""
    return LabelInfo(
        id=int(raw["id"]),
        name=str(raw["name"]),
        type=str(raw.get("type") or "any"),
        attributes=tuple(_attribute(item) for item in raw.get("attributes") or ()),
        sublabels=tuple(label_info(item) for item in raw.get("sublabels") or ()),
    )


def _attribute(raw: Mapping[str, Any]) -> AttributeInfo:
    return AttributeInfo(
        id=int(raw["id"]),
        name=str(raw["name"]),
        input_type=str(raw["input_type"]),
        mutable=bool(raw.get("mutable", True)),
        default=str(raw.get("default_value") or ""),
        values=tuple(str(value) for value in raw.get("values") or ()),
    )


def job_info(raw: Mapping[str, Any]) -> JobInfo:
    """A job of the server's JSON."""
    return JobInfo(id=int(raw["id"]), task=int(raw["task_id"]), start=int(raw["start_frame"]), stop=int(raw["stop_frame"]))


def is_annotation_job(raw: Mapping[str, Any]) -> bool:
    """Whether people annotate in it; a server without job types has only such jobs."""
    return raw.get("type", "annotation") == "annotation" and raw.get("parent_job_id") is None
