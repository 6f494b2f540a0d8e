"""What a PATCH of labels means to CVAT.

Read in the source of CVAT's `LabelSerializer.update_label` and seen in its own tests of `labels`:

- a label with an `id` is changed: name, type (not from or to skeleton), color (**left out, CVAT picks another**); the points and
  the picture of a skeleton that is there are not looked at; with `deleted` it goes, and its annotations with it; an id that is not
  there is a 404;
- a label without an `id` is new; a name that is taken is a 400;
- labels that are not in the list stay as they are;
- an attribute is found by `id` (404 when it is not there), without one by its name in the label; it is changed or made new; with
  `deleted` it goes with its values; attributes that are not in the list stay. Objects that have no
  value of a new attribute show its default.
"""

from __future__ import annotations

import copy
from typing import Any

from fake_cvat.store import JSON, Attribute, Label, Project, Refused, Store, Task

COLORS = ("#33ddff", "#fa3253", "#34d1b7", "#ff6037", "#ddff33", "#24b353", "#b83df5")


def make_labels(store: Store, raw: list[JSON]) -> dict[int, Label]:
    """New labels from the JSON of CVAT's label constructor."""
    labels: dict[int, Label] = {}
    for item in raw:
        label = _new_label(store, item)
        labels[label.id] = label
    _check_unique(labels)
    return labels


def _new_label(store: Store, raw: JSON, parent: int | None = None) -> Label:
    number = store.next_id("label")
    label = Label(
        id=number,
        name=_name(raw),
        type=raw.get("type") or "any",
        color=raw.get("color") or COLORS[number % len(COLORS)],
        svg=raw.get("svg", ""),
        parent=parent,
    )
    for attribute in raw.get("attributes") or []:
        _put_attribute(store, label, attribute)
    for point in raw.get("sublabels") or []:
        sub = _new_label(store, {"type": "points"} | point, parent=number)
        label.sublabels[sub.id] = sub
        label.svg = label.svg.replace(f'data-label-name="{sub.name}"', f'data-label-id="{sub.id}"')
    if label.type == "skeleton" and not label.sublabels:
        raise Refused(400, {"labels": ["Label with type skeleton should have sublabels"]})
    return label


def _name(raw: JSON) -> str:
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(400, {"name": ["This field is required."]})
    return name


def _check_unique(labels: dict[int, Label]) -> None:
    names = [label.name for label in labels.values()]
    if len(set(names)) != len(names):
        raise Refused(400, ["All label names must be unique"])


def update_labels(store: Store, owner: Project | Task, raw: list[JSON]) -> None:
    """The `labels` of a PATCH of a project or task."""
    if isinstance(owner, Task) and owner.project is not None:
        raise Refused(400, ["Cannot change labels in a task inside a project"])
    saved = copy.deepcopy(owner.labels)
    tables = [(job, job.tags.copy(), job.shapes.copy(), job.tracks.copy()) for job in store.jobs.values()]
    try:
        _update(store, owner, raw)
    except Refused:
        owner.labels = saved
        for job, *kept in tables:
            job.tags, job.shapes, job.tracks = kept
        raise


def _update(store: Store, owner: Project | Task, raw: list[JSON]) -> None:
    for item in raw:
        if item.get("id") is None:
            label = _new_label(store, item)
            owner.labels[label.id] = label
        elif item["id"] not in owner.labels:
            raise Refused(404, {"detail": f"Not found label with id #{item['id']} to change"})
        elif item.get("deleted"):
            delete_label(store, owner, item["id"])
        else:
            change_label(store, owner.labels[item["id"]], item)
    _check_unique(owner.labels)


def change_label(store: Store, label: Label, raw: JSON) -> None:
    """Changes one label and its attributes."""
    label.name = raw.get("name") or label.name
    label.color = raw.get("color") or next(c for c in COLORS if c != label.color)
    kind = raw.get("type") or label.type
    if "skeleton" not in (kind, label.type):
        label.type = kind
    attributes = raw.get("attributes") or []
    names = [a.get("name") for a in attributes]
    if len(set(names)) != len(names):
        raise Refused(400, ["Duplicate attribute exists"])
    for attribute in attributes:
        _put_attribute(store, label, attribute)


def _put_attribute(store: Store, label: Label, raw: JSON) -> None:
    number = raw.get("id")
    if number is not None and number not in label.attributes:
        raise Refused(404, {"detail": f"Attribute with id #{number} does not exist"})
    known = label.attributes.get(number) or next((a for a in label.attributes.values() if a.name == raw.get("name")), None)
    if raw.get("deleted"):
        if known:
            del label.attributes[known.id]
            _forget_values(store, known.id)
        return
    if known is None:
        for key in ("name", "mutable", "input_type", "values"):
            if key not in raw:
                raise Refused(400, {"attributes": [{key: ["This field is required."]}]})
        values = [str(v) for v in raw["values"]]
        default = str(raw["default_value"]) if raw.get("default_value") is not None else (values or [""])[0]
        number = store.next_id("attribute")
        label.attributes[number] = Attribute(number, raw["name"], bool(raw["mutable"]), raw["input_type"], default, values)
        return
    for key in ("name", "mutable", "input_type", "values", "default_value"):
        if raw.get(key) is not None:
            setattr(known, key, raw[key])


def delete_label(store: Store, owner: Project | Task, number: int) -> None:
    """Deletes a label and every annotation that has it."""
    del owner.labels[number]
    tasks = [owner] if isinstance(owner, Task) else [t for t in store.tasks.values() if t.project == owner.id]
    for job in (job for task in tasks for job in task.jobs):
        for kind in ("tags", "shapes", "tracks"):
            for key in [k for k, row in job.table(kind).items() if row["label_id"] == number]:
                del job.table(kind)[key]


def _forget_values(store: Store, spec: int) -> None:
    def clean(row: JSON) -> JSON:
        out: dict[str, Any] = row | {"attributes": [pair for pair in row["attributes"] if pair[0] != spec]}
        for key in ("elements", "shapes"):
            if key in row:
                out[key] = [clean(part) for part in row[key]]
        return out

    for job in store.jobs.values():
        for kind in ("tags", "shapes", "tracks"):
            table = job.table(kind)
            table.update({number: clean(row) for number, row in table.items()})
