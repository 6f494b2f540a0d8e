"""Labelled sets from disk: our own folders, WIDER FACE as its authors give it, exports of CVAT, and COCO.

    read_labelled(DATA)

DATA is one of these, as a folder or as a .zip of it:

- a folder with `images/` and `annotations.json` (or `landmarks.json`): a list of objects with `file` and `boxes_xywh` (one box per
  face) or `landmarks5` (five points of the one labelled face), optionally `box`, `event`, `attributes`, `keep`;
- a folder of WIDER FACE: `wider_face_split/wider_face_val_bbx_gt.txt`, `WIDER_val/images/<event>/`, and for the official levels
  the lists `wider_easy_val.mat`, `wider_medium_val.mat`, `wider_hard_val.mat` anywhere below it. Without the lists all faces
  that are not marked invalid count in every level;
- an export of CVAT, format *CVAT for images 1.1* with images: `annotations.xml` and `images/` (`cvat_labels`);
- COCO: `annotations/*.json` and `images/` (`coco_labels`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.coco_labels import coco_files, read_coco
from auto_annotator.evaluation.cvat_labels import CVAT_XML, read_cvat_xml
from auto_annotator.evaluation.labels import LEVELS, LabelledPicture
from auto_annotator.evaluation.unpacking import unpacked
from auto_annotator.types import Float32Array

WIDER_LABELS = "wider_face_val_bbx_gt.txt"
WIDER_COLUMNS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
ANNOTATIONS = ("annotations.json", "landmarks.json")

BOX_ABOVE, BOX_BELOW, BOX_BESIDE = 0.92, 0.67, 1.03
"""A set with points but no boxes: a face reaches this far around its points, in distances of eyes and mouth (what YuNet, trained on
the boxes of WIDER FACE, draws around portraits)."""


def read_labelled(data: Path, *, label: str | None = None) -> list[LabelledPicture]:
    """The labelled pictures of a set.

    Args:
        data: folder or .zip.
        label: which label or category has the faces, in exports of CVAT and COCO; None = `face`, or the only one.

    Raises:
        ConfigError: if it holds no known layout, or its labels cannot be read.
    """
    folder = unpacked(data)
    for name in ANNOTATIONS:
        if (folder / name).is_file() and not _holds_coco(folder / name):
            return _read_json(folder, folder / name)
    lists = sorted(folder.rglob(WIDER_LABELS)) if folder.is_dir() else []
    if lists:
        return _read_wider(folder, lists[0])
    if (folder / CVAT_XML).is_file():
        return read_cvat_xml(folder, folder / CVAT_XML, label=label)
    if files := coco_files(folder):
        return read_coco(folder, files, label=label)
    raise ConfigError(
        f"labelled data: got a folder without {' or '.join(ANNOTATIONS)}, without {WIDER_LABELS}, without {CVAT_XML} of CVAT and"
        " without annotations/*.json of COCO"
    )


def _holds_coco(path: Path) -> bool:
    """COCO files are named freely, ours are not: one of our name may be COCO's."""
    try:
        text = path.read_bytes()
        data = json.loads(text) if text.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and isinstance(data.get("images"), list) and isinstance(data.get("annotations"), list)


def _read_json(folder: Path, path: Path) -> list[LabelledPicture]:
    try:
        rows = json.loads(path.read_text())
        if isinstance(rows, Mapping):
            rows = [{"file": name, **row} for name, row in rows.items()]
        return [_json_picture(folder / "images", row) for row in rows]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"labelled data: {path.name} cannot be read ({type(error).__name__}); expected a list of objects with file and"
            " boxes_xywh or landmarks5"
        ) from error


def _json_picture(images: Path, row: Mapping[str, Any]) -> LabelledPicture:
    points: Float32Array | None = None
    if "boxes_xywh" in row:
        boxes = from_xywh(row["boxes_xywh"])
        if "landmarks5" in row:
            points = np.asarray(row["landmarks5"], np.float32).reshape(-1, 5, 2)
    else:
        points = np.asarray(row["landmarks5"], np.float32).reshape(1, 5, 2)
        boxes = np.asarray([row["box"]], np.float32).reshape(1, 4) if "box" in row else box_around(points)
    return LabelledPicture(
        path=images / row["file"],
        event=row.get("event", ""),
        boxes=boxes,
        keep={level: tuple(rows) for level, rows in row.get("keep", {}).items()},
        attributes={name: np.asarray(values, np.int_) for name, values in row.get("attributes", {}).items()},
        landmarks=points,
        points_only="boxes_xywh" not in row,
    )


