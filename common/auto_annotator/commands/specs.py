"""`auto-annotator specs`: render the label spec into the function files, or lint them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auto_annotator.cvat.linter import lint
from auto_annotator.cvat.specs import render_specs


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("specs", help="render label specs into function files and lint them")
    parser.add_argument("folder", type=Path, help="folder of Nuclio functions")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is stale")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render, then lint; 1 if something is left to do."""
    stale = render_specs(args.folder, check=args.check)
    findings = lint(args.folder)
    for path in stale:
        sys.stdout.write(f"{path}: {'stale: run make specs' if args.check else 'written'}\n")
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return int(bool(findings) or (args.check and bool(stale)))
