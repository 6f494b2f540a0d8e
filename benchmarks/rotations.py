"""Faces on their side and upside down: what looks at the turned picture bring, and what they do to ordinary and to empty pictures.

`ROTATIONS_STEP` measures every n-th picture of each set (default 2; Helen: four times as few).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from auto_annotator.config import Settings, load_settings
from auto_annotator.evaluation.detection import average_precision, corrections, pair
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.looks import Cache
from auto_annotator.evaluation.mosaics import CONDITIONS, SIZES, Mosaic, make_mosaics, write_mosaics
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.evaluation.summary import all_counts
from auto_annotator.evaluation.systems import System, systems
from auto_annotator.geometry import iou_matrix, turn_faces
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Image
from benchmarks.common import CACHE, load, need, table, wider
from benchmarks.mosaics import PER_SIZE, portraits, recalls

SHOWN = ("clean", "turned 90", "turned 180")
GRID, LEAST, ROOM = 16, 220, 0.3
"""Empty parts of a picture: pixels of the grid, shortest side in pixels, distance from labelled boxes as a share of their side."""
FOUND = 0.4
"""IoU with the rough box around labelled points."""


def main() -> None:
    """Print the tables."""
    step = int(os.environ.get("ROTATIONS_STEP", "2"))
    settings = load_settings()
    cache = Cache(settings.models.parent / "evaluation")
    small(settings, cache)
    ordinary(settings, cache, step)
    points(settings, 4 * step)
    empty(settings, step)


def with_rotations(pictures: Sequence[LabelledPicture], settings: Settings, cache: Cache) -> dict[str, System]:
    """The ensemble with each setting, but for `when_empty`, which is one of the two in every picture."""
    shown, _ = prepare(pictures, settings.max_pixels)
    out = {}
    for rotations in ("off", "always"):
        (out[rotations],) = systems(shown, settings.model_copy(update={"rotations": rotations}), kinds=("ensemble",), cache=cache)
    return out


def small(settings: Settings, cache: Cache) -> None:
    """Recall by size on mosaics."""
    faces = portraits(settings, cache)
    mosaics: list[Mosaic] = []
    for seed, condition in enumerate(CONDITIONS):
        if condition.name in SHOWN:
            mosaics += make_mosaics(faces, condition, per_size=PER_SIZE, seed=seed)
    pictures = write_mosaics(mosaics, CACHE / "mosaics-turned")
    found = with_rotations(pictures, settings, cache)
    one_false = {name: recalls(system, pictures, mosaics) for name, system in found.items()}
    rows = []
    for condition in SHOWN:
        for name, system in found.items():
            at_threshold = threshold_recall(system, pictures, mosaics, condition)
            rows.append([condition, name, "as shipped", *(f"{at_threshold[size]:.2f}" for size in SIZES)])
            rows.append([condition, name, "one false box", *(f"{one_false[name][condition, size]:.2f}" for size in SIZES)])
    print(table("Recall by height of the face in pixels", ["faces", "rotations", "threshold", *map(str, SIZES)], rows))


def threshold_recall(
    system: System, pictures: Sequence[LabelledPicture], mosaics: Sequence[Mosaic], condition: str
) -> dict[int, float]:
    """Size -> share of the faces found at the ensemble's own threshold."""
    assert system.faces is not None and system.threshold is not None
    rows = [i for i, m in enumerate(mosaics) if m.condition.name == condition]
    pairs = pair([system.faces[i] for i in rows], [pictures[i].boxes for i in rows])
    judged = pairs.matches(np.ones(len(pairs.face_picture), bool))
    hit = np.zeros(len(pairs.face_picture), bool)
    hit[judged.face[judged.hits & (judged.scores >= system.threshold)]] = True
    sizes = np.concatenate([mosaics[i].sizes for i in rows])
    return {size: float(hit[sizes == size].mean()) for size in SIZES}


