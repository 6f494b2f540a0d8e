"""The frames of a task as pictures, fetched ahead by a few threads, in order, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from auto_annotator import imageio
from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.server import Server, TaskInfo
from auto_annotator.errors import ImageError
from auto_annotator.types import Image

AHEAD = 4

_OF_THE_FRAME = frozenset({400, 404, 410, 415, 416, 422, 500})
"""Answers that are about this frame, such as a file that the server itself cannot read; the next one may be fine."""


def stream_frames(
    server: Server, task: TaskInfo, frames: Iterable[int], *, max_pixels: int, ahead: int = AHEAD
) -> Iterator[tuple[int, Image | ImageError]]:
    """Frames as RGB pictures, in the order asked for; pictures and videos alike.

    Args:
        server: where the task is.
        task: whose frames.
        frames: their numbers; taken one by one, as the stream goes on.
        max_pixels: largest accepted width x height.
        ahead: how many are fetched and decoded ahead, from 1; at most one more is in memory.

    Yields:
        Number and (h, w, 3) uint8 RGB, or the reason why this frame cannot be used.

    Raises:
        ServerError: if the server cannot be reached or refuses the account; not for a single bad frame.
        ValueError: if `ahead` is below 1.
    """
    for frame, data in stream_bytes(server, task, frames, ahead=ahead, max_pixels=max_pixels):
        yield frame, data[1] if isinstance(data, tuple) else data


def stream_bytes(
    server: Server, task: TaskInfo, frames: Iterable[int], *, max_pixels: int, ahead: int = AHEAD
) -> Iterator[tuple[int, tuple[bytes, Image] | ImageError]]:
    """As `stream_frames`, the encoded bytes together with the picture."""
    if ahead < 1:
        raise ValueError(f"ahead: got {ahead}, expected at least 1")

    def fetch(frame: int) -> tuple[bytes, Image] | ImageError:
        try:
            data = server.frame_bytes(task.id, frame)
            return data, imageio.decode(data, max_pixels=max_pixels)
        except ImageError as error:
            return error.with_traceback(None)
        except ServerError as error:
            if error.status not in _OF_THE_FRAME:
                raise
            return ImageError("unreadable_file", f"frame {frame}: the server could not give the picture ({error.status})")

    numbers = iter(frames)
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="frames")
    waiting: deque[tuple[int, Future[tuple[bytes, Image] | ImageError]]] = deque()
    try:
        waiting.extend((frame, pool.submit(fetch, frame)) for frame in islice(numbers, ahead))
        while waiting:
            frame, future = waiting.popleft()
            result = future.result()
            del future
            waiting.extend((later, pool.submit(fetch, later)) for later in islice(numbers, 1))
            yield frame, result
            del result  # or two pictures would be held while the next one is awaited
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
