"""Labels as COCO JSON (https://cocodataset.org/#format-data): boxes of one category, five keypoints where there are such.

Files are `annotations/*.json`, else the `*.json` of the folder, as far as they have `images` and `annotations`; pictures lie in
`images/`, in a folder of it named like the subset, or beside the file.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auto_annotator.bridge.ignored import is_ignored, is_true
from auto_annotator.bridge.shapes import Box, box_of
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.drawn import DrawnFace, DrawnPoints, Pictures, chosen_label, labelled_picture, without_lone_event
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.types import LANDMARK_NAMES

KINDS = ("person_keypoints", "instances")
"""Beginnings of the names that COCO's exporters give to files of the same pictures; the first has all that the second has."""

Json = Mapping[str, Any]


def coco_files(folder: Path) -> list[Path]:
    """The files of a folder that look like COCO's, one for each subset; [] if there is none.

    Raises:
        ConfigError: if one of them cannot be read.
    """
    found = [path for path in sorted((folder / "annotations").glob("*.json")) if _is_coco(path)]
    found = found or [path for path in sorted(folder.glob("*.json")) if _is_coco(path)]
    by_subset: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in found:
        kind = next((i for i, kind in enumerate(KINDS) if path.stem.startswith(f"{kind}_")), None)
        by_subset[path.stem if kind is None else _subset(path)].append((kind or 0, path))
    return [min(paths)[1] for paths in by_subset.values()]


def _subset(path: Path) -> str:
    return next((path.stem.removeprefix(f"{kind}_") for kind in KINDS if path.stem.startswith(f"{kind}_")), "")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name}: is not whole JSON ({type(error).__name__}): export it again") from None
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read ({error.strerror})") from error


def _is_coco(path: Path) -> bool:
    data = _load(path)
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in ("images", "annotations"))


def read_coco(folder: Path, paths: Sequence[Path], *, label: str | None = None) -> list[LabelledPicture]:
    """The labelled pictures of COCO files.

    An annotation with `iscrowd`, `ignore` or an attribute that says so is ignored, and so are all of a category of such a name.
    Keypoints that have the names of `LANDMARK_NAMES` are taken by name, five of other names in that order, others not at all; those
    of other categories than the faces' belong to the box that they lie in.

    Args:
        folder: of the set.
        paths: what `coco_files` found.
        label: name of the faces' category; None = `face`, or the only one if that is not of whole bodies.

    Raises:
        ConfigError: if a file is malformed, pictures are missing, or one is in two files.
    """
    found: list[LabelledPicture] = []
    for path in paths:
        pictures = Pictures(folder, path.name)
        try:
            found += _pictures(_load(path), path, pictures, label)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            what = f"{path.name}: is not as COCO describes it ({type(error).__name__}): export it again"
            raise ConfigError(what) from error
        pictures.check()
    if len({picture.path for picture in found}) < len(found):
        raise ConfigError(f"{', '.join(path.name for path in paths)}: a picture is in them twice; keep one file for each subset")
    return without_lone_event(found)


def _pictures(data: Json, path: Path, pictures: Pictures, label: str | None) -> list[LabelledPicture]:
    categories = {category["id"]: category for category in data.get("categories") or ()}
    used = [categories[one]["name"] for one in dict.fromkeys(a["category_id"] for a in data["annotations"])]
    name = _label(path.name, label, categories, used)
    rows: dict[Any, list[Json]] = defaultdict(list)
    for annotation in data["annotations"]:
        rows[annotation["image_id"]].append(annotation)
    known = [image["id"] for image in data["images"]]
    if len(set(known)) < len(known) or set(rows) - set(known):
        raise ConfigError(f"{path.name}: ids of images repeat, or annotations name images that are not listed: export it again")
    found = []
    for image in data["images"]:
        faces, points = _drawn(rows[image["id"]], categories, name)
        where = pictures.find(str(image["file_name"]), _subset(path))
        parent = str(image["file_name"]).rpartition("/")[0]
        found.append(labelled_picture(where, faces, points, event=parent))
    return found


def _label(file: str, wanted: str | None, categories: Mapping[Any, Json], used: Sequence[str]) -> str:
    bodies = [c["name"] for c in categories.values() if c.get("keypoints") and _order(c) is None and c["name"] != FACE]
    boxes = [name for name in used if wanted is not None or name not in bodies]
    if not used and wanted is None:
        return FACE
    names = [c["name"] for c in categories.values()]
    return chosen_label(file, wanted, names if wanted is not None or FACE in names else boxes)


def _order(category: Json) -> list[int] | None:
    """Where each of our five points is among the category's keypoints; None if they are others."""
    names = [str(name) for name in category.get("keypoints") or ()]
    if set(LANDMARK_NAMES) <= set(names):
        return [names.index(name) for name in LANDMARK_NAMES]
    return list(range(len(names))) if len(names) == len(LANDMARK_NAMES) else None


def _drawn(rows: Sequence[Json], categories: Mapping[Any, Json], name: str) -> tuple[list[DrawnFace], list[DrawnPoints]]:
    faces, points = [], []
    for group, row in enumerate(rows, start=1):
        category = categories[row["category_id"]]
        mine = category["name"] == name
        attributes = {**(row.get("attributes") or {}), "ignore": row.get("ignore", 0)}
        of_ignored = is_ignored(category["name"], {})
        if mine or of_ignored:
            ignored = is_true(row.get("iscrowd", 0)) or is_ignored(category["name"], attributes)
            faces.append(DrawnFace(box=_box(row), group=group, ignored=ignored))
        order = _order(category)
        if order is not None and row.get("num_keypoints", 1) and row.get("keypoints"):
            values = np.asarray(row["keypoints"], np.float32).reshape(-1, 3)[order]
            if np.isfinite(values).all():
                places = np.where(values[:, 2:] > 0, values[:, :2], np.float32("nan"))
                points.append(DrawnPoints(points=np.asarray(places, np.float32), group=group if mine else 0))
    return faces, points


def _box(row: Json) -> Box:
    x, y, width, height = (float(value) for value in row["bbox"])
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError("a bbox is not finite")
    turn = float((row.get("attributes") or {}).get("rotation") or 0)
    return box_of({"points": [x, y, x + width, y + height], "rotation": turn if math.isfinite(turn) else 0.0})
