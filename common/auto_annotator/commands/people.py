"""`auto-annotator people`: a folder of photos in, a folder per person out; the next run adds to it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auto_annotator.commands.cluster import add_clustering_options, add_word_options, advice, said_of, summary
from auto_annotator.commands.options import add_settings_options, fraction, settings_of
from auto_annotator.commands.pictures import Picture, find_pictures
from auto_annotator.commands.run import detect_pictures, make_folder
from auto_annotator.config import Settings, load_ensemble
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError
from auto_annotator.weights import pull

FACES, XML, FOLDERS = "faces.jsonl", "annotations.xml", "people"
"""Names in the output folder, beside those of `finding_people`."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("people", help="who is who in a folder of photos: folders or CVAT XML, and a contact sheet")
    parser.add_argument("paths", nargs="+", type=Path, metavar="IMAGES", help="photos and folders of photos")
    text = "where the results go; a second run goes on with what is there, and ids stay"
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help=text)
    parser.add_argument("--recursive", action="store_true", help="look into subfolders (not through links to folders)")
    parser.add_argument("--threshold", type=fraction, metavar="0..1", help="leave out faces below it (default: the ensemble's own)")
    text = "cosine from which two faces are one person (default: measured for the ensemble, else found from the faces)"
    parser.add_argument("--same-person", type=fraction, metavar="0..1", help=text)
    add_clustering_options(parser)
    _add_output_options(parser)
    add_word_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="find and describe all faces anew; ids and names stay")
    parser.add_argument("--fresh", action="store_true", help="forget the people of earlier runs, new ids for all")
    parser.add_argument("--pull", action="store_true", help="bring missing weights first")
    add_settings_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results (the contact sheet people.html and clusters.json are always written)")
    text = "a folder per person (default), or CVAT XML with `person` and `name` of every face"
    group.add_argument("--format", choices=("folders", "xml"), default="folders", help=text)
    photos = group.add_mutually_exclusive_group()
    photos.add_argument("--copy", action="store_true", help="put copies of the photos into the folders, not close-ups of faces")
    photos.add_argument("--link", action="store_true", help="put links to the photos into the folders")


def run(args: argparse.Namespace) -> int:
    """Do the whole job and print what was written, one path a line; 1 if no photo could be used."""
    if args.format == "xml" and (args.copy or args.link):
        args.parser.error("--copy and --link are for folders, not for --format xml")
    settings = settings_of(args)
    ensemble = load_ensemble(settings.ensemble)
    pictures = find_pictures(args.paths, recursive=args.recursive)
    _keep_out(args.output, pictures)
    make_folder(args.output)
    if args.pull:
        pull(ensemble.weight_names, settings.models)
    written, code = _work(args, settings, pictures)
    for path in written:
        sys.stdout.write(f"{path}\n")
    return code


def _keep_out(out: Path, pictures: list[Picture]) -> None:
    """The results must not be photos of the next run."""
    inside = out.resolve()
    if any(inside == parent for picture in pictures for parent in picture.path.resolve().parents):
        raise ConfigError(f"{out}: the results would lie among the photos, expected another folder for --output")


def _work(args: argparse.Namespace, settings: Settings, pictures: list[Picture]) -> tuple[list[Path], int]:
    from auto_annotator.commands import finding_people as people
    from auto_annotator.exchange.descriptors_file import read_descriptors
    from auto_annotator.pipeline import build_description

    out, paths = args.output, {picture.name: picture.path for picture in pictures}
    describe = build_description(settings)  # before detection: a missing weight is told at once, not after an hour
    going_on = (out / FACES).exists() and not args.overwrite
    detected = detect_pictures(
        pictures,
        out / FACES,
        settings,
        threshold=args.threshold,
        resume=going_on,
        overwrite=not going_on,
        exports=people.leftovers(out),
    )
    sys.stderr.write(f"{detected}\n")
    records = people.picture_records(pictures, out / FACES)
    described = people.describe_folder(records, paths, out, settings, describe)
    sys.stderr.write(f"{described}\n")
    faces = read_descriptors(out / people.DESCRIPTORS)
    said = said_of(args, faces, people.earlier_clusters(out, fresh=args.fresh))
    content = people.cluster_folder(out, faces, method=args.method, said=said, threshold=args.same_person, fresh=args.fresh)
    people.people_page(content, paths, out)
    written = [out / FACES, *(out / name for name in people.FILES)]
    if args.format == "xml":
        from auto_annotator.reports.cvat_xml import write_cvat_xml
        from auto_annotator.reports.people_attributes import PeopleAttributes

        write_cvat_xml(records, out / XML, labels=label_constructor(), error_tags=False, more=PeopleAttributes(content))
        written.append(out / XML)
    else:
        from auto_annotator.reports.people_folders import write_folders

        write_folders(content, paths.get, out / FOLDERS, form="copy" if args.copy else "link" if args.link else "crops")
        written.append(out / FOLDERS)
    sys.stderr.write(f"{summary(content)}\n{advice(content, out / people.PEOPLE)}")
    return written, detected.exit_code
