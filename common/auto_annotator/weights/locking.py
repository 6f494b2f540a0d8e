"""A lock between processes (and threads) that pull into one folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auto_annotator.weights.download import Cancelled

_POLL = 0.05  # seconds between two tries; polling keeps Ctrl-C alive while another process downloads

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock(path: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the lock file `path`; the system frees it when the process ends, however it ends.

    The empty file stays: removing it would let two processes hold the lock of the same name.

    Raises:
        Cancelled: if `stop` is set while waiting.
        OSError: if the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        while True:
            try:
                _try_lock(descriptor)
                break
            except (BlockingIOError, PermissionError):
                if stop.wait(_POLL):
                    raise Cancelled from None
        yield
    finally:
        os.close(descriptor)
