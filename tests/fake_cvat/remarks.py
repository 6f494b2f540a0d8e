"""Endpoints: issues and their comments."""

from __future__ import annotations

from fake_cvat import renders
from fake_cvat.queries import listing
from fake_cvat.routing import Call, Reply, route
from fake_cvat.store import Comment, Issue, Refused, not_found


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
