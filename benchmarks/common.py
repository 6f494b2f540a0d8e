"""What the benchmarks share: development data, tables, the pictures that a fresh machine has."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from auto_annotator.config import load_settings
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.imageio import read
from auto_annotator.samples import sample_pictures
from auto_annotator.session import usable_cores
from auto_annotator.types import Image

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
CACHE = REPOSITORY / ".cache" / "benchmarks"
__all__ = [
    "CACHE",
    "DATA",
    "LabelledPicture",
    "NotAvailable",
    "digest",
    "landmarked",
    "load",
    "machine",
    "need",
    "samples",
    "table",
    "wider",
]


class NotAvailable(Exception):
    """A measurement needs something that is not here; it is printed as such, never as 0."""


def need(folder: str) -> Path:
    """A folder of the development data.

    Raises:
        NotAvailable: if it is not beside the checkout.
    """
    path = DATA / folder
    if not path.is_dir():
        raise NotAvailable(f"development data {folder} is not beside the checkout (../shared/data)")
    return path


def wider() -> list[LabelledPicture]:
    """The development half of the WIDER FACE validation subset."""
    return read_labelled(need("wider_val_subset"))


def landmarked(folder: str, limit: int | None = None) -> tuple[list[Path], np.ndarray]:
    """Pictures of a landmark set and their (n, 5, 2) points."""
    root = need(folder)
    rows = json.loads((root / "annotations.json").read_text())[:limit]
    return [root / "images" / r["file"] for r in rows], np.asarray([r["landmarks5"] for r in rows], float)


def samples() -> list[Path]:
    """The sample pictures that every machine can have."""
    return sample_pictures(load_settings().models / "samples")


def load(path: Path) -> Image:
    """A picture, decoded."""
    return read(path, max_pixels=load_settings().max_pixels)


def digest(paths: Iterable[Path]) -> str:
    """A short hash of the content of files, for provenance."""
    sha = hashlib.sha256()
    for path in sorted(paths):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with a title line."""
    cells = [[f"{c:.3f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = ["", f"### {title}", "", "| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in cells), ""])


def machine() -> str:
    """One line about where and when the numbers come from."""
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}"
