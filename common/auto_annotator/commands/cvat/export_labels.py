"""`auto-annotator cvat export-labels`: what people have finished, as a folder that `calibrate` and `evaluate` read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import add_scope_options, add_server_options, connect
from auto_annotator.commands.progress import resumable_bar
from auto_annotator.config import load_settings
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auto_annotator.bridge.label_export import Exported
    from auto_annotator.bridge.server import Server
    from auto_annotator.bridge.truth import Finished


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "frames and faces of jobs that people have finished, as a folder for `calibrate` and `evaluate`; writes nothing to CVAT"
    parser = subparsers.add_parser("export-labels", help=text, description=text)
    add_scope_options(parser)
    text = "where they go: a new folder, or one of an earlier run; readable by you only"
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=text)
    parser.add_argument("--label", default=FACE, metavar="NAME", help=f"rectangle label of the faces (default: {FACE})")
    text = "take jobs that nobody has finished too: what was not looked at only confirms the detectors"
    parser.add_argument("--all-jobs", action="store_true", help=text)
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Download and write; 1 if no frame could be used."""
    from auto_annotator.bridge.truth import finished

    if not (args.task or args.job or args.project):
        raise ConfigError("what is meant? Give --task N, --job N or --project N (the numbers are in CVAT's address bar)")
    server = connect(args)
    scope = finished(server, tasks=args.task, jobs=args.job, projects=args.project, all_jobs=args.all_jobs)
    check_scope(scope)
    done = export(server, scope, args)
    sys.stderr.write("".join(f"{line}\n" for line in told(done, scope)))
    sys.stdout.write(f"{args.output}\n")
    return int(not done.pictures)


def check_scope(scope: Sequence[Finished]) -> None:
    """Something must be finished.

    Raises:
        ConfigError: says what to do.
    """
    if any(one.jobs for one in scope):
        return
    left = sum(len(one.left_out) for one in scope)
    raise ConfigError(
        f"nobody has finished a job: got {left} unfinished ones, expected state 'completed' or stage 'acceptance'; set it in CVAT"
        " when the faces of a job are right, or add --all-jobs"
    )


def export(server: Server, scope: Sequence[Finished], args: argparse.Namespace) -> Exported:
    """All frames, with a bar; whatever ends it early says how far it came.

    Raises:
        ServerError: if the server cannot be reached any more.
    """
    from auto_annotator.bridge.label_export import export_labels

    total, limit = sum(len(one.jobs) for one in scope), load_settings().max_pixels
    with resumable_bar(total, "frame", "downloading", goes_on="the same command goes on from there") as dealt_with:
        return export_labels(server, scope, args.output, label=args.label, max_pixels=limit, progress=dealt_with)


def told(done: Exported, scope: Sequence[Finished]) -> list[str]:
    """What a person wants to know afterwards."""
    kinds = ("taken", "left_out", "unfinished", "ground_truth")
    count = {name: sum(len(getattr(one, name)) for one in scope) for name in kinds}
    lines = [f"{done.pictures} pictures ({done.downloaded} new), {done.faces} faces of {count['taken']} jobs"]
    if count["ground_truth"]:
        lines[0] += f", {count['ground_truth']} of them ground truth"
    if done.ignored:
        lines.append(f"{done.ignored} faces are marked to be ignored")
    if count["left_out"]:
        lines.append(f"{count['left_out']} jobs were left out: nobody has finished them (--all-jobs takes them)")
    if count["unfinished"]:
        lines.append(
            f"warning: {count['unfinished']} jobs are not finished: boxes that nobody looked at only confirm the detectors, and"
            " what they missed counts as no face"
        )
    if done.untouched:
        lines.append(f"{done.untouched} faces are as the detectors left them")
    if done.failed:
        lines.append(f"{done.failed} frames cannot be used as pictures and were left out")
    if done.removed:
        lines.append(f"{done.removed} pictures of an earlier run no longer count and were removed")
    return lines
