"""What the result page shows of one picture: thumbnails as data URLs, places in per cent, reasons in words."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auto_annotator.errors import ImageError
from auto_annotator.reports.files import printable
from auto_annotator.reports.records import Box, FaceRecord, Record
from auto_annotator.types import LANDMARK_NAMES, Image

THUMBNAIL_SIDE = 880
"""Long side of a picture on the page in pixels: sharp in its column, about 90 kB, so that 100 pictures make some 10 MB."""
CROP_SIDE = 192
"""Side of the close-up of a face in pixels: twice its size on the page, for dense screens."""
CROP_MARGIN = 0.4
"""Share of the box side that a close-up shows around the box: enough to judge whether the box is right."""
THUMBNAIL_QUALITY, CROP_QUALITY = 74, 80
SHORT_NAME = 96
"""Characters of a file name that are shown; the middle of a longer one is left out."""
CROWD_SIDE = 1440
"""The same for a picture with many faces, which is shown as wide as the page."""
MANY = 8
"""From this number of faces to review on, the picture is as wide as the page and the list stands below it."""
CROWD = 30
"""From this number of faces on, numbers would hide the faces; each shows when its box is pointed at."""
SMALL = 44.0
"""Faces that are smaller on the page, in CSS pixels, get thin lines."""
TAG_HEIGHT = 4.0
"""Room a number needs at the border of the picture, in per cent; without it, it stands in a large box and below a small one."""
_COLUMN_WIDTH = 720
"""Width in CSS pixels that a picture about has on a wide screen; only for the size of its dots."""
_SIDE_OF = tuple("right" if "right" in name else "left" if "left" in name else "nose" for name in LANDMARK_NAMES)
_READABLE = tuple(name.replace("_", " ") for name in LANDMARK_NAMES)

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of the text behind them: `exe.jpg` can be made to read `gpj.exe`."""

