"""`auto-annotator`: the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from auto_annotator import __version__
from auto_annotator.commands import annotate, detect, doctor, labels, models, serve, specs
from auto_annotator.errors import AutoAnnotatorError

COMMANDS = (annotate, detect, models, labels, serve, doctor, specs)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    parser = argparse.ArgumentParser(prog="auto-annotator", description="Pre-label people's faces for CVAT with an ensemble of networks.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log what the library does")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 = done, 1 = a check found something, 2 = wrong arguments, settings or weights (the message says what to do),
        130 = interrupted; what was written stays valid.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    args.parser = parser
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return int(args.run(args))
    except AutoAnnotatorError as error:
        sys.stderr.write(f"auto-annotator: {error}\n")
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: what was written stays valid; add --resume to go on\n")
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
