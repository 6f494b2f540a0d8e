"""`auto-annotator describe`: faces that `detect` found in, one descriptor per face out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from auto_annotator.commands.describing import Find, describe_faces
from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.errors import ConfigError
from auto_annotator.reports.records import read_records

_PRIVATE = "{} holds biometric data: keep it as carefully as the pictures\n"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("describe", help="descriptors of the faces that detect found")
    parser.add_argument("faces", type=Path, metavar="FACES.jsonl", help="what detect wrote")
    text = "the folders that detect looked at; names in FACES.jsonl are relative to them"
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="DIR", help=text)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.npz", help="the descriptors file")
    existing = parser.add_mutually_exclusive_group()
    text = "go on with what an interrupted run left; faces that have not changed keep their descriptors"
    existing.add_argument("--resume", action="store_true", help=text)
    existing.add_argument("--overwrite", action="store_true", help="start anew although the output exists")
    add_settings_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Describe and say what was done; 1 if there are faces and none could be described."""
    from auto_annotator.pipeline import build_description

    settings = settings_of(args)
    if not args.faces.is_file():
        raise ConfigError(f"{args.faces}: no such file; `auto-annotator detect` writes it")
    if args.output.suffix != ".npz":
        raise ConfigError(f"{args.output}: expected a name that ends in .npz")
    records = list(read_records(args.faces))
    find = finder(args.images)
    description = build_description(settings)
    summary = describe_faces(
        records, find, args.output, description, max_pixels=settings.max_pixels, resume=args.resume, overwrite=args.overwrite
    )
    sys.stderr.write(f"{summary}\n{_PRIVATE.format(args.output)}")
    sys.stdout.write(f"{args.output}\n")
    return summary.exit_code


def finder(folders: Sequence[Path]) -> Find:
    """Where a picture of a records file lies, as `commands.pictures` names pictures.

    Args:
        folders: those that detection looked at, or the one that holds them all. A name may begin with the folder's own name.

    Raises:
        ConfigError: if one is not a folder; later, for a name that is in two of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder, expected the one that detect looked at")

    def find(name: str) -> Path | None:
        relative = PurePosixPath(name)
        # A records file may come from anyone: a name that leads out of the folder is not followed.
        if "\0" in name or not name or relative.is_absolute() or ".." in relative.parts:
            return None
        places = [place for folder in folders for place in _places(folder, relative) if _is_file(place)]
        if len({place.resolve() for place in places}) > 1:
            text = f"{name[:80]!r} is there twice: {places[0]} and {places[1]}"
            raise ConfigError(f"{text}; give --images the one folder that holds all, or describe the folders one by one")
        return places[0] if places else None

    return find


def _places(folder: Path, relative: PurePosixPath) -> list[Path]:
    places = [folder / relative]
    if len(relative.parts) > 1 and relative.parts[0] == folder.resolve().name:
        places.append(folder.joinpath(*relative.parts[1:]))
    return places


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or one that no file can have
        return False
