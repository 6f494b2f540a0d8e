"""`auto-annotator cvat push`: write what a plan says, after a backup; `--dry-run` only tells."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import add_server_options, connect
from auto_annotator.commands.progress import progress_bar
from auto_annotator.errors import AutoAnnotatorError

if TYPE_CHECKING:
    from auto_annotator.bridge.judging import Goal, Judged
    from auto_annotator.bridge.server import Server
    from auto_annotator.bridge.writing import Survey

FIRST = 20
"""Faces that are listed without --all."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "write the person ids of a plan into CVAT, after a backup; safe to repeat after any interruption"
    parser = subparsers.add_parser("push", help=text, description=text)
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="what `cvat cluster` wrote")
    text = "where the values before are kept (default: beside the plan, with the time in its name)"
    parser.add_argument("--backup", type=Path, metavar="FILE.json", help=text)
    add_writing_options(parser)
    parser.set_defaults(run=run, parser=parser)


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Options that push and undo share."""
    from auto_annotator.bridge.writing import CHUNK

    parser.add_argument("--dry-run", action="store_true", help="print what would be written, write nothing")
    parser.add_argument("--all", action="store_true", help=f"list every face, not only the first {FIRST}")
    text = f"faces in one request (default: {CHUNK}); fewer if the server or a proxy runs out of time"
    parser.add_argument("--chunk", type=_positive, default=CHUNK, metavar="N", help=text)
    add_server_options(parser)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Push, or tell; 1 if faces were left alone."""
    from auto_annotator.bridge.diff import plan_lines
    from auto_annotator.bridge.judging import State
    from auto_annotator.bridge.plan import read_plan
    from auto_annotator.bridge.push import check_server, goals_of, push

    plan = read_plan(args.plan)
    server = connect(args)
    check_server(server, plan.server, f"plan {args.plan}")
    found = look(server, goals_of(plan))
    if args.dry_run:
        print_lines(plan_lines(plan, found.judged, None if args.all else FIRST))
        return print_skipped(server, found.judged, None if args.all else FIRST)
    told: list[Path] = []

    def begun(where: Path) -> None:
        told.append(where)
        sys.stderr.write(f"backup: {where}\n")

    with writing("written", found, lambda: f"auto-annotator cvat undo {told[0]}" if told else "") as count:
        outcome = push(server, plan, args.plan, found, backup=args.backup, chunk=args.chunk, begun=begun, progress=count)
    kept = sum(one.state is State.DONE for one in outcome.judged) - outcome.written
    sys.stderr.write(f"{outcome.written} faces written, {kept} were written before, {len(outcome.skipped)} left alone\n")
    if outcome.backup is not None:
        sys.stdout.write(f"{outcome.backup}\n")
    return print_skipped(server, outcome.judged, None if args.all else FIRST)


def look(server: Server, goals: Sequence[Goal]) -> Survey:
    """Read the faces from CVAT with a bar on the terminal; nothing is written."""
    from auto_annotator.bridge.writing import survey

    with progress_bar(len(goals), "face", "looking") as bar:
        return survey(server, goals, progress=bar.update)


@contextmanager
def writing(verb: str, found: Survey, back: Callable[[], str]) -> Iterator[Callable[[int], None]]:
    """A bar for faces that are written, as a function that counts them; whatever ends it early says how far it came and what to do.

    Args:
        verb: what happens to a face.
        found: what there is to do.
        back: function without arguments: the command that takes it back, empty = none.
    """
    from auto_annotator.bridge.judging import State

    total, counted = found.count(State.TODO), [0]
    with progress_bar(total, "face", verb) as bar:

        def count(faces: int) -> None:
            counted[0] += faces  # a bar that is not shown counts nothing
            bar.update(faces)

        try:
            yield count
        except (KeyboardInterrupt, AutoAnnotatorError) as error:
            done = f"at least {counted[0]} of {total} faces are {verb}; the same command goes on"
            undo = f", {back()} takes them back" if back() else ""
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(f"interrupted: {done}{undo}") from None
            if back():
                raise type(error)(f"{error}; {done}{undo}") from error
            raise


def print_lines(lines: Sequence[str]) -> None:
    """Write lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_skipped(server: Server, judged: Sequence[Judged], limit: int | None) -> int:
    """List the faces that are left alone with links to them; 1 if there are any, else 0."""
    skipped = [one for one in judged if one.state.skipped]
    if not skipped:
        return 0
    lines = [f"left alone: {len(skipped)} {'face' if len(skipped) == 1 else 'faces'}"]
    for one in skipped[:limit]:
        ref = one.goal.ref
        url = server.job_url(ref.task, ref.job, frame=ref.frame, shape=one.id, kind=ref.kind)
        lines.append(f"  {one.state}: {ref.kind} {one.id}, frame {ref.frame}: {url}")
    if limit is not None and len(skipped) > limit:
        lines.append(f"  ... and {len(skipped) - limit} more (--all prints them)")
    print_lines(lines)
    return 1
