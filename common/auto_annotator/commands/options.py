"""Options that several subcommands share, and how they become settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from auto_annotator.config import Settings, load_settings
from auto_annotator.session import DEVICES


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """The options that override AUTO_ANNOTATOR_* variables."""
    group = parser.add_argument_group("models and device (each can also be set as AUTO_ANNOTATOR_<NAME>)")
    group.add_argument("--ensemble", metavar="NAME|FILE.yaml", help="packaged ensemble or your own file (default: embedded)")
    group.add_argument("--models", type=Path, metavar="FOLDER", help="where weight files are kept")
    group.add_argument("--device", choices=DEVICES, help="where models run (default: auto)")
    group.add_argument("--allow-cpu", action="store_true", default=None, help="go on without the GPU that --device names")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of a model; 0 = all cores")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings in force: command line over environment over defaults."""
    names = ("ensemble", "models", "device", "allow_cpu", "threads")
    return load_settings(**{name: getattr(args, name, None) for name in names})


def fraction(text: str) -> float:
    """An argparse type: a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to 1")
    return value
