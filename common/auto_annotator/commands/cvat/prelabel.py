"""`auto-annotator cvat prelabel`: faces of whole tasks into CVAT, without Nuclio or with deployed functions."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm.contrib.logging import logging_redirect_tqdm

from auto_annotator.commands.cvat.options import add_scope_options, add_server_options, connect, tasks_in_scope
from auto_annotator.commands.options import add_settings_options, fraction, settings_of
from auto_annotator.commands.progress import progress_bar
from auto_annotator.config import Settings
from auto_annotator.cvat.labels import FACE

if TYPE_CHECKING:
    from auto_annotator.bridge.prelabel import Counts, Finding
    from auto_annotator.bridge.prelabel_items import Target
    from auto_annotator.bridge.prelabel_run import Saving
    from auto_annotator.bridge.server import Server, TaskInfo

    Find = Callable[[Server, TaskInfo, Sequence[int]], Iterator[Finding]]

IN_FLIGHT = 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    from auto_annotator.bridge.prelabel_run import CHUNK_FRAMES

    text = "find the faces of whole tasks and save them in CVAT; safe to repeat, human work stays"
    parser = subparsers.add_parser("prelabel", help=text, description=text)
    add_scope_options(parser)
    parser.add_argument("--label", default=FACE, metavar="NAME", help=f"rectangle label of the faces (default: {FACE})")
    parser.add_argument("--threshold", type=fraction, metavar="0..1", help="leave out faces below it (default: the ensemble's own)")
    text = "use the deployed function face-detection of this gateway or Nuclio dashboard"
    parser.add_argument("--functions", metavar="URL", help=text)
    text = f"frames that the function works on at once (default: {IN_FLIGHT})"
    parser.add_argument("--in-flight", type=_positive, default=IN_FLIGHT, metavar="N", help=text)
    parser.add_argument("--dry-run", action="store_true", help="detect and say what would be written, write nothing")
    text = f"frames that are saved at once (default: {CHUNK_FRAMES}); at least once a minute they are saved anyway"
    parser.add_argument("--chunk", type=_positive, default=CHUNK_FRAMES, metavar="FRAMES", help=text)
    parser.add_argument("--keep-old", action="store_true", help="leave our own boxes that no face fits any more")
    parser.add_argument("--restore-deleted", action="store_true", help="add faces again that people deleted")
    parser.add_argument("--fresh", action="store_true", help="do not go on with an interrupted run, look at every frame again")
    add_settings_options(parser)
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Detect and save; 1 if no frame could be used."""
    from auto_annotator.bridge.prelabel_items import target_of

    settings = settings_of(args)
    server = connect(args)
    tasks = tasks_in_scope(args, server)
    targets = [target_of(task, args.label) for task in tasks]  # all of them, before the first write
    find, made_by = finder(args, settings)
    counts, earlier = prelabel(server, tasks, targets, find, made_by, args)
    say(counts, earlier, dry_run=args.dry_run)
    sys.stdout.write("".join(f"{server.job_url(task.id, job.id)}\n" for task in tasks for job in task.jobs))
    return int(counts.failed == counts.frames > 0)


def finder(args: argparse.Namespace, settings: Settings) -> tuple[Find, str]:
    """What finds the faces of frames, and a digest of all that the result depends on: an interrupted run goes on only with that.

    Raises:
        AutoAnnotatorError: if the models or the functions cannot be used.
    """
    from auto_annotator.bridge.prelabel_findings import deployed_findings, local_findings

    if args.functions:
        from auto_annotator.bridge.functions_client import FunctionsClient

        client = FunctionsClient(args.functions)
        made_by: dict[str, Any] = {"functions": client.url, "threshold": args.threshold}

        def ask(server: Server, task: TaskInfo, frames: Sequence[int]) -> Iterator[Finding]:
            how = {"threshold": args.threshold, "in_flight": args.in_flight, "max_pixels": settings.max_pixels}
            return deployed_findings(server, task, frames, client, **how)

        return ask, _digest(args, made_by)
    from auto_annotator.commands.run import fingerprint
    from auto_annotator.pipeline import FaceDetection, require_device

    made_by = fingerprint(settings, args.threshold)
    pipeline = FaceDetection.from_settings(settings)
    require_device(settings, pipeline.device)

    def detect(server: Server, task: TaskInfo, frames: Sequence[int]) -> Iterator[Finding]:
        look = partial(pipeline, threshold=args.threshold)
        return local_findings(server, task, frames, look, max_pixels=settings.max_pixels)

    return detect, _digest(args, made_by)


