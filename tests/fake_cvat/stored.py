"""What a write of annotations means to CVAT.

Read in the source of CVAT's `cvat/apps/dataset_manager/task.py` (late 2025), and as the reference of the project observed on
2.54 with SDK 2.80:

- *create* stores what is sent and gives ids; an id that was sent is used, and one that is taken is a 500;
- *update* deletes the objects of the ids sent, then stores what is sent under the same ids (2.15: under new ids). So what is left
  out is reset, `source` becomes "manual", and **an update of an object that is not there creates it again**, with no error;
- *delete* of an id that is not there, or that belongs to another job, is **no error**: 200, nothing happens;
- an unknown label or `spec_id` is a 400 and nothing of the request is stored; values are not looked at, beyond being text;
- of a track, attributes that may not change are stored at the track, the others at its keyframes; a keyframe in which a
  mutable attribute is left out takes the value of the keyframe before; a track without keyframes vanishes without a word;
- elements of skeletons and attributes come back in any order; each object has all attributes of its label, with defaults.
"""

from __future__ import annotations

import random
from typing import Any

from fake_cvat.store import JSON, Job, Label, Refused, Store, Task

KINDS = ("tags", "shapes", "tracks")
TABLES = {"tags": "tag", "shapes": "shape", "tracks": "track"}
SHAPE_TYPES = ("rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton")


def _number(raw: JSON, key: str, kind: type, default: Any = ..., low: float | None = None) -> Any:
    value = raw.get(key, default)
    if value is ...:
        raise Refused(400, {key: ["This field is required."]})
    if value is None and default in (None, ...) and key in ("id", "group"):
        return None
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise Refused(400, {key: ["A valid value is required."]})
    if low is not None and value < low:
        raise Refused(400, {key: [f"Ensure this value is greater than or equal to {low}."]})
    return kind(value)


def _values(raw: JSON) -> list[tuple[int, str]]:
    pairs = []
    for item in raw.get("attributes") or []:
        value = item.get("value")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Refused(400, {"attributes": [{"value": ["Not a valid string."]}]})
        if len(str(value)) > 4096:
            raise Refused(400, {"attributes": [{"value": ["Ensure this field has no more than 4096 characters."]}]})
        pairs.append((_number(item, "spec_id", int), str(value)))
    return pairs


def _common(raw: JSON) -> JSON:
    if not isinstance(raw, dict):
        raise Refused(400, ["Invalid data. Expected a dictionary."])
    return {
        "id": _number(raw, "id", int, None),
        "label_id": _number(raw, "label_id", int, low=0),
        "frame": _number(raw, "frame", int, low=0),
        "group": _number(raw, "group", int, None, low=0),
        "source": str(raw.get("source", "manual")),
        "attributes": _values(raw),
    }


def _geometry(raw: JSON) -> JSON:
    if raw.get("type") not in SHAPE_TYPES:
        raise Refused(400, {"type": [f'"{raw.get("type")}" is not a valid choice.']})
    points = raw.get("points", [])
    if not all(isinstance(p, int | float) and not isinstance(p, bool) for p in points):
        raise Refused(400, {"points": ["A valid number is required."]})
    rotation = _number(raw, "rotation", float, 0.0, low=0)
    if rotation > 360:
        raise Refused(400, {"rotation": ["Ensure this value is less than or equal to 360."]})
    return {
        "type": raw["type"],
        "occluded": _number(raw, "occluded", bool, False),
        "outside": _number(raw, "outside", bool, False),
        "z_order": _number(raw, "z_order", int, 0),
        "rotation": rotation,
        "points": [] if raw["type"] == "skeleton" else [float(p) for p in points],
    }


