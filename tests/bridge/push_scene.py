"""Annotations in memory behind the interface of `bridge.server.Server`, plans for them, and a comparison that ignores order."""

from __future__ import annotations

import copy
import json
import random

from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.faces import pulled_faces
from auto_annotator.bridge.infos import AttributeInfo, JobInfo, LabelInfo, TaskInfo
from auto_annotator.bridge.plan import Plan, PlannedFace

HOST = "http://cvat.test"
FACE, CAR, SKELETON = 1, 2, 3
IDS = {"score": 10, "quality": 14, "person": 15, "name": 16, "face_key": 17}
COLOUR = 20


def attribute(number, name, *, mutable=False, kind="text", default=""):
    return AttributeInfo(id=number, name=name, input_type=kind, mutable=mutable, default=default, values=())


FACE_LABEL = LabelInfo(
    id=FACE,
    name="face",
    type="rectangle",
    attributes=(
        attribute(10, "score", mutable=True, kind="number", default="0"),
        attribute(14, "quality", mutable=True, kind="number", default="0"),
        *(attribute(IDS[name], name) for name in ("person", "name", "face_key")),
    ),
)
LABELS = (
    FACE_LABEL,
    LabelInfo(id=CAR, name="car", type="rectangle", attributes=(attribute(COLOUR, "person", default="red"),)),
    LabelInfo(id=SKELETON, name="face_landmarks", type="skeleton"),
)
DEFAULTS = {label.id: {a.id: a.default for a in label.attributes} for label in LABELS}


def task(number=1, jobs=2, frames=10, *, deleted=(), labels=LABELS):
    """Task `number` with jobs of `frames` frames; job ids are 100 * task + 1, 2, ..."""
    infos = tuple(JobInfo(id=100 * number + 1 + i, task=number, start=i * frames, stop=(i + 1) * frames - 1) for i in range(jobs))
    return TaskInfo(
        id=number,
        project=None,
        name="t",
        size=jobs * frames,
        video=False,
        jobs=infos,
        labels=labels,
        deleted_frames=frozenset(deleted),
        sizes=((640, 480),),
        names=("a.png",),
    )


def values(**named):
    return [{"spec_id": IDS[name], "value": text} for name, text in named.items()]


def face(number, frame, x, *, source="auto", **named):
    box = [float(x), 20.25, x + 30.5, 60.125]
    return shape(number, frame, box, source=source, attributes=values(**{**dict.fromkeys(IDS, ""), "score": "87", **named}))


def shape(number, frame, points, **more):
    base = {
        "type": "rectangle",
        "occluded": False,
        "outside": False,
        "z_order": 0,
        "rotation": 0.0,
        "group": number,
        "elements": [],
    }
    return {**base, "id": number, "frame": frame, "label_id": FACE, "points": points, "source": "manual", "attributes": [], **more}


def track(number, frames, x, **named):
    def keyframe(frame, i):
        box = [x + i, 20.0, x + i + 30.0, 60.0]
        key = {"frame": frame, "points": box, "type": "rectangle", "outside": False, "occluded": False, "z_order": 0}
        return {**key, "rotation": 0.0, "id": 1000 * number + i, "attributes": values(score="50", quality="0")}

    return {
        "id": number,
        "frame": frames[0],
        "label_id": FACE,
        "group": 0,
        "source": "manual",
        "attributes": values(**{"person": "", "name": "", "face_key": "", **named}),
        "shapes": [keyframe(frame, i) for i, frame in enumerate(frames)],
        "elements": [],
    }