def _digest(args: argparse.Namespace, made_by: dict[str, Any]) -> str:
    rest = {"label": args.label, "keep_old": args.keep_old, "restore": args.restore_deleted}
    return hashlib.sha256(json.dumps({**made_by, **rest}, sort_keys=True).encode()).hexdigest()[:16]


def prelabel(
    server: Server, tasks: Sequence[TaskInfo], targets: Sequence[Target], find: Find, made_by: str, args: argparse.Namespace
) -> tuple[Counts, int]:
    """All frames of all tasks, with a bar; what became of the faces, and how many frames an interrupted run had done before."""
    from auto_annotator.bridge.errors import ServerError
    from auto_annotator.bridge.prelabel import Counts
    from auto_annotator.bridge.prelabel_journal import Journal, journal_path
    from auto_annotator.bridge.prelabel_run import Saving

    saving = Saving(chunk=args.chunk, keep_old=args.keep_old, restore=args.restore_deleted, dry_run=args.dry_run)
    total = sum(_frames(task) for task in tasks)
    counts, earlier = Counts(), 0
    what = "looking" if args.dry_run else "pre-labelling"
    with progress_bar(total, "frame", what) as bar, logging_redirect_tqdm():  # a warning goes above the bar, not into it
        try:
            for task, target in zip(tasks, targets, strict=True):
                with Journal(journal_path(server.host, task.id), made_by, fresh=args.fresh, read_only=args.dry_run) as journal:
                    earlier += _task(server, task, target, find, journal, saving, counts, bar)
                    journal.finish()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: {_so_far(counts, earlier, total)}") from None
        except ServerError as error:
            raise ServerError(f"{error}; {_so_far(counts, earlier, total)}", status=error.status) from error
    return counts, earlier


def _frames(task: TaskInfo) -> int:
    return sum(frame not in task.deleted_frames for job in task.jobs for frame in range(job.start, job.stop + 1))


def _so_far(counts: Counts, earlier: int, total: int) -> str:
    return f"{counts.frames + earlier} of {total} frames are done; the same command goes on from there"


def _task(
    server: Server, task: TaskInfo, target: Target, find: Find, journal: Any, saving: Saving, counts: Counts, bar: Any
) -> int:
    """All jobs of a task; how many frames were done before."""
    from auto_annotator.bridge.prelabel_run import save_findings

    earlier = faces = 0

    def seen(findings: Iterator[Finding]) -> Iterator[Finding]:
        nonlocal faces
        for finding in findings:
            faces += len(finding.faces)
            bar.set_postfix(faces=counts.faces + faces, refresh=False)
            bar.update()
            yield finding

    def saved(chunk: Counts) -> None:
        nonlocal faces
        counts.add(chunk)
        faces -= chunk.faces

    for job in task.jobs:
        frames = [frame for frame in range(job.start, job.stop + 1) if frame not in task.deleted_frames]
        todo = [frame for frame in frames if not journal.is_done(job.id, frame)]
        earlier += len(frames) - len(todo)
        bar.update(len(frames) - len(todo))
        if todo:
            save_findings(server, job, target, seen(find(server, task, todo)), journal, saving, saved=saved)
    return earlier


def say(counts: Counts, earlier: int, *, dry_run: bool) -> None:
    """What a person wants to know afterwards."""
    what = "would be " if dry_run else ""
    lines = [
        f"{counts.frames} frames, {counts.faces} faces: {counts.created} {what}added, {counts.updated} {what}brought up to date, "
        f"{counts.same} as before, {counts.theirs} left to people"
    ]
    if counts.removed or counts.kept:
        lines.append(f"no longer found: {counts.removed} {what}removed, {counts.kept} kept (a person was there, or --keep-old)")
    if counts.refused:
        lines.append(f"{counts.refused} faces that people deleted are not added again (--restore-deleted adds them)")
    if counts.failed:
        lines.append(f"{counts.failed} frames failed: they {'would get' if dry_run else 'have'} the tag face_error with the reason")
    if earlier:
        lines.append(f"{earlier} frames were done before the interruption (--fresh looks at them again)")
    sys.stderr.write("".join(f"{line}\n" for line in lines))
