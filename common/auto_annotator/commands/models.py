"""`auto-annotator models`: list, pull and verify weight files."""

from __future__ import annotations

import argparse
import sys

from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.config import load_ensemble
from auto_annotator.errors import WeightsError
from auto_annotator.weights import pull, registry, verify


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
        add_settings_options(sub)
        sub.set_defaults(run=run)
        if verb == "pull":
            sub.add_argument("names", nargs="*", metavar="NAME", help="single weights (default: those of the ensemble)")
            sub.add_argument("--allow-unverified", action="store_true", help="also bring files whose hash nobody has stated")


def list_weights(args: argparse.Namespace) -> int:
    """One line per weight."""
    settings = settings_of(args)
    here = {row.name: row.state for row in verify(settings.models, names=None, quick=True)}
    sys.stdout.write(f"{'name':26}{'MB':>8}  {'here':9}{'commercial':11}{'licence'}\n")
    for name, weight in registry().items():
        size = f"{weight.size / 1e6:.1f}" if weight.size else "?"
        sys.stdout.write(f"{name:26}{size:>8}  {here.get(name, 'missing'):9}{weight.commercial:11}{weight.licence}\n")
    return 0


def pull_weights(args: argparse.Namespace) -> int:
    """Bring the named weights, or those of the ensemble."""
    settings = settings_of(args)
    names = args.names or load_ensemble(settings.ensemble).weight_names
    pull(names, settings.models, allow_unverified=args.allow_unverified)
    sys.stderr.write(f"{len(names)} weights are in {settings.models}\n")
    return 0


def verify_weights(args: argparse.Namespace) -> int:
    """Hash every file that is here; 1 if one is broken."""
    settings = settings_of(args)
    rows = [row for row in verify(settings.models) if row.state != "missing"]
    if not rows:
        raise WeightsError(f"no weights in {settings.models}: run auto-annotator models pull")
    for row in rows:
        sys.stdout.write(f"{row.state:9}{row.name}\n")
    return int(any(row.state != "ok" for row in rows))
