"""Real pairs of photos, found and aligned as in the product, and how well a recogniser tells them apart."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from auto_annotator.alignment import TEMPLATES, align
from auto_annotator.crops import Pyramid
from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.yunet import YuNet
from auto_annotator.fusion.descriptors import unit_rows
from auto_annotator.session import Runtime
from auto_annotator.types import Faces
from auto_annotator.views import make_canvas

STEP = 25
"""Every 25th of the 3,000 pairs: 60 of one person, 60 of two."""

ENLARGED = 2.0
"""Scale at which YuNet sees the photos of 250 x 250 pixels."""


def context(path: Path) -> MemberContext:
    return MemberContext(weights=(path,), open_session=Runtime(device="cpu", threads=1).open)


def pairs(folder: Path) -> list[tuple[str, str, bool]]:
    with (folder / "pairs.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(row["a"], row["b"], row["same"] == "1") for row in rows[::STEP]]


@cache
def photos(folder: Path, yunet: Path) -> dict[str, tuple[np.ndarray, Faces]]:
    """By name each photo of the pairs, and the face nearest to its middle."""
    detector = YuNet(context(yunet))
    found = {}
    for name in sorted({name for pair in pairs(folder) for name in pair[:2]}):
        image = np.asarray(Image.open(folder / "images" / name).convert("RGB"))
        height, width = image.shape[:2]
        canvas = make_canvas(image, (0, 0, width, height), ENLARGED, stride=detector.stride, fixed=None, flip=False)
        faces = canvas.to_picture(detector.detect([canvas.pixels], threshold=0.5)[0])
        middle = faces.boxes.reshape(-1, 2, 2).mean(axis=1) - [width / 2, height / 2]
        found[name] = image, faces.select([int(np.argmin(np.linalg.norm(middle, axis=1)))])
    return found


@cache
def crops(folder: Path, yunet: Path, template: str) -> dict[str, np.ndarray]:
    result = {}
    for name, (image, faces) in photos(folder, yunet).items():
        alignment = align(faces, TEMPLATES[template], width=image.shape[1], height=image.shape[0])
        crop = Pyramid(image).crop(alignment.matrices[0], TEMPLATES[template].size)
        assert crop is not None
        result[name] = crop
    return result


def separation(
    describe: Callable[[Sequence[np.ndarray]], np.ndarray], folder: Path, yunet: Path, template: str = "arcface"
) -> tuple[float, float]:
    """Best accuracy over the pairs, and how far the two kinds lie apart in their own spread (d')."""
    found = crops(folder, yunet, template)
    names = list(found)
    rows = dict(zip(names, unit_rows(describe([found[n] for n in names]))[0], strict=True))
    cosines = np.array([rows[a] @ rows[b] for a, b, _ in pairs(folder)])
    same = np.array([s for *_, s in pairs(folder)])
    accuracy = max(((cosines >= t) == same).mean() for t in cosines)
    spread = np.sqrt((cosines[same].var() + cosines[~same].var()) / 2)
    return float(accuracy), float((cosines[same].mean() - cosines[~same].mean()) / spread)
