"""Descriptor files under the one folder that a clustering request may name: nothing else of the machine can be read or felt for."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.descriptors_file import read_descriptors
from auto_annotator.serving.replies import RequestError

SUFFIXES = (".npy", ".npz")
VECTORS = "vectors.npy"
"""Member of an .npz that holds the vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileShape:
    """What the head of a file says of its vectors, before anything of them is read.

    Attributes:
        rows, dimension: of the array.
    """

    rows: int
    dimension: int


def resolve(text: object, folder: Path | None) -> Path:
    """The file that a request names.

    Args:
        text: its path from the folder on.
        folder: `AUTO_ANNOTATOR_SHARED_DIR`, None = not set.

    Returns:
        The file itself: links are followed, and must lead to a place under the folder.

    Raises:
        RequestError: one message for what is not there and for what is not under the folder, so that nobody learns which.
    """
    if folder is None:
        raise RequestError(
            "path: got one, but no folder is shared with this function: set AUTO_ANNOTATOR_SHARED_DIR, or send `descriptors`"
        )
    if not isinstance(text, str):
        raise RequestError("path: got no text, expected the path of an .npz or .npy file from the shared folder on")
    refusal = RequestError(
        "path: got none of a file, expected an .npz or .npy file under the shared folder, its path from there on"
    )
    given = PurePosixPath(text)
    if given.is_absolute() or "\0" in text or ".." in given.parts or given.suffix.lower() not in SUFFIXES:
        raise refusal
    try:
        root = folder.resolve(strict=True)
        path = (root / given).resolve(strict=True)
        inside = path.is_relative_to(root) and path.is_file() and path.suffix.lower() in SUFFIXES
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle; ValueError: no text that a system can have
        raise refusal from None
    if not inside:
        raise refusal
    return path


def file_shape(path: Path) -> FileShape:
    """Read the head of the vectors in an .npy or .npz file.

    Raises:
        RequestError: if it is damaged, or holds something else than a table of float16 or float32.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                shape, dtype = _head(file)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(VECTORS) as member:
                shape, dtype = _head(member)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        raise RequestError(f"path: the file is damaged, or has no `{VECTORS}`; write it with `auto-annotator describe`") from None
    if dtype not in (np.float16, np.float32) or len(shape) != 2:
        raise RequestError("path: the file's vectors are no table of float16 or float32 numbers, one row for each face")
    return FileShape(rows=shape[0], dimension=shape[1])


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Vectors, and what came with them.

    Attributes:
        vectors: (n, d) float16 or float32.
        quality: (n,) float32, or None.
        images: (n,) int64 number of the picture of each face, or None.
        model_hash: what made the vectors, or None.
        threshold: its calibrated cosine, or None.
    """

    vectors: npt.NDArray[np.floating]
    quality: npt.NDArray[np.float32] | None = None
    images: npt.NDArray[np.int64] | None = None
    model_hash: str | None = None
    threshold: float | None = None


def read(path: Path) -> Table:
    """The vectors of a file, mapped where it allows it, and of an .npz also quality, pictures, model set and threshold.

    Raises:
        RequestError: if the file is damaged, or no table of unit vectors.
    """
    if path.suffix.lower() == ".npy":
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            raise RequestError("path: the file is damaged: it is shorter than its head says") from None
        return Table(vectors=vectors)
    try:
        faces = read_descriptors(path)
    except ConfigError as error:
        why = str(error).removeprefix(f"{path}: ")  # the caller knows the name, and no other path is theirs to know
        raise RequestError(f"path: the file is none that `auto-annotator describe` writes: {why}") from None
    return Table(
        vectors=faces.vectors,
        quality=faces.quality,
        images=faces.images,
        model_hash=faces.model_hash,
        threshold=faces.threshold,
    )
