"""`auto-annotator evaluate`: an ensemble and what it is compared with, judged on labelled pictures."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_annotator import __version__
from auto_annotator.commands.options import add_settings_options, count, fraction, settings_of
from auto_annotator.commands.run import make_folder

if TYPE_CHECKING:
    from auto_annotator.config import Settings
    from auto_annotator.evaluation.comparison import Result
    from auto_annotator.evaluation.labels import LabelledPicture
    from auto_annotator.evaluation.systems import Kind

FILES = ("evaluation.html", "evaluation.md", "evaluation.json")

GROUPS: Mapping[str, tuple[Kind, ...]] = {
    "ensemble": ("ensemble",),
    "members": ("member", "ensemble"),
    "rules": ("member", "rule", "older", "ensemble"),
    "peers": ("member", "peer", "ensemble"),
    "all": ("member", "rule", "older", "peer", "ensemble"),
}
"""Words of `--systems`. The ensemble is always judged; differences need the members."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("evaluate", help="judge an ensemble on labelled pictures: JSON, tables and a page with plots")
    text = "labelled pictures: WIDER FACE, images/ and annotations.json, an export of CVAT or COCO; folder or .zip"
    parser.add_argument("data", type=Path, metavar="DATA", help=text)
    parser.add_argument("--label", metavar="NAME", help="label of the faces in exports of CVAT and COCO (default: face)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the report goes (default: the tables go to stdout)")
    parser.add_argument("--systems", choices=list(GROUPS), default="members", help="what is judged beside it (default: members)")
    parser.add_argument(
        "--threshold", type=fraction, metavar="0..1", help="boxes are shown from it up (default: the ensemble's own)"
    )
    parser.add_argument("--limit", type=count, metavar="N", help="only the first N pictures")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="of the draws of pictures (default: 0)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where answers of models are kept for the next run")
    parser.add_argument("--no-cache", action="store_true", help="keep nothing")
    add_settings_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Judge, write the report, say where it is."""
    from auto_annotator.evaluation.comparison import compare
    from auto_annotator.evaluation.looks import Cache
    from auto_annotator.evaluation.pictures import prepare
    from auto_annotator.evaluation.readers import read_labelled
    from auto_annotator.evaluation.systems import systems
    from auto_annotator.evaluation.tables import markdown

    settings = settings_of(args)
    pictures = read_labelled(args.data, label=args.label)[: args.limit]
    if not pictures:
        args.parser.error("the labelled set holds no picture")
    if args.output is not None:
        make_folder(args.output)
    shown, labels = prepare(pictures, settings.max_pixels)
    folder = None if args.no_cache else args.cache or settings.models.parent / "evaluation"
    found = list(systems(shown, settings, kinds=GROUPS[args.systems], cache=Cache(folder)))
    if args.threshold is not None:
        found = [replace(s, threshold=args.threshold) if s.kind == "ensemble" else s for s in found]
    results = compare(found, labels, seed=args.seed)
    title = f"Evaluation on {args.data.resolve().name}"
    protocol = describe(settings, labels)
    text = markdown(results, title=title, protocol=protocol)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    write_report(args.output, results, title, protocol, text)
    sys.stderr.write(f"{len(pictures)} pictures, {len(results)} systems\n")
    for name in FILES:
        sys.stdout.write(f"{args.output / name}\n")
    return 0


def describe(settings: Settings, pictures: Sequence[LabelledPicture]) -> list[str]:
    """How it was measured: a figure without this says nothing."""
    from auto_annotator.session import usable_cores

    faces = sum(len(p.boxes) for p in pictures)
    return [
        f"ensemble {settings.ensemble}, auto-annotator {__version__}, {datetime.now(UTC).date().isoformat()}",
        f"{len(pictures)} pictures, {faces} labelled faces",
        "boxes by the WIDER FACE rule: IoU 0.5, faces outside a list are ignored, a second box on a face is false",
        "C100: missed faces, false boxes, boxes below IoU 0.7 and landmark sets above 10 % error, per 100 faces",
        "landmark errors as a share of the eye distance, for profiles of the distance of eyes and mouth",
        "differences: 95 % of 1,000 paired draws of pictures",
        f"CPU seconds: median over pictures, {settings.threads or 'all'} threads, {usable_cores()} cores, {platform.machine()}",
    ]


def write_report(folder: Path, results: Sequence[Result], title: str, protocol: Sequence[str], text: str) -> None:
    """The three files of a report."""
    from auto_annotator.reports.evaluation_page import write_evaluation_page
    from auto_annotator.reports.files import replacing

    data: dict[str, Any] = {"title": title, "protocol": list(protocol), "systems": [r.as_json() for r in results]}
    with replacing(folder / "evaluation.json") as stream:
        json.dump(data, stream, indent=1, allow_nan=False)
        stream.write("\n")
    with replacing(folder / "evaluation.md") as stream:
        stream.write(text)
    write_evaluation_page(data, folder / "evaluation.html")
