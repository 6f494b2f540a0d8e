"""Faces that are known by a plan or a backup: find each again on the server and judge whether it may be written. Pure.

Push and undo are the same act with `old` and `new` exchanged. A face is written only while the server still holds `old`, so
that a repeated run writes what is missing and nothing else, and so that no word of a person is overwritten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.plan import FaceRef
from auto_annotator.bridge.shapes import Box, Item, attributes_of, box_of, track_boxes
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo

IDENTITY = ("person", "name", "face_key")
"""What people and we say about a face: where one of these is neither `old` nor `new`, somebody has edited the face."""
SAME_BOX = 0.01
"""Pixels. Servers give back the number they got; a person who moves an edge moves it further."""


class State(StrEnum):
    """What became of a face since it was pulled; all but the first three are left alone."""

    SAME = "nothing to change"
    TODO = "to be written"
    DONE = "already written"
    EDITED = "person, name or face_key edited by a person"
    MOVED = "box moved by a person"
    GONE = "no longer there"
    HIDDEN = "its frame was deleted"
    FIXED = "the label lets the attribute change within a track"

    @property
    def skipped(self) -> bool:
        """Whether a person should hear of it."""
        return self not in (State.SAME, State.TODO, State.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A face and its attribute values: `old` must be there, `new` is written; the same names in both."""

    ref: FaceRef
    old: Mapping[str, str]
    new: Mapping[str, str]

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.writes)

    @property
    def writes(self) -> dict[str, str]:
        """The values that change; the others are not touched."""
        return {name: value.strip() for name, value in self.new.items() if value.strip() != self.old.get(name, "").strip()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A face on the server.

    Attributes:
        goal: what is known of it and wanted.
        state: how it stands.
        id: its id on the server now; the one it had if it is gone.
        item: the raw item, None if it is gone or the item is no longer needed.
    """

    goal: Goal
    state: State
    id: int
    item: Item | None = None


def judge(
    now: Mapping[str, Any],
    goals: Sequence[Goal],
    labels: Mapping[int, LabelInfo],
    hidden: Iterable[int] = (),
    *,
    rows: Iterable[int] | None = None,
) -> list[Judged]:
    """The state of the faces of one job.

    Args:
        now: raw annotations of the job.
        goals: all faces that are known of the job, those without a change too: they keep their item from being taken for another.
        labels: of the task, by id.
        hidden: deleted frames of the task.
        rows: which of the goals are asked for, None = all.

    Raises:
        ConfigError: if a label lacks an attribute that is to be written.
    """
    frames = frozenset(hidden)
    found = locate(now, goals, labels)
    judged = []
    for row in range(len(goals)) if rows is None else rows:
        goal, item = goals[row], found[row]
        number = goal.ref.id if item is None else int(item["id"])
        judged.append(Judged(goal=goal, state=_state(goal, item, labels, frames), id=number, item=item))
    return judged


def _state(goal: Goal, item: Item | None, labels: Mapping[int, LabelInfo], hidden: frozenset[int]) -> State:
    if not goal.changed:
        return State.SAME
    if item is None:
        return State.GONE
    ref = goal.ref
    label = labels.get(item["label_id"])
    if label is None or label.id != ref.label:
        return State.EDITED
    if not stands_at(item, ref):
        return State.MOVED
    if ref.kind == "shape" and ref.frame in hidden:
        return State.HIDDEN
    writes = writable(goal, label)
    if writes is None:
        return State.FIXED
    return _value_state(goal, writes, attributes_of(item, label))


def _value_state(goal: Goal, writes: Mapping[str, str], values: Mapping[str, str]) -> State:
    names = {name for name in IDENTITY if name in goal.new} | set(writes)
    held = {name: values.get(name, "").strip() for name in names}
    if held == {name: goal.new[name].strip() for name in names}:
        return State.DONE
    return State.TODO if held == {name: goal.old.get(name, "").strip() for name in names} else State.EDITED


def writable(goal: Goal, label: LabelInfo) -> dict[str, str] | None:
    """What can be written to an item of the label; None if that leaves out who it is.

    A track as a whole has only the attributes that never change.

    Raises:
        ConfigError: if the label lacks an attribute that says who it is.
    """
    writes = {}
    for name, value in goal.writes.items():
        attribute = label.attribute(name)
        if attribute is None:
            if name in IDENTITY and value:
                raise ConfigError(f"label {label.name!r} has no attribute {name}: run auto-annotator cvat setup for the task first")
        elif goal.ref.kind == "shape" or not attribute.mutable:
            writes[name] = value
        elif name in IDENTITY:
            return None
    return writes


def stands_at(item: Mapping[str, Any], ref: FaceRef) -> bool:
    """Whether a raw item has the frame and the box of the face; a track, whether it shows that box in that frame."""
    if ref.kind == "shape":
        return int(item["frame"]) == ref.frame and _same_box(box_of(item), ref.box)
    box = track_boxes(item, range(ref.frame, ref.frame + 1)).get(ref.frame)
    return box is not None and _same_box(box, ref.box)


def _same_box(a: Box, b: Box) -> bool:
    return all(abs(p - q) <= SAME_BOX for p, q in zip(a, b, strict=True))


def locate(now: Mapping[str, Any], goals: Sequence[Goal], labels: Mapping[int, LabelInfo]) -> list[Item | None]:
    """The raw item of each face: by its id, else, where the server has given new ids, by label, frame, box and mark.

    An item is never given to two faces. One whose values are not what we know of the face is found too, and judged as edited.
    """
    items = {(kind, int(item["id"])): item for kind in ("shape", "track") for item in now.get(f"{kind}s") or ()}
    found = [items.pop((goal.ref.kind, goal.ref.id), None) for goal in goals]
    missing = [row for row, item in enumerate(found) if item is None]
    if missing:
        _locate_by_place(goals, missing, items, labels, found)
    return found


def _locate_by_place(
    goals: Sequence[Goal],
    missing: Sequence[int],
    items: Mapping[tuple[str, int], Item],
    labels: Mapping[int, LabelInfo],
    found: list[Item | None],
) -> None:
    places: dict[tuple[str, int, int], list[Item]] = defaultdict(list)
    for (kind, _), item in sorted(items.items()):
        places[_drawer(kind, item["label_id"], item.get("frame", 0))].append(item)
    for test in _TESTS:
        for row in missing:
            ref = goals[row].ref
            label = labels.get(ref.label)
            if found[row] is not None or label is None:
                continue
            here = places.get(_drawer(ref.kind, ref.label, ref.frame), [])
            match = next((i for i in here if stands_at(i, ref) and test(goals[row], attributes_of(i, label))), None)
            if match is not None:
                found[row] = match
                here.remove(match)


def _drawer(kind: str, label: int, frame: int) -> tuple[str, int, int]:
    return kind, label, frame if kind == "shape" else -1  # a track is in many frames


def _holds(goal: Goal, values: Mapping[str, str], which: Mapping[str, str]) -> bool:
    return all(values.get(name, "").strip() == which.get(name, "").strip() for name in IDENTITY if name in goal.new)


def _has_mark_of(goal: Goal, values: Mapping[str, str]) -> bool:
    key = goal.ref.key
    rest = values.get("face_key", "").strip().removeprefix(key)
    return rest != values.get("face_key", "").strip() and rest[:1] in ("", ".", "~", "!")


# From the surest sign to the weakest; every face has its turn with one sign before any has with the next.
_TESTS: tuple[Callable[[Goal, Mapping[str, str]], bool], ...] = (
    lambda goal, values: _has_mark_of(goal, values) and (_holds(goal, values, goal.new) or _holds(goal, values, goal.old)),
    lambda goal, values: _holds(goal, values, goal.new),
    lambda goal, values: _holds(goal, values, goal.old),
    _has_mark_of,
    lambda goal, values: True,  # somebody has edited it: it is found to be named, not to be written
)
