"""Options that several subcommands share, and how they become settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from auto_annotator.config import Rotations, Settings, load_settings
from auto_annotator.session import DEVICES


def add_models_options(parser: argparse._ActionsContainer, *, ensemble: bool = True) -> None:
    """Where weights are kept and, unless a command works on all of them, whose weights are meant."""
    if ensemble:
        parser.add_argument("--ensemble", metavar="NAME|FILE.yaml", help="packaged ensemble or your own file (default: embedded)")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="where weight files are kept")


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """The options that override AUTO_ANNOTATOR_* variables, for commands that run models."""
    group = parser.add_argument_group("models and device (each can also be set as AUTO_ANNOTATOR_<NAME>)")
    add_models_options(group)
    group.add_argument("--device", choices=DEVICES, help="where models run (default: auto)")
    group.add_argument("--allow-cpu", action="store_true", default=None, help="go on without the GPU that --device names")
    group.add_argument("--threads", type=count, metavar="N", help="CPU threads of a model; 0 = all cores")
    group.add_argument(
        "--rotations", choices=get_args(Rotations), help="look for faces on their side or upside down too (default: when_empty)"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings in force: command line over environment over defaults.

    Raises:
        ConfigError: names the variable that is wrong.
    """
    names = ("ensemble", "models", "device", "allow_cpu", "threads", "rotations")
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


def count(text: str) -> int:
    """An argparse type: a whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number, 0 or more")
    return int(text)
