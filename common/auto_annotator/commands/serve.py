"""`auto-annotator serve`: the functions over HTTP, for a CVAT with neither Docker nor Nuclio beside it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator

from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.serving.dashboard import FUNCTIONS, functions_for
from auto_annotator.serving.server import Gateway, direct_ports

PORT = 8070
"""Port of Nuclio's dashboard, the default of CVAT_NUCLIO_PORT."""

MAX_PORT = 65535

_NO_AUTHENTICATION = """\
warning: listening on {host}, which other machines may reach. The protocol has no authentication and no encryption:
  whoever reaches the port can use the functions. Let a firewall or a reverse proxy (docs/gateway.md) decide who does.
"""

_NO_DESCRIPTORS = "not served, because the ensemble has no descriptors: {functions}\n"

_READY = """\
ready: {functions}
Point CVAT here: set on cvat_server AND cvat_worker_annotation, then restart both:
  CVAT_SERVERLESS=1
  CVAT_NUCLIO_HOST={cvat_host}
  CVAT_NUCLIO_PORT={port}
  CVAT_NUCLIO_INVOKE_METHOD=dashboard
{note}Ctrl-C or SIGTERM ends it after the running request.
"""

_FROM_CONTAINER = """\
host.docker.internal is this machine as a container sees it: both need extra_hosts: ["host.docker.internal:host-gateway"].
On Linux that is the address of Docker's bridge (often 172.17.0.1), and a gateway on {host} does not answer there:
  start it with --host and the bridge's address. A CVAT without containers uses CVAT_NUCLIO_HOST=localhost.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("serve", help="the functions over HTTP for CVAT, without Docker and Nuclio")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=_port, default=PORT, metavar="PORT", help=f"port that CVAT is pointed to (default: {PORT})")
    pinned = ", ".join(f"{function.name} {function.port}" for function in FUNCTIONS)
    text = f"first port of direct mode, one per function; 0 = no direct mode (default: {pinned})"
    parser.add_argument("--direct-port", type=_port, metavar="PORT", help=text)
    add_settings_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: if a port is taken, or a setting or the extra `serve` is missing.
        AutoAnnotatorError: if the models cannot be loaded.
    """
    settings = settings_of(args)
    # One line per request is what an operator wants to see of a service; --verbose adds what the libraries say.
    logging.getLogger("auto_annotator.serving").setLevel(logging.INFO)
    functions = functions_for(settings)
    direct = direct_ports(functions, args.direct_port)
    gateway = Gateway(functions, settings, host=args.host, port=args.port, direct=direct)
    if not gateway.loopback:
        sys.stderr.write(_NO_AUTHENTICATION.format(host=gateway.host))
    sys.stderr.write(f"listening on {_url(gateway.host, gateway.port)}, loading ensemble {settings.ensemble}\n")
    if left_out := [f.name for f in FUNCTIONS if f not in functions]:
        sys.stderr.write(_NO_DESCRIPTORS.format(functions=", ".join(left_out)))
    asyncio.run(_serve(gateway))
    sys.stderr.write("stopped\n")
    return 0


async def _serve(gateway: Gateway) -> None:
    stop = asyncio.Event()
    with _signals_set(stop):
        await gateway.run(stop, lambda: _say_ready(gateway))


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set the event; the second one does what it does without us: it ends the process at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        sys.stderr.write("stopping: the running request is still answered\n")
        stop.set()

    def on_signal(_: int, __: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        loop.call_soon_threadsafe(end)

    before = {each: signal.signal(each, on_signal) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _say_ready(gateway: Gateway) -> None:
    names = [f"{one.function.name} ({_direct(one.port)})" for one in gateway.served]
    cvat_host, note = gateway.host, ""
    if gateway.loopback:
        cvat_host, note = "host.docker.internal", _FROM_CONTAINER.format(host=gateway.host)
    elif gateway.host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        cvat_host = "<the address of this machine as CVAT sees it>"
    sys.stderr.write(_READY.format(functions=", ".join(names), cvat_host=cvat_host, port=gateway.port, note=note))
    sys.stderr.flush()


def _direct(port: int | None) -> str:
    return "no direct mode" if port is None else f"direct port {port}"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _port(text: str) -> int:
    """An argparse type: a port number, or 0."""
    if not text.isascii() or not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a port number from 0 to {MAX_PORT}")
    return int(text)
