"""What a run of the detectors changes in a frame: existing annotations and detected faces in, writes out. Pure.

The rules, for each detected face and its best existing box of the label (IoU from `SAME_FACE`, one to one):

- none: a box and its skeleton are added, tied by a group that is free in the frame; not where people deleted a face.
- ours and unedited: brought up to date in place; id, person, name and what others set stay.
- a person's, or edited by one, or a track shown there: left alone, and nothing is added over it.

A box of ours that no face fits any more goes, with its skeleton, unless a person said something about it or moved its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from auto_annotator.bridge.prelabel_items import (
    OURS,
    Target,
    bare,
    geometry_key,
    mark_of,
    new_rectangle,
    new_skeleton,
    new_tag,
    points_digest,
    same_rectangle,
    same_skeleton,
    updated_rectangle,
    updated_skeleton,
    words_digest,
)
from auto_annotator.bridge.prelabel_known import DELETED, FaceNote, Frame, FrameNote, KnownBox, best_pairs, known_of
from auto_annotator.bridge.shapes import Item, attributes_of, box_of, free_group, with_attributes
from auto_annotator.cvat.shapes import MAX_TEXT, FaceShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What this run says of a frame: its faces as CVAT can store them, or the reason code why it could not be worked on."""

    frame: int
    faces: tuple[FaceShape, ...] = ()
    error: str = ""


@dataclass(slots=True)
class Counts:
    """What became of the faces of some frames.

    Attributes:
        frames: looked at; `failed` of them could not be worked on.
        faces: detected; each is `created`, `updated`, the `same`, `theirs` (a person's or a track) or `refused` (people deleted
            it before).
        removed: boxes of ours that no face fits any more; `kept` are those that stay all the same.
    """

    frames: int = 0
    failed: int = 0
    faces: int = 0
    created: int = 0
    updated: int = 0
    same: int = 0
    theirs: int = 0
    refused: int = 0
    removed: int = 0
    kept: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of other frames."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(slots=True, kw_only=True)
class Items:
    """Raw shapes and tags of one request."""

    shapes: list[Item] = field(default_factory=list)
    tags: list[Item] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.shapes or self.tags)


@dataclass(slots=True, kw_only=True)
class Change:
    """What is to be written in a frame, and what is to be remembered of it.

    Attributes:
        delete, update, create: raw items; sent in this order, so that a group that gets free is free.
        planned: to be remembered before the first write, so that a killed run knows its own work again.
        note: to be remembered once nothing is left to write.
        counts: for people.
    """

    delete: Items = field(default_factory=Items)
    update: Items = field(default_factory=Items)
    create: Items = field(default_factory=Items)
    planned: FrameNote = field(default_factory=FrameNote)
    note: FrameNote = field(default_factory=FrameNote)
    counts: Counts = field(default_factory=Counts)

    def __bool__(self) -> bool:
        return bool(self.delete or self.update or self.create)


def change_of(
    target: Target, frame: Frame, note: FrameNote, finding: Finding, *, keep_old: bool = False, restore: bool = False
) -> Change:
    """What a finding changes in its frame.

    Args:
        target: labels of the task.
        frame: what stands there.
        note: what we remember of it.
        finding: what this run says of it.
        keep_old: leave boxes of ours that no face fits any more.
        restore: add faces again that people deleted.
    """
    return _FrameDiff(target, frame, note, keep_old=keep_old, restore=restore).change(finding)