class Writer:
    """Writes to the annotations of one job, inside the store's lock."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store, self.job = store, job
        self.labels = store.every_label(store.tasks[job.task])

    def read(self, kind: str, raw: JSON) -> JSON:
        """A tag, shape or track of a request, complete and checked."""
        if kind == "tags":
            row = _common(raw)
        elif kind == "shapes":
            row = self._read_shape(raw)
            row["elements"] = [self._read_shape(e) for e in raw.get("elements") or []]
        else:
            row = self._read_track(raw)
            row["elements"] = [self._read_track(e) for e in raw.get("elements") or []]
        return row

    def _read_shape(self, raw: JSON) -> JSON:
        row = _common(raw) | _geometry(raw)
        if self.store.keeps_score:
            row["score"] = _number(raw, "score", float, 1.0, low=0)
            if row["score"] > 1:
                raise Refused(400, {"score": ["Ensure this value is less than or equal to 1."]})
        return row

    def _read_track(self, raw: JSON) -> JSON:
        row = _common(raw)
        if "shapes" not in raw:
            raise Refused(400, {"shapes": ["This field is required."]})
        shapes = [
            {"id": _number(s, "id", int, None), "frame": _number(s, "frame", int, low=0), "attributes": _values(s)} | _geometry(s)
            for s in raw["shapes"]
        ]
        shapes.sort(key=lambda s: s["frame"])
        if shapes and row["frame"] < shapes[0]["frame"]:
            if shapes[0]["type"] == "skeleton":
                shapes[0]["frame"] = row["frame"]
            else:
                shapes.insert(0, shapes[0] | {"id": None, "frame": row["frame"], "outside": True})
        elif shapes:
            row["frame"] = shapes[0]["frame"]
        return row | {"shapes": shapes}

    def insert(self, kind: str, row: JSON, *, keep_ids: bool) -> None:
        """Stores one object of `read`.

        Raises:
            Refused: 400 for an unknown label or attribute, 500 for an id that is taken.
        """
        if kind == "tracks" and not row["shapes"]:
            return
        for part in (row, *row.get("elements", ())):
            self._check(kind, part)
            self._number_rows(TABLES[kind], part, keep_ids)
            for shape in part.get("shapes", ()):
                self._number_rows("tracked_shape", shape, keep_ids)
        self.job.table(kind)[row["id"]] = row

    def _check(self, kind: str, row: JSON) -> None:
        if not self.job.holds(row["frame"]):
            raise Refused(400, [f"frame {row['frame']} is outside of the job"])
        label = self.labels.get(row["label_id"])
        if label is None:
            raise Refused(400, [f"label_id `{row['label_id']}` is invalid"])
        _check_values(row["attributes"], label, mutable=False if kind == "tracks" else None)
        for shape in row.get("shapes", ()):
            _check_values(shape["attributes"], label, mutable=True)

    def _number_rows(self, table: str, row: JSON, keep_ids: bool) -> None:
        used = self.store.used[table]
        if row["id"] is None or not keep_ids:
            row["id"] = self.store.next_id(table)
        elif row["id"] in used:
            raise Refused(500, b"<h1>Server Error (500)</h1>")
        else:
            self.store.seen_id(table, row["id"])
        used.add(row["id"])

    def remove(self, kind: str, number: int | None) -> None:
        """Deletes one object with its parts; none there is no error."""
        row = self.job.table(kind).pop(number, None)
        for part in (row, *row.get("elements", ())) if row else ():
            self.store.used[TABLES[kind]].discard(part["id"])
            self.store.used["tracked_shape"] -= {s["id"] for s in part.get("shapes", ())}


def _check_values(values: list[tuple[int, str]], label: Label, *, mutable: bool | None) -> None:
    for spec, _ in values:
        attribute = label.attributes.get(spec)
        if attribute is None or (mutable is not None and attribute.mutable is not mutable):
            raise Refused(400, [f"spec_id `{spec}` is invalid"])


def write(store: Store, job: Job, action: str, body: JSON) -> JSON:
    """One write to a job: action "create", "update", "delete" or "replace"; all of it or nothing.

    Returns:
        CVAT's reply: what was stored, attributes as they were sent.
    """
    with store.lock:
        writer = Writer(store, job)
        rows = {kind: [writer.read(kind, raw) for raw in body.get(kind) or []] for kind in KINDS}
        tables = {kind: dict(job.table(kind)) for kind in KINDS}
        used = {table: set(numbers) for table, numbers in store.used.items()}
        try:
            for kind in KINDS:
                gone = list(tables[kind]) if action == "replace" else [] if action == "create" else [r["id"] for r in rows[kind]]
                for number in gone:
                    writer.remove(kind, number)
                keep_ids = action != "update" or not store.ids_change_on_update
                for row in rows[kind] if action != "delete" else ():
                    writer.insert(kind, row, keep_ids=keep_ids)
        except Refused:
            for kind in KINDS:
                job.table(kind).clear()
                job.table(kind).update(tables[kind])
            store.used.clear()
            store.used.update(used)
            raise
        kept = {kind: [as_sent(r) for r in rows[kind] if action == "delete" or kind != "tracks" or r["shapes"]] for kind in KINDS}
        return {"version": 0} | kept


def as_sent(row: JSON) -> JSON:
    out = row | {"attributes": [{"spec_id": s, "value": v} for s, v in row["attributes"]]}
    for key in ("elements", "shapes"):
        if key in row:
            out[key] = [as_sent(part) for part in row[key]]
    return out


def write_task(store: Store, task: Task, action: str, body: JSON) -> JSON:
    """One write to a task: each annotation job gets what lies on its frames; what lies on no job is dropped, as CVAT does."""
    merged: JSON = {"version": 0, "tags": [], "shapes": [], "tracks": []}
    with store.lock:
        jobs = [job for job in task.jobs if job.type == "annotation" and job.parent_job is None]
        saved = [(job, {kind: dict(job.table(kind)) for kind in KINDS}) for job in jobs]
        used = {table: set(numbers) for table, numbers in store.used.items()}
        try:
            for job in jobs:
                for kind, rows in write(store, job, action, _slice(job, body)).items():
                    if kind != "version":
                        merged[kind].extend(rows)
        except Refused:
            for job, tables in saved:
                for kind in KINDS:
                    job.table(kind).clear()
                    job.table(kind).update(tables[kind])
            store.used.clear()
            store.used.update(used)
            raise
    return merged


def _slice(job: Job, body: JSON) -> JSON:
    part: JSON = {kind: [row for row in body.get(kind) or [] if job.holds(row.get("frame", -1))] for kind in ("tags", "shapes")}
    part["tracks"] = [cut for track in body.get("tracks") or [] if (cut := _cut(job, track))["shapes"]]
    return part


def _cut(job: Job, track: JSON) -> JSON:
    shapes = [s for s in track.get("shapes", ()) if job.holds(s.get("frame", -1))]
    cut = track | {"shapes": shapes, "frame": max(job.start, track.get("frame", 0))}
    if track.get("elements"):
        cut["elements"] = [_cut(job, e) for e in track["elements"]]
    return cut


def read_job(store: Store, job: Job) -> JSON:
    """The annotations of a job as CVAT sends them."""
    with store.lock:
        store.reads += 1
        rng = random.Random(f"{store.seed}:{store.reads}")
        labels = store.every_label(store.tasks[job.task])
        out: JSON = {"version": 0}
        for kind in KINDS:
            rows = list(job.table(kind).values())
            if kind != "tracks":
                rows.sort(key=lambda row: row["frame"])
            out[kind] = [_render(row, labels, rng) for row in rows]
        return out


def read_task(store: Store, task: Task) -> JSON:
    """The annotations of a task: those of its annotation jobs."""
    out: JSON = {"version": 0, "tags": [], "shapes": [], "tracks": []}
    for job in task.jobs:
        if job.type == "annotation" and job.parent_job is None:
            for kind, rows in read_job(store, job).items():
                if kind != "version":
                    out[kind].extend(rows)
    return out


def _render(row: JSON, labels: dict[int, Label], rng: random.Random, *, element: bool = False) -> JSON:
    label = labels[row["label_id"]]
    track = "shapes" in row
    specs = [a for a in label.attributes.values() if not (track and a.mutable)]
    out = row | {"attributes": _filled(row["attributes"], [(a.id, a.default_value) for a in specs], rng)}
    if track:
        previous = [(a.id, a.default_value) for a in label.attributes.values() if a.mutable]
        out["shapes"] = []
        for shape in row["shapes"]:
            filled = _filled(shape["attributes"], previous, rng)
            previous = [(v["spec_id"], v["value"]) for v in filled]
            out["shapes"].append(shape | {"attributes": filled})
    if element:
        out.pop("elements", None)
    elif "elements" in row:
        out["elements"] = [_render(e, labels, rng, element=True) for e in row["elements"]]
        rng.shuffle(out["elements"])
    return out


def _filled(values: list[tuple[int, str]], defaults: list[tuple[int, str]], rng: random.Random) -> list[JSON]:
    sent = {spec for spec, _ in values}
    pairs = [*values, *((spec, value) for spec, value in defaults if spec not in sent)]
    rng.shuffle(pairs)
    return [{"spec_id": spec, "value": value} for spec, value in pairs]
