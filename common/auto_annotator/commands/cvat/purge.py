"""`auto-annotator cvat purge`: delete cached descriptors from this machine; no server is needed."""

from __future__ import annotations

import argparse
import sys


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "delete cached descriptors (biometric data) from this machine; nothing in CVAT changes"
    parser = subparsers.add_parser("purge", help=text, description=text)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--person", action="append", metavar="ID", help="those of a person, such as p0042, in every cache")
    what.add_argument("--all", action="store_true", help="all of them")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Purge and say what went; 1 if there was nothing of a person."""
    from auto_annotator.bridge.vector_cache import VectorCache, caches, remove

    vectors = files = 0
    for path in caches():
        if args.all:
            vectors += remove(path)
            files += 1
            continue
        with VectorCache(path) as cache:
            gone = sum(cache.purge(person) for person in args.person)
        vectors, files = vectors + gone, files + bool(gone)
    what = "all caches" if args.all else "of the given people"
    sys.stdout.write(f"{vectors} descriptors deleted, {what}; {files} cache files {'removed' if args.all else 'rewritten'}\n")
    return 0 if args.all or vectors else 1
