"""One CVAT server: tasks with their jobs and labels, raw annotations, frames, issues; cvat-sdk does the talking."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from auto_annotator.bridge import links
from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.infos import AttributeInfo, JobInfo, LabelInfo, TaskInfo, is_annotation_job, job_info, label_info
from auto_annotator.bridge.retry import Backoff
from auto_annotator.bridge.transport import Transport

logger = logging.getLogger(__name__)

__all__ = ["Action", "AttributeInfo", "JobInfo", "LabelInfo", "Server", "ServerError", "TaskInfo", "Unsure"]

Action = Literal["create", "update", "delete"]

Json = dict[str, Any]


class Server:
    """A CVAT server and an account on it; safe to use from several threads.

    Args:
        client: a `cvat_sdk.Client` that is logged in.
        backoff: waiting times between tries; None = those of the environment.

    Attributes:
        host: `https://cvat.example.com`, no trailing slash, no credentials.
        version: of the server, such as `2.54.1`.

    Raises:
        ServerError: if no CVAT answers there, or the account is refused.
    """

    def __init__(self, client: Any, *, backoff: Backoff | None = None) -> None:
        self._client = client
        self._transport = Transport(client, backoff=backoff)
        self.host = self._transport.host
        about = self._transport.read_json("server_api.retrieve_about", what="the server")
        if not isinstance(about, dict) or "version" not in about:
            raise ServerError(f"{self.host} answers, but not as CVAT's API does: check --server-host and --server-port")
        self.version = str(about["version"])

    @property
    def requests(self) -> int:
        """Requests sent so far, repeated ones too; the login does not count."""
        return self._transport.requests

    @property
    def writes(self) -> int:
        """Requests sent so far that could change something."""
        return self._transport.writes

    def close(self) -> None:
        """Let go of the connections."""
        self._client.api_client.rest_client.pool_manager.clear()

    def tasks(self, *, tasks: Iterable[int] = (), jobs: Iterable[int] = (), projects: Iterable[int] = ()) -> list[TaskInfo]:
        """The tasks in scope, each once, by number.

        Args:
            tasks: whole tasks.
            jobs: single jobs; their task has only these in `jobs`, unless it is named as a whole too.
            projects: all tasks of these projects.

        Raises:
            ServerError: if one does not exist, is not ready, has no pictures, or cannot be seen by this account.
        """
        whole: dict[int, Json] = {number: self.raw_task(number) for number in dict.fromkeys(tasks)}
        for project in dict.fromkeys(projects):
            whole = {int(raw["id"]): raw for raw in self._tasks_of(project)} | whole
        single: dict[int, list[JobInfo]] = {}
        for number in dict.fromkeys(jobs):
            job = self._annotation_job(number)
            single.setdefault(job.task, []).append(job)
        found = [self._task(raw, None) for raw in whole.values()]
        found += [self._task(self.raw_task(task), kept) for task, kept in single.items() if task not in whole]
        return sorted(found, key=lambda task: task.id)

    def raw_task(self, task: int) -> Json:
        """A task as the server sends it."""
        return self._object(self._transport.read_json("tasks_api.retrieve", ids={"id": task}, what=f"task {task}"))

    def raw_job(self, job: int) -> Json:
        """A job of any type (`annotation`, `ground_truth`, `consensus_replica`) as the server sends it."""
        return self._object(self._transport.read_json("jobs_api.retrieve", ids={"id": job}, what=f"job {job}"))

    def raw_project(self, project: int) -> Json:
        """A project as the server sends it."""
        return self._object(self._transport.read_json("projects_api.retrieve", ids={"id": project}, what=f"project {project}"))

    def raw_jobs(self, task: int) -> list[Json]:
        """Every job of a task, ground truth and replicas too, as the server sends them."""
        return self._transport.read_list("jobs_api.list", query={"task_id": task}, what=f"jobs of task {task}")

    def job_frames(self, job: int) -> tuple[int, ...]:
        """Frames of a job of any type, in order, without deleted ones; a ground truth job has single frames."""
        raw = self.raw_job(job)
        meta = self._object(self._transport.read_json("jobs_api.retrieve_data_meta", ids={"id": job}, what=f"frames of job {job}"))
        included = meta.get("included_frames")
        frames = range(int(raw["start_frame"]), int(raw["stop_frame"]) + 1) if included is None else included
        deleted = set(meta.get("deleted_frames") or ())
        return tuple(sorted(int(frame) for frame in frames if frame not in deleted))

    def raw_labels(self, *, project: int | None = None, task: int | None = None) -> list[Json]:
        """Labels of a project or task as the server sends them; points of skeletons are inside their skeleton only.

        Raises:
            ValueError: unless exactly one of the two is given.
        """
        kind, number = _one_of(project, task)
        rows = self._transport.read_list("labels_api.list", query={f"{kind}_id": number}, what=f"labels of {kind} {number}")
        return [row for row in rows if not row.get("has_parent") and row.get("parent_id") is None]

    def patch_labels(self, labels: Sequence[Json], *, project: int | None = None, task: int | None = None) -> None:
        """One try of adding or changing labels; those that are not named stay.

        Raises:
            Unsure: if nobody knows whether it was done.
            ServerError: if it was refused.
            ValueError: unless exactly one of the two is given.
        """
        kind, number = _one_of(project, task)
        self._transport.write(
            f"{kind}s_api.partial_update", ids={"id": number}, body={"labels": list(labels)}, what=f"labels of {kind} {number}"
        )

    def annotations(self, job: int) -> Json:
        """Annotations of a job, exactly what the server sent: `version`, `tags`, `shapes`, `tracks`."""
        return self._object(
            self._transport.read_json("jobs_api.retrieve_annotations", ids={"id": job}, what=f"annotations of job {job}")
        )

    def patch(self, job: int, action: Action, body: Json) -> Json:
        """One try of creating, updating or deleting annotations of a job.

        Args:
            job: its number.
            action: what to do with the items. An update needs whole items: what is left out falls back to its default.
            body: lists `tags`, `shapes`, `tracks`; a missing one counts as empty.

        Returns:
            What the server answered; the created items with their ids.

        Raises:
            Unsure: if nobody knows whether it was done: read again and compare.
            ServerError: if it was refused.
        """
        full = {"version": 0, "tags": [], "shapes": [], "tracks": [], **body}
        answer = self._transport.write(
            "jobs_api.partial_update_annotations",
            ids={"id": job},
            query={"action": action},
            body=full,
            what=f"annotations of job {job}",
        )
        return answer if isinstance(answer, dict) else {}

    def frame_bytes(self, task: int, frame: int) -> bytes:
        """The encoded picture of a frame in original quality; a frame of a video is a PNG."""
        query = {"type": "frame", "number": frame, "quality": "original"}
        answer = self._transport.read(
            "tasks_api.retrieve_data", ids={"id": task}, query=query, what=f"frame {frame} of task {task}"
        )
        return answer.data

    def job_url(self, task: int, job: int, *, frame: int | None = None, shape: int | None = None, kind: str = "shape") -> str:
        """Address of CVAT's job page, at a frame and at an object of it (`kind` is `shape`, `track` or `tag`)."""
        return links.job_url(self.host, task, job, frame=frame, shape=shape, kind=kind)

    def issues(self, job: int) -> list[Json]:
        """Issues of a job as the server sends them; `comments` of an issue is a summary, see `issue_comments`."""
        return self._transport.read_list("issues_api.list", query={"job_id": job}, what=f"issues of job {job}")

    def issue_comments(self, job: int) -> list[Json]:
        """Comments of all issues of a job as the server sends them: `issue`, `message`, ..."""
        return self._transport.read_list("comments_api.list", query={"job_id": job}, what=f"comments of job {job}")

    def create_issue(self, job: int, frame: int, position: Sequence[float], message: str) -> Json:
        """One try of opening an issue on a frame.

        Args:
            job: its number.
            frame: number of the frame in the task.
            position: x and y of at least two corners in pixels, 4 or more numbers.
            message: its first comment.

        Raises:
            Unsure: if nobody knows whether it was done.
            ServerError: if it was refused.
        """
        body = {"job": job, "frame": frame, "position": [float(value) for value in position], "message": message}
        answer = self._transport.write("issues_api.create", body=body, what=f"issue on job {job}")
        return answer if isinstance(answer, dict) else {}

    def _tasks_of(self, project: int) -> list[Json]:
        self.raw_project(project)  # a project that is not there has no tasks either, and that would say nothing
        rows = self._transport.read_list("tasks_api.list", query={"project_id": project}, what=f"tasks of project {project}")
        ready = [row for row in rows if _has_frames(row)]
        if not ready:
            raise ServerError(f"project {project} has no tasks with pictures yet: create one in CVAT first")
        if len(ready) < len(rows):
            logger.warning("project %d: %d tasks have no pictures yet and are left out", project, len(rows) - len(ready))
        return ready

    def _annotation_job(self, number: int) -> JobInfo:
        raw = self.raw_job(number)
        if not is_annotation_job(raw):
            raise ServerError(f"job {number}: got a job of type {str(raw.get('type'))!r}, expected an annotation job of the task")
        return job_info(raw)

    def _task(self, raw: Json, kept: Sequence[JobInfo] | None) -> TaskInfo:
        number = int(raw["id"])
        if not _has_frames(raw):
            raise ServerError(f"task {number} has no pictures or video yet: upload data in CVAT first (or wait until it is done)")
        if raw.get("dimension") == "3d":
            raise ServerError(f"task {number}: got point clouds (3D), expected pictures or a video")
        meta = self._object(
            self._transport.read_json("tasks_api.retrieve_data_meta", ids={"id": number}, what=f"frames of task {number}")
        )
        if kept is None:
            kept = [job_info(job) for job in self.raw_jobs(number) if is_annotation_job(job)]
        frames = meta.get("frames") or []
        size = int(raw["size"])
        if len(frames) not in (1, size):
            raise ServerError(
                f"task {number}: the server describes {len(frames)} frames, expected {size}: is it still being created?"
            )
        return TaskInfo(
            id=number,
            project=None if raw.get("project_id") is None else int(raw["project_id"]),
            name=str(raw.get("name", "")),
            size=size,
            video=raw.get("mode") == "interpolation",
            jobs=tuple(sorted(kept, key=lambda job: (job.start, job.id))),
            labels=tuple(label_info(label) for label in self.raw_labels(task=number)),
            deleted_frames=frozenset(int(frame) for frame in meta.get("deleted_frames") or ()),
            sizes=tuple((int(frame["width"]), int(frame["height"])) for frame in frames),
            names=tuple(str(frame.get("name", "")) for frame in frames),
        )

    def _object(self, value: Any) -> Json:
        if not isinstance(value, dict):
            raise ServerError(f"{self.host} answers, but not as CVAT's API does: check --server-host and --server-port")
        return value


def _has_frames(raw: Json) -> bool:
    """Whether the server has made the frames of a task; while it uploads there is no data, or none of any size."""
    return bool(raw.get("size")) and raw.get("data", 0) is not None


def _one_of(project: int | None, task: int | None) -> tuple[str, int]:
    if project is not None and task is None:
        return "project", project
    if task is not None and project is None:
        return "task", task
    raise ValueError("got both or none of project and task, expected one")
