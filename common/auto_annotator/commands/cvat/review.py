"""`auto-annotator cvat review`: the queue of faces to look at, as page, as CSV, and as issues on the jobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import add_scope_options, add_server_options, connect, number, tasks_in_scope
from auto_annotator.commands.cvat.page_options import add_page_options, check_folder, fetch_pictures, server_of
from auto_annotator.commands.progress import progress_bar, resumable_bar
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.bridge.faces import PulledFace
    from auto_annotator.bridge.review_queue import Entry
    from auto_annotator.bridge.server import LabelInfo, Server, TaskInfo

PAGE = Path("review.html")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "the faces to look at in order: where detectors disagree, and with a plan where it is doubtful who it is"
    parser = subparsers.add_parser("review", help=text, description=text)
    text = "a plan of `cvat cluster`: what detectors said when it was made, and doubts about who it is"
    parser.add_argument("--plan", type=Path, metavar="PLAN.json", help=text)
    add_scope_options(parser)
    parser.add_argument(
        "--label", default=FACE, metavar="NAME", help=f"rectangle label of the faces, without a plan (default: {FACE})"
    )
    add_page_options(parser, f"{PAGE}, beside the plan if there is one; none where --csv or --issues is asked for")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="the queue as CSV too")
    text = "open an issue in CVAT for each face that never had one (a resolved one counts)"
    parser.add_argument("--issues", action="store_true", help=text)
    parser.add_argument("--dry-run", action="store_true", help="with --issues: say how many would be opened, write nothing to CVAT")
    parser.add_argument("--limit", type=number, metavar="N", help="only the first N faces of the queue")
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What there is to look at, and the server, None when nothing was asked of it."""

    entries: tuple[Entry, ...]
    host: str
    about: str
    server: Server | None = None
    tasks: tuple[TaskInfo, ...] = ()


def run(args: argparse.Namespace) -> int:
    """Write the queue and print the paths of what was written."""
    from auto_annotator.exchange.files import replacing

    page = _page(args)
    _check(args, page)
    queue = _of_plan(args, page) if args.plan else _of_tasks(args)
    entries = queue.entries[: args.limit]
    written = []
    if page is not None:
        _write_page(args, queue, entries, page)
        written.append(page)
    if args.csv is not None:
        from auto_annotator.bridge.review_queue import write_csv

        with replacing(args.csv, private=True) as stream:
            write_csv(stream, entries, queue.host)
        written.append(args.csv)
    sys.stderr.write(f"{len(queue.entries)} faces to look at" + (f", the first {len(entries)} taken" if args.limit else "") + "\n")
    sys.stdout.write("".join(f"{path}\n" for path in written))
    if args.issues and queue.server is not None:
        _issues(queue.server, entries, dry_run=args.dry_run)
    return 0


def _page(args: argparse.Namespace) -> Path | None:
    if args.output is not None or args.csv is not None or args.issues:
        path: Path | None = args.output
        return path
    return args.plan.with_name(f"{args.plan.stem}.{PAGE}") if args.plan else PAGE


def _check(args: argparse.Namespace, page: Path | None) -> None:
    scoped = args.task or args.job or args.project
    if bool(args.plan) == bool(scoped):
        args.parser.error("give either --plan PLAN.json, or --task, --job or --project")
    if args.dry_run and not args.issues:
        args.parser.error("--dry-run is for --issues: without it nothing is written to CVAT")
    check_folder("--output", page)
    check_folder("--csv", args.csv)


def _of_plan(args: argparse.Namespace, page: Path | None) -> Queue:
    from auto_annotator.bridge.links import checked_host
    from auto_annotator.bridge.plan import read_plan
    from auto_annotator.bridge.review_queue import queue_of_plan

    plan = read_plan(args.plan)
    host = checked_host(plan.server)
    entries = queue_of_plan(plan)
    about = f"{len(plan.faces)} faces of the plan of {plan.created}"
    pictured = page is not None and not args.no_pictures
    if not pictured and not args.issues:
        return Queue(entries=entries, host=host, about=about)
    server = server_of(args, plan)
    shown = {entry.ref.task for entry in entries[: args.limit]} if pictured else set()
    return Queue(entries=entries, host=host, about=about, server=server, tasks=tuple(server.tasks(tasks=sorted(shown))))


def _of_tasks(args: argparse.Namespace) -> Queue:
    from auto_annotator.bridge.review_queue import queue_of_faces

    server = connect(args)
    tasks = tasks_in_scope(args, server)
    faces = _pull(server, tasks, args.label)
    about = f"{len(faces)} faces of {len(tasks)} task{'s' * (len(tasks) != 1)}"
    return Queue(entries=queue_of_faces(faces), host=server.host, about=about, server=server, tasks=tuple(tasks))


def _pull(server: Server, tasks: Sequence[TaskInfo], label: str) -> list[PulledFace]:
    from auto_annotator.bridge.faces import pulled_faces

    labels = {task.id: _label(task, label) for task in tasks}
    jobs = [(task, job) for task in tasks for job in task.jobs]
    found: list[PulledFace] = []
    with progress_bar(len(jobs), "job", "pulling") as bar:
        for task, job in jobs:
            found += pulled_faces(task, job, server.annotations(job.id), labels[task.id])
            bar.update()
    return found


def _label(task: TaskInfo, name: str) -> LabelInfo:
    """The label, which needs no more than a word of the detectors.

    Raises:
        ConfigError: if the task does not have it, or it says nothing.
    """
    from auto_annotator.bridge.shapes import label_named

    where = f"project {task.project}" if task.project is not None else f"task {task.id}"
    label = label_named(task.labels, name, "rectangle")
    if label is None:
        others = ", ".join(one.name for one in task.labels if one.type in ("rectangle", "any")) or "none"
        raise ConfigError(f"{where}: has no rectangle label {name!r} (its rectangle labels: {others}); name it with --label")
    if not {"review", "reasons"} & {attribute.name for attribute in label.attributes}:
        raise ConfigError(
            f"{where}, label {name!r}: has neither attribute review nor reasons, so no detector has said anything of its faces;"
            " give --plan, or run `auto-annotator cvat setup` and `cvat prelabel`"
        )
    return label


def _write_page(args: argparse.Namespace, queue: Queue, entries: Sequence[Entry], page: Path) -> None:
    from auto_annotator.reports.queue_page import MARGIN, with_picture, write_queue

    pictures = {}
    if queue.server is not None and not args.no_pictures:
        pictures = fetch_pictures(queue.server, queue.tasks, [entry.ref for entry in with_picture(entries)], MARGIN)
    write_queue(entries, queue.host, page, pictures, subtitle=queue.about, left_out=len(queue.entries) - len(entries))


def _issues(server: Server, entries: Sequence[Entry], *, dry_run: bool) -> None:
    """Open the issues with a bar; whatever ends it early says how far it came."""
    from auto_annotator.bridge.issues import open_issues

    goes_on = "the same command goes on, no face gets two"
    with resumable_bar(len(entries), "face", "issues", goes_on=goes_on) as told:
        outcome = open_issues(server, entries, dry_run=dry_run, progress=told)
    verb = "would be opened" if dry_run else "opened"
    sys.stderr.write(f"{outcome.opened} issues {verb}, {outcome.had_one} faces had one\n")
