"""An earlier result in terms of the faces of now: keys of faces whose picture was detected anew go on under their new name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.clusters_file import ClusteredFace, ClusterFile, Words
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.geometry import iou_matrix

SAME_BOX = 0.5
"""IoU from which a face is the one that had another key in the previous run: its picture was detected anew in between."""


def carried(previous: ClusterFile, faces: DescribedFaces) -> ClusterFile:
    """The earlier result in terms of the keys of now, for faces whose box moved a little because they were detected anew.

    Raises:
        ConfigError: if it was made by other models.
    """
    if previous.meta.model_hash != faces.model_hash:
        raise ConfigError(
            f"earlier clusters: made by the models {previous.meta.model_set!r} {previous.meta.model_hash!r}, the descriptors by"
            f" {faces.model_set!r} {faces.model_hash!r}: describe the faces with those models, or start anew with --fresh"
        )
    moved = _moved(previous, faces)
    if not moved:
        return previous

    def now(key: str) -> str:
        return moved.get(key, key)

    words = Words(
        must=tuple((now(a), now(b)) for a, b in previous.words.must),
        cannot=tuple((now(a), now(b)) for a, b in previous.words.cannot),
        never=tuple(now(key) for key in previous.words.never),
    )
    registry = dict(previous.registry)
    if isinstance(registry.get("faces"), dict):
        registry["faces"] = {now(key): person for key, person in registry["faces"].items()}
    return replace(
        previous,
        faces=tuple(replace(face, key=now(face.key)) for face in previous.faces),
        doubtful=tuple(now(key) for key in previous.doubtful),
        words=words,
        registry=registry,
    )


def _moved(previous: ClusterFile, faces: DescribedFaces) -> dict[str, str]:
    """Earlier key -> key of now, for the faces of one picture that lie on each other and that no key holds together."""
    now, before = set(faces.keys), {face.key for face in previous.faces}
    lost: dict[str, list[ClusteredFace]] = {}
    for face in previous.faces:
        if face.key not in now:
            lost.setdefault(face.image, []).append(face)
    if not lost:
        return {}
    new: dict[str, list[int]] = {}
    for row, key in enumerate(faces.keys):
        if key not in before and (name := faces.image_of(row)) in lost:
            new.setdefault(name, []).append(row)
    moved = {}
    for name, rows in new.items():
        overlap = iou_matrix(np.array([face.box for face in lost[name]], np.float64), faces.boxes[rows].astype(np.float64))
        while overlap.max(initial=0) >= SAME_BOX:
            i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
            moved[lost[name][i].key] = faces.keys[rows[j]]
            overlap[i, :], overlap[:, j] = 0, 0
    return moved
