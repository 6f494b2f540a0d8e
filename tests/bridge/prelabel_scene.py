"""A frame of a CVAT job in memory, with the whole label schema: what a diff writes is applied as the server would."""

from __future__ import annotations

import copy
import json

from auto_annotator.bridge.infos import AttributeInfo, JobInfo, LabelInfo, TaskInfo
from auto_annotator.bridge.prelabel import Finding, change_of
from auto_annotator.bridge.prelabel_items import target_of
from auto_annotator.bridge.prelabel_known import FrameNote, frames_of
from auto_annotator.bridge.prelabel_run import writes_of
from auto_annotator.bridge.shapes import attributes_of, by_id
from auto_annotator.cvat.labels import LABELS
from auto_annotator.cvat.shapes import FaceShape, Point

TASK, JOB, FRAME = 7, 70, 3
OFFSETS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.34, 0.8), (0.66, 0.8))


def schema(first=1):
    """The project's own labels as a server describes them."""
    number = iter(range(first, 1000))
    return tuple(
        LabelInfo(
            id=next(number),
            name=label.name,
            type=label.type,
            attributes=tuple(
                AttributeInfo(
                    id=next(number), name=a.name, input_type=a.input_type, mutable=a.mutable, default=a.default, values=a.values
                )
                for a in label.attributes
            ),
            sublabels=tuple(LabelInfo(id=next(number), name=name, type="points") for name in label.points),
        )
        for label in LABELS
    )


def task(labels=None, **changes):
    """A task of one job with ten frames."""
    values = {"id": TASK, "project": None, "name": "t", "size": 10, "video": False, "deleted_frames": frozenset()}
    jobs = (JobInfo(id=JOB, task=TASK, start=0, stop=9),)
    return TaskInfo(
        **{**values, "jobs": jobs, "labels": labels or schema(), "sizes": ((640, 480),), "names": ("a.png",), **changes}
    )


def face(x, y=20.0, side=60.0, *, score=0.9, points=True, review=False, spread=0.0):
    """A detected face; its points lie as on a frontal face, the first one moved by `spread`."""
    box = (float(x), float(y), x + side, y + side)
    marks = tuple(Point(x=round(x + side * u, 2), y=round(y + side * v, 2), outside=False) for u, v in OFFSETS)
    marks = (Point(x=marks[0].x + spread, y=marks[0].y, outside=False), *marks[1:])
    values = {"score": str(round(score * 100)), "votes": f"1/1 a={round(score * 100)}"}
    values |= {"review": "true" if review else "false", "reasons": "low_score" if review else ""}
    return FaceShape(box=box, score=score, group=1, attributes=values, points=marks if points else None)


class Scene:
    """One frame: what CVAT holds, and what is remembered of it."""

    def __init__(self, *, remember=True):
        self.info = task()
        self.labels = by_id(self.info.labels)
        self.target = target_of(self.info)
        self.shapes: dict[int, dict] = {}
        self.tags: dict[int, dict] = {}
        self.tracks: list[dict] = []
        self.note = FrameNote()
        self.remember = remember
        self.next_id = 100

    def annotations(self):
        """As the server would send them."""
        return copy.deepcopy(
            {"version": 0, "tags": list(self.tags.values()), "shapes": list(self.shapes.values()), "tracks": self.tracks}
        )

    def change(self, faces=(), *, error="", **how):
        """What a finding changes; nothing is written."""
        frame = frames_of(self.annotations(), self.target, [FRAME])[FRAME]
        note = self.note if self.remember else FrameNote()
        return change_of(self.target, frame, note, Finding(frame=FRAME, faces=tuple(faces), error=error), **how)

    def run(self, faces=(), *, requests=None, **how):
        """Write until nothing is left, or only the first requests as a killed run does; the change of the first look."""
        first = change = self.change(faces, **how)
        while change:
            self.note = change.planned
            for write in writes_of([change]):
                if requests == 0:
                    return first
                self.apply(write.action, write.body)
                requests = None if requests is None else requests - 1
            before, change = change, self.change(faces, **how)
            assert not change, f"{before} does not settle"
        self.note = change.note
        return first

    def apply(self, action, body):
        """One request, as CVAT understands it."""
        for kind, table in (("tags", self.tags), ("shapes", self.shapes)):
            for item in copy.deepcopy(body[kind]):
                if action == "create":
                    assert "id" not in item
                    self.next_id += 1
                    item["id"] = self.next_id
                else:
                    assert item["id"] in table
                if action == "delete":
                    del table[item["id"]]
                else:
                    table[item["id"]] = self.stored(item)
        assert not body["tracks"]

    def stored(self, item):
        """With all attributes of the label, as CVAT gives them back."""
        values = attributes_of(item, self.labels[item["label_id"]])
        ids = {a.name: a.id for a in self.labels[item["label_id"]].attributes}
        return {**item, "attributes": [{"spec_id": ids[name], "value": value} for name, value in values.items()]}

    def boxes(self):
        """Rectangles of the face label, by id."""
        return [shape for _, shape in sorted(self.shapes.items()) if shape["label_id"] == self.target.face.id]

    def skeletons(self):
        """Skeletons, by id."""
        return [shape for _, shape in sorted(self.shapes.items()) if shape["type"] == "skeleton"]

    def values(self, shape):
        """Attributes by name."""
        return attributes_of(shape, self.labels[shape["label_id"]])

    def set(self, shape, **values):
        """Type attribute values, as a person does: the source stays."""
        ids = {a.name: a.id for a in self.labels[shape["label_id"]].attributes}
        for name, value in values.items():
            next(v for v in shape["attributes"] if v["spec_id"] == ids[name])["value"] = value

    def draw(self, x, y=20.0, side=60.0, *, source="manual", group=0, **values):
        """A rectangle of a person."""
        self.next_id += 1
        item = {"id": self.next_id, "type": "rectangle", "label_id": self.target.face.id, "frame": FRAME, "group": group}
        item |= {"source": source, "occluded": True, "outside": False, "z_order": 2, "rotation": 0.0, "attributes": []}
        item |= {"points": [float(x), float(y), x + side, y + side], "elements": []}
        self.shapes[item["id"]] = self.stored(item)
        self.set(self.shapes[item["id"]], **values)
        return self.shapes[item["id"]]

    def content(self):
        """Everything but ids and order, as text."""

        def plain(value):
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items() if k != "id"}
            return [plain(v) for v in value] if isinstance(value, list) else value

        return [sorted(json.dumps(plain(item), sort_keys=True) for item in table.values()) for table in (self.shapes, self.tags)]


def track(label, keyframes, **more):
    """A raw rectangle track; keyframes: frame -> (x, y) of a 60 x 60 box, None = outside."""
    place = (0.0, 0.0)
    shapes = []
    for frame, here in sorted(keyframes.items()):
        place = here or place
        points = [place[0], place[1], place[0] + 60, place[1] + 60]
        shapes.append({"type": "rectangle", "frame": frame, "points": points, "outside": here is None, "rotation": 0.0})
    return {"id": 5, "label_id": label.id, "group": 0, "source": "manual", "frame": shapes[0]["frame"], "shapes": shapes, **more}
