"""Endpoints: frames, chunks and annotations of tasks and jobs."""

from __future__ import annotations

import io
import zipfile

from fake_cvat import renders, stored
from fake_cvat.routing import Call, Reply, route
from fake_cvat.store import Job, Refused, Task


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
