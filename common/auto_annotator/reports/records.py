"""The JSON Lines record: one line of JSON per picture, the form in which all results are kept.

Every other output (CVAT XML, COCO, the page) is made from these records, so a run that was stopped can be resumed and an
export can be repeated without running a model again. The form of a line:

    {"image": "party/a.jpg", "width": 640, "height": 480,
     "faces": [{"box": [x1, y1, x2, y2], "score": 0.97, "landmarks": [[x, y], null, ...],
                "votes": {"yunet": 0.98, "centerface": null}, "review": true, "reasons": ["few_votes"],
                "hidden": ["left_eye"]}]}

`hidden` names the landmarks that the head itself hides and is left out where there are none; they stand where they were guessed.
`error` is there when the picture could not be read (width and height are null then), `problems` when members of the ensemble
did not answer. Lines are pure ASCII with no NaN: any JSON reader in any encoding takes them. A reader ignores keys that it does
not know, so a later version may add some.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import numpy as np
from pydantic import AllowInfNan, Strict, TypeAdapter, ValidationError

from auto_annotator.errors import AutoAnnotatorError, ImageError
from auto_annotator.types import LANDMARK_NAMES, Detection, Problem

PIXEL_DECIMALS = 2
"""A hundredth of a pixel is finer than any detector and than CVAT's own export, which has two decimals as well."""
SCORE_DECIMALS = 4

Number = Annotated[float, Strict(), AllowInfNan(False)]
"""A JSON number; text such as "12" is not taken for one when a line is read."""
Point = tuple[Number, Number]
Box = tuple[Number, Number, Number, Number]


