"""The journal of a run that describes faces: one line per picture, so that an interrupted run loses at most one picture.

It lies beside the descriptors file until that is written, is JSON Lines of ASCII and begins with a line of what made it. Like the
descriptors file it holds biometric data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.exchange.vectors import decode_rows, encode_vectors
from auto_annotator.types import Float32Array

DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescribedPicture:
    """The descriptors of one picture's faces.

    Attributes:
        digest: of boxes and landmarks that the faces were described with.
        vectors: (n, d) unit rows, or zeros.
        quality: (n,) 0..1.
        failures: n codes, empty = none.
        notes: n tuples of codes.
    """

    digest: str
    vectors: npt.NDArray[Any]
    quality: Float32Array
    failures: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]

    @property
    def failed(self) -> bool:
        """No face has a descriptor: another try may do better, for example when the picture was not there."""
        return bool(self.failures) and all(self.failures)


def digest_of(boxes: npt.ArrayLike, landmarks: npt.ArrayLike) -> str:
    """Short hex of the faces of a picture, equal when a file is read back: (n, 4) boxes and (n, 5, 2) landmarks in float32."""
    parts = [np.ascontiguousarray(np.nan_to_num(np.asarray(a, "<f4"), nan=-1e9)).tobytes() for a in (boxes, landmarks)]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:DIGEST_DIGITS]


def pictures_of(faces: DescribedFaces) -> dict[str, DescribedPicture]:
    """The content of a descriptors file by picture; pictures without faces have no entry."""
    order = np.argsort(faces.images, kind="stable")
    starts = np.flatnonzero(np.diff(faces.images[order], prepend=-1))
    done = {}
    for rows in np.split(order, starts[1:]) if len(order) else []:
        done[faces.image_of(int(rows[0]))] = DescribedPicture(
            digest=digest_of(faces.boxes[rows], faces.landmarks[rows]),
            vectors=faces.vectors[rows],
            quality=faces.quality[rows],
            failures=tuple(faces.failures[i] for i in rows),
            notes=tuple(faces.notes[i] for i in rows),
        )
    return done


def journal_path(output: Path) -> Path:
    """Where the journal of a descriptors file lies."""
    return output.with_name(f"{output.name}.run.jsonl")


class Journal:
    """Writes a line per picture; each is complete on disk before the next picture starts. A context manager.

    Args:
        path: the file; its folder must exist.
        head: what made it: `model_set`, `model_hash`.
        append: go on after the lines that are there, if the first one is whole; half a line at the end becomes a line of its own
            that readers skip.
    """

    def __init__(self, path: Path, head: Mapping[str, str], *, append: bool) -> None:
        append = append and path.exists() and _head(path) == dict(head)
        self._stream = path.open("a" if append else "w", encoding="ascii", newline="\n")
        self._line({} if append else dict(head))

    def write(self, image: str, picture: DescribedPicture) -> None:
        """Add the faces of one picture."""
        self._line(
            {
                "image": image,
                "digest": picture.digest,
                "vectors": encode_vectors(picture.vectors),
                "quality": [float(q) for q in picture.quality],
                "failures": picture.failures,
                "notes": picture.notes,
            }
        )

    def _line(self, content: dict[str, Any]) -> None:
        self._stream.write((json.dumps(content, allow_nan=False) if content else "") + "\n")
        self._stream.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


def read_journal(path: Path, head: Mapping[str, str], dimension: int) -> dict[str, DescribedPicture]:
    """The pictures of a journal. A line that a killed run left half written is skipped, the picture is then described again.

    Args:
        path: the journal; none there = nothing done.
        head: what makes vectors now.
        dimension: of the vectors.

    Raises:
        ConfigError: if it was made by other models, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            made_by = _parsed(stream.readline())
            if made_by is not None and made_by != dict(head):
                raise ConfigError(
                    f"{path}: made by the models {made_by.get('model_set')!r} {made_by.get('model_hash')!r}, now they are"
                    f" {head.get('model_set')!r} {head.get('model_hash')!r}: use those again, or --overwrite to start anew"
                )
            return dict(_pictures(stream, dimension)) if made_by is not None else {}
    except FileNotFoundError:
        return {}


def _pictures(lines: Any, dimension: int) -> Iterator[tuple[str, DescribedPicture]]:
    for line in lines:
        entry = _parsed(line)
        if entry is None:
            continue
        try:
            quality = np.array(entry["quality"], np.float32).reshape(-1)
            failures, notes = tuple(entry["failures"]), tuple(tuple(codes) for codes in entry["notes"])
            vectors = decode_rows(entry["vectors"], len(quality), dimension)
            if not len(quality) == len(failures) == len(notes):
                continue
            yield (
                str(entry["image"]),
                DescribedPicture(digest=entry["digest"], vectors=vectors, quality=quality, failures=failures, notes=notes),
            )
        except (KeyError, TypeError, ValueError, ConfigError):  # damaged: describe the picture again
            continue


def _head(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as stream:
        return _parsed(stream.readline())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
