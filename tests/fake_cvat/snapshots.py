"""What the server holds, as plain data in a fixed order, to compare before and after."""

from __future__ import annotations

import copy
import json
from typing import Any

from fake_cvat.store import JSON, Store


def snapshot(store: Store) -> JSON:
    """Deep copy of all annotations, issues, comments, labels and deleted frames.

    `["jobs"][job_id]` holds `tags`, `shapes` and `tracks`, each by id, attributes as `{name: value}` with the defaults filled
    in, elements by the name of their point.
    """
    from fake_cvat.renders import comment_json, issue_json, label_json

    with store.lock:
        jobs = {}
        for number, job in sorted(store.jobs.items()):
            labels = store.every_label(store.tasks[job.task])
            jobs[number] = {
                kind: {row["id"]: _plain(row, labels) for row in sorted(job.table(kind).values(), key=lambda row: row["id"])}
                for kind in ("tags", "shapes", "tracks")
            }
        owners = list(store.label_owners())
        return copy.deepcopy(
            {
                "jobs": jobs,
                "issues": {i.id: issue_json(store, i) for i in store.issues.values()},
                "comments": {c.id: comment_json(store, c) for c in store.comments.values()},
                "labels": [[label_json(x) for x in labels.values()] for _, labels in owners],
                "deleted_frames": {t.id: sorted(t.deleted_frames) for t in store.tasks.values()},
            }
        )


def _plain(row: JSON, labels: dict[int, Any]) -> JSON:
    label = labels[row["label_id"]]
    plain = {key: value for key, value in row.items() if key not in ("attributes", "elements", "shapes")}
    plain["label"] = label.name
    stored = dict(row["attributes"])
    track = "shapes" in row
    plain["attributes"] = {
        a.name: stored.get(a.id, a.default_value) for a in label.attributes.values() if not (track and a.mutable)
    }
    if track:
        plain["shapes"] = [_keyframe(shape, label) for shape in sorted(row["shapes"], key=lambda s: s["frame"])]
    if row.get("elements"):
        plain["elements"] = {labels[e["label_id"]].name: _plain(e, labels) for e in row["elements"]}
        plain["elements"] = dict(sorted(plain["elements"].items()))
    return plain


def _keyframe(shape: JSON, label: Any) -> JSON:
    stored = dict(shape["attributes"])
    known = {a.name: stored[a.id] for a in label.attributes.values() if a.id in stored}
    return {k: v for k, v in shape.items() if k != "attributes"} | {"attributes": known}


def normalised(data: JSON, *, ids: bool = True) -> JSON:
    """A snapshot in an order that does not depend on ids, and without them if `ids` is false: equal content, equal result."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): strip(v) for k, v in value.items() if ids or k != "id"}
        return [strip(v) for v in value] if isinstance(value, list | tuple) else value

    jobs = {
        number: {kind: sorted((strip(row) for row in rows.values()), key=_text) for kind, rows in tables.items()}
        for number, tables in data["jobs"].items()
    }
    others = {k: strip(v) for k, v in data.items() if k not in ("jobs", "issues", "comments")}
    notes = {kind: sorted((strip(row) for row in data[kind].values()), key=_text) for kind in ("issues", "comments")}
    return {"jobs": jobs, **others, **notes}


def _text(row: Any) -> str:
    return json.dumps(row, sort_keys=True)
