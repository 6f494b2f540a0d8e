"""Take a push back: the attribute values of its backup, for faces that still hold what the push wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from auto_annotator.bridge.judging import State
from auto_annotator.bridge.push import Outcome, newly_done
from auto_annotator.bridge.writing import CHUNK, Survey, write_all

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server


def undo(server: Server, found: Survey, *, chunk: int = CHUNK, progress: Callable[[int], object] = lambda faces: None) -> Outcome:
    """Restore what a push changed; may be repeated and interrupted at any time.

    Args:
        server: the one the backup was made for.
        found: `writing.survey` of `Backup.goals`.
        chunk: faces in one request.
        progress: told how many more faces are restored.

    Raises:
        ServerError: if the server refuses or does not get well again; the next run goes on.
    """
    if not found.count(State.TODO):
        return Outcome(judged=found.judged, written=0)
    judged = write_all(server, found, chunk=chunk, progress=progress)
    return Outcome(judged=judged, written=newly_done(found, judged))
