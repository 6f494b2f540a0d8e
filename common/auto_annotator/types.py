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
        landmark_spread: (n, 5) float32, root mean square distance in pixels of each point's opinions from the fused point, or of
            the looks of one landmark model from their mean where that is more; NaN with fewer than two of either.
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
        review_scores: (n,) float32, how likely the face needs a correction, 0..1: the order in which a person should look; None =
            not known, as without a model of errors in the calibration.
        hidden: (n, 5) bool, points that the head itself hides, such as the far eye of a profile; where they are placed is a guess.
            None = not judged.
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
    review_scores: Float32Array | None = None
    hidden: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.review_scores is not None:
            object.__setattr__(self, "review_scores", _column(self.review_scores, (len(self.faces),), "review_scores"))
        if self.hidden is not None:
            hidden = np.array(self.hidden, np.bool_).reshape(-1, len(LANDMARK_NAMES))
            if len(hidden) != len(self.faces):
                raise ValueError(f"hidden: got {len(hidden)} rows for {len(self.faces)} faces")
            hidden.flags.writeable = False
            object.__setattr__(self, "hidden", hidden)
        if not len(self.faces) == len(self.votes) == len(self.reasons):
            raise ValueError(f"rows differ: {len(self.faces)} faces, {len(self.votes)} votes, {len(self.reasons)} reasons")

    @property
    def review(self) -> tuple[bool, ...]:
        """For each face: should a person look at it."""
        return tuple(bool(r) for r in self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descriptors:
    """One vector per face whose inner product with another says how alike the two are.

    Attributes:
        vectors: (n, d) float32 rows of unit length, shorter where a recogniser had no vector (do not scale them up); a row of zeros
            = no descriptor (its `failures` entry says why).
        quality: (n,) float32, 0..1: how far the face can be trusted for identity; 0 where there is no descriptor.
        failures: for each face an empty text, or the short stable code of why it has no descriptor.
        notes: for each face codes of what a person should know (`review.REASONS`); empty = nothing.
        model_set: name of the ensemble of recognisers.
        model_hash: short hex of all that the vectors depend on (weights, crops, fusion); vectors of two hashes never compare.
    """

    vectors: Float32Array
    quality: Float32Array
    failures: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    model_set: str
    model_hash: str

    def __post_init__(self) -> None:
        n = len(self.vectors)
        if np.ndim(self.vectors) != 2:
            raise ValueError(f"vectors: got shape {np.shape(self.vectors)}, expected (n, d)")
        object.__setattr__(self, "vectors", _column(self.vectors, np.shape(self.vectors), "vectors"))
        object.__setattr__(self, "quality", _column(self.quality, (n,), "quality"))
        if not len(self.failures) == len(self.notes) == n:
            raise ValueError(f"rows differ: {n} vectors, {len(self.failures)} failures, {len(self.notes)} notes")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: the face has a descriptor."""
        return np.array([not f for f in self.failures], dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Constraints:
    """What is known about faces beside their vectors. Rows are numbers of faces, 0..n-1.

    Attributes:
        must: (m, 2) int64 pairs that a person said are one person: hard.
        cannot: (c, 2) int64 pairs that a person said are two people: hard.
        never: (x,) int64 rows that are never clustered (`none` in CVAT).
        images: (n,) int64 number of the picture of each face, -1 = unknown; None = none known. Two faces of one picture are
            two people unless the evidence is overwhelming (mirrors, pictures in pictures): soft.
        tracks: (n,) int64 number of the track of each face, -1 = none; None = none. One track is one person: hard.
    """

    must: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    cannot: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    never: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    images: npt.NDArray[np.int64] | None = None
    tracks: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for name, shape in (("must", (-1, 2)), ("cannot", (-1, 2)), ("never", (-1,))):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64).reshape(shape))
        for name in ("images", "tracks"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.asarray(value, np.int64).reshape(-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSuggestion:
    """Two clusters that may be one person; a person decides.

    Attributes:
        first, second: their labels, the larger cluster first.
        score: cosine of their centroids.
        reason: `look_alike` (close, but not close enough to merge), `same_picture` (close enough, but they meet in pictures).
    """

    first: int
    second: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Human words that contradict each other. Must-links win over same-image doubts, cannot-links over must-links.

    Attributes:
        kind: `must_across_cannot` (a chain of must-links joins two faces that must not be together), `track_across_cannot`,
            `never_in_must` (a face that is never to be clustered has a must-link).
        rows: the faces, first the two that contradict, then the chain between them.
    """

    kind: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Who is who among n faces, and how sure.

    Attributes:
        labels: (n,) int32, 0..k-1 without gaps, -1 = nobody (unknown, or never to be clustered); a person seen once has one.
        confidence: (n,) float32, 0..1: how much better the face fits its own cluster than the next one; 0 for -1.
        purity: (k,) float32, 0..1: estimated share of the cluster that is its main person.
        nearest: (n,) int32: label of the next-best cluster (for a face of label -1: the best), -1 = none near.
        nearest_score: (n,) float32: cosine to the centroid of `nearest`, 0 where there is none.
        suggestions: merges for a person to decide, best first.
        doubtful: rows that a person should look at, most doubtful first.
        conflicts: human words that contradict each other.
        threshold: cosine from which two faces are more likely one person than two.
        warnings: sentences about the data as a whole.
    """

    labels: npt.NDArray[np.int32]
    confidence: Float32Array
    purity: Float32Array
    nearest: npt.NDArray[np.int32]
    nearest_score: Float32Array
    suggestions: tuple[MergeSuggestion, ...] = ()
    doubtful: tuple[int, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    threshold: float = float("nan")
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.labels)
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int32))
        object.__setattr__(self, "confidence", _column(self.confidence, (n,), "confidence"))
        object.__setattr__(self, "purity", _column(self.purity, (self.count,), "purity"))
        object.__setattr__(self, "nearest", np.asarray(self.nearest, np.int32).reshape(n))
        object.__setattr__(self, "nearest_score", _column(self.nearest_score, (n,), "nearest_score"))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max(initial=-1)) + 1
