"""`auto-annotator cvat ...`: identities in a CVAT project, from setting up its labels to undoing a push."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec

from auto_annotator.commands.cvat.options import before_parsing

SUBCOMMANDS = ("setup", "prelabel", "cluster", "sheet", "push", "undo", "review", "quality", "export_labels", "doctor", "purge")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command; its own subcommands come when it is used, since cvat-sdk takes half a second to import."""
    parser = subparsers.add_parser("cvat", help="identities in CVAT: set up, pre-label, cluster, look, push, undo")
    before_parsing(parser, lambda: _add_subcommands(parser))


def _add_subcommands(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in SUBCOMMANDS:
        if find_spec(f"{__name__}.{name}"):
            import_module(f"{__name__}.{name}").add_parser(subparsers)
