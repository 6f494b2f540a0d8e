"""`auto-annotator detect`: pictures in, one JSON object per picture out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auto_annotator.commands.options import add_settings_options, fraction, settings_of
from auto_annotator.commands.pictures import find_pictures
from auto_annotator.commands.run import detect_pictures


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that runs the detector over pictures."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="pictures and folders of pictures")
    parser.add_argument("--recursive", action="store_true", help="look into subfolders (not through links to folders)")
    parser.add_argument("--threshold", type=fraction, metavar="0..1", help="leave out faces below it (default: the ensemble's own)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with an output that an interrupted run left")
    existing.add_argument("--overwrite", action="store_true", help="start anew although the output exists")
    add_settings_options(parser)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("detect", help="find faces in pictures, JSON Lines out")
    add_input_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.jsonl", help="one JSON object per picture; - = stdout")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Detect and say what was done; 1 if no picture could be used."""
    if not args.paths:
        args.parser.error("give at least one picture or folder")
    settings = settings_of(args)
    pictures = find_pictures(args.paths, recursive=args.recursive)
    summary = detect_pictures(
        pictures, args.output, settings, threshold=args.threshold, resume=args.resume, overwrite=args.overwrite
    )
    sys.stderr.write(f"{summary}\n")
    return summary.exit_code
