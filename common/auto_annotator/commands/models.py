"""`auto-annotator models`: list, pull and verify weight files."""

from __future__ import annotations

import argparse
import sys

from auto_annotator.commands.options import add_models_options, settings_of
from auto_annotator.config import load_ensemble
from auto_annotator.errors import WeightsError
from auto_annotator.weights import expand, pull, verify


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
        if verb == "pull":
            text = "single weights or patterns such as 'mtcnn-*' (default: those of the ensemble)"
            sub.add_argument("names", nargs="*", metavar="NAME", help=text)
            sub.add_argument("--allow-unverified", action="store_true", help="also bring files whose hash nobody has stated")


def list_weights(args: argparse.Namespace) -> int:
    """One line per weight; the sample pictures are not weights."""
    sys.stdout.write(f"{'name':26}{'MB':>8}  {'here':9}{'commercial':12}licence\n")
    for row in verify(settings_of(args).models, quick=True):
        weight = row.weight
        size = f"{weight.size / 1e6:.2f}" if weight.size else "?"
        sys.stdout.write(f"{row.name:26}{size:>8}  {row.state:9}{weight.commercial:12}{weight.licence}\n")
    return 0


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