Read = Callable[[Path], Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class DotView:
    """A landmark: place in pixels, its name in words, and whose side it is on (`right`, `left`, `nose`: a CSS class).

    `hidden`: the head hides it, so it is drawn hollow.
    """

    x: float
    y: float
    name: str
    side: str
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteView:
    """What one member said: its score as text and in whole per cent; both None when it did not see the face."""

    member: str
    text: str | None
    percent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CropView:
    """The close-up of a face: data URL and the square x, y, side it shows in pixels of the picture."""

    url: str
    x: float
    y: float
    side: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceView:
    """One face.

    Attributes:
        number: its place in the record, from 1; also its group in the CVAT XML file.
        anchor: id of its box on the page.
        left, top: where its number stands, in per cent of the picture.
        tag: on which side of that place the number stands (CSS classes): above the box unless the picture ends there.
        dot: diameter of its points in CSS pixels.
        small: draw it with thin lines.
    """

    number: int
    anchor: str
    review: bool
    box: Box
    left: float
    top: float
    tag: str
    dot: float
    small: bool
    dots: tuple[DotView, ...]
    score: str
    votes: tuple[VoteView, ...]
    reasons: tuple[str, ...]
    crop: CropView | None

    @property
    def seen(self) -> int:
        """How many members saw it."""
        return sum(vote.text is not None for vote in self.votes)

    @property
    def hover(self) -> str:
        """All that is known, for the tooltip."""
        votes = ", ".join(f"{v.member} {v.text or 'not seen'}" for v in self.votes)
        return "\n".join([f"Face {self.number}: score {self.score}", votes, *self.reasons])


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureView:
    """One picture with its faces, those to review first; `url` is None when the picture is not there any more."""

    anchor: str
    name: str
    full_name: str
    width: int
    height: int
    url: str | None
    faces: tuple[FaceView, ...]
    problems: tuple[str, ...]

    @property
    def doubtful(self) -> tuple[FaceView, ...]:
        """Faces a person should look at, most doubtful first."""
        return tuple(sorted((f for f in self.faces if f.review), key=lambda f: (-len(f.reasons), f.score)))

    @property
    def many(self) -> bool:
        """Shown as wide as the page, with the list below."""
        return sum(face.review for face in self.faces) >= MANY or self.crowd

    @property
    def crowd(self) -> bool:
        """Too many faces to show a number at each."""
        return len(self.faces) >= CROWD

    @property
    def agreed(self) -> tuple[FaceView, ...]:
        """The other faces."""
        return tuple(f for f in self.faces if not f.review)


def short_name(name: str, most: int = SHORT_NAME) -> str:
    """The name without the middle of a very long one; what cannot be printed, or would turn the rest around, is replaced."""
    name = _TURNING.sub("\ufffd", printable(name))
    half = most // 2 - 1
    return name if len(name) <= most else f"{name[:half]} … {name[-half:]}"


def picture_view(
    record: Record, number: int, path: Path | None, *, read: Read, sentences: Mapping[str, str], crops: int
) -> PictureView:
    """Read one picture and prepare all that the page shows of it.

    Args:
        record: a picture that was read when the record was made.
        number: its place on the page, from 1.
        path: where the picture lies, None if that is not known.
        read: bytes of a file to upright RGB.
        sentences: reason code -> sentence; a code that is not there is shown as it is.
        crops: how many close-ups at most.
    """
    image = _picture(record, path, read)
    wanted = [i for i, face in enumerate(record.faces) if face.review][:crops] if image is not None else []
    return PictureView(
        anchor=f"p{number}",
        name=short_name(record.image),
        full_name=printable(record.image)[:1000],
        width=record.width or 1,
        height=record.height or 1,
        url=None
        if image is None
        else data_url(image, CROWD_SIDE if len(record.faces) >= CROWD else THUMBNAIL_SIDE, THUMBNAIL_QUALITY),
        faces=tuple(
            _face_view(
                record, face, i, f"p{number}", sentences, _crop(image, face.box) if image is not None and i in wanted else None
            )
            for i, face in enumerate(record.faces)
        ),
        problems=tuple(f"{p.member}: {p.reason.replace('_', ' ')}" for p in record.problems),
    )


def _picture(record: Record, path: Path | None, read: Read) -> Image | None:
    """The picture, or None when it is gone, or is no longer the one the record speaks of."""
    if path is None:
        return None
    try:
        image = read(path)
    except (ImageError, OSError):
        return None
    return image if image.shape[:2] == (record.height, record.width) else None


def _face_view(
    record: Record, face: FaceRecord, index: int, anchor: str, sentences: Mapping[str, str], crop: CropView | None
) -> FaceView:
    width, height = record.width or 1, record.height or 1
    x1, y1, x2, y2 = face.box
    side = max(x2 - x1, y2 - y1) * _COLUMN_WIDTH / width
    small = side < SMALL
    at_top = _share(y1, height) < TAG_HEIGHT
    return FaceView(
        number=index + 1,
        anchor=f"{anchor}f{index + 1}",
        review=face.review,
        box=face.box,
        left=_share(x1, width),
        top=_share(y2 if at_top and small else y1, height),
        tag=("in" if at_top else "above") + (" end" if _share(x1, width) > 100 - TAG_HEIGHT else ""),
        dot=round(min(max(0.055 * side, 1.6), 6.0), 1),
        small=small,
        dots=_dots(face),
        score=f"{face.score:.2f}",
        votes=votes_view(face.votes.items()),
        reasons=tuple(sentences.get(code, code) for code in face.reasons),
        crop=crop,
    )


def _share(value: float, whole: float) -> float:
    return round(100 * min(max(value / whole, 0.0), 1.0), 2)


def _dots(face: FaceRecord) -> tuple[DotView, ...]:
    named = zip(LANDMARK_NAMES, _READABLE, _SIDE_OF, face.landmarks, strict=True)
    return tuple(
        DotView(x=p[0], y=p[1], name=f"hidden {words}" if name in face.hidden else words, side=side, hidden=name in face.hidden)
        for name, words, side, p in named
        if p is not None
    )


def votes_view(votes: Iterable[tuple[str, float | None]]) -> tuple[VoteView, ...]:
    """Votes with their scores as text."""
    return tuple(
        VoteView(member=m, text=None if s is None else f"{s:.2f}", percent=None if s is None else round(100 * s)) for m, s in votes
    )


def _crop(image: Image, box: Box) -> CropView:
    part, (x, y), side = square_around(image, box, CROP_MARGIN)
    return CropView(url=data_url(part, CROP_SIDE, CROP_QUALITY), x=x, y=y, side=side)


def square_around(image: Image, box: Box, margin: float) -> tuple[Image, tuple[int, int], int]:
    """A square around a box; what lies beyond the picture is grey.

    Args:
        image: RGB (h, w, 3) uint8.
        box: x1 y1 x2 y2 in its pixels; what lies outside it is cut off.
        margin: share of the box side that is shown around it.

    Returns:
        The pixels, and in the picture the left top corner and the side of the square.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height]).tolist()
    side = max(round(max(x2 - x1, y2 - y1) * (1 + 2 * margin)), 8)
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    part = image[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    if side > max(width, height) or part.shape[:2] != (side, side):
        canvas = np.full((side, side, 3), 128, np.uint8)
        canvas[max(-top, 0) : max(-top, 0) + part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]] = part
        part = canvas
    return part, (left, top), side


def data_url(image: Image, side: int, quality: int) -> str:
    """The picture as a JPEG of at most `side` pixels, without any metadata of the file."""
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(image)
    picture.thumbnail((side, side), PillowImage.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
