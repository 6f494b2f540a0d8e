"""`auto-annotator cvat undo`: take a push back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auto_annotator.commands.cvat.options import connect
from auto_annotator.commands.cvat.push import FIRST, add_writing_options, look, print_lines, print_skipped, writing


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "take a push back: faces that still hold what it wrote get back what they held before"
    parser = subparsers.add_parser("undo", help=text, description=text)
    parser.add_argument("backup", type=Path, metavar="BACKUP.json", help="what `cvat push` wrote beside the plan")
    add_writing_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Undo, or tell; 1 if faces were left alone."""
    from auto_annotator.bridge.backup import read_backup
    from auto_annotator.bridge.diff import count_lines, face_lines
    from auto_annotator.bridge.judging import State
    from auto_annotator.bridge.push import check_server
    from auto_annotator.bridge.undo import undo

    backup = read_backup(args.backup)
    server = connect(args)
    check_server(server, backup.server, f"backup {args.backup}")
    found = look(server, backup.goals)
    limit = None if args.all else FIRST
    if args.dry_run:
        print_lines([*count_lines(found.judged), "", *face_lines(found.judged, limit)])
        return print_skipped(server, found.judged, limit)
    with writing("restored", found, lambda: "") as count:
        outcome = undo(server, found, chunk=args.chunk, progress=count)
    kept = sum(one.state is State.DONE for one in outcome.judged) - outcome.written
    sys.stderr.write(f"{outcome.written} faces restored, {kept} held the old values already, {len(outcome.skipped)} left alone\n")
    return print_skipped(server, outcome.judged, limit)
