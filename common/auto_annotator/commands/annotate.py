"""`auto-annotator annotate`: the main job: detect, find who is who, then every export and the pages, in one folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from auto_annotator.commands.cluster import summary as people_summary
from auto_annotator.commands.detect import add_input_options
from auto_annotator.commands.finding_people import (
    CLUSTERS,
    DESCRIPTORS,
    FILES,
    PEOPLE,
    cluster_folder,
    describe_folder,
    leftovers,
    people_page,
    picture_records,
)
from auto_annotator.commands.options import settings_of
from auto_annotator.commands.pictures import Picture, find_pictures
from auto_annotator.commands.run import detect_pictures, make_folder
from auto_annotator.config import EnsembleConfig, Settings, load_ensemble
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import WeightsError
from auto_annotator.exchange.clusters_file import ClusterFile
from auto_annotator.exchange.descriptors_file import read_descriptors
from auto_annotator.reports.coco import write_coco
from auto_annotator.reports.cvat_xml import write_cvat_xml
from auto_annotator.reports.page import write_page
from auto_annotator.reports.people_attributes import PeopleAttributes
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
        exports=[args.out / name for name in (*EXPORTS, CLUSTERS)] + leftovers(args.out),
    )
    sys.stderr.write(f"{summary}\n")
    people = find_people(args.out, pictures, ensemble, settings)
    export(args.out, pictures, ensemble.name, people)
    for name in (FACES, *EXPORTS, *(FILES if people is not None else ())):
        sys.stdout.write(f"{args.out / name}\n")
    return summary.exit_code


def find_people(out: Path, pictures: Sequence[Picture], ensemble: EnsembleConfig, settings: Settings) -> ClusterFile | None:
    """Who is who among the faces that were found; None, with a word why, if the ensemble cannot tell.

    Raises:
        KeyboardInterrupt: after Ctrl-C, with a message how to go on.
    """
    from auto_annotator.pipeline import build_description

    if not ensemble.descriptors:
        sys.stderr.write(f"no people: ensemble {ensemble.name} has no descriptors\n")
        return None
    try:
        describe = build_description(settings)
    except WeightsError as error:
        sys.stderr.write(f"no people: {error}\n")
        return None
    paths = {picture.name: picture.path for picture in pictures}
    described = describe_folder(picture_records(pictures, out / FACES), paths, out, settings, describe)
    sys.stderr.write(f"{described}\n")
    content = cluster_folder(out, read_descriptors(out / DESCRIPTORS))
    people_page(content, paths, out, detection_page=PAGE)
    sys.stderr.write(f"{people_summary(content)}\n")
    return content


def export(out: Path, pictures: Sequence[Picture], ensemble: str, people: ClusterFile | None = None) -> None:
    """Every export of the finished records, in the order of the pictures, each file replaced as a whole.

    Raises:
        KeyboardInterrupt: after Ctrl-C, with a message how to write the rest.
    """
    paths = {picture.name: picture.path for picture in pictures}
    records = picture_records(pictures, out / FACES)
    more = PeopleAttributes(people) if people is not None else None
    try:
        # No error tags: a picture that could not be read here is, for the same reason, not a frame of the CVAT task, and CVAT
        # refuses a whole file that names a frame it does not have.
        write_cvat_xml(records, out / CVAT, labels=label_constructor(), error_tags=False, more=more)
        write_coco(records, out / COCO)
        write_page(records, paths, out / PAGE, subtitle=f"ensemble {ensemble}", people_page=PEOPLE if people is not None else "")
    except KeyboardInterrupt:
        text = f"interrupted: all pictures are in {out / FACES}, not every export is written"
        raise KeyboardInterrupt(f"{text}; the same command with --resume (without --overwrite) writes them") from None
