"""Labelled pictures made ready for detectors: crops of single faces get room around them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.imageio import read
from auto_annotator.types import Image

CROP_SIDE = 128
"""A picture whose long side is shorter is a crop of one face: no detector expects a face that fills the picture."""

ENLARGE = 3
ROOM = 0.5
"""Black border on each side of a crop, as a share of its side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Where a picture is, what it is, and how it is shown.

    Attributes:
        path: the file.
        width, height: in pixels, as detectors see it.
        enlarge: times that it is enlarged, 1 = shown as it is.
        border: (x, y) black pixels on each side.
        digest: of the file and of how it is shown.
    """

    path: Path
    width: int
    height: int
    enlarge: int
    border: tuple[int, int]
    digest: str


def prepare(pictures: Sequence[LabelledPicture], max_pixels: int) -> tuple[list[Prepared], list[LabelledPicture]]:
    """The pictures as detectors see them, and their labels in those pixels.

    Raises:
        ImageError: if a picture cannot be read: a set with holes would give figures that nobody can repeat.
    """
    shown, labels = [], []
    for picture in tqdm(pictures, unit="picture", desc="reading", disable=None):
        height, width = read(picture.path, max_pixels=max_pixels).shape[:2]
        crop = max(width, height) < CROP_SIDE
        enlarge = ENLARGE if crop else 1
        border = (round(ROOM * enlarge * width), round(ROOM * enlarge * height)) if crop else (0, 0)
        shown.append(
            Prepared(
                path=picture.path,
                width=width * enlarge + 2 * border[0],
                height=height * enlarge + 2 * border[1],
                enlarge=enlarge,
                border=border,
                digest=f"{hashlib.sha256(picture.path.read_bytes()).hexdigest()[:32]} x{enlarge} {border}",
            )
        )
        labels.append(moved(picture, enlarge, border))
    return shown, labels


def moved(picture: LabelledPicture, enlarge: int, border: tuple[int, int]) -> LabelledPicture:
    """The labels of a picture that is shown enlarged inside a border."""
    if enlarge == 1 and border == (0, 0):
        return picture
    offset = np.asarray(border, np.float32)
    return LabelledPicture(
        path=picture.path,
        event=picture.event,
        boxes=picture.boxes * enlarge + np.tile(offset, 2),
        keep=picture.keep,
        attributes=picture.attributes,
        landmarks=None if picture.landmarks is None else picture.landmarks * enlarge + offset,
        points_only=picture.points_only,
    )


def load(picture: Prepared, max_pixels: int) -> Image:
    """The picture as detectors see it: RGB (h, w, 3) uint8."""
    import cv2

    image = read(picture.path, max_pixels=max_pixels)
    if picture.enlarge != 1:
        size = (image.shape[1] * picture.enlarge, image.shape[0] * picture.enlarge)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    x, y = picture.border
    return np.pad(image, ((y, y), (x, x), (0, 0)))