class RecordError(AutoAnnotatorError):
    """A line of a records file is not a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord:
    """One face of one picture, in plain numbers.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the upright picture, origin at its top left corner.
        score: 0..1, calibrated as the ensemble says.
        landmarks: x, y of the five points in the order of `types.LANDMARK_NAMES`; None where unknown.
        votes: score per box member, None = the member did not see the face.
        review: should a person look at it.
        reasons: codes of why (`review.REASONS` has the sentences).
        hidden: names of the points that the head itself hides (`types.LANDMARK_NAMES`); where they are placed is a guess.

    Raises:
        ValueError: for numbers that are not finite, an inverted box, a number of points other than five, or a hidden point that
            is none of them.
    """

    box: Box
    score: Number
    landmarks: tuple[Point | None, ...]
    votes: dict[str, Number | None]
    review: Annotated[bool, Strict()]
    reasons: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = [p for p in self.landmarks if p is not None]
        numbers = [*self.box, self.score, *(v for p in known for v in p), *(v for v in self.votes.values() if v is not None)]
        if not all(math.isfinite(v) for v in numbers):
            raise ValueError("a face has a number that is not finite; unknown points and votes are None")
        if self.box[2] < self.box[0] or self.box[3] < self.box[1]:
            raise ValueError(f"box: got {list(self.box)}, expected x1 <= x2 and y1 <= y2")
        if len(self.landmarks) != len(LANDMARK_NAMES):
            raise ValueError(f"landmarks: got {len(self.landmarks)} points, expected {len(LANDMARK_NAMES)}")
        if not set(self.hidden) <= set(LANDMARK_NAMES):
            raise ValueError(f"hidden: got {', '.join(self.hidden)[:80]}, expected names of {', '.join(LANDMARK_NAMES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureError:
    """Why a picture could not be read: the reason code of `ImageError` and its message."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known about one picture.

    Attributes:
        image: its path relative to the input folder, with forward slashes on every system.
        width, height: size in pixels of the upright picture; None when it could not be read.
        faces: best score first, as the pipeline returned them.
        error: why the picture could not be read, else None.
        problems: members that did not answer for this picture.

    Raises:
        ValueError: unless there is either a size or an error.
    """

    image: str
    width: Annotated[int, Strict()] | None
    height: Annotated[int, Strict()] | None
    faces: tuple[FaceRecord, ...] = ()
    error: PictureError | None = None
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        if self.error is None and not (self.width and self.height and self.width > 0 and self.height > 0):
            raise ValueError(f"size: got {self.width} x {self.height}, expected two positive numbers or an error")
        if self.error is not None and (self.width is not None or self.height is not None or self.faces):
            raise ValueError("a picture that could not be read has no size and no faces")

    @property
    def review_count(self) -> int:
        """How many of the faces a person should look at."""
        return sum(face.review for face in self.faces)


def from_detection(image_name: str, detection: Detection) -> Record:
    """The record of a picture that was read; numbers are rounded here, once.

    Args:
        image_name: path relative to the input folder; backslashes of Windows paths must be forward slashes already.
        detection: what the pipeline returned for it.

    Raises:
        ValueError: if a box or a score is not finite (the pipeline never returns such a face).
    """
    faces, votes = detection.faces, detection.votes
    return Record(
        image=image_name,
        width=detection.width,
        height=detection.height,
        problems=detection.problems,
        faces=tuple(
            FaceRecord(
                box=tuple(_rounded(v, PIXEL_DECIMALS) for v in faces.boxes[i]),  # type: ignore[arg-type]
                score=_rounded(faces.scores[i], SCORE_DECIMALS),
                landmarks=tuple(_point(p) for p in faces.landmarks[i]),
                votes={
                    member: _rounded(score, SCORE_DECIMALS) if np.isfinite(score) else None
                    for member, score in zip(votes.members, votes.scores[i], strict=True)
                },
                review=detection.review[i],
                reasons=tuple(detection.reasons[i]),
                hidden=()
                if detection.hidden is None
                else tuple(n for n, h in zip(LANDMARK_NAMES, detection.hidden[i], strict=True) if h),
            )
            for i in range(len(faces))
        ),
    )


def from_error(image_name: str, error: ImageError) -> Record:
    """The record of a picture that was refused."""
    return Record(image=image_name, width=None, height=None, error=PictureError(reason=error.reason, message=str(error)))


def _rounded(value: float, decimals: int) -> float:
    return round(float(value), decimals) + 0.0  # + 0.0 turns -0.0 into 0.0


def _point(point: np.ndarray[Any, Any]) -> Point | None:
    if not np.isfinite(point).all():
        return None
    return _rounded(point[0], PIXEL_DECIMALS), _rounded(point[1], PIXEL_DECIMALS)


def to_json(record: Record) -> str:
    """One line of JSON without its line end; pure ASCII, so that no reader can split or misread it."""
    data: dict[str, Any] = {"image": record.image, "width": record.width, "height": record.height}
    data["faces"] = [
        {name: getattr(face, name) for name in _FACE_KEYS} | ({"hidden": face.hidden} if face.hidden else {})
        for face in record.faces
    ]
    if record.error is not None:
        data["error"] = {"reason": record.error.reason, "message": record.error.message}
    if record.problems:
        data["problems"] = [{"member": p.member, "reason": p.reason, "detail": p.detail} for p in record.problems]
    return json.dumps(data, allow_nan=False)


_FACE_KEYS = ("box", "score", "landmarks", "votes", "review", "reasons")


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def from_json(line: str | bytes, *, where: str = "record") -> Record:
    """Read one line that `to_json` wrote.

    Args:
        line: the JSON text.
        where: how the error message calls the line, such as `faces.jsonl line 3`.

    Raises:
        RecordError: if it is not JSON or not a record; the message names the line and the field.
    """
    try:
        # json and not pydantic's own parser: file names that are not valid UTF-8 hold lone surrogates, which the latter refuses
        data = json.loads(line, parse_constant=_refuse_constant)
        return _adapter().validate_python(data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors()[:3])
        raise RecordError(f"{where}: not a record: {problems}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not valid JSON ({error}); expected one JSON object per line") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def read_records(path: Path, *, tolerate_partial_last_line: bool = True) -> Iterator[Record]:
    """Yield the records of a file, one line at a time.

    Args:
        path: a JSON Lines file.
        tolerate_partial_last_line: drop a last line without line end that is not a record: a run that was killed leaves one.

    Raises:
        RecordError: at a line that is not a record, with its number. Empty lines are skipped.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield from_json(line, where=f"{path.name} line {number}")
            except RecordError:
                if tolerate_partial_last_line and not line.endswith(b"\n"):
                    return
                raise


class RecordWriter:
    """Writes records to a file, each line complete on disk before the next picture starts.

    Args:
        path: the file; its folder must exist.
        append: go on after the lines that are there (`--resume`). Half a line at the end is cut off first.

    Use it as a context manager.
    """

    def __init__(self, path: Path, *, append: bool = False) -> None:
        if append and path.exists():
            _mend_tail(path)
        self._stream = path.open("a" if append else "w", encoding="ascii", newline="\n")

    def write(self, record: Record) -> None:
        """Add one line and flush it, so that a killed run loses at most the picture it was at."""
        self._stream.write(to_json(record) + "\n")
        self._stream.flush()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


def _mend_tail(path: Path) -> None:
    """Give a complete last line its line end; cut off half a line."""
    with path.open("r+b") as stream:
        start = 0
        for line in stream:
            if line.endswith(b"\n"):
                start += len(line)
                continue
            try:
                from_json(line)
            except RecordError:
                stream.truncate(start)
            else:
                stream.seek(0, os.SEEK_END)
                stream.write(b"\n")
            return
