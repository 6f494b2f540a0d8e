"""`auto-annotator labels`: the label schema for CVAT's raw label editor."""

from __future__ import annotations

import argparse
import json
import sys

from auto_annotator.cvat.labels import label_constructor


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("labels", help="print the label schema: paste it into CVAT's label editor, tab Raw")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    sys.stdout.write(json.dumps(label_constructor(), indent=2, ensure_ascii=False) + "\n")
    return 0
