"""Progress bars that move at least once a second, however long a single request takes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from auto_annotator.errors import AutoAnnotatorError

TICK = 0.8
"""Seconds between two refreshes: the clock of the bar shows that the command is alive."""


@contextmanager
def progress_bar(total: int | None, unit: str, what: str, *, every: float = TICK, **options: Any) -> Iterator[tqdm[Any]]:
    """A bar on standard error; none where that is no terminal.

    Args:
        total: how many units there are, None = not known.
        unit: of what is counted, singular.
        what: what is being done.
        every: seconds between two refreshes.
        options: more of tqdm's.
    """
    # miniters=1: by itself tqdm learns to look at the clock only every so many updates, and then falls silent when work slows down
    given: dict[str, Any] = {"disable": None, "file": sys.stderr, "leave": False, "mininterval": 0.2, "miniters": 1} | options
    with tqdm(total=total, unit=unit, desc=what, **given) as bar, _ticking(bar, every):
        yield bar


@contextmanager
def resumable_bar(total: int, unit: str, what: str, *, goes_on: str) -> Iterator[Callable[[int], None]]:
    """A bar whose work can be taken up again; whatever ends it early says how far it came and that it can.

    Args:
        total: how many units there are.
        unit: of what is counted, singular.
        what: what is being done.
        goes_on: what the same command does next time, after a semicolon.

    Yields:
        What to call with the number of units that were dealt with.
    """
    done = 0

    def dealt_with(units: int) -> None:
        nonlocal done
        done += units  # a bar that is not shown does not count
        bar.update(units)

    with progress_bar(total, unit, what) as bar:
        try:
            yield dealt_with
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: {done} of {total} {unit}s are done; {goes_on}") from None
        except AutoAnnotatorError as error:
            error.args = (f"{error}; {done} of {total} {unit}s are done; {goes_on}",)
            raise


@contextmanager
def _ticking(bar: tqdm[Any], every: float) -> Iterator[None]:
    if bar.disable:
        yield
        return
    over = threading.Event()

    def tick() -> None:
        while not over.wait(every):
            bar.refresh()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
