"""Every face box of a task as it stands in CVAT: ours, a person's, any rectangle of the label; a track is one face."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auto_annotator.bridge.plan import Box, FaceRef
from auto_annotator.bridge.shapes import Item, attributes_of, box_of, by_id, label_named, landmarks_of, tied_skeleton, track_boxes
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.keys import face_keys
from auto_annotator.types import Float32Array

if TYPE_CHECKING:
    from auto_annotator.bridge.server import JobInfo, LabelInfo, TaskInfo

TRACK_LOOKS = 5
"""Frames of a track that are described: the next ones show nearly the same picture again."""

IDENTITY = ("person", "name", "face_key")
"""Attributes that hold who a face is; the label of the faces must have all of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """A face in one frame: its box, and (5, 2) float32 points as far as CVAT knows them (`alignment_points`)."""

    frame: int
    box: Box
    landmarks: Float32Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PulledFace:
    """One face of CVAT.

    Attributes:
        ref: where it is.
        attributes: all values of its label by name.
        looks: the frames in which it is described; one for a shape, up to `TRACK_LOOKS` for a track.
    """

    ref: FaceRef
    attributes: Mapping[str, str]
    looks: tuple[Look, ...]


def face_label(task: TaskInfo, name: str = FACE) -> LabelInfo:
    """The label of the faces, with all attributes that hold who they are.

    Raises:
        ConfigError: if the task has no such rectangle label, or it lacks an attribute; says what to do.
    """
    label = label_named(task.labels, name, "rectangle")
    where = f"project {task.project}" if task.project is not None else f"task {task.id}"
    if label is None:
        others = ", ".join(one.name for one in task.labels if one.type in ("rectangle", "any")) or "none"
        raise ConfigError(
            f"{where}: has no rectangle label {name!r} (its rectangle labels: {others}); run `auto-annotator cvat setup --{where}`,"
            " or name the label of the faces with --label"
        )
    kinds = {attribute.name: attribute.input_type for attribute in label.attributes}
    if lacking := [one for one in IDENTITY if kinds.get(one) != "text"]:
        setup = f"auto-annotator cvat setup --{where}" + ("" if name == FACE else f" --label {name}")
        raise ConfigError(f"{where}, label {name!r}: lacks the text attributes {', '.join(lacking)}; run `{setup}`")
    return label


def pulled_faces(task: TaskInfo, job: JobInfo, annotations: Mapping[str, Any], label: LabelInfo) -> list[PulledFace]:
    """The faces of a job, by frame and id; deleted frames have none.

    Args:
        task: the job's task.
        job: which of its jobs.
        annotations: raw, of that job.
        label: of the faces.
    """
    labels = by_id(task.labels)
    shapes = [s for s in annotations.get("shapes") or () if s["frame"] not in task.deleted_frames]
    in_frame: dict[int, list[Item]] = defaultdict(list)
    for shape in shapes:
        in_frame[shape["frame"]].append(shape)
    found: list[tuple[Item, str, tuple[Look, ...]]] = []
    for shape in shapes:
        if shape["label_id"] == label.id and shape.get("type") == "rectangle":
            skeleton = tied_skeleton(shape, in_frame[shape["frame"]], labels)
            size = task.frame_size(shape["frame"])
            points = alignment_points(skeleton, labels[skeleton["label_id"]], size) if skeleton else None
            found.append((shape, "shape", (Look(frame=shape["frame"], box=box_of(shape), landmarks=points),)))
    for track in annotations.get("tracks") or ():
        if track["label_id"] == label.id and (looks := _track_looks(track, job, task.deleted_frames)):
            found.append((track, "track", looks))
    found.sort(key=lambda entry: (entry[2][0].frame, entry[1], entry[0]["id"]))
    keys = keys_of(task.id, [entry[2][0] for entry in found])
    return [
        PulledFace(
            ref=FaceRef(
                task=task.id,
                job=job.id,
                frame=looks[0].frame,
                kind="track" if kind == "track" else "shape",
                id=int(item["id"]),
                label=label.id,
                box=looks[0].box,
                key=key,
            ),
            attributes=attributes_of(item, label),
            looks=looks,
        )
        for (item, kind, looks), key in zip(found, keys, strict=True)
    ]


def alignment_points(skeleton: Item, label: LabelInfo, size: tuple[int, int]) -> Float32Array | None:
    """(5, 2) points of a skeleton that a recogniser's crop is cut by; None if its label has other points.

    A point that is outside because the head hides it waits where it was predicted, and the face is aligned by that place; with four
    points of five the box alone would align it, far worse. NaN where an outside point waits at the border of the picture: it lies
    beyond it, nobody knows how far.

    Args:
        skeleton: raw.
        label: its label.
        size: (width, height) of the frame.
    """
    elements = [
        {**element, "outside": False} if element.get("outside") and _within(element.get("points") or (), size) else element
        for element in skeleton.get("elements") or ()
    ]
    return landmarks_of({**skeleton, "elements": elements}, label)


def _within(point: Sequence[float], size: tuple[int, int]) -> bool:
    return len(point) == 2 and all(0 < float(at) < side for at, side in zip(point, size, strict=True))


def keys_of(task: int, looks: Sequence[Look]) -> list[str]:
    """Geometry keys of faces of one task, unique among those that are given together."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, look in enumerate(looks):
        rows[look.frame].append(row)
    keys = [""] * len(looks)
    for frame, members in rows.items():
        for row, key in zip(members, face_keys(f"{task}/{frame}", [looks[i].box for i in members]), strict=True):
            keys[row] = key
    return keys


def _track_looks(track: Item, job: JobInfo, deleted: frozenset[int]) -> tuple[Look, ...]:
    """Some visible frames of a track, spread over its length, keyframes first: there a person or a tracker placed the box."""
    boxes = {f: box for f, box in track_boxes(track, range(job.start, job.stop + 1)).items() if f not in deleted and _has_area(box)}
    keyframes = [f for f in sorted({int(s["frame"]) for s in track.get("shapes") or () if not s.get("outside")}) if f in boxes]
    frames = keyframes or sorted(boxes)
    if not frames:
        return ()
    picks = np.unique(np.linspace(0, len(frames) - 1, min(TRACK_LOOKS, len(frames))).round().astype(int))
    if len(keyframes) == 1 and len(boxes) > 1:  # a keyframe and its echo: look at the end of the echo too
        frames, picks = [keyframes[0], max(boxes)], np.array([0, 1]) if max(boxes) != keyframes[0] else np.array([0])
    return tuple(Look(frame=frames[i], box=boxes[frames[i]]) for i in picks)


def _has_area(box: Box) -> bool:
    return box[2] > box[0] and box[3] > box[1]
