"""Endpoints: who is there, projects, tasks, jobs and labels."""

from __future__ import annotations

from typing import Any

from fake_cvat import labels, renders
from fake_cvat.queries import listing
from fake_cvat.routing import Call, Reply, route
from fake_cvat.store import Refused, Store, Task, not_found


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
