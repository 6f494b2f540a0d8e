"""`auto-annotator cvat doctor`: whether a task, its labels, the server, the functions and this machine fit together."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from auto_annotator import imageio
from auto_annotator.bridge.functions_client import CLUSTERING, DESCRIPTOR, DETECTION, FunctionsClient
from auto_annotator.bridge.functions_http import BODY_BYTES
from auto_annotator.bridge.infos import LabelInfo, TaskInfo
from auto_annotator.bridge.label_check import check_labels, wanted_labels
from auto_annotator.bridge.server import Server
from auto_annotator.commands.cvat.options import add_server_options, connect, number
from auto_annotator.commands.doctor import Finding, examine
from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import AutoAnnotatorError

OLDEST_SERVER: Final = (2, 54)
"""The oldest CVAT that this project is written for."""

IDENTITY: Final = ("person", "name", "face_key")
"""Attributes that a push writes or reads."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("doctor", help="whether a task, its labels, the server and the functions fit together")
    parser.add_argument("--task", type=number, required=True, metavar="N", help="the task to look at; nothing is written to it")
    parser.add_argument("--label", metavar="NAME", help="rectangle label whose boxes are faces (default: face)")
    parser.add_argument("--functions", metavar="URL", help="address of `auto-annotator serve` or of Nuclio's dashboard")
    add_server_options(parser)
    add_settings_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report as it comes together; 1 if there is a problem."""
    problems = 0
    for finding in _everything(args):
        sys.stdout.write(f"{finding.level:8}{finding.text}\n")
        sys.stdout.flush()
        problems += finding.level == "problem"
    return int(problems > 0)


def _everything(args: argparse.Namespace) -> Iterator[Finding]:
    server = connect(args)
    yield from _versions(server)
    task = server.tasks(tasks=[args.task])[0]
    try:
        yield from _task(task)
        yield from _labels(server, task, args.label)
        yield from _largest_frame(server, task, settings_of(args).max_pixels)
    except AutoAnnotatorError as error:
        yield Finding(level="problem", text=str(error))
    if args.functions:
        yield from _functions(args.functions)
        yield Finding(level="note", text="models on this machine were not looked at, --functions stands in for them")
    else:
        yield from examine(settings_of(args))


def _versions(server: Server) -> Iterator[Finding]:
    sdk = version("cvat-sdk")
    text = f"CVAT {server.version} at {server.host}, cvat-sdk {sdk}"
    there, here = _numbers(server.version), _numbers(sdk)
    if there < OLDEST_SERVER:
        oldest = ".".join(str(part) for part in OLDEST_SERVER)
        yield Finding(level="problem", text=f"{text}: expected CVAT {oldest} or newer, whose updates keep the ids of shapes")
    elif there != here:
        yield Finding(level="note", text=f"{text}: of different versions, which the requests of these commands do not mind")
    else:
        yield Finding(level="ok", text=text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _task(task: TaskInfo) -> Iterator[Finding]:
    where = f", in project {task.project}" if task.project is not None else ""
    kind = "video" if task.video else "pictures"
    text = f"task {task.id}: {task.size} frames ({kind}), {len(task.jobs)} jobs{where}"
    if not task.jobs:
        yield Finding(level="problem", text=f"{text}: expected at least one annotation job")
        return
    yield Finding(level="ok", text=text)
    if task.deleted_frames:
        yield Finding(level="note", text=f"{len(task.deleted_frames)} deleted frames are left out everywhere")
    times = Counter(frame for job in task.jobs for frame in range(job.start, job.stop + 1))
    if shared := sum(count > 1 for count in times.values()):
        yield Finding(level="note", text=f"{shared} frames are in more than one job (overlap): a face there is in each of them")


def _labels(server: Server, task: TaskInfo, name: str | None) -> Iterator[Finding]:
    differences = check_labels(task.labels, wanted_labels(name))
    for difference in differences:
        yield Finding(level="note" if difference.kind == "mutable" else "problem", text=difference.text)
    if any(difference.kind.startswith("missing") for difference in differences):
        label = f" --label '{name}'" if name else ""
        yield Finding(level="problem", text=f"run: auto-annotator cvat setup --task {task.id}{label}")
    if not differences:
        yield Finding(level="ok", text="labels and attributes match, no value is dropped")
    yield from _writable(server, task, name or FACE)


def _writable(server: Server, task: TaskInfo, name: str) -> Iterator[Finding]:
    """How many faces there are, and what of them a push could write."""
    boxes: Counter[tuple[int, str]] = Counter()
    for job in task.jobs:
        annotations = server.annotations(job.id)
        boxes.update((shape["label_id"], "boxes") for shape in annotations.get("shapes") or () if shape.get("type") == "rectangle")
        boxes.update((track["label_id"], "tracks") for track in annotations.get("tracks") or () if _is_box_track(track))
    for label in task.labels:
        shapes, tracks = boxes[label.id, "boxes"], boxes[label.id, "tracks"]
        held = f"{shapes} boxes and {tracks} tracks"
        if label.name == name:
            yield _of_faces(label, held)
        elif shapes or tracks:
            text = f"label {label.name} has {held} that are not looked at: --label '{label.name}' if they are faces"
            yield Finding(level="note", text=text)


def _of_faces(label: LabelInfo, held: str) -> Finding:
    missing = [name for name in IDENTITY if label.attribute(name) is None]
    if missing:
        return Finding(
            level="problem", text=f"a push cannot write to label {label.name} ({held}): no attribute {', '.join(missing)}"
        )
    return Finding(level="ok", text=f"a push can write {', '.join(IDENTITY)} of label {label.name}: {held}")


def _is_box_track(track: dict[str, object]) -> bool:
    shapes = track.get("shapes")
    return isinstance(shapes, list) and any(shape.get("type") == "rectangle" for shape in shapes)


def _largest_frame(server: Server, task: TaskInfo, max_pixels: int) -> Iterator[Finding]:
    """The frame with the most pixels, fetched: what a request to a function would hold."""
    frames = task.frames
    if not frames:
        yield Finding(level="problem", text="every frame is deleted: there is nothing to annotate")
        return
    frame = max(frames, key=lambda number: task.frame_size(number)[0] * task.frame_size(number)[1])
    width, height = task.frame_size(frame)
    start = time.perf_counter()
    data = server.frame_bytes(task.id, frame)
    seconds = time.perf_counter() - start
    body = len(data) * 4 // 3 + 1024
    size = f"{len(data) / 1e6:.1f} MB in {seconds:.2f} s, a request of {body / 2**20:.1f} MiB"
    text = f"largest frame {frame}: {width} x {height}, {size}"
    if width * height > max_pixels:
        text = f"{text}: more than {max_pixels} pixels, so it gets a face_error tag; raise AUTO_ANNOTATOR_MAX_PIXELS"
        yield Finding(level="problem", text=text)
    elif body > BODY_BYTES:
        text = (
            f"{text}: more than the {BODY_BYTES >> 20} MiB that the functions take: make the frames smaller, or run the models here"
        )
        yield Finding(level="problem", text=text)
    else:
        imageio.decode(data, max_pixels=max_pixels)
        yield Finding(level="ok", text=f"{text} of {BODY_BYTES >> 20} MiB")


def _functions(url: str) -> Iterator[Finding]:
    try:
        client = FunctionsClient(url)
        states = client.functions()
    except AutoAnnotatorError as error:
        yield Finding(level="problem", text=str(error))
        return
    for name in (DETECTION, DESCRIPTOR, CLUSTERING):
        state = states.get(name)
        if state is None:
            text = f"{client.url} has no {name}: deploy it (make deploy-cpu), or start `auto-annotator serve`"
            yield Finding(level="problem", text=text)
        elif state != "ready":
            yield Finding(level="problem", text=f"{name} is {state or 'in an unknown state'}, expected ready: see its log")
        else:
            yield Finding(level="ok", text=f"{name} is ready at {client.url}")
    if states.get(DESCRIPTOR) == "ready":
        try:
            info = client.models()
        except AutoAnnotatorError as error:
            yield Finding(level="problem", text=str(error))
            return
        yield Finding(level="ok", text=f"descriptors of {info.model_set} ({info.model_hash}), {info.dimension} numbers each")