class MemoryServer:
    """What a CVAT server does with annotations of jobs; `faults` are used up one by one by requests that write.

    Faults: `lost` (nothing done, nobody knows), `silent` (done, nobody knows), `refused`.
    """

    host = HOST

    def __init__(self, tasks, annotations, *, renumber=False, faults=()):
        self._tasks = {t.id: t for t in tasks}
        self.jobs = {job.id: annotations.get(job.id, empty()) for t in tasks for job in t.jobs}
        self.renumber, self.faults = renumber, list(faults)
        self.writes = self.reads = 0
        self.next_id = 50_000
        self.after_write = lambda: None
        self.shuffle = random.Random(4)

    def tasks(self, *, tasks):
        return [self._tasks[number] for number in sorted(tasks)]

    def annotations(self, job):
        self.reads += 1
        now = copy.deepcopy(self.jobs[job])
        for kind in ("shapes", "tracks"):
            self.shuffle.shuffle(now[kind])
            for item in now[kind]:
                self.shuffle.shuffle(item["attributes"])
        return now

    def patch(self, job, action, body):
        assert action == "update", action
        self.writes += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "refused":
            raise ServerError("refused", status=403)
        if fault != "lost":
            for kind in ("shapes", "tracks"):
                for item in body.get(kind) or ():
                    self._replace(job, kind, copy.deepcopy(item))
        self.after_write()
        if fault:
            raise Unsure("nobody knows", status=502)
        return body

    def _replace(self, job, kind, item):
        rows = self.jobs[job][kind]
        before = len(rows)
        rows[:] = [row for row in rows if row["id"] != item["id"]]
        assert len(rows) == before - 1, "an update of something that is not there would bring it back"
        if self.renumber:
            item["id"], self.next_id = self.next_id, self.next_id + 1
        sent = {value["spec_id"]: value["value"].strip() for value in item["attributes"]}
        allowed = {i: d for i, d in DEFAULTS[item["label_id"]].items() if kind == "shapes" or i not in (10, 14)}
        assert set(sent) <= set(allowed), "not an attribute of the label"
        item["attributes"] = [{"spec_id": i, "value": sent.get(i, default)} for i, default in allowed.items()]
        item["source"] = item.get("source", "manual")
        rows.append(item)

    def job_url(self, task, job, *, frame=None, shape=None, kind="shape"):
        return f"{HOST}/tasks/{task}/jobs/{job}?frame={frame}&serverID={shape}&type={kind}"

    def every(self, job, kind="shapes"):
        return self.jobs[job][kind]


def empty():
    return {"version": 0, "tags": [], "shapes": [], "tracks": []}


def canonical(jobs, *, ids=True):
    """Annotations as text that does not depend on any order; without ids if the server changes them."""

    def strip(item):
        if isinstance(item, list):
            return sorted((strip(one) for one in item), key=lambda one: json.dumps(one, sort_keys=True)) if _rows(item) else item
        if isinstance(item, dict):
            return {k: strip(v) for k, v in item.items() if ids or k != "id"}
        return item

    return {job: strip(content) for job, content in jobs.items()}


def _rows(items):
    return any(isinstance(item, dict) for item in items)


def held(item):
    """Attribute values by name."""
    names = {number: name for name, number in IDS.items()}
    return {names[v["spec_id"]]: v["value"] for v in item["attributes"] if v["spec_id"] in names}


def set_values(item, **named):
    for value in item["attributes"]:
        for name, text in named.items():
            if value["spec_id"] == IDS[name]:
                value["value"] = text


def plan_of(server, after, *, numbers=(1,)):
    """A plan for all faces of the server; `after(ref, before)` gives new values of person and name, or None."""
    planned = []
    for info in server.tasks(tasks=numbers):
        for job in info.jobs:
            for pulled in pulled_faces(info, job, copy.deepcopy(server.jobs[job.id]), FACE_LABEL):
                before = {name: pulled.attributes.get(name, "") for name in ("person", "name", "face_key")}
                new = after(pulled.ref, before)
                mark = {} if new is None else {"face_key": f"{pulled.ref.key}.{new.get('person', '')}".rstrip(".")}
                planned.append(PlannedFace(ref=pulled.ref, before=before, after={**before, **(new or {}), **mark}))
    return Plan(
        server=HOST,
        tasks=tuple(numbers),
        created="2026-11-27T10:00:00+00:00",
        model_set="fakes",
        model_hash="0",
        threshold=0.4,
        faces=tuple(planned),
    )
