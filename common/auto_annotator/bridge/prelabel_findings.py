"""Faces of the frames of a task, found on this machine or by the deployed function; a bad frame is a finding too, never the end."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.frames import stream_bytes, stream_frames
from auto_annotator.bridge.prelabel import Finding
from auto_annotator.cvat.failures import INTERNAL_ERROR, failure_place, failure_reason
from auto_annotator.cvat.labels import FACE, FACE_ERROR, FACE_LANDMARKS
from auto_annotator.cvat.shapes import FaceShape, Point, face_shapes
from auto_annotator.errors import ImageError
from auto_annotator.types import LANDMARK_NAMES, Detection, Image

if TYPE_CHECKING:
    from auto_annotator.bridge.functions_client import FunctionsClient
    from auto_annotator.bridge.server import Server, TaskInfo

logger = logging.getLogger(__name__)

HOPELESS = 5
"""Frames in a row with which a function fails, from which on it is the function and not the frames."""


def local_findings(
    server: Server, task: TaskInfo, frames: Iterable[int], detect: Callable[[Image], Detection], *, max_pixels: int
) -> Iterator[Finding]:
    """Run the ensemble here; frames are fetched ahead.

    Args:
        server: where the task is.
        task: whose frames.
        frames: their numbers.
        detect: picture -> faces.
        max_pixels: largest accepted width x height.

    Raises:
        ServerError: if the server cannot be used.
    """
    for frame, picture in stream_frames(server, task, frames, max_pixels=max_pixels):
        try:
            if isinstance(picture, ImageError):
                raise picture
            yield Finding(frame=frame, faces=tuple(face_shapes(detect(picture))))
        except Exception as error:
            yield failed(frame, error)


def failed(frame: int, error: Exception) -> Finding:
    """The finding of a frame that could not be worked on; the log says where, and nothing that the error may hold."""
    reason = failure_reason(error)
    logger.info("frame %d: %s (%s at %s)", frame, reason, type(error).__name__, failure_place(error))
    return Finding(frame=frame, error=reason)


def deployed_findings(
    server: Server,
    task: TaskInfo,
    frames: Iterable[int],
    client: FunctionsClient,
    *,
    threshold: float | None,
    in_flight: int,
    max_pixels: int,
) -> Iterator[Finding]:
    """Ask the deployed face-detection, several frames at once; in order.

    Args:
        server: where the task is.
        task: whose frames.
        frames: their numbers.
        client: of the functions.
        threshold: lowest score, None = the function's own.
        in_flight: frames that are asked for at once, from 1.
        max_pixels: largest accepted width x height.

    Raises:
        ServerError: if the server or the function cannot be used.
    """

    def ask(frame: int, data: bytes) -> Finding:
        try:
            return finding_of(frame, client.detect(data, threshold))
        except ImageError as error:
            return Finding(frame=frame, error=error.reason)

    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="functions")
    waiting: deque[tuple[int, Future[Finding] | Finding]] = deque()
    hopeless = 0
    try:
        for frame, data in stream_bytes(server, task, frames, max_pixels=max_pixels, ahead=max(in_flight, 2)):
            if isinstance(data, ImageError):
                waiting.append((frame, Finding(frame=frame, error=data.reason)))
            else:
                waiting.append((frame, pool.submit(ask, frame, data[0])))
            while len(waiting) >= in_flight:
                finding, hopeless = _answer(*waiting.popleft(), hopeless)
                yield finding
        while waiting:
            finding, hopeless = _answer(*waiting.popleft(), hopeless)
            yield finding
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _answer(frame: int, answer: Future[Finding] | Finding, hopeless: int) -> tuple[Finding, int]:
    """The finding, and with how many frames in a row the function has failed."""
    if isinstance(answer, Finding):
        return answer, hopeless
    try:
        return answer.result(), 0
    except ServerError as error:
        if error.status != 500 or hopeless + 1 >= HOPELESS:
            raise
        return Finding(frame=frame, error=INTERNAL_ERROR), hopeless + 1


def finding_of(frame: int, items: Sequence[Mapping[str, Any]]) -> Finding:
    """What a reply of face-detection says of a frame.

    Raises:
        ServerError: if it is not such a reply.
    """
    try:
        if errors := [item for item in items if item["label"] == FACE_ERROR]:
            return Finding(frame=frame, error=_texts(errors[0]).get("reason", "") or INTERNAL_ERROR)
        skeletons = {int(item["group_id"]): _points(item) for item in items if item["label"] == FACE_LANDMARKS}
        boxes = [item for item in items if item["label"] == FACE]
        return Finding(frame=frame, faces=tuple(_face(item, skeletons) for item in boxes))
    except (KeyError, TypeError, ValueError):
        raise ServerError(
            "face-detection: got a reply of another form, expected the one of docs/functions.md: is it this project's function?"
        ) from None


def _face(item: Mapping[str, Any], skeletons: Mapping[int, tuple[Point, ...]]) -> FaceShape:
    x1, y1, x2, y2 = (float(edge) for edge in item["points"])
    group = int(item["group_id"])
    score = float(item["confidence"])
    if not (x1 < x2 and y1 < y2 and 0 <= score <= 1):
        raise ValueError("box or score")
    return FaceShape(box=(x1, y1, x2, y2), score=score, group=group, attributes=_texts(item), points=skeletons.get(group))


def _points(item: Mapping[str, Any]) -> tuple[Point, ...]:
    elements = {element["label"]: element for element in item["elements"]}
    return tuple(
        Point(x=float(elements[name]["points"][0]), y=float(elements[name]["points"][1]), outside=bool(elements[name]["outside"]))
        for name in LANDMARK_NAMES
    )


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    return {str(value["name"]): str(value["value"]) for value in item.get("attributes") or ()}
