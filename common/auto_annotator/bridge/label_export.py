"""Frames and faces that people have finished in CVAT, as a folder to learn from: `images/` and `annotations.json`.

Pictures are named by task and frame, not as in CVAT: names of files come from elsewhere and may name people. Everything is readable
by its owner only. A run that was interrupted goes on: a picture that is there is whole, and a task's pictures never change in CVAT;
faces are read anew in every run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auto_annotator.bridge.frames import stream_bytes
from auto_annotator.bridge.ignored import IGNORED_LABELS, is_ignored
from auto_annotator.bridge.own_files import read_own
from auto_annotator.bridge.quality import Annotated, collect, label_of_faces
from auto_annotator.bridge.shapes import Item, attributes_of
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.exchange.files import replacing, replacing_binary
from auto_annotator.imageio import format_of
from auto_annotator.types import Faces

if TYPE_CHECKING:
    from auto_annotator.bridge.server import LabelInfo, Server, TaskInfo
    from auto_annotator.bridge.truth import Finished

KIND, VERSION = "auto-annotator labels", 1
ABOUT, LABELS, IMAGES = "export.json", "annotations.json", "images"
LEVELS = ("easy", "medium", "hard")

VIDEO_BLOCK = 100
"""Frames of a video that follow each other show the same scene, so that many of them are one event."""

_OURS = re.compile(r"task\d+_frame\d+\.[a-z]+")
_SUFFIXES = {"JPEG": "jpg", "TIFF": "tif"}
"""Of formats whose files are not called by their name in lower case."""


@dataclass(slots=True)
class Exported:
    """What a run did.

    Attributes:
        pictures, faces, ignored: what is in the folder now; ignored faces are among the faces.
        untouched: faces that are as the detectors left them (CVAT's source is `auto`).
        downloaded: pictures that were not there before.
        failed: frames that cannot be used as pictures, which are left out.
        removed: pictures of earlier runs that no longer count.
        rows: what `annotations.json` holds, one for each picture.
    """

    pictures: int = 0
    faces: int = 0
    ignored: int = 0
    untouched: int = 0
    downloaded: int = 0
    failed: int = 0
    removed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def export_labels(
    server: Server,
    scope: Sequence[Finished],
    folder: Path,
    *,
    label: str = FACE,
    max_pixels: int,
    progress: Callable[[int], object] = lambda frames: None,
) -> Exported:
    """Download the frames and write the folder.

    Args:
        server: where they are.
        scope: what people have finished.
        folder: new, empty, or of an earlier run for this server.
        label: of the faces.
        max_pixels: largest accepted picture.
        progress: called with the number of frames that were dealt with.

    Raises:
        ConfigError: if a task lacks the label, or the folder holds something else.
        ServerError: if the server cannot be reached; pictures so far stay.
    """
    scope = [one for one in scope if one.jobs]
    labels = {one.task.id: _labels(one.task, label) for one in scope}  # all of them, before anything is written
    _prepare(folder, server.host)
    done = Exported()
    for one in scope:
        _task(server, one, labels[one.task.id], folder / IMAGES, max_pixels, progress, done)
    _write_private(folder / LABELS, "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in done.rows) + "\n]\n")
    _write_private(folder / ABOUT, json.dumps(_about(server.host, label, scope, done), indent=1) + "\n")
    done.removed = _tidy(folder / IMAGES, {row["file"] for row in done.rows})
    return done


def _tidy(images: Path, used: set[str]) -> int:
    """Remove pictures of earlier runs that no label names any more; how many there were."""
    old = [path for path in images.iterdir() if _OURS.fullmatch(path.name) and path.name not in used]
    for path in old:
        path.unlink()
    return len(old)


def _prepare(folder: Path, host: str) -> None:
    """The folder, private, and ours.

    Raises:
        ConfigError: if it holds something else.
    """
    try:
        if (folder / ABOUT).exists():
            about = read_own(folder / ABOUT, "labels", KIND, VERSION, hint="name a new folder")
            if about.get("server") != host:
                raise ConfigError(f"{folder}: holds labels of another server: name a new folder")
        elif any(path.name != IMAGES or any(path.iterdir()) for path in (folder.iterdir() if folder.exists() else ())):
            raise ConfigError(f"{folder}: holds other files, expected a new or empty folder")
        (folder / IMAGES).mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in (folder, folder / IMAGES):  # the mode of mkdir is that of the last folder, and of new ones only
            path.chmod(0o700)
        _write_private(folder / ABOUT, json.dumps({"kind": KIND, "version": VERSION, "server": host}) + "\n")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder for labels ({error.strerror}): name another one") from error


def _write_private(path: Path, text: str) -> None:
    with replacing(path, private=True) as stream:
        stream.write(text)


def _about(host: str, label: str, scope: Sequence[Finished], done: Exported) -> dict[str, Any]:
    kinds = ("taken", "unfinished", "ground_truth")
    numbers = {name: [number for one in scope for number in getattr(one, name)] for name in kinds}
    return {
        "kind": KIND,
        "version": VERSION,
        "server": host,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "label": label,
        "tasks": [one.task.id for one in scope],
        "jobs": numbers.pop("taken"),
        **numbers,
        "pictures": done.pictures,
        "faces": done.faces,
    }


def _labels(task: TaskInfo, name: str) -> list[LabelInfo]:
    """The label of the faces, and those whose boxes are ignored.

    Raises:
        ConfigError: if the task has no such rectangles.
    """
    label = label_of_faces(task, name)
    ignored = [one for one in task.labels if one.name.casefold() in IGNORED_LABELS and one.type in ("rectangle", "any")]
    return [label, *(one for one in ignored if one is not label)]


def _task(
    server: Server,
    one: Finished,
    labels: Sequence[LabelInfo],
    images: Path,
    max_pixels: int,
    progress: Callable[[int], object],
    done: Exported,
) -> None:
    """Pictures and rows of one task."""
    files = _pictures(server, one, images, max_pixels, progress, done)
    annotations = {job: server.annotations(job) for job in sorted(set(one.jobs.values()))}
    places = [(frame, job) for frame, job in one.jobs.items() if frame in files]
    found = [collect(one.task, places, annotations, label) for label in labels]
    items = _items(annotations)
    events = _events(one.task, [frame for frame, _ in places])
    ignored = [_ignored(those, label, items) for those, label in zip(found, labels, strict=True)]
    for number, (frame, job) in enumerate(places):
        faces = Faces.concat([those.pictures[number] for those in found])
        flags = [flag for rows in ignored for flag in rows[frame, job]]
        where = {"task": one.task.id, "job": job, "frame": frame}
        done.rows.append({"file": files[frame], "event": events[number], **where, **_row(faces, flags)})
        done.pictures += 1
        done.faces += len(faces)
        done.ignored += sum(flags)
    done.untouched += sum(source == "auto" for source in found[0].sources)


def _row(faces: Faces, ignored: Sequence[bool]) -> dict[str, Any]:
    """The faces of a picture as the readers of labelled sets take them."""
    boxes = faces.boxes.astype(np.float64)
    row: dict[str, Any] = {"boxes_xywh": np.round(np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]), 2).tolist()}
    if np.isfinite(faces.landmarks).any():
        points = np.round(faces.landmarks.astype(np.float64), 2).tolist()
        row["landmarks5"] = [[[None if v != v else v for v in xy] for xy in face] for face in points]  # JSON knows no NaN
    if any(ignored):
        kept = [i for i, flag in enumerate(ignored) if not flag]
        row["keep"] = dict.fromkeys(LEVELS, kept)
    return row


def _items(annotations: Mapping[int, Mapping[str, Any]]) -> dict[tuple[int, str, int], Item]:
    """Raw shapes and tracks by job, kind and id."""
    return {
        (job, kind, int(item["id"])): item
        for job, content in annotations.items()
        for kind in ("shape", "track")
        for item in content.get(f"{kind}s") or ()
    }


def _ignored(those: Annotated, label: LabelInfo, items: Mapping[tuple[int, str, int], Item]) -> dict[tuple[int, int], list[bool]]:
    """For each frame and job, which of its faces are ignored, in their order."""
    flags: dict[tuple[int, int], list[bool]] = {(place.frame, place.job): [] for place in those.frame_places}
    for place in those.places:
        item = items[place.job, place.kind, place.id]
        keys = [key for key in item.get("shapes") or () if place.kind == "track" and int(key["frame"]) <= place.frame]
        sent = [
            *(item.get("attributes") or ()),
            *(max(keys, key=lambda k: int(k["frame"])).get("attributes") or () if keys else ()),
        ]
        flags[place.frame, place.job].append(is_ignored(label.name, attributes_of({"attributes": sent}, label)))
    return flags


def _events(task: TaskInfo, frames: Sequence[int]) -> list[str]:
    """What pictures that are alike have in common: the folder of their names, by number, or a stretch of a video."""
    if task.video:
        return [f"task {task.id}, frames from {frame // VIDEO_BLOCK * VIDEO_BLOCK}" for frame in frames]
    parents = [task.frame_names[frame].rpartition("/")[0] for frame in frames]
    numbers = {parent: number for number, parent in enumerate(dict.fromkeys(parents), start=1)}
    return [f"task {task.id}, folder {numbers[parent]}" if len(numbers) > 1 else "" for parent in parents]


def _pictures(
    server: Server, one: Finished, images: Path, max_pixels: int, progress: Callable[[int], object], done: Exported
) -> dict[int, str]:
    """File of each frame; those that are not there are downloaded, those that cannot be used are left out."""
    there = {path.name.partition(".")[0]: path.name for path in images.iterdir() if _OURS.fullmatch(path.name)}
    files = {frame: there[stem] for frame in one.jobs if (stem := _stem(one.task.id, frame)) in there}
    progress(len(files))
    missing = [frame for frame in one.jobs if frame not in files]
    for frame, answer in stream_bytes(server, one.task, missing, max_pixels=max_pixels):
        if isinstance(answer, ImageError):
            done.failed += 1
        else:
            kind = format_of(answer[0])
            files[frame] = f"{_stem(one.task.id, frame)}.{_SUFFIXES.get(kind, kind.lower())}"
            with replacing_binary(images / files[frame]) as stream:
                Path(stream.name).chmod(0o600)
                stream.write(answer[0])
            done.downloaded += 1
        progress(1)
    return files


def _stem(task: int, frame: int) -> str:
    return f"task{task}_frame{frame:06d}"
