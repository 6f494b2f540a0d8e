"""A progress bar whose clock goes on while one long request is under way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

EVERY = 0.5
"""Seconds between two looks at the clock: a person sees at least once a second that the command is alive."""


@contextmanager
def living_bar(total: int, unit: str, verb: str, *, every: float = EVERY, **options: Any) -> Iterator[tqdm[Any]]:
    """A bar on standard error, on a terminal only, that is drawn again even when nothing was finished.

    Args:
        total: how many there are to do.
        unit: what is counted.
        verb: what happens to them.
        every: seconds between two drawings.
        options: more of tqdm's.
    """
    stop = threading.Event()
    with tqdm(total=total, unit=unit, desc=verb, **{"disable": None, "file": sys.stderr, "leave": False, **options}) as bar:

        def draw() -> None:
            while not stop.wait(every):
                bar.refresh()

        thread = threading.Thread(target=draw, daemon=True)
        if not bar.disable:
            thread.start()
        try:
            yield bar
        finally:
            stop.set()
            if not bar.disable:
                thread.join()