class _FrameDiff:
    def __init__(self, target: Target, frame: Frame, note: FrameNote, *, keep_old: bool, restore: bool) -> None:
        self._target, self._frame, self._before, self._keep_old = target, frame, note, keep_old
        self._known = known_of(target, frame, note, restore=restore)
        self._change = Change()
        self._after = list(self._known.tracked)
        self._written: list[FaceNote] = []
        self._touched: dict[str, KnownBox] = {}
        self._groups: set[int] = set()

    def change(self, finding: Finding) -> Change:
        change, counts = self._change, self._change.counts
        counts.frames, counts.failed, counts.faces = 1, int(bool(finding.error)), len(finding.faces)
        self._tags(finding.error)
        if finding.error:
            change.note = change.planned = self._before
            return change
        boxes, pairs = self._known.boxes, self._pairs(finding.faces)
        by_box = {column: finding.faces[row] for row, column in pairs.items()}
        matched = [(one, by_box[column]) for column, one in enumerate(boxes) if column in by_box]
        for column, one in enumerate(boxes):
            if column not in by_box:
                self._unmatched(one)
        for one, face in matched:
            if face.points is None:  # its skeleton may go, so it comes before groups are given away
                self._matched(one, face)
        self._groups = self._frame.groups_without(change.delete.shapes)
        for one, face in matched:
            if face.points is not None:
                self._matched(one, face)
        counts.theirs += sum(column >= len(boxes) for column in by_box)
        self._add([face for row, face in enumerate(finding.faces) if row not in pairs])
        change.note = FrameNote(faces=tuple(self._after), gone=tuple(self._known.gone))
        change.planned = self._plan()
        return change

    def _tags(self, reason: str) -> None:
        """One tag of ours while the frame fails, none when it works again; tags of people stay."""
        change, label = self._change, self._target.error
        ours = [tag for tag in self._frame.tags if tag["label_id"] == label.id and tag.get("source") == OURS]
        if not reason:
            change.delete.tags += ours
            return
        if not ours:
            change.create.tags.append(new_tag(self._target, self._frame.number, reason))
            return
        if attributes_of(ours[0], label).get("reason") != reason[:MAX_TEXT]:
            change.update.tags.append(with_attributes(ours[0], label, {"reason": reason[:MAX_TEXT]}))
        change.delete.tags += ours[1:]

    def _pairs(self, faces: Sequence[FaceShape]) -> dict[int, int]:
        """Detected face to existing box; numbers beyond the boxes are tracks."""
        boxes = self._known.boxes
        pairs = best_pairs([face.box for face in faces], [*(one.box for one in boxes), *self._frame.tracks])
        # a box that a person moved far away still is the face that we found here
        moved = {one.key: column for column, one in enumerate(boxes) if not one.ours and column not in pairs.values()}
        for row, face in enumerate(faces):
            key = geometry_key(self._target.task, self._frame.number, face.box)
            if row not in pairs and key in moved:
                pairs[row] = moved.pop(key)
        return pairs

    def _unmatched(self, one: KnownBox) -> None:
        change = self._change
        twin = any(other.ours and other.key == one.key and other.item["id"] < one.item["id"] for other in self._known.boxes)
        if not one.replaceable or one.word or one.moved or (self._keep_old and not twin):
            change.counts.kept += one.ours
            if one.ours or one.notes:
                self._after.append(one.note(self._target))
            return
        change.delete.shapes += [one.item] if one.skeleton is None else [one.item, one.skeleton]
        change.counts.removed += 1
        self._touched[one.key] = one

    def _matched(self, one: KnownBox, face: FaceShape) -> None:
        counts, target = self._change.counts, self._target
        same = one.ours and same_rectangle(target, one.item, face)
        if not (same or one.replaceable):
            counts.theirs += 1
            self._after.append(one.note(target))
            return
        group = int(one.item.get("group") or 0)
        needs_skeleton = one.skeleton is None and face.points is not None and not one.skeleton_deleted
        if needs_skeleton and not group:
            group = self._take_group()
            same = False
        rectangle = one.item if same else updated_rectangle(target, one.item, face, group)
        points, kept = self._skeleton(one, face, group)
        if not same:
            self._change.update.shapes.append(rectangle)
        note = self._note(rectangle, points)
        self._after.append(note)
        if same and kept:
            counts.same += 1
        else:
            counts.updated += 1
            self._written.append(note)
            self._touched[one.key] = one

    def _skeleton(self, one: KnownBox, face: FaceShape, group: int) -> tuple[str, bool]:
        """Bring the points up to date; what to remember of them, and whether nothing is written."""
        change, target = self._change, self._target
        if one.skeleton_deleted:
            return DELETED, True
        if one.moved:
            return next((note.points for note in one.notes if note.points), ""), True
        if one.skeleton is None:
            if face.points is None:
                return "", True
            skeleton = new_skeleton(target, self._frame.number, face.points, group, face.score)
            change.create.shapes.append(skeleton)
        elif face.points is None:
            change.delete.shapes.append(one.skeleton)
            return "", False
        elif same_skeleton(target, one.skeleton, face.points):
            return points_digest(one.skeleton), True
        else:
            skeleton = updated_skeleton(target, one.skeleton, face.points)
            change.update.shapes.append(skeleton)
        return points_digest(skeleton), False

    def _add(self, faces: Sequence[FaceShape]) -> None:
        counts, gone, number = self._change.counts, self._known.gone, self._frame.number
        deleted = best_pairs([face.box for face in faces], [note.box for note in gone])
        deleted_keys = {note.key for note in gone}
        for row, face in enumerate(faces):
            if row in deleted or geometry_key(self._target.task, number, face.box) in deleted_keys:
                counts.refused += 1
                continue
            group = self._take_group()
            rectangle, points = new_rectangle(self._target, number, face, group), ""
            self._change.create.shapes.append(rectangle)
            if face.points is not None:
                skeleton = new_skeleton(self._target, number, face.points, group, face.score)
                self._change.create.shapes.append(skeleton)
                points = points_digest(skeleton)
            note = self._note(rectangle, points)
            self._after.append(note)
            self._written.append(note)
            counts.created += 1

    def _note(self, rectangle: Item, points: str) -> FaceNote:
        mark = mark_of(self._target, rectangle)
        key = bare(mark.key) if mark else ""
        return FaceNote(key=key, box=box_of(rectangle), words=words_digest(self._target, rectangle), points=points)

    def _take_group(self) -> int:
        group = free_group(self._groups)
        self._groups.add(group)
        return group

    def _plan(self) -> FrameNote:
        """What to remember before writing: of what is touched we can't say whether it is there, only how it looks if it is."""
        gone = {(note.key, note.box) for note in self._known.gone}
        kept, replaced = [], []
        for note in self._before.faces:
            if note.key in self._touched:
                deleted = self._touched[note.key].skeleton_deleted
                replaced.append(replace(note, points=DELETED if deleted else note.points))
            elif (note.key, note.box) not in gone:
                kept.append(note)
        following = dict.fromkeys((*self._before.next, *replaced, *self._written))
        return FrameNote(faces=tuple(kept), gone=tuple(self._known.gone), next=tuple(following))
