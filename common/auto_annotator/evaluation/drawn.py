"""What people drew in a picture, with whatever tool, as a labelled picture: points find their box, ignored faces stay out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auto_annotator.bridge.ignored import IGNORED_LABELS
from auto_annotator.bridge.infos import LabelInfo
from auto_annotator.bridge.shapes import Box, Item, tied_landmarks
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.labels import LEVELS, LabelledPicture
from auto_annotator.evaluation.unpacking import safe_parts
from auto_annotator.types import LANDMARK_NAMES, Float32Array

SUFFIXES = ("", ".PNG", ".png", ".jpg", ".jpeg")
"""Tried behind a picture's name: CVAT names the frames of a video without one."""

_RECTANGLE, _SKELETON, _POINT = 1, 2, 10
_LABELS = {
    _RECTANGLE: LabelInfo(id=_RECTANGLE, name=FACE, type="rectangle"),
    _SKELETON: LabelInfo(
        id=_SKELETON,
        name="points",
        type="skeleton",
        sublabels=tuple(LabelInfo(id=_POINT + i, name=name, type="points") for i, name in enumerate(LANDMARK_NAMES)),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFace:
    """A box in pixels; faces and points of one `group` (from 1, 0 = none) belong together."""

    box: Box
    group: int = 0
    ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnPoints:
    """(5, 2) points in pixels in the order of `LANDMARK_NAMES`, NaN where not seen."""

    points: Float32Array
    group: int = 0


def labelled_picture(path: Path, faces: Sequence[DrawnFace], points: Sequence[DrawnPoints], *, event: str = "") -> LabelledPicture:
    """The picture with the points of each face: of its group, else those that lie best in the box.

    Boxes without area are left out: nothing can overlap them.
    """
    kept = [face for face in faces if face.box[2] > face.box[0] and face.box[3] > face.box[1]]
    found = _tied(kept, points)
    rows = tuple(row for row, face in enumerate(kept) if not face.ignored)
    landmarks: Float32Array | None = None
    if any(one is not None for one in found):
        landmarks = np.stack([_NOWHERE if one is None else one for one in found])
    return LabelledPicture(
        path=path,
        event=event,
        boxes=np.asarray([face.box for face in kept], np.float32).reshape(-1, 4),
        keep={} if len(rows) == len(kept) else dict.fromkeys(LEVELS, rows),
        landmarks=landmarks,
    )


def _tied(faces: Sequence[DrawnFace], points: Sequence[DrawnPoints]) -> list[Float32Array | None]:
    """The points of each face, by the rule of `tied_landmarks`; only points that can be a face's are looked at, for crowds."""
    if not points:
        return [None] * len(faces)
    groups = np.array([one.group for one in points])
    free = ~np.isin(groups, [face.group for face in faces if face.group])
    places = np.stack([one.points for one in points]).astype(np.float64)
    low, high = (np.nan_to_num(places, nan=far) for far in (np.inf, -np.inf))
    low, high = low.min(axis=1), high.max(axis=1)
    found = []
    for face in faces:
        mates = (groups == face.group) & (groups > 0)
        inside = free & (low >= face.box[:2]).all(axis=1) & (high <= face.box[2:]).all(axis=1)
        near = [points[row] for row in np.flatnonzero(mates if mates.any() else inside).tolist()]
        item = _rectangle(face)
        found.append(tied_landmarks(item, [item, *map(_skeleton, near)], _LABELS) if near else None)
    return found


_NOWHERE = np.full((len(LANDMARK_NAMES), 2), np.nan, np.float32)


def _rectangle(face: DrawnFace) -> Item:
    return {"frame": 0, "type": "rectangle", "label_id": _RECTANGLE, "points": list(face.box), "group": face.group}


def _skeleton(drawn: DrawnPoints) -> Item:
    elements = [
        {"label_id": _POINT + row, "points": [x, y], "outside": not (math.isfinite(x) and math.isfinite(y))}
        for row, (x, y) in enumerate(drawn.points.tolist())
    ]
    return {"frame": 0, "type": "skeleton", "label_id": _SKELETON, "elements": elements, "group": drawn.group}


def without_lone_event(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """The same pictures; where all are of one event, such as the one folder that they lie in, that says nothing and goes."""
    alone = len({picture.event for picture in pictures}) == 1
    return [replace(picture, event="") for picture in pictures] if alone else list(pictures)


def chosen_label(file: str, wanted: str | None, known: Sequence[str]) -> str:
    """The label of the faces: the one asked for, else `face`, else the only one that boxes have.

    Args:
        file: for messages.
        wanted: None = not said.
        known: labels that boxes can have.

    Raises:
        ConfigError: if there is no telling; names the labels.
    """
    candidates = [name for name in dict.fromkeys(known) if name.casefold() not in IGNORED_LABELS]
    if wanted is not None and wanted in known:
        return wanted
    if wanted is None and FACE in candidates:
        return FACE
    if wanted is None and len(candidates) == 1:
        return candidates[0]
    got = ", ".join(sorted(map(repr, candidates))) or "none"
    raise ConfigError(f"{file}: which label has the faces? Got {got}, expected {wanted or FACE!r}; name it with --label")


class Pictures:
    """Where the pictures of a set lie, found by the names that its labels give them.

    Args:
        folder: of the set.
        file: name of the label file, for messages.
    """

    def __init__(self, folder: Path, file: str) -> None:
        self._folder, self._file = folder, file
        self._asked = self._missing = 0
        self._found: Counter[Path] = Counter()

    def find(self, name: str, subset: str = "") -> Path:
        """The file of that name; where it is missing, a place where it should be (see `check`).

        Raises:
            ConfigError: if the name leads out of the folder.
        """
        parts, below = safe_parts(name), safe_parts(subset) if subset else ()
        if not parts or below is None:
            raise ConfigError(f"{self._file}: refused: a picture has an empty name or one that leads out of the folder")
        self._asked += 1
        images = self._folder / "images"
        places = [images.joinpath(*below, *parts), images.joinpath(*parts)]
        places += [self._folder.joinpath(*below, *parts), self._folder.joinpath(*parts)]
        for place in dict.fromkeys(places):
            for suffix in SUFFIXES:
                path = place.with_name(place.name + suffix)
                if _is_file(path):
                    self._found[path] += 1
                    return path
        self._missing += 1
        return places[0]

    def check(self) -> None:
        """Say so if pictures are missing or meant twice: figures of a set with holes or with false labels mislead.

        Raises:
            ConfigError: with their number.
        """
        if self._missing:
            raise ConfigError(
                f"{self._file}: {self._missing} of {self._asked} pictures are not there, expected them in images/ beside it;"
                " in CVAT export again with *Save images* switched on"
            )
        if twice := sum(count > 1 for count in self._found.values()):
            raise ConfigError(
                f"{self._file}: {twice} pictures are listed twice, expected each once, or the labels of one are taken for those"
                " of the other; export tasks that have file names in common one by one"
            )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for a file; its text would name the picture
        return False
