"""`auto-annotator cvat setup`: the labels of a project or task, created or completed."""

from __future__ import annotations

import argparse
import sys

from auto_annotator.bridge.setup import Target, apply_setup, plan_setup, target_of
from auto_annotator.commands.cvat.options import add_server_options, connect, number


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "setup", help="create or complete the labels of a project or task; nothing that is there changes"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--project", type=number, metavar="N", help="the project that owns the labels")
    where.add_argument("--task", type=number, metavar="N", help="a task; of one inside a project the project's labels are meant")
    parser.add_argument("--label", metavar="NAME", help="add the attributes of a face to this rectangle label, and nothing else")
    parser.add_argument("--yes", action="store_true", help="write without asking")
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Say what would be done, ask, do it; 1 if it was not done."""
    server = connect(args)
    target = target_of(server, project=args.project, task=args.task)
    if args.task is not None and target.project is not None:
        _say(f"task {args.task} is in project {target.project}: its labels belong to the project and are set up there")
    plan = plan_setup(server.raw_labels(project=target.project, task=target.task), name=args.label)
    for note in plan.notes:
        _say(f"note: {note}")
    if not plan.labels:
        _say(f"{target}: nothing to do, the labels are complete")
        return 0
    for step in plan.steps:
        _say(f"{target}: {step}")
    if not args.yes and not _agreed(target):
        return 1
    apply_setup(server, target, name=args.label)
    _say(f"{target}: done; what was there before is unchanged")
    return 0


def _agreed(target: Target) -> bool:
    if not sys.stdin.isatty():
        _say("nothing was written: give --yes to do it (there is no terminal to ask on)")
        return False
    sys.stdout.write(f"Write this to {target}? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("nothing was written")
    return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
