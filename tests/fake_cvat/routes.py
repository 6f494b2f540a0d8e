"""From a request to a reply: every endpoint that cvat-sdk calls for tasks, jobs, labels, annotations and issues."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_cvat import labels, renders, stored
from fake_cvat.queries import listing
from fake_cvat.store import JSON, Comment, Issue, Job, Refused, Store, Task, not_found


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    store: Store
    base: str
    path: str
    query: Mapping[str, str]
    body: Any
    organization: int | str | None
    """Id of the organisation asked for, None for the personal workspace, "" for all."""

    def rows(self, items: Mapping[int, Any], render: Callable[..., JSON], *arguments: Any, **options: Any) -> Reply:
        """One page of what the organisation asked for holds."""
        shown = [render(self.store, item, self.base) for item in items.values() if self._visible(item)]
        return Reply(body=listing(shown, self.query, self.base + self.path, **options))

    def _visible(self, item: Any) -> bool:
        if self.organization == "":
            return True
        while not hasattr(item, "organization"):
            item = self.store.tasks[item.task] if isinstance(item, Job) else self.store.jobs[item.job]
        return bool(item.organization == self.organization)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON, or bytes with a media type."""

    status: int = 200
    body: Any = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[..., Reply]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, path: str) -> Callable[[Route], Route]:
    """Registers a function for a method and a path; `{n}` is a number and an argument."""
    pattern = re.compile(path.replace("{n}", r"(\d+)") + "/?")

    def register(function: Route) -> Route:
        ROUTES.append((method, pattern, function))
        return function

    return register


def dispatch(call: Call, method: str) -> Reply:
    """The reply of a request.

    Raises:
        Refused: for anything that CVAT answers with an error.
    """
    known = False
    for verb, pattern, function in ROUTES:
        if match := pattern.fullmatch(call.path):
            known = True
            if verb == method:
                with call.store.lock:
                    return function(call, *(int(number) for number in match.groups()))
    raise Refused(405, {"detail": f'Method "{method}" not allowed.'}) if known else Refused(404, {"detail": "Not found."})


@route("GET", "/api/server/about")
def about(call: Call) -> Reply:
    """Name and version, without login."""
    texts = {"name": "Computer Vision Annotation Tool", "description": "", "logo_url": "", "subtitle": ""}
    return Reply(body=texts | {"version": call.store.version})


@route("GET", "/api/users/self")
def user(call: Call) -> Reply:
    """The one user."""
    return Reply(body=renders.USER | {"groups": ["user"], "email": "annotator@example.com", "is_active": True})


@route("GET", "/api/organizations")
def organizations(call: Call) -> Reply:
    """The organisations."""
    rows = [{"id": n, "slug": slug, "name": slug, "description": ""} for n, slug in call.store.organizations.items()]
    return Reply(body=listing(rows, call.query, call.base + call.path))


@route("GET", "/api/projects")
def projects(call: Call) -> Reply:
    """The projects."""
    return call.rows(call.store.projects, renders.project_json)


@route("GET", "/api/projects/{n}")
def project(call: Call, number: int) -> Reply:
    """One project."""
    return Reply(body=renders.project_json(call.store, call.store.project(number), call.base))


@route("PATCH", "/api/projects/{n}")
def patch_project(call: Call, number: int) -> Reply:
    """Name and labels."""
    owner = call.store.project(number)
    owner.name = call.body.get("name", owner.name)
    labels.update_labels(call.store, owner, call.body.get("labels") or [])
    return project(call, number)


@route("GET", "/api/tasks")
def tasks(call: Call) -> Reply:
    """The tasks."""
    return call.rows(call.store.tasks, renders.task_json)


@route("GET", "/api/tasks/{n}")
def task(call: Call, number: int) -> Reply:
    """One task."""
    return Reply(body=renders.task_json(call.store, call.store.task(number), call.base))


