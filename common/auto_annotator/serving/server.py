"""The gateway as a process: its sockets, its HTTP servers, its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import socket
from collections.abc import Callable, Sequence
from typing import Any

from auto_annotator.config import Settings
from auto_annotator.errors import ConfigError
from auto_annotator.serving.dashboard import Function
from auto_annotator.serving.gateway import ServedFunction, dashboard_app, direct_app, require_extra
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.models import Models

KEEP_ALIVE_SECONDS = 75
"""An idle connection lives longer than a client's pool keeps it, or the client meets a closed one now and then."""

BACKLOG = 128
"""Connections that may wait to be accepted."""


def open_socket(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: address or name; of several addresses the first.
        port: 0 = any free one.

    Raises:
        ConfigError: if the port is taken, may not be used, or the address is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigError(
            f"--host: got {host!r}, which is no address or name that this machine knows ({error.strerror})"
        ) from error
    try:
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            "the port is in use (another gateway, or Nuclio's dashboard?); stop that or choose another with --port, --direct-port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address is not one of this machine; give one that is with --host"
    if error.errno == errno.EACCES:
        return "not allowed; ports below 1024 are for the administrator, choose a higher one"
    return error.strerror or type(error).__name__


def direct_ports(functions: Sequence[Function], first: int | None) -> list[int | None]:
    """Port of direct mode of each function: None = the pinned ones, 0 = no direct mode, else counted up from `first`."""
    if first == 0:
        return [None] * len(functions)
    return [function.port if first is None else first + number for number, function in enumerate(functions)]


class Gateway:
    """The functions on their ports, not yet loaded; a taken port shows before the models are loaded.

    Args:
        functions: rows of the table.
        settings: for the functions.
        host: address to listen on.
        port: port of the dashboard API, 0 = any free one.
        direct: port of direct mode of each function, None = off, 0 = any free one.
        limits: of each function.

    Attributes:
        served: the functions with their workers.
        host: address that it listens on, as a number.
        port: port of the dashboard API.

    Raises:
        ConfigError: without the extra `serve`, or if a port cannot be had.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        settings: Settings,
        *,
        host: str,
        port: int,
        direct: Sequence[int | None],
        limits: Limits | None = None,
    ) -> None:
        require_extra()
        self._settings, self._limits = settings, limits or Limits()
        with contextlib.ExitStack() as opened:
            dashboard = opened.enter_context(open_socket(host, port))
            doors = [None if p is None else opened.enter_context(open_socket(host, p)) for p in direct]
            opened.pop_all()
        self.host, self.port = dashboard.getsockname()[:2]
        ports = [None if door is None else door.getsockname()[1] for door in doors]
        self.served = [ServedFunction(f, self._limits, port=p) for f, p in zip(functions, ports, strict=True)]
        self._doors = [(dashboard, dashboard_app(self.served))]
        self._doors += [(door, direct_app(one)) for door, one in zip(doors, self.served, strict=True) if door is not None]

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Answer until `stop` is set; the ports are open while the models load, and health is answered.

        Requests that are running then, or waiting for a worker, are still answered; new connections are not.

        Args:
            stop: ends it.
            on_ready: called once when all models are loaded and warm.

        Raises:
            AutoAnnotatorError: if a function cannot be loaded; nothing serves any more.
        """
        models = Models(self._settings)  # one copy of each, whichever functions need it
        for one in self.served:  # before the first request can come: the models are loaded one after the other
            await one.reserve()
        servers = [(_server(app, self._limits), door) for door, app in self._doors]
        running = [asyncio.create_task(server.serve(sockets=[door])) for server, door in servers]
        try:
            for one in self.served:
                await one.load(models)
            if not stop.is_set():
                on_ready()
            await stop.wait()
        finally:
            for server, _ in servers:
                server.should_exit = True
            for one in self.served:
                one.release()
            await asyncio.gather(*running)
            for one in self.served:
                one.close()


def _server(app: Any, limits: Limits) -> Any:
    """A uvicorn server that leaves signals and log settings to us, and writes no line per request: we do, without its content."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",  # the one that discards what a refused caller still sends, so that the caller reads the answer
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(limits.event_seconds),
    )
    server = uvicorn.Server(config)
    # Its own handler would raise the signal again at the end (exit code -15), and two servers would fight for it.
    server.capture_signals = contextlib.nullcontext
    return server