def ordinary(settings: Settings, cache: Cache, step: int) -> None:
    """AP and corrections where faces stand upright."""
    pictures = wider()[::step]
    rows = []
    for name, system in with_rotations(pictures, settings, cache).items():
        assert system.faces is not None and system.threshold is not None
        pairs = pair(system.faces, [p.boxes for p in pictures])
        levels = [pairs.matches(all_counts(pictures, level)) for level in ("medium", "hard")]
        costs = [corrections(level, system.threshold) for level in levels]
        rows.append(
            [
                name,
                *(f"{average_precision(level):.3f}" for level in levels),
                *(f"{cost.per_100:.1f}" for cost in costs),
                str(costs[1].false_boxes),
                f"{system.seconds:.1f}",
            ]
        )
    head = ["rotations", "AP medium", "AP hard", "C100 medium", "C100 hard", "false boxes", "CPU seconds"]
    print(table(f"WIDER FACE subset, {len(pictures)} pictures", head, rows))


def points(settings: Settings, step: int) -> None:
    """Faces found and their points on portraits turned by each quarter."""
    labelled = read_labelled(need("helen"))[::step]
    pipeline = FaceDetection.from_settings(settings)
    rows = []
    for turn in range(4):
        for rotations in ("off", "when_empty", "always"):
            detect = FaceDetection(pipeline.ensemble, settings.model_copy(update={"rotations": rotations}))
            errors = [error for picture in labelled if (error := point_error(detect, picture, turn)) is not None]
            bad = sum(error > 0.1 for error in errors)
            rows.append(
                [str(90 * turn), rotations, f"{len(errors)} of {len(labelled)}", f"{100 * np.median(errors):.1f}", str(bad)]
            )
    print(table("Helen, turned", ["degrees", "rotations", "found", "median error, % of eye distance", "above 10 %"], rows))


def point_error(detect: FaceDetection, picture: LabelledPicture, turn: int) -> float | None:
    """Mean distance of the points of the labelled face over the eye distance; None if it is not found."""
    image = load(picture.path)
    assert picture.landmarks is not None
    detection = detect(np.ascontiguousarray(np.rot90(image, -turn)))
    faces = turn_faces(detection.faces, -turn, detection.width, detection.height)
    overlap = iou_matrix(faces.boxes, picture.boxes)[:, 0]
    if not len(overlap) or overlap.max() < FOUND:
        return None
    truth = picture.landmarks[0]
    distance = np.linalg.norm(faces.landmarks[overlap.argmax()] - truth, axis=1).mean()
    return float(distance / np.linalg.norm(truth[0] - truth[1]))


def empty(settings: Settings, step: int) -> None:
    """False boxes on parts of pictures without a labelled face."""
    ensemble = FaceDetection.from_settings(settings).ensemble
    rows = []
    parts = [part for picture in wider()[::step] if (part := without_faces(load(picture.path), picture.boxes)) is not None]
    for rotations in ("off", "when_empty", "always"):
        detect = FaceDetection(ensemble, settings.model_copy(update={"rotations": rotations}))
        start = time.process_time()
        false = sum(len(detect(part).faces) for part in parts)
        rows.append([rotations, str(false), f"{(time.process_time() - start) / len(parts):.1f}"])
    print(table(f"{len(parts)} parts of pictures without a labelled face", ["rotations", "boxes", "CPU seconds a picture"], rows))


def without_faces(image: Image, boxes: np.ndarray) -> Image | None:
    """The largest part of a picture, on a grid, that no labelled box comes near; None if it is small."""
    free = np.ones((image.shape[0] // GRID, image.shape[1] // GRID), bool)
    for x1, y1, x2, y2 in boxes:
        room = ROOM * max(x2 - x1, y2 - y1)
        rows, columns = (slice(max(0, int((a - room) // GRID)), int((b + room) // GRID) + 1) for a, b in ((y1, y2), (x1, x2)))
        free[rows, columns] = False
    best, place = 0, None
    above = np.zeros(free.shape[1], int)
    for row, open_ in enumerate(free):
        above = np.where(open_, above + 1, 0)
        for first in range(len(above)):
            for last in range(first, len(above)):
                height, width = int(above[first : last + 1].min()), last + 1 - first
                if height and min(height, width) * GRID >= LEAST and height * width > best:
                    best, place = height * width, (row + 1 - height, row + 1, first, last + 1)
    if place is None:
        return None
    top, bottom, left, right = (GRID * edge for edge in place)
    return np.ascontiguousarray(image[top:bottom, left:right])


if __name__ == "__main__":
    main()