def from_xywh(values: Any) -> Float32Array:
    """(g, 4) x1 y1 x2 y2 of boxes given as x y width height."""
    xywh = np.asarray(values, np.float32).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def box_around(points: Float32Array) -> Float32Array:
    """(n, 4) boxes of upright faces around (n, 5, 2) points: rough, enough to tell which detection is meant."""
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    size = np.linalg.norm(eyes - mouth, axis=1)
    x, top, bottom = points.mean(axis=1)[:, 0], np.minimum(eyes, mouth)[:, 1], np.maximum(eyes, mouth)[:, 1]
    beside = np.maximum(BOX_BESIDE * size, np.ptp(points[..., 0], axis=1) / 2)
    return np.stack([x - beside, top - BOX_ABOVE * size, x + beside, bottom + BOX_BELOW * size], axis=1).astype(np.float32)


def _read_wider(folder: Path, path: Path) -> list[LabelledPicture]:
    images = _wider_images(folder)
    keep = _wider_levels(folder)
    pictures = []
    for name, rows in _wider_blocks(path.read_text().splitlines()):
        event, stem = name.split("/", 1)[0], Path(name).stem
        numbers = np.asarray(rows, np.float32).reshape(-1, 10)
        invalid = numbers[:, 4 + WIDER_COLUMNS.index("invalid")] == 1
        everything = tuple(np.flatnonzero(~invalid).tolist())
        pictures.append(
            LabelledPicture(
                path=images / name,
                event=event,
                boxes=from_xywh(numbers[:, :4]),
                keep={level: keep[level].get((event, stem), ()) if keep else everything for level in LEVELS},
                attributes={c: numbers[:, 4 + i].astype(np.int_) for i, c in enumerate(WIDER_COLUMNS)},
            )
        )
    return pictures


def _wider_images(folder: Path) -> Path:
    for path in (folder / "WIDER_val" / "images", folder / "images", folder):
        if path.is_dir() and any(re.match(r"\d+--", p.name) for p in path.iterdir()):
            return path
    raise ConfigError("WIDER FACE: got no folder of events, expected WIDER_val/images/0--Parade and so on")


def _wider_blocks(lines: Sequence[str]) -> Iterator[tuple[str, list[list[float]]]]:
    """Name of the picture, how many faces, one line of ten numbers per face; a picture without faces has one line of zeros."""
    at = 0
    try:
        while at < len(lines):
            if not lines[at].strip():
                at += 1
                continue
            name, count = lines[at].strip(), int(lines[at + 1])
            rows = [[float(v) for v in line.split()[:10]] for line in lines[at + 2 : at + 2 + max(1, count)]]
            if any(len(row) != 10 for row in rows) or len(rows) < count:
                raise ValueError
            yield name, rows if count else []
            at += 2 + max(1, count)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"WIDER FACE: {WIDER_LABELS}, line {at + 1}: expected name, count, and ten numbers per face") from error


def _wider_levels(folder: Path) -> dict[str, dict[tuple[str, str], tuple[int, ...]]]:
    """Level -> (event, stem of the picture) -> indexes of the faces that count; {} without the official lists."""
    files = {level: next(iter(sorted(folder.rglob(f"wider_{level}_val.mat"))), None) for level in LEVELS}
    return {level: _wider_list(path) for level, path in files.items() if path is not None} if all(files.values()) else {}


def _wider_list(path: Path) -> dict[tuple[str, str], tuple[int, ...]]:
    from scipy.io import loadmat

    try:
        data = loadmat(str(path))
        out = {}
        for event, files, kept in zip(data["event_list"], data["file_list"], data["gt_list"], strict=True):
            for file, rows in zip(files[0], kept[0], strict=True):
                name = str(event[0].item() if hasattr(event[0], "item") else event[0])
                stem = str(file[0].item() if hasattr(file[0], "item") else file[0])
                out[name, stem] = tuple((rows[0].reshape(-1).astype(int) - 1).tolist())  # MATLAB counts from 1
        return out
    except (KeyError, IndexError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"WIDER FACE: {path.name} is not one of the official lists ({type(error).__name__})") from error
