"""`auto-annotator cvat quality`: the faces of a task against a ground truth job or another task."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import add_server_options, connect, number
from auto_annotator.cvat.labels import FACE

if TYPE_CHECKING:
    from auto_annotator.bridge.quality import Against


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "how good the faces of a task are: boxes, landmarks, people, ensemble members, corrections per 100 faces"
    parser = subparsers.add_parser("quality", help=text, description=text)
    parser.add_argument("--task", type=number, required=True, metavar="N", help="the task that is judged")
    text = "what is true: a ground truth job (or a job of another task) as job:12, or another task as task:7"
    parser.add_argument("--against", type=against, required=True, metavar="job:N|task:N", help=text)
    parser.add_argument("--label", default=FACE, metavar="NAME", help=f"rectangle label of the faces (default: {FACE})")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="also write all measures")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="also write a page with a link to every face to correct")
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


def against(text: str) -> Against:
    """An argparse type: `job:12`, `task:7`."""
    from auto_annotator.bridge.quality import Against

    kind, _, rest = text.partition(":")
    if kind == "job":
        return Against(kind="job", id=number(rest))
    if kind == "task":
        return Against(kind="task", id=number(rest))
    raise argparse.ArgumentTypeError(f"got {text!r}, expected job:12 or task:7, numbers as in CVAT's address bar")


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, and write what was asked for."""
    from auto_annotator.bridge.quality import Place, sides
    from auto_annotator.commands.cvat.quality_tables import groups, tables, text_of, tiles
    from auto_annotator.evaluation.annotation_quality import quality
    from auto_annotator.exchange.files import replacing
    from auto_annotator.reports.quality_page import write_quality_page

    server = connect(args)
    found, truth = sides(server, args.task, args.against, label=args.label)
    result = quality(found, truth)
    compared = f"task {args.task} against {args.against.kind} {args.against.id}, {result.frames} frames"
    shown = tables(result)
    sys.stdout.write(f"{compared}\n\n{text_of(shown)}")
    if args.json is not None:
        with replacing(args.json) as stream:
            json.dump({"task": args.task, "against": str(args.against), "label": args.label, **result.as_json()}, stream, indent=1)
            stream.write("\n")
    if args.page is not None:

        def url(place: Place) -> str:
            return server.job_url(place.task, place.job, frame=place.frame, shape=place.id, kind=place.kind)

        faults = groups(result, found, truth, url)
        write_quality_page(
            args.page, title="Annotation quality", subtitle=compared, tiles=tiles(result), tables=shown, groups=faults
        )
    for path in filter(None, (args.json, args.page)):
        sys.stderr.write(f"{path}\n")
    return 0
