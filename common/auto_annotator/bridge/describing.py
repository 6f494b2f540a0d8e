"""Descriptors of the faces in CVAT: from the cache where picture, box, points and models are the same, else from the frames."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.faces import Look, PulledFace
from auto_annotator.bridge.frames import stream_bytes
from auto_annotator.bridge.planning import DescribedLooks
from auto_annotator.bridge.vector_cache import Described, VectorCache, look_key
from auto_annotator.errors import AutoAnnotatorError, ImageError
from auto_annotator.pipeline import FaceDescription
from auto_annotator.pipeline.points import FacePoints
from auto_annotator.pipeline.protocols import MakesVectors
from auto_annotator.types import Descriptors, Faces, Image

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server, TaskInfo

log = logging.getLogger(__name__)

NOT_DESCRIBED = "no_descriptor"


class Describer(MakesVectors, Protocol):
    """Who makes descriptors: models on this machine, or a deployed function."""

    def describe(self, data: bytes, image: Image, looks: Sequence[Look]) -> Descriptors:
        """Describe the faces of one frame, given as file and as RGB picture."""


class LocalDescriber:
    """Models on this machine.

    Args:
        description: the recognisers.
        points: places the points of faces that have no skeleton; None = those are aligned by their box.
    """

    def __init__(self, description: FaceDescription, points: FacePoints | None = None) -> None:
        self._description, self._points = description, points
        self.model_set, self.model_hash = description.model_set, description.model_hash
        self.dimension, self.threshold = description.dimension, description.threshold

    def describe(self, data: bytes, image: Image, looks: Sequence[Look]) -> Descriptors:
        """Describe the faces of one frame; points that CVAT knows count, missing sets of points are found in the box."""
        boxes = np.array([look.box for look in looks], np.float32)
        points = np.full((len(looks), 5, 2), np.nan, np.float32)
        for row, look in enumerate(looks):
            if look.landmarks is not None:
                points[row] = look.landmarks
        missing = np.flatnonzero(~np.isfinite(points).any(axis=(1, 2)))
        if self._points is not None and len(missing):
            points[missing] = self._points(image, boxes[missing])
        return self._description(image, Faces(boxes=boxes, scores=np.ones(len(looks), np.float32), landmarks=points))


class _Table:
    """Descriptors as they come together: one slot for each look of each face."""

    def __init__(self, faces: Sequence[PulledFace]) -> None:
        self.slots = [(number, look) for number, face in enumerate(faces) for look in face.looks]
        self.found: dict[int, Described] = {}

    def columns(self, faces: Sequence[PulledFace], dimension: int) -> DescribedLooks:
        pictures = {place: n for n, place in enumerate(sorted({(faces[i].ref.task, look.frame) for i, look in self.slots}))}
        rows = [self.found[slot] for slot in range(len(self.slots))]
        return DescribedLooks(
            face=np.array([number for number, _ in self.slots], np.int64),
            picture=np.array([pictures[faces[number].ref.task, look.frame] for number, look in self.slots], np.int64),
            vectors=np.array([row.vector for row in rows], np.float16).reshape(len(rows), dimension),
            quality=np.array([row.quality for row in rows], np.float32),
            notes=tuple(row.notes for row in rows),
            failures=tuple(row.failure for row in rows),
        )


def describe_faces(
    server: Server,
    tasks: Sequence[TaskInfo],
    faces: Sequence[PulledFace],
    cache: VectorCache,
    describer: Describer,
    *,
    max_pixels: int,
    report: Callable[[int, int], None] = lambda frames, looks: None,
) -> DescribedLooks:
    """Describe every look of every face.

    An interrupted run has lost at most one frame: what is described is in the cache.

    Args:
        server: where the tasks are.
        tasks: of the faces.
        faces: sorted by task.
        cache: of this server and scope.
        describer: makes what the cache does not have.
        max_pixels: largest accepted frame.
        report: called with (frames, looks) that have been dealt with since the last call.

    Raises:
        ServerError: if the server, or the deployed function, cannot be reached any more.
    """
    table = _Table(faces)
    by_frame: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for slot, (number, look) in enumerate(table.slots):
        by_frame[faces[number].ref.task][look.frame].append(slot)
    for task in tasks:
        frames = by_frame[task.id]
        wanted = _from_cache(task, frames, table, cache, describer.model_hash)
        for frame in sorted(set(frames) - set(wanted)):
            report(1, len(frames[frame]))
        for frame, answer in stream_bytes(server, task, sorted(wanted), max_pixels=max_pixels):
            slots = wanted[frame]
            if isinstance(answer, ImageError):
                table.found.update({slot: _nothing(describer.dimension, answer.reason) for slot in slots})
            else:
                _describe_frame(task, frame, answer, slots, table, faces, cache, describer)
            report(1, len(frames[frame]))
    return table.columns(faces, describer.dimension)


def _from_cache(
    task: TaskInfo, frames: dict[int, list[int]], table: _Table, cache: VectorCache, model_hash: str
) -> dict[int, list[int]]:
    """Take what is known; returns the slots that are not, by frame."""
    pictures = cache.pictures(_frame_name(task, frame) for frame in frames)
    keys: dict[int, str] = {}
    for frame, slots in frames.items():
        picture = pictures.get(_frame_name(task, frame))
        if picture:
            keys.update({slot: look_key(picture, table.slots[slot][1], model_hash) for slot in slots})
    known = cache.get(list(keys.values()))
    table.found.update({slot: known[key] for slot, key in keys.items() if key in known})
    missing = {frame: [slot for slot in slots if slot not in table.found] for frame, slots in frames.items()}
    return {frame: slots for frame, slots in missing.items() if slots}


def _describe_frame(
    task: TaskInfo,
    frame: int,
    answer: tuple[bytes, Image],
    slots: Sequence[int],
    table: _Table,
    faces: Sequence[PulledFace],
    cache: VectorCache,
    describer: Describer,
) -> None:
    data, image = answer
    looks = [table.slots[slot][1] for slot in slots]
    try:
        made = describer.describe(data, image, looks)
    except AutoAnnotatorError as error:
        if isinstance(error, ServerError):
            raise  # the service is gone: that is not about this frame
        log.warning("a frame was left without descriptors: %s", type(error).__name__)
        table.found.update({slot: _nothing(describer.dimension, NOT_DESCRIBED) for slot in slots})
        return
    picture = hashlib.sha256(data).hexdigest()
    rows = {}
    for row, slot in enumerate(slots):
        described = Described(
            vector=made.vectors[row].astype(np.float16),
            quality=float(made.quality[row]),
            failure=made.failures[row],
            notes=made.notes[row],
        )
        table.found[slot] = described
        number, look = table.slots[slot]
        rows[look_key(picture, look, describer.model_hash)] = (faces[number].ref.key, described)
    cache.put(_frame_name(task, frame), picture, rows)


def _nothing(dimension: int, failure: str) -> Described:
    return Described(vector=np.zeros(dimension, np.float16), quality=0.0, failure=failure, notes=())


def _frame_name(task: TaskInfo, frame: int) -> str:
    """Names a frame within a server; the file's name stands in it as a hash only. A task's pictures never change in CVAT."""
    width, height = task.frame_size(frame)
    name = hashlib.sha256(task.names[min(frame, len(task.names) - 1)].encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{task.id}/{frame}/{width}x{height}/{name}"
