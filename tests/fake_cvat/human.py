"""What a person does in CVAT's annotation page, saved at once; none of it is a request of the client under test.

The page saves whole objects. Read in the source of cvat-core: moving, turning or relabelling an object turns its source from
"auto" into "semi-auto" and from "file" into "manual"; **typing an attribute leaves the source as it was**. With
`ids_change_on_update` an edit gives a new id, which the methods return.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fake_cvat import stored
from fake_cvat.store import JSON, Job, Label, Store

Box = Sequence[float]
EDITED = {"auto": "semi-auto", "semi-auto": "semi-auto", "consensus": "consensus"}
"""Source of an object after a person changed it; "manual" for any other."""


class Human:
    """A person at the annotation page of one server."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # new objects

    def draw(self, job: int, frame: int, box: Box, *, label: str = "face", source: str = "manual", **options: Any) -> int:
        """A rectangle; keywords are its attributes, and `group`, `z_order`, `occluded`, `rotation`, `score`. Returns its id."""
        return self._add("shapes", job, label, {"frame": frame, "type": "rectangle", "points": list(box)}, source, options)

    def draw_skeleton(
        self,
        job: int,
        frame: int,
        points: Sequence[Box],
        *,
        label: str = "face_landmarks",
        source: str = "manual",
        **options: Any,
    ) -> int:
        """A skeleton; `points` are (x, y) in the order of the label's points, None for one that is outside. Returns its id."""
        place = self._label(job, label)
        elements = [
            {
                "label_id": point.id,
                "frame": frame,
                "type": "points",
                "points": list(xy or (0.0, 0.0)),
                "outside": xy is None,
                "source": source,
            }
            for point, xy in zip(place.sublabels.values(), points, strict=True)
        ]
        return self._add("shapes", job, label, {"frame": frame, "type": "skeleton", "elements": elements}, source, options)

    def draw_track(
        self, job: int, keyframes: Mapping[int, Box | None], *, label: str = "face", source: str = "manual", **options: Any
    ) -> int:
        """A track of rectangles; None for a keyframe in which the face is outside. Returns its id.

        Attributes that may change belong to the first keyframe.
        """
        known = self._label(job, label)
        mutable = {a.name for a in known.attributes.values() if a.mutable}
        attributes = _values(known, {k: v for k, v in options.items() if k in mutable})
        shapes: list[JSON] = []
        box: Box = (0.0, 0.0, 1.0, 1.0)
        for frame, here in sorted(keyframes.items()):
            box = here or box
            shapes.append({"frame": frame, "type": "rectangle", "points": list(box), "outside": here is None})
        shapes[0]["attributes"] = attributes
        rest = {k: v for k, v in options.items() if k not in mutable}
        return self._add("tracks", job, label, {"frame": shapes[0]["frame"], "shapes": shapes}, source, rest)

    def tag(self, job: int, frame: int, *, label: str = "face_error", source: str = "manual", **options: Any) -> int:
        """A tag of a frame. Returns its id."""
        return self._add("tags", job, label, {"frame": frame}, source, options)

    # edits

    def set_attribute(self, number: int, name: str, value: str, *, kind: str = "shapes", frame: int | None = None) -> int:
        """Types a value; `frame` names the keyframe for an attribute of a track that may change. Returns the id.

        The source stays, "auto" too: that a person was here shows in the value alone.
        """

        def edit(row: JSON, label: Label) -> None:
            spec = label.attribute(name).id
            target = row
            if frame is not None:
                target = next(s for s in row["shapes"] if s["frame"] == frame)
            pairs = [v for v in target["attributes"] if v["spec_id"] != spec]
            target["attributes"] = [*pairs, {"spec_id": spec, "value": value}]

        return self._edit(kind, number, edit, touches_source=False)

    def move(self, number: int, box: Box, *, kind: str = "shapes", frame: int | None = None) -> int:
        """Drags a rectangle to a box; for a track that of the keyframe `frame`. Returns the id."""

        def edit(row: JSON, label: Label) -> None:
            target = row if frame is None else next(s for s in row["shapes"] if s["frame"] == frame)
            target["points"] = list(box)

        return self._edit(kind, number, edit)

    def relabel(self, number: int, label: str, *, kind: str = "shapes") -> int:
        """Gives an object another label; its attributes start from the defaults. Returns the id."""

        def edit(row: JSON, old: Label) -> None:
            row["label_id"] = self._label(self._job(kind, number).id, label).id
            row["attributes"] = []

        return self._edit(kind, number, edit)

    def delete(self, number: int, *, kind: str = "shapes") -> None:
        """Deletes an object."""
        job = self._job(kind, number)
        with self.store.lock:
            stored.Writer(self.store, job).remove(kind, number)

    def delete_frame(self, task: int, frame: int) -> None:
        """Deletes a frame of a task; its annotations stay in the data base."""
        self.store.task(task).deleted_frames.add(frame)

    def restore_frame(self, task: int, frame: int) -> None:
        """Takes the deletion back."""
        self.store.task(task).deleted_frames.discard(frame)

    def see(self, number: int, *, kind: str = "shapes") -> JSON:
        """One object as a person sees it: `label`, `attributes` by name with the defaults filled in, and the rest as stored."""
        job = self._job(kind, number)
        with self.store.lock:
            labels = self.store.every_label(self.store.tasks[job.task])
            row = job.table(kind)[number]
            label, stored = labels[row["label_id"]], dict(row["attributes"])
            values = {a.name: stored.get(a.id, a.default_value) for a in label.attributes.values()}
            return row | {"attributes": values, "label": label.name, "job": job.id}

    # inside

    def _job(self, kind: str, number: int) -> Job:
        for job in self.store.jobs.values():
            if number in job.table(kind):
                return job
        raise KeyError(f"{kind}: no object {number}")

    def _label(self, job: int, name: str) -> Label:
        task = self.store.tasks[self.store.job(job).task]
        return next(x for x in self.store.labels_of(task).values() if x.name == name)

    def _add(self, kind: str, job: int, label: str, row: JSON, source: str, options: Mapping[str, Any]) -> int:
        known = self._label(job, label)
        names = {a.name for a in known.attributes.values()}
        plain = {k: v for k, v in options.items() if k not in names}
        unknown = set(plain) - {"group", "z_order", "occluded", "rotation", "score"}
        if unknown:
            raise KeyError(f"label {label}: no attribute {sorted(unknown)}")
        values = _values(known, {k: v for k, v in options.items() if k in names})
        row = row | {"label_id": known.id, "source": source, "group": 0, "attributes": values} | plain
        saved = stored.write(self.store, self.store.job(job), "create", {kind: [row]})
        return int(saved[kind][0]["id"])

    def _edit(self, kind: str, number: int, change: Any, *, touches_source: bool = True) -> int:
        with self.store.lock:
            job = self._job(kind, number)
            labels = self.store.every_label(self.store.tasks[job.task])
            row = stored.as_sent(job.table(kind)[number])
            change(row, labels[row["label_id"]])
            if touches_source:
                row["source"] = EDITED.get(row["source"], "manual")
            saved = stored.write(self.store, job, "update", {kind: [row]})
        return int(saved[kind][0]["id"])


def _values(label: Label, values: Mapping[str, Any]) -> list[JSON]:
    return [{"spec_id": label.attribute(name).id, "value": str(value)} for name, value in values.items()]
