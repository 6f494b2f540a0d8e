"""Several descriptors files as one set of faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.descriptors_file import DescribedFaces, read_descriptors

SAME_FACE = 0.98
"""Cosine from which two faces of one key are one face that was described twice: only rounding lies between them."""


def read_all(paths: Sequence[Path]) -> DescribedFaces:
    """Read descriptors files and join them, in their order. A face that is in several of them counts once.

    Args:
        paths: one or more files. A single one stays mapped.

    Raises:
        ConfigError: for a file that cannot be read, files of different models, or different faces of one key.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("descriptors: one file is given twice, expected each once")
    parts = [read_descriptors(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.model_hash != parts[0].model_hash:
            raise ConfigError(
                f"{path}: made by the models {part.model_set!r} {part.model_hash!r}, but {paths[0]} by {parts[0].model_set!r}"
                f" {parts[0].model_hash!r}; their vectors do not compare: describe the faces of both with one ensemble"
            )
        if part.dimension != parts[0].dimension:
            raise ConfigError(f"{path}: has vectors of {part.dimension} numbers, {paths[0]} of {parts[0].dimension}")
    return parts[0] if len(parts) == 1 else _joined(paths, parts)


def _joined(paths: Sequence[Path], parts: Sequence[DescribedFaces]) -> DescribedFaces:
    first_of: dict[str, tuple[int, int]] = {}
    kept: list[list[int]] = []
    for number, part in enumerate(parts):
        rows = []
        for row, key in enumerate(part.keys):
            other = first_of.setdefault(key, (number, row))
            if other == (number, row):
                rows.append(row)
            elif not _same(parts[other[0]], other[1], part, row):
                name = part.image_of(row)[:80]
                raise ConfigError(
                    f"{paths[number]}: has another face at the same place of a picture that is also called {name!r} in"
                    f" {paths[other[0]]}: run detect once on the folder that holds both pictures, so that their names differ"
                )
        kept.append(rows)
    starts = np.cumsum([0, *(len(part.image_names) for part in parts)])
    chosen = list(zip(parts, kept, strict=True))
    return DescribedFaces(
        vectors=np.concatenate([p.vectors[rows] for p, rows in chosen]),
        quality=np.concatenate([p.quality[rows] for p, rows in chosen]),
        boxes=np.concatenate([p.boxes[rows] for p, rows in chosen]),
        scores=np.concatenate([p.scores[rows] for p, rows in chosen]),
        landmarks=np.concatenate([p.landmarks[rows] for p, rows in chosen]),
        images=np.concatenate([p.images[rows] + starts[i] for i, (p, rows) in enumerate(chosen)]),
        image_names=tuple(name for p in parts for name in p.image_names),
        keys=tuple(p.keys[i] for p, rows in chosen for i in rows),
        failures=tuple(p.failures[i] for p, rows in chosen for i in rows),
        notes=tuple(p.notes[i] for p, rows in chosen for i in rows),
        model_set=parts[0].model_set,
        model_hash=parts[0].model_hash,
        threshold=parts[0].threshold,
    )


def _same(one: DescribedFaces, i: int, other: DescribedFaces, j: int) -> bool:
    if one.failures[i] or other.failures[j]:
        return one.failures[i] == other.failures[j]
    return float(one.vectors[i].astype(np.float32) @ other.vectors[j].astype(np.float32)) >= SAME_FACE
