"""What stands in a frame of CVAT beside what we remember of it: whose box is whose, and what people deleted. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from auto_annotator.bridge.prelabel_items import (
    OURS,
    Target,
    bare,
    geometry_key,
    has_human_word,
    is_ours,
    mark_of,
    points_digest,
    words_digest,
)
from auto_annotator.bridge.shapes import Box, Item, box_of, by_id, tied_skeleton, track_boxes
from auto_annotator.geometry import iou_matrix

SAME_FACE = 0.5
"""Intersection over union from which two boxes are one face: what the evaluation of detectors counts as found."""

DELETED = "-"
"""In the place of a digest of points: a person deleted the skeleton."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNote:
    """What we remember of a face that we wrote, or that was there.

    Attributes:
        key: geometry key in its mark.
        box: where it was, x1 y1 x2 y2 in pixels.
        words: digest of the detectors' attributes as we wrote them, empty = not ours.
        points: digest of its skeleton as we wrote it, empty = none, `DELETED` = a person deleted it.
    """

    key: str
    box: Box
    words: str = ""
    points: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameNote:
    """What we remember of a frame.

    Attributes:
        faces: those that were there when we last looked; one that is missing now was deleted by a person.
        gone: those that people deleted.
        next: what a run was about to write or to replace: it may be there or not, and what looks like it is our own work.
    """

    faces: tuple[FaceNote, ...] = ()
    gone: tuple[FaceNote, ...] = ()
    next: tuple[FaceNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands in a frame of a job: raw shapes and tags by id, boxes of the label's tracks there, groups of all tracks."""

    number: int
    shapes: tuple[Item, ...] = ()
    tags: tuple[Item, ...] = ()
    tracks: tuple[Box, ...] = ()
    track_groups: frozenset[int] = frozenset()

    def groups_without(self, removed: Iterable[Item]) -> set[int]:
        """Group numbers that are in use once some shapes are gone."""
        gone = {item["id"] for item in removed}
        left = [*(shape for shape in self.shapes if shape["id"] not in gone), *self.tags]
        return ({int(item.get("group") or 0) for item in left} - {0}) | self.track_groups


def frames_of(annotations: Mapping[str, Any], target: Target, numbers: Iterable[int]) -> dict[int, Frame]:
    """What stands in some frames of a job.

    Args:
        annotations: raw, of the job.
        target: whose label the tracks must have.
        numbers: of the frames, in the task.
    """
    wanted = sorted(set(numbers))
    found: dict[str, dict[int, list[Item]]] = {"shapes": defaultdict(list), "tags": defaultdict(list)}
    boxes: dict[int, list[Box]] = defaultdict(list)
    for kind, frames in found.items():
        for item in sorted(annotations.get(kind) or (), key=lambda item: int(item["id"])):
            frames[item["frame"]].append(item)
    tracks = annotations.get("tracks") or ()
    for track in tracks if wanted else ():
        if track["label_id"] == target.face.id:
            for number, box in track_boxes(track, range(wanted[0], wanted[-1] + 1)).items():
                boxes[number].append(box)
    groups = frozenset({int(track.get("group") or 0) for track in tracks} - {0})
    return {
        number: Frame(
            number=number,
            shapes=tuple(found["shapes"][number]),
            tags=tuple(found["tags"][number]),
            tracks=tuple(boxes[number]),
            track_groups=groups,
        )
        for number in wanted
    }


def best_pairs(rows: Sequence[Box], columns: Sequence[Box]) -> dict[int, int]:
    """One to one by IoU, the best pair first; boxes below `SAME_FACE` stay alone. Row to column."""
    if not rows or not columns:
        return {}
    overlap = iou_matrix(np.asarray(rows, np.float64), np.asarray(columns, np.float64))
    near = np.argwhere(overlap >= SAME_FACE).tolist()
    pairs: dict[int, int] = {}
    for row, column in sorted(near, key=lambda pair: (-overlap[pair[0], pair[1]], pair[1], pair[0])):
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


@dataclass(slots=True, kw_only=True)
class KnownBox:
    """A box of the label that is there, and what we know about it.

    Attributes:
        item: raw rectangle.
        key: geometry key in its mark; without a mark, of its box.
        box: where it is.
        ours: we made it and it lies where we put it.
        edited: it is not as we wrote it, although CVAT does not say so.
        word: a person said who it is or is not.
        notes: what we remember of it.
        skeleton: raw, None = it has none.
        moved: a person moved its points.
        skeleton_deleted: a person deleted the skeleton.
    """

    item: Item
    key: str
    box: Box
    ours: bool
    edited: bool
    word: bool
    notes: tuple[FaceNote, ...]
    skeleton: Item | None = None
    moved: bool = False
    skeleton_deleted: bool = False

    @property
    def replaceable(self) -> bool:
        """Whether it is our own unedited work."""
        return self.ours and not self.edited

    def note(self, target: Target) -> FaceNote:
        """What to remember of it when nothing is written."""
        if self.notes:
            return replace(self.notes[0], box=self.box, points=DELETED if self.skeleton_deleted else self.notes[0].points)
        if not self.ours:
            return FaceNote(key=self.key, box=self.box)
        points = points_digest(self.skeleton) if self.skeleton and not self.moved else ""
        return FaceNote(key=self.key, box=self.box, words=words_digest(target, self.item), points=points)


@dataclass(slots=True, kw_only=True)
class Known:
    """All boxes of the label in a frame; faces that people deleted; faces of which a track has taken the place."""

    boxes: list[KnownBox]
    gone: list[FaceNote] = field(default_factory=list)
    tracked: list[FaceNote] = field(default_factory=list)


def known_of(target: Target, frame: Frame, note: FrameNote, *, restore: bool = False) -> Known:
    """Tell ours from theirs.

    Args:
        target: labels of the task.
        frame: what stands there.
        note: what we remember of it.
        restore: forget what people deleted.
    """
    face = target.face.id
    items = [item for item in frame.shapes if item["label_id"] == face and item.get("type") == "rectangle"]
    known = Known(boxes=[_known_box(target, item, note) for item in items])
    labels, free = by_id([target.face, target.landmarks]), list(frame.shapes)
    for one in known.boxes:
        # a box in a group has its skeleton there; another one that lies in it was left behind by a deleted box
        group = int(one.item.get("group") or 0)
        mine = [shape for shape in free if int(shape.get("group") or 0) == group] if group else free
        one.skeleton = tied_skeleton(one.item, mine, labels)
        if one.skeleton is not None:
            free = [shape for shape in free if shape is not one.skeleton]
        _judge_skeleton(one, note, restore=restore)
    _find_deleted(known, frame, note, restore=restore)
    return known


def _known_box(target: Target, item: Item, note: FrameNote) -> KnownBox:
    mark, box = mark_of(target, item), box_of(item)
    key = bare(mark.key) if mark else geometry_key(target.task, item["frame"], box)
    notes = tuple(one for one in (*note.faces, *note.next) if one.key == key)
    written = {one.words for one in notes} - {""}
    return KnownBox(
        item=item,
        key=key,
        box=box,
        ours=is_ours(target, item, mark),
        edited=bool(written) and words_digest(target, item) not in written,
        word=has_human_word(target, item, mark),
        notes=notes,
    )


def _judge_skeleton(one: KnownBox, note: FrameNote, *, restore: bool) -> None:
    if one.skeleton is None:
        was_there = any(other.points for other in note.faces if other.key == one.key)
        one.skeleton_deleted = not restore and (was_there or any(other.points == DELETED for other in one.notes))
        return
    elements = one.skeleton.get("elements") or ()
    written = {other.points for other in one.notes} - {"", DELETED}
    by_hand = one.skeleton.get("source") != OURS or any(element.get("source") == "semi-auto" for element in elements)
    one.moved = by_hand or (bool(written) and points_digest(one.skeleton) not in written)


def _find_deleted(known: Known, frame: Frame, note: FrameNote, *, restore: bool) -> None:
    """A face that is there neither under its key nor as a box or track in its place was deleted by a person."""
    keys, remembered = {one.key for one in known.boxes}, {one.key for one in note.faces}
    missing = [one for one in note.faces if one.key not in keys]
    others = [one.box for one in known.boxes if one.key not in remembered]
    pairs = best_pairs([one.box for one in missing], [*others, *frame.tracks])
    known.tracked = [one for row, one in enumerate(missing) if pairs.get(row, -1) >= len(others)]
    if not restore:
        known.gone = [*note.gone, *(one for row, one in enumerate(missing) if row not in pairs)]
