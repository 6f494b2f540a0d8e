"""COCO keypoints JSON (https://cocodataset.org/#format-data): one category `face` with five keypoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from auto_annotator.reports.files import replacing
from auto_annotator.reports.points import placed_points
from auto_annotator.reports.records import FaceRecord, Record
from auto_annotator.types import LANDMARK_EDGES, LANDMARK_NAMES

CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "face",
    "supercategory": "person",
    "keypoints": list(LANDMARK_NAMES),
    # pairs of 1-based positions in `keypoints`: the eyes, each eye to the nose, the nose to each mouth corner, the mouth
    "skeleton": [[a + 1, b + 1] for a, b in LANDMARK_EDGES],  # COCO counts from 1
}
VISIBLE, HIDDEN, NOT_LABELLED = 2, 1, 0
"""COCO's visibility of a keypoint: to be seen, placed but hidden (by the head itself; its place is a guess), not placed at all."""


def write_coco(records: Iterable[Record], path: Path, *, description: str = "faces by auto-annotator") -> None:
    """Write all records that have a picture; pictures that could not be read have no size and are left out.

    Image and annotation ids count from 1. Each annotation has, beside the fields of the format, `score` and CVAT's
    `attributes` with the review flag and its reason codes. Only short JSON text is held in memory, about 0.5 kB a face.

    Args:
        records: in the order of the pictures.
        path: the file to write.
        description: `info.description` of the file.

    Raises:
        OSError: if the file cannot be written.
    """
    head = {"info": {"description": description, "version": "1.0"}, "licenses": [], "categories": [CATEGORY]}
    annotations: list[str] = []
    with replacing(path) as stream:
        stream.write(json.dumps(head)[:-1] + ',\n"images": [')
        readable = (record for record in records if record.error is None)
        for image_id, record in enumerate(readable, start=1):
            image = {"id": image_id, "file_name": record.image, "width": record.width, "height": record.height}
            stream.write((",\n" if image_id > 1 else "\n") + json.dumps(image))
            for face in record.faces:
                annotations.append(json.dumps(_annotation(face, record, len(annotations) + 1, image_id), allow_nan=False))
        stream.write('\n],\n"annotations": [\n' + ",\n".join(annotations) + "\n]}\n")


def _annotation(face: FaceRecord, record: Record, annotation_id: int, image_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = face.box
    width, height = round(x2 - x1, 2), round(y2 - y1, 2)
    points = placed_points(face, record)
    flags = [HIDDEN if name in face.hidden else VISIBLE for name in LANDMARK_NAMES]
    keypoints = [v for p, f in zip(points, flags, strict=True) for v in ((*p, f) if p is not None else (0, 0, NOT_LABELLED))]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": CATEGORY["id"],
        "bbox": [x1, y1, width, height],
        "area": round(width * height, 2),
        "segmentation": [],  # CVAT's importer and others that read COCO refuse an annotation without the field
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": sum(p is not None for p in points),
        "score": face.score,
        "attributes": {"review": face.review, "reasons": ", ".join(face.reasons)},
    }
