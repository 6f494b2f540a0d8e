"""Pictures of a task, drawn only when somebody asks for one."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

BACKGROUND = 40
"""Grey of a picture without faces, the one of `fakes.picture`."""


class Frames:
    """The frames of a task.

    Args:
        pictures: for each frame an (h, w, 3) uint8 array, a PIL picture, the bytes or the path of a picture file (served as
            they are), a `(width, height)` for an empty grey picture, or a function without arguments that returns any of these.
        names: file name of each frame; `frame_000000.png` and so on without.
        sizes: `(width, height)` of each frame, for functions whose picture should not be drawn to learn it.
    """

    def __init__(
        self, pictures: Sequence[Any], names: Sequence[str] | None = None, sizes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.pictures, self.names, self.sizes = pictures, names, sizes
        self.original = lru_cache(maxsize=16)(self._original)

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, frame: int) -> str:
        """File name of a frame."""
        return self.names[frame] if self.names else f"frame_{frame:06d}.png"

    def size(self, frame: int) -> tuple[int, int]:
        """Width and height."""
        if self.sizes:
            return self.sizes[frame]
        picture = self.pictures[frame]
        if isinstance(picture, tuple):
            return picture
        try:
            return PIL.Image.open(io.BytesIO(self.original(frame)[0])).size
        except PIL.UnidentifiedImageError:
            return (64, 64)

    def _original(self, frame: int) -> tuple[bytes, str]:
        picture = self.pictures[frame]
        while isinstance(picture, Callable):
            picture = picture()
        return encode(picture)

    def compressed(self, frame: int) -> tuple[bytes, str]:
        """Bytes and media type of the JPEG that the annotation page shows."""
        out = io.BytesIO()
        PIL.Image.open(io.BytesIO(self.original(frame)[0])).convert("RGB").save(out, "JPEG", quality=70)
        return out.getvalue(), "image/jpeg"


def encode(picture: Any) -> tuple[bytes, str]:
    """Bytes and media type of one picture of any of the kinds that `Frames` takes."""
    if isinstance(picture, str | Path):
        picture = Path(picture).read_bytes()
    if isinstance(picture, bytes):
        try:
            return picture, PIL.Image.open(io.BytesIO(picture)).get_format_mimetype() or "image/png"
        except PIL.UnidentifiedImageError:
            return picture, "image/png"
    if isinstance(picture, tuple):
        picture = np.full((picture[1], picture[0], 3), BACKGROUND, np.uint8)
    if isinstance(picture, np.ndarray):
        picture = PIL.Image.fromarray(picture)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"
