"""Ready descriptors files, without models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.exchange.keys import face_keys


def units(n: int, d: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def described(people: Sequence[Sequence[int]] = ((0, 1), (0,), (1, 2)), *, dimension: int = 16, folder: str = "", **changes):
    """Faces of pictures `0.png`, `1.png`, ...: for each picture the numbers of its people; -1 is a face without a descriptor."""
    centres = units(64, dimension, seed=7)
    names = tuple(f"{folder}{i}.png" for i in range(len(people)))
    rows = [(picture, place, person) for picture, them in enumerate(people) for place, person in enumerate(them)]
    boxes = np.array([[10 + 60 * place, 20, 50 + 60 * place, 60] for _, place, _ in rows], np.float32).reshape(-1, 4)
    vectors = np.array([centres[person] * (person >= 0) for *_, person in rows], np.float16).reshape(-1, dimension)
    values = {
        "vectors": vectors,
        "quality": np.array([0.8 * (person >= 0) for *_, person in rows], np.float32),
        "boxes": boxes,
        "scores": np.full(len(rows), 0.9, np.float32),
        "landmarks": np.full((len(rows), 5, 2), np.nan, np.float32),
        "images": np.array([picture for picture, *_ in rows], np.int64),
        "image_names": names,
        "keys": tuple(face_keys(names[picture], boxes[i])[0] for i, (picture, *_) in enumerate(rows)),
        "failures": tuple("" if person >= 0 else "raised" for *_, person in rows),
        "notes": tuple(("blurred",) if person == 1 else () for *_, person in rows),
        "model_set": "fakes",
        "model_hash": "abc123",
        "threshold": 0.5,
    }
    return DescribedFaces(**(values | changes))
