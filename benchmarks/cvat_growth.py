"""Ids in CVAT when a task grows by a tenth: share of the old faces that keep theirs, and what a second run writes."""

from __future__ import annotations

import numpy as np

from auto_annotator.bridge.faces import Look, PulledFace, keys_of
from auto_annotator.bridge.identities import identify
from auto_annotator.bridge.plan import FaceRef
from auto_annotator.bridge.planning import DescribedLooks, Source
from auto_annotator.bridge.state import Identities
from auto_annotator.pipeline import FaceClustering
from benchmarks.clustering_sets import FaceSet, lfw_embeddings, synthetic
from benchmarks.common import NotAvailable, table

SHARE_NEW = 0.1
SEED = 3
SERVER = "http://cvat"


def pulled(faces: FaceSet, rows: np.ndarray, attributes: dict[int, dict[str, str]]) -> list[PulledFace]:
    """Faces as they stand in CVAT, one frame each unless the set knows pictures."""
    frames = rows if faces.images is None else faces.images[rows]
    looks = [
        Look(frame=int(f), box=(float(i % 97) * 50, 10.0, float(i % 97) * 50 + 40, 60.0)) for f, i in zip(frames, rows, strict=True)
    ]
    empty = {"person": "", "name": "", "face_key": ""}
    return [
        PulledFace(
            ref=FaceRef(task=1, job=1, frame=look.frame, kind="shape", id=int(row), label=1, box=look.box, key=key),
            attributes=attributes.get(int(row), empty),
            looks=(look,),
        )
        for row, look, key in zip(rows, looks, keys_of(1, looks), strict=True)
    ]


def step(faces: FaceSet, rows: np.ndarray, attributes: dict[int, dict[str, str]], known: Identities) -> tuple[int, Identities]:
    """One run and its push; returns how many faces were written."""
    there = pulled(faces, rows, attributes)
    looks = DescribedLooks(
        face=np.arange(len(rows)),
        picture=np.array([face.ref.frame for face in there], np.int64),
        vectors=faces.vectors[rows].astype(np.float16),
        quality=np.full(len(rows), 0.9, np.float32) if faces.quality is None else faces.quality[rows].astype(np.float32),
        notes=((),) * len(rows),
        failures=("",) * len(rows),
    )
    source = Source(server=SERVER, tasks=(1,), created="", model_set="", model_hash="", threshold=faces.threshold)
    plan, known = identify(there, looks, known, FaceClustering(), source)
    for face in plan.faces:
        attributes[face.ref.id] = dict(face.after)
    return len(plan.changed), known


def grown(faces: FaceSet) -> list[object]:
    """One row of the table."""
    order = np.random.default_rng(SEED).permutation(len(faces.vectors))
    old = np.sort(order[: round(len(order) / (1 + SHARE_NEW))])
    attributes: dict[int, dict[str, str]] = {}
    _, known = step(faces, old, attributes, Identities(server=SERVER))
    before = {row: attributes[row]["person"] for row in old.tolist()}
    again, known = step(faces, old, attributes, known)
    step(faces, np.arange(len(order)), attributes, known)
    had = [row for row, person in before.items() if person]
    kept = sum(attributes[row]["person"] == before[row] for row in had)
    return [faces.name, len(old), len(order) - len(old), again, f"{100 * kept / len(had):.2f} %"]


def main() -> None:
    """Print the table."""
    sets = [synthetic("album", 20_000, 100)]
    try:
        sets += [faces for faces in lfw_embeddings() if faces.name in ("lfw mbf", "lfw fused")]
    except NotAvailable as error:
        print(f"LFW: not available: {error}")
    head = ["set", "faces", "new faces", "written by a second run without news", "old faces that keep their id"]
    print(table("Ids when a task grows by a tenth", head, [grown(faces) for faces in sets]))


if __name__ == "__main__":
    main()