@route("PATCH", "/api/tasks/{n}")
def patch_task(call: Call, number: int) -> Reply:
    """Name and labels."""
    owner = call.store.task(number)
    owner.name = call.body.get("name", owner.name)
    labels.update_labels(call.store, owner, call.body.get("labels") or [])
    return task(call, number)


@route("GET", "/api/jobs")
def jobs(call: Call) -> Reply:
    """The jobs."""
    return call.rows(call.store.jobs, renders.job_json)


@route("GET", "/api/jobs/{n}")
def job(call: Call, number: int) -> Reply:
    """One job."""
    return Reply(body=renders.job_json(call.store, call.store.job(number), call.base))


@route("PATCH", "/api/jobs/{n}")
def patch_job(call: Call, number: int) -> Reply:
    """Stage and state."""
    found = call.store.job(number)
    found.stage, found.state = call.body.get("stage", found.stage), call.body.get("state", found.state)
    return job(call, number)


@route("GET", "/api/labels")
def list_labels(call: Call) -> Reply:
    """The labels of one task, job or project (without the points of skeletons), or all that there are."""
    query = dict(call.query)
    wanted = {key: int(query.pop(key)) for key in ("task_id", "job_id", "project_id") if key in query}
    store = call.store
    if len(wanted) > 1:
        raise Refused(400, ["job_id, task_id and project_id parameters cannot be used together"])
    owner: Any = None
    if "job_id" in wanted:
        owner = store.task(store.job(wanted["job_id"]).task)
    elif "task_id" in wanted:
        owner = store.task(wanted["task_id"])
    elif "project_id" in wanted:
        owner = store.project(wanted["project_id"])
    if isinstance(owner, Task) and owner.project is not None:
        owner = store.projects[owner.project]
    found = [(o, x) for o, them in store.label_owners() if owner is None or o is owner for x in them.values()]
    if owner is None:
        found += [(o, point) for o, x in found for point in x.sublabels.values()]
    rows = [renders.label_json(x, o) for o, x in found]
    return Reply(body=listing(rows, query, call.base + call.path, fields={"parent": lambda row: row["parent_id"]}, sort="id"))


def _owner_of_label(store: Store, number: int) -> Any:
    for owner, them in store.label_owners():
        if number in them:
            return owner
    raise not_found("Label")


@route("GET", "/api/labels/{n}")
def label(call: Call, number: int) -> Reply:
    """One label."""
    owner = _owner_of_label(call.store, number)
    return Reply(body=renders.label_json(owner.labels[number], owner))


@route("PATCH", "/api/labels/{n}")
def patch_label(call: Call, number: int) -> Reply:
    """One label and its attributes."""
    labels.update_labels(call.store, _owner_of_label(call.store, number), [call.body | {"id": number}])
    return label(call, number)


@route("DELETE", "/api/labels/{n}")
def delete_label(call: Call, number: int) -> Reply:
    """Takes a label away, and its annotations."""
    labels.delete_label(call.store, _owner_of_label(call.store, number), number)
    return Reply(204)


@route("GET", "/api/tasks/{n}/data/meta")
def task_meta(call: Call, number: int) -> Reply:
    """Sizes and names of frames."""
    return Reply(body=renders.meta_json(call.store.task(number)))


@route("PATCH", "/api/tasks/{n}/data/meta")
def patch_task_meta(call: Call, number: int) -> Reply:
    """Which frames are deleted."""
    found = call.store.task(number)
    if "deleted_frames" in call.body:
        found.deleted_frames = {n for n in call.body["deleted_frames"] if 0 <= n < found.size}
    return task_meta(call, number)


@route("GET", "/api/jobs/{n}/data/meta")
def job_meta(call: Call, number: int) -> Reply:
    """Sizes and names of the frames of a job."""
    found = call.store.job(number)
    return Reply(body=renders.meta_json(call.store.tasks[found.task], found))


