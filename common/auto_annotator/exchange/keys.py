"""Face keys: one short name per face that stays the same from run to run, in files and in CVAT's attribute `face_key`."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import numpy.typing as npt

DIGITS = 16
"""Hexadecimal digits of a key: 64 bits, so that among a million faces two share a key by chance once in 30 million runs."""


def face_keys(image: str, boxes: npt.ArrayLike) -> tuple[str, ...]:
    """Keys of the faces of one picture.

    A key hashes the picture's name and the box in whole pixels. It tells nobody the name, it does not depend on how many other
    faces were found, and the letter in front keeps spreadsheets from reading it as a number.

    Args:
        image: the picture's name in the results: relative, with forward slashes.
        boxes: (n, 4) x1 y1 x2 y2 in pixels of the upright picture.

    Returns:
        For each face `f` and 16 hexadecimal digits; the second face with the very same box gets `-2` behind it, and so on.
    """
    seen: Counter[str] = Counter()
    keys = []
    for box in _rows(boxes):
        text = f"{image}\n{' '.join(str(round(v)) for v in box)}"
        key = "f" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return tuple(keys)


def _rows(boxes: npt.ArrayLike) -> list[list[float]]:
    # float32 as in the descriptors file, so that a key made from there is the one made from the record
    rows: list[list[float]] = np.asarray(boxes, np.float32).reshape(-1, 4).tolist()
    return rows
