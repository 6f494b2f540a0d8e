"""Recall by size on generated mosaics: the ensemble beside its members, faces of 8 to 200 pixels, clean and spoilt.

Portraits come from the development data; the mosaics are written to the cache, never to the repository.
`MOSAIC_ENSEMBLE` names another ensemble than the packaged default.
"""

from __future__ import annotations

import os

import numpy as np

from auto_annotator.config import Settings, load_settings
from auto_annotator.evaluation.detection import pair
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.looks import Cache
from auto_annotator.evaluation.mosaics import CONDITIONS, CONTEXT, SIZES, Mosaic, Portrait, make_mosaics, write_mosaics
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.evaluation.summary import one_false_box
from auto_annotator.evaluation.systems import System, systems
from auto_annotator.geometry import iou_matrix
from benchmarks.common import CACHE, load, need, table

PORTRAITS = 120
NEIGHBOUR = 0.3
PER_SIZE = 24


def portraits(settings: Settings, cache: Cache) -> list[Portrait]:
    """Faces of the development half of Helen that are alone: a neighbour on the patch would be a face without truth."""
    labelled = read_labelled(need("helen"))[:PORTRAITS]
    shown, _ = prepare(labelled, settings.max_pixels)
    (member, *_) = systems(shown, settings, kinds=("member",), cache=cache)
    assert member.faces is not None
    out = []
    for picture, faces in zip(labelled, member.faces, strict=True):
        assert picture.landmarks is not None
        x1, y1, x2, y2 = picture.boxes[0]
        reach = CONTEXT * (y2 - y1) / 2
        middle = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        near = (np.abs(middle - [(x1 + x2) / 2, (y1 + y2) / 2]) < reach).all(axis=1) & (faces.scores >= NEIGHBOUR)
        others = near & (iou_matrix(faces.boxes, picture.boxes)[:, 0] < 0.2)
        if not others.any():
            out.append(Portrait(image=load(picture.path), points=picture.landmarks[0]))
    return out


def recalls(system: System, pictures: list[LabelledPicture], mosaics: list[Mosaic]) -> dict[tuple[str, int], float]:
    """(condition, size) -> share of the faces found at the score with one false box per picture of the condition."""
    assert system.faces is not None
    out = {}
    for condition in dict.fromkeys(m.condition.name for m in mosaics):
        rows = [i for i, m in enumerate(mosaics) if m.condition.name == condition]
        pairs = pair([system.faces[i] for i in rows], [pictures[i].boxes for i in rows])
        judged = pairs.matches(np.ones(len(pairs.face_picture), bool))
        found = np.zeros(len(pairs.face_picture), bool)
        found[judged.face[judged.hits & (judged.scores >= one_false_box(judged))]] = True
        sizes = np.concatenate([mosaics[i].sizes for i in rows])
        out |= {(condition, size): float(found[sizes == size].mean()) for size in SIZES}
    return out


def main() -> None:
    """Print one table per condition."""
    settings = load_settings(ensemble=os.environ.get("MOSAIC_ENSEMBLE"))
    cache = Cache(settings.models.parent / "evaluation")
    faces = portraits(settings, cache)
    mosaics = [m for n, c in enumerate(CONDITIONS) for m in make_mosaics(faces, c, per_size=PER_SIZE, seed=n)]
    pictures = write_mosaics(mosaics, CACHE / "mosaics")
    shown, labels = prepare(pictures, settings.max_pixels)
    found = list(systems(shown, settings, kinds=("member", "ensemble"), cache=cache))
    by_system = {s.name: recalls(s, labels, mosaics) for s in found}
    for condition in CONDITIONS:
        rows = [[name, *(f"{values[condition.name, size]:.2f}" for size in SIZES)] for name, values in by_system.items()]
        print(table(f"Recall by height of the face in pixels, {condition.name}", ["system", *map(str, SIZES)], rows))
    ours = by_system[found[-1].name]
    alone = [values for name, values in by_system.items() if name.endswith("one look")]
    small = [size for size in SIZES if size <= 16]
    mean = np.mean([ours["clean", size] for size in small])
    best = max(np.mean([values["clean", size] for size in small]) for values in alone)
    print(f"Clean faces of 8 to 16 px: ensemble {mean:.2f}, best member, one look {best:.2f}, ratio {mean / max(best, 1e-9):.2f}")
    print(f"{PER_SIZE} faces per size and condition, {len(mosaics)} mosaics; found = IoU 0.5, at one false box per mosaic.")


if __name__ == "__main__":
    main()
