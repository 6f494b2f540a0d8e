"""Faces that fill the picture: portraits cut closer and closer, the ensemble beside its members and other packages.

Portraits come from the development half of Helen; the cut pictures are written to the cache, never to the repository.
`CLOSE_UP_ENSEMBLE` names another ensemble than the packaged default.
"""

from __future__ import annotations

import os

import numpy as np

from auto_annotator.config import load_settings
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.looks import Cache
from auto_annotator.evaluation.mosaics import Portrait
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.readers import box_around
from auto_annotator.evaluation.systems import System, systems
from auto_annotator.geometry import clip_boxes, iou_matrix
from auto_annotator.types import Image
from benchmarks.common import CACHE, machine, table
from benchmarks.mosaics import portraits

SHARES = (0.5, 0.7, 0.85, 1.0, 1.25)
"""Long side of the face over the side of the picture."""
FACES = 24
SIDE = 1024
FOUND = 0.5


def cut(portrait: Portrait, share: float) -> tuple[Image, np.ndarray]:
    """The square around a face, enlarged to `SIDE`, and the (4,) box of what is to be seen of it."""
    import cv2

    box = box_around(portrait.points[None])[0].astype(float)
    half = float((box[2:] - box[:2]).max()) / share / 2
    middle = (box[:2] + box[2:]) / 2
    height, width = portrait.image.shape[:2]
    (x1, y1), (x2, y2) = np.maximum(middle - half, 0).astype(int), np.minimum(middle + half, [width, height]).astype(int)
    scale = SIDE / max(x2 - x1, y2 - y1)
    image = cv2.resize(portrait.image[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    moved = ((box.reshape(2, 2) - [x1, y1]) * scale).reshape(1, 4)
    return np.asarray(image, np.uint8), clip_boxes(moved, image.shape[1], image.shape[0])[0]


def write(faces: list[Portrait], share: float) -> list[LabelledPicture]:
    """The close-ups of one share, in the cache."""
    import cv2

    folder = CACHE / "close-ups"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    out = []
    for number, portrait in enumerate(faces):
        image, box = cut(portrait, share)
        path = folder / f"{share:g}-{number}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        out.append(LabelledPicture(path=path, boxes=np.asarray(box[None], np.float32)))
    return out


def cells(system: System, pictures: list[LabelledPicture]) -> str:
    """Share of pictures whose best box is the face; for a system with a threshold also shown faces and shown other boxes."""
    if system.faces is None:
        return "not available"
    overlaps = [iou_matrix(f.boxes, p.boxes)[:, 0] for f, p in zip(system.faces, pictures, strict=True)]
    best = [len(o) > 0 and o[np.argmax(f.scores)] >= FOUND for o, f in zip(overlaps, system.faces, strict=True)]
    text = f"{np.mean(best):.2f}"
    if system.threshold is not None:
        shown = [f.scores >= system.threshold for f in system.faces]
        seen = np.mean([bool((o[s] >= FOUND).any()) for o, s in zip(overlaps, shown, strict=True)])
        other = sum(int((o[s] < FOUND).sum()) for o, s in zip(overlaps, shown, strict=True))
        text += f", shown {seen:.2f}, false {other}"
    return text


def main() -> None:
    """Print one table: systems by how much of the picture the face takes."""
    settings = load_settings(ensemble=os.environ.get("CLOSE_UP_ENSEMBLE"))
    cache = Cache(settings.models.parent / "evaluation")
    faces = portraits(settings, cache)[:FACES]
    columns: dict[str, list[str]] = {}
    for share in SHARES:
        shown, labels = prepare(write(faces, share), settings.max_pixels)
        for system in systems(shown, settings, kinds=("member", "peer", "ensemble"), cache=cache):
            columns.setdefault(system.name, []).append(cells(system, labels))
    rows = [[name, *values] for name, values in columns.items() if values[0] != "not available"]
    print(table("Best box is the face, by the face's share of the picture's side", ["system", *map(str, SHARES)], rows))
    print(f"{len(faces)} portraits, {SIDE} px; IoU {FOUND:g}; shown / false: at the system's own threshold. {machine()}")


if __name__ == "__main__":
    main()
