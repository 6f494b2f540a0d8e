"""The central values of the library: columns of arrays, frozen, with shapes checked once at construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
"""RGB picture: (h, w, 3) uint8, upright."""

LANDMARK_NAMES = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""Order of the five points, named from the person's own side as in COCO.

On an upright frontal face the image-left eye (the person's right eye) comes first, as all public 5-point models order them.
"""


LANDMARK_EDGES = ((0, 2), (1, 2), (2, 3), (2, 4), (3, 4))
"""Lines that a skeleton draws between the points: eyes to nose, nose to mouth corners, mouth."""


def _column(value: npt.ArrayLike, shape: tuple[int, ...], name: str) -> Float32Array:
    array = np.asarray(value, dtype=np.float32)
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faces:
    """The faces of one picture, one row each.

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of the upright picture, origin at its top left corner
            (edge convention: a box that covers the whole picture is 0 0 w h).
        scores: (n,) float32, 0..1; calibrated if the producer says so.
        landmarks: (n, 5, 2) float32, x y in the same pixels in the order of `LANDMARK_NAMES`; NaN where unknown.

    Raises:
        ValueError: if the columns differ in length or shape.
    """

    boxes: Float32Array
    scores: Float32Array
    landmarks: Float32Array

    def __post_init__(self) -> None:
        n = len(self.boxes)
        object.__setattr__(self, "boxes", _column(np.reshape(self.boxes, (n, 4)) if n == 0 else self.boxes, (n, 4), "boxes"))
        object.__setattr__(self, "scores", _column(self.scores, (n,), "scores"))
        points = np.reshape(self.landmarks, (n, 5, 2)) if n == 0 else self.landmarks
        object.__setattr__(self, "landmarks", _column(points, (n, 5, 2), "landmarks"))

    @classmethod
    def empty(cls) -> Faces:
        """No face at all."""
        return cls.of(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    @classmethod
    def of(cls, boxes: npt.ArrayLike, scores: npt.ArrayLike, landmarks: npt.ArrayLike | None = None) -> Faces:
        """Build from array-likes; `landmarks=None` means unknown points for every face."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        points = np.full((len(boxes), 5, 2), np.nan, np.float32) if landmarks is None else landmarks
        return cls(boxes=boxes, scores=np.asarray(scores, np.float32).reshape(-1), landmarks=np.asarray(points, np.float32))

    @classmethod
    def concat(cls, parts: Sequence[Faces]) -> Faces:
        """All rows of all parts, in their order."""
        if not parts:
            return cls.empty()
        return cls(
            boxes=np.concatenate([p.boxes for p in parts]),
            scores=np.concatenate([p.scores for p in parts]),
            landmarks=np.concatenate([p.landmarks for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Faces]:
        """Yield each face as a `Faces` of one row."""
        return (self.select([i]) for i in range(len(self)))

    def select(self, rows: npt.ArrayLike) -> Faces:
        """The rows that a boolean mask or a list of indexes picks, in that order."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.intp)
        return Faces(boxes=self.boxes[rows], scores=self.scores[rows], landmarks=self.landmarks[rows])

    @property
    def has_landmarks(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: all five points of the row are finite."""
        return np.asarray(np.isfinite(self.landmarks).all(axis=(1, 2)), dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """Who saw each fused face, and how far the opinions lie apart.

    Attributes:
        members: the m names of the ensemble's box members, in the order of the file.
        scores: (n, m) float32, best calibrated score of the member over its views; NaN = the member did not see the face.
        edge_spread: (n, 4) float32, standard deviation in pixels of each box edge over the opinions; NaN with fewer than two.
        landmark_spread: (n, 5) float32, root mean square distance in pixels of each point's opinions from the fused point;
            NaN with fewer than two.
    """

    members: tuple[str, ...]
    scores: Float32Array
    edge_spread: Float32Array
    landmark_spread: Float32Array

    def __post_init__(self) -> None:
        n, m = len(self.scores), len(self.members)
        for name, width in (("scores", m), ("edge_spread", 4), ("landmark_spread", 5)):
            value = np.asarray(getattr(self, name), np.float32)
            object.__setattr__(self, name, _column(value.reshape(n, width) if n == 0 else value, (n, width), name))

    @classmethod
    def empty(cls, members: Sequence[str]) -> Votes:
        """No face at all."""

        def zeros(width: int) -> Float32Array:
            return np.zeros((0, width), np.float32)

        return cls(members=tuple(members), scores=zeros(len(members)), edge_spread=zeros(4), landmark_spread=zeros(5))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def count(self) -> npt.NDArray[np.intp]:
        """(n,) how many members saw each face."""
        return np.asarray(np.isfinite(self.scores).sum(axis=1), dtype=np.intp)

    def select(self, rows: npt.ArrayLike) -> Votes:
        """The rows that a boolean mask or a list of indexes picks, in that order."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.intp)
        return Votes(
            members=self.members,
            scores=self.scores[rows],
            edge_spread=self.edge_spread[rows],
            landmark_spread=self.landmark_spread[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A member that was left out for one picture.

    Attributes:
        member: its name in the ensemble file.
        reason: a short stable code: `raised`, `out_of_memory`, `garbage`, `too_many_boxes`, `out_of_time`.
        detail: one line for a log: types, counts and shapes, never picture data.
    """

    member: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """The answer for one picture.

    Attributes:
        width, height: size in pixels of the upright picture.
        faces: the fused faces, best score first.
        votes: who saw them, same rows.
        reasons: for each face the codes of why a person should look; empty = no need.
        problems: members that did not answer for this picture.
        seconds: wall time in seconds by stage (`members/<name>`, `fuse`, ...).
    """

    width: int
    height: int
    faces: Faces
    votes: Votes
    reasons: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.faces) == len(self.votes) == len(self.reasons):
            raise ValueError(f"rows differ: {len(self.faces)} faces, {len(self.votes)} votes, {len(self.reasons)} reasons")

    @property
    def review(self) -> tuple[bool, ...]:
        """For each face: should a person look at it."""
        return tuple(bool(r) for r in self.reasons)
