"""`auto-annotator serve`: the functions over HTTP, for a CVAT without Docker or Nuclio beside it."""

from __future__ import annotations

import argparse

from auto_annotator.errors import ConfigError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("serve", help="answer CVAT over HTTP, without Docker and Nuclio")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    raise ConfigError("serve: not there yet")
