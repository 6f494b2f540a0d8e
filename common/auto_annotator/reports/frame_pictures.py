"""Pictures of faces for the pages of CVAT's faces: frames come from the server, one after the other, and only those needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auto_annotator.bridge.frames import stream_frames
from auto_annotator.bridge.plan import FaceRef
from auto_annotator.errors import ImageError
from auto_annotator.reports.page_view import data_url, square_around
from auto_annotator.types import Image

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server, TaskInfo

SIDE, QUALITY = 144, 74
"""Pixels: one and a half times the size on the page, some 4 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePicture:
    """A square around a face.

    Attributes:
        url: JPEG as a data URL.
        left, top, width, height: of the box within the square, in per cent.
    """

    url: str
    left: float
    top: float
    width: float
    height: float


def frames_of(refs: Iterable[FaceRef]) -> dict[int, list[int]]:
    """Task -> the frames that hold the faces, ascending."""
    found: dict[int, set[int]] = defaultdict(set)
    for ref in refs:
        found[ref.task].add(ref.frame)
    return {task: sorted(frames) for task, frames in sorted(found.items())}


def face_pictures(
    server: Server,
    tasks: Sequence[TaskInfo],
    refs: Sequence[FaceRef],
    *,
    margin: float,
    max_pixels: int,
    progress: Callable[[int], object] = lambda frames: None,
) -> Iterator[tuple[FaceRef, FacePicture]]:
    """A picture of each face; faces whose frame is deleted or cannot be read are left out.

    Args:
        server: where the frames are.
        tasks: at least those of the faces; faces of others are left out.
        refs: the faces.
        margin: share of the box side that is shown around it.
        max_pixels: largest accepted width x height of a frame.
        progress: called with the number of frames that were dealt with since the last call.

    Raises:
        ServerError: if the server cannot be reached.
    """
    known = {task.id: task for task in tasks}
    in_frame: dict[tuple[int, int], list[FaceRef]] = defaultdict(list)
    for ref in refs:
        in_frame[ref.task, ref.frame].append(ref)
    for number, frames in frames_of(refs).items():
        task = known.get(number)
        there = [f for f in frames if task and 0 <= f < task.size and f not in task.deleted_frames]
        progress(len(frames) - len(there))
        if task is None:
            continue
        for frame, image in stream_frames(server, task, there, max_pixels=max_pixels):
            if not isinstance(image, ImageError):
                yield from ((ref, _picture(image, ref, margin)) for ref in in_frame[number, frame])
            progress(1)


def _picture(image: Image, ref: FaceRef, margin: float) -> FacePicture:
    part, (left, top), side = square_around(image, ref.box, margin)
    x1, y1, x2, y2 = ref.box

    def percent(value: float) -> float:
        return round(min(max(100 * value / side, 0.0), 100.0), 1)

    x, y = percent(x1 - left), percent(y1 - top)
    return FacePicture(
        url=data_url(part, SIDE, QUALITY),
        left=x,
        top=y,
        width=round(percent(x2 - left) - x, 1),
        height=round(percent(y2 - top) - y, 1),
    )