@route("PATCH", "/api/jobs/{n}/data/meta")
def patch_job_meta(call: Call, number: int) -> Reply:
    """Which frames of a job are deleted."""
    found = call.store.job(number)
    owner = call.store.tasks[found.task]
    if "deleted_frames" in call.body:
        kept = {n for n in owner.deleted_frames if not found.holds(n)}
        owner.deleted_frames = kept | {n for n in call.body["deleted_frames"] if found.holds(n)}
    return job_meta(call, number)


@route("GET", "/api/tasks/{n}/data")
def task_data(call: Call, number: int) -> Reply:
    """A frame or a chunk."""
    return _data(call, call.store.task(number), None)


@route("GET", "/api/jobs/{n}/data")
def job_data(call: Call, number: int) -> Reply:
    """A frame or a chunk, of a job."""
    found = call.store.job(number)
    return _data(call, call.store.tasks[found.task], found)


def _data(call: Call, owner: Task, part: Job | None) -> Reply:
    kind, number, quality = call.query.get("type"), call.query.get("number"), call.query.get("quality", "compressed")
    if kind not in ("frame", "chunk", "preview") or (kind != "preview" and not (number or "").isdigit()):
        raise Refused(400, ["Data type not specified or not supported"])
    if quality not in ("compressed", "original"):
        raise Refused(400, ["Incorrect quality"])
    place = int(number or 0)
    if kind != "chunk":
        if place >= owner.size or (part and not part.holds(place)):
            raise Refused(400, ["Incorrect requested frame number"])
        data, media_type = _frame(owner, place, quality)
        return Reply(body=data, media_type=media_type)
    if owner.video and quality == "original":
        raise Refused(400, ["the fake server has no video chunks"])
    first = place * owner.chunk_size + (part.start if part else 0)
    last = min(first + owner.chunk_size, (part.stop + 1) if part else owner.size)
    if first >= last:
        raise Refused(400, ["Incorrect requested chunk number"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for place, frame in enumerate(range(first, last)):
            data, media_type = _frame(owner, frame, quality)
            archive.writestr(f"{place:06d}.{media_type.rpartition('/')[2]}", data)
    return Reply(body=out.getvalue(), media_type="application/zip")


def _frame(owner: Task, number: int, quality: str) -> tuple[bytes, str]:
    return owner.frames.original(number) if quality == "original" else owner.frames.compressed(number)


def _action(call: Call) -> str:
    action = call.query.get("action", "")
    if action not in ("create", "update", "delete"):
        raise Refused(400, ["Please specify a correct 'action' for the request"])
    return action


@route("GET", "/api/tasks/{n}/annotations")
def task_annotations(call: Call, number: int) -> Reply:
    """The annotations of a task."""
    return Reply(body=stored.read_task(call.store, call.store.task(number)))


@route("PATCH", "/api/tasks/{n}/annotations")
def patch_task_annotations(call: Call, number: int) -> Reply:
    """Creates, updates or deletes annotations of a task."""
    return Reply(body=stored.write_task(call.store, call.store.task(number), _action(call), call.body))


@route("PUT", "/api/tasks/{n}/annotations")
def put_task_annotations(call: Call, number: int) -> Reply:
    """Replaces the annotations of a task."""
    return Reply(body=stored.write_task(call.store, call.store.task(number), "replace", call.body))


@route("DELETE", "/api/tasks/{n}/annotations")
def delete_task_annotations(call: Call, number: int) -> Reply:
    """Deletes all annotations of a task."""
    stored.write_task(call.store, call.store.task(number), "replace", {})
    return Reply(204)


@route("GET", "/api/jobs/{n}/annotations")
def job_annotations(call: Call, number: int) -> Reply:
    """The annotations of a job."""
    return Reply(body=stored.read_job(call.store, call.store.job(number)))


@route("PATCH", "/api/jobs/{n}/annotations")
def patch_job_annotations(call: Call, number: int) -> Reply:
    """Creates, updates or deletes annotations of a job."""
    return Reply(body=stored.write(call.store, call.store.job(number), _action(call), call.body))


@route("PUT", "/api/jobs/{n}/annotations")
def put_job_annotations(call: Call, number: int) -> Reply:
    """Replaces the annotations of a job."""
    return Reply(body=stored.write(call.store, call.store.job(number), "replace", call.body))


@route("DELETE", "/api/jobs/{n}/annotations")
def delete_job_annotations(call: Call, number: int) -> Reply:
    """Deletes all annotations of a job."""
    stored.write(call.store, call.store.job(number), "replace", {})
    return Reply(204)


@route("GET", "/api/issues")
def issues(call: Call) -> Reply:
    """The issues."""
    task_of = {j.id: j.task for j in call.store.jobs.values()}
    fields = {"job_id": lambda row: row["job"], "frame_id": lambda row: row["frame"], "task_id": lambda row: task_of[row["job"]]}
    return call.rows(call.store.issues, renders.issue_json, fields=fields)


@route("POST", "/api/issues")
def create_issue(call: Call) -> Reply:
    """An issue with its first comment."""
    for key in ("frame", "position", "job", "message"):
        if key not in call.body:
            raise Refused(400, {key: ["This field is required."]})
    if len(call.body["position"]) < 4 or not call.body["message"]:
        raise Refused(400, {"position" if call.body["message"] else "message": ["This field may not be blank."]})
    store = call.store
    position = [float(x) for x in call.body["position"]]
    issue = Issue(store.next_id("issue"), store.job(call.body["job"]).id, call.body["frame"], position)
    issue.assignee, issue.resolved = call.body.get("assignee"), bool(call.body.get("resolved", False))
    store.issues[issue.id] = issue
    number = store.next_id("comment")
    store.comments[number] = Comment(number, issue.id, call.body["message"])
    return Reply(201, renders.issue_json(store, issue, call.base))


def _issue(call: Call, number: int) -> Issue:
    if number not in call.store.issues:
        raise not_found("Issue")
    return call.store.issues[number]


@route("GET", "/api/issues/{n}")
def issue(call: Call, number: int) -> Reply:
    """One issue."""
    return Reply(body=renders.issue_json(call.store, _issue(call, number), call.base))


@route("PATCH", "/api/issues/{n}")
def patch_issue(call: Call, number: int) -> Reply:
    """Resolves or moves an issue."""
    found = _issue(call, number)
    found.resolved = bool(call.body.get("resolved", found.resolved))
    found.position = [float(x) for x in call.body.get("position", found.position)]
    found.assignee = call.body.get("assignee", found.assignee)
    return issue(call, number)


@route("DELETE", "/api/issues/{n}")
def delete_issue(call: Call, number: int) -> Reply:
    """Deletes an issue with its comments."""
    del call.store.issues[_issue(call, number).id]
    for comment in [c.id for c in call.store.comments.values() if c.issue == number]:
        del call.store.comments[comment]
    return Reply(204)


@route("GET", "/api/comments")
def comments(call: Call) -> Reply:
    """The comments."""
    of = call.store.issues
    fields = {
        "issue_id": lambda row: row["issue"],
        "job_id": lambda row: of[row["issue"]].job,
        "frame_id": lambda row: of[row["issue"]].frame,
    }
    rows = [renders.comment_json(call.store, c, call.base) for c in call.store.comments.values()]
    return Reply(body=listing(rows, call.query, call.base + call.path, fields=fields))


@route("POST", "/api/comments")
def create_comment(call: Call) -> Reply:
    """A further comment of an issue."""
    found = _issue(call, call.body.get("issue", 0))
    if not call.body.get("message"):
        raise Refused(400, {"message": ["This field may not be blank."]})
    comment = Comment(call.store.next_id("comment"), found.id, call.body["message"])
    call.store.comments[comment.id] = comment
    return Reply(201, renders.comment_json(call.store, comment, call.base))


@route("DELETE", "/api/comments/{n}")
def delete_comment(call: Call, number: int) -> Reply:
    """Deletes a comment."""
    if call.store.comments.pop(number, None) is None:
        raise not_found("Comment")
    return Reply(204)
