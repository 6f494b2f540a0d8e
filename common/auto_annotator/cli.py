"""`auto-annotator`: the command line."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from auto_annotator import __version__
from auto_annotator.errors import AutoAnnotatorError


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    from auto_annotator.commands import (
        annotate,
        calibrate,
        cluster,
        cvat,
        describe,
        detect,
        doctor,
        evaluate,
        labels,
        models,
        people,
        serve,
        specs,
    )

    parser = argparse.ArgumentParser(
        prog="auto-annotator", description="Pre-label people's faces for CVAT with an ensemble of networks."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log what the library does")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (annotate, people, detect, describe, cluster, cvat, evaluate, calibrate, models, labels, serve, doctor, specs):
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 = done, 1 = a check found something or no picture could be used, 2 = wrong arguments, settings, weights or files (the
        message says what to do), 130 = interrupted; what was written stays valid.

    Raises:
        SystemExit: by argparse, 2 for wrong arguments, 0 for --help and --version.
    """
    verbose = False
    try:
        args = build_parser().parse_args(argv)
        verbose = args.verbose
        logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
        code = int(args.run(args))
        sys.stdout.flush()  # here and not at exit, where a closed pipe could no longer be handled
        return code
    except AutoAnnotatorError as error:
        if verbose:  # for authors of own detectors
            logging.getLogger(__name__).info("where it happened:", exc_info=True)
        sys.stderr.write(f"auto-annotator: {error}\n")
        return 2
    except BrokenPipeError:  # the reader has seen enough (| head)
        _drop_stdout()
        return 0
    except OSError as error:
        sys.stderr.write(f"auto-annotator: {error.strerror or error}{f': {error.filename}' if error.filename else ''}\n")
        return 2
    except KeyboardInterrupt as error:
        sys.stderr.write(f"\n{error if error.args else 'interrupted'}\n")
        return 130


def _drop_stdout() -> None:
    """Let the interpreter's last flush go nowhere: on a closed pipe it would fail once more, and loudly."""
    with contextlib.suppress(OSError, ValueError):  # no real file behind it
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


if __name__ == "__main__":
    raise SystemExit(main())
