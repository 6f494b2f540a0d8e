"""Options that the `cvat` subcommands share: the server as cvat-cli has it, and what of it is meant."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

from auto_annotator.bridge.connection import NEEDS_SDK, open_server
from auto_annotator.bridge.server import Server, TaskInfo
from auto_annotator.errors import ConfigError


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Host, account, organization and profile, exactly as cvat-cli has them."""
    try:
        from cvat_sdk.core.auth import configure_client_auth_arguments
    except ImportError:

        def refuse() -> None:
            raise ConfigError(NEEDS_SDK)

        before_parsing(parser, refuse)
        return
    configure_client_auth_arguments(parser)


def add_scope_options(parser: argparse.ArgumentParser, *, jobs: bool = True) -> None:
    """`--task`, `--job` and `--project`, each any number of times."""
    group = parser.add_argument_group("what is meant (each may be given several times)")
    group.add_argument("--task", type=number, action="append", default=[], metavar="N", help="all jobs of a task")
    if jobs:
        group.add_argument("--job", type=number, action="append", default=[], metavar="N", help="one job of a task")
    group.add_argument("--project", type=number, action="append", default=[], metavar="N", help="all tasks of a project")


def number(text: str) -> int:
    """An argparse type: the number of something in CVAT, from 1."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number as in CVAT's address bar, such as 7")
    return int(text)


def connect(args: argparse.Namespace) -> Server:
    """The server of the options.

    Raises:
        ConfigError: if cvat-sdk is missing or options contradict each other.
        ServerError: if it cannot be reached, is no CVAT, or refuses the login.
    """
    for name in ("urllib3", "cvat_sdk"):  # their lines hold addresses and requests; ours say what matters
        logging.getLogger(name).setLevel(logging.ERROR)
    return open_server(args)


def tasks_in_scope(args: argparse.Namespace, server: Server) -> list[TaskInfo]:
    """The tasks that the scope options name.

    Raises:
        ConfigError: if they name nothing.
        ServerError: if one of them cannot be used.
    """
    scope = {name: getattr(args, name, []) for name in ("task", "job", "project")}
    if not any(scope.values()):
        raise ConfigError("what is meant? Give --task N, --job N or --project N (the numbers are in CVAT's address bar)")
    return server.tasks(tasks=scope["task"], jobs=scope["job"], projects=scope["project"])


def before_parsing(parser: argparse.ArgumentParser, action: Callable[[], None]) -> None:
    """Run something once when the parser is really used, not when it is declared."""
    parse, todo = parser.parse_known_args, [action]

    def parse_known_args(*args: object, **kwargs: object) -> object:
        while todo:
            todo.pop()()
        return parse(*args, **kwargs)

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign,assignment]
