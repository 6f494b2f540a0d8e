"""Functions without models, a gateway in a thread, and applications without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import httpx
from contract_fakes import FakePipeline

from auto_annotator.config import Settings
from auto_annotator.serving.dashboard import FUNCTIONS, Function
from auto_annotator.serving.gateway import ServedFunction, dashboard_app, direct_app
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.requests import Reply, handle_body
from auto_annotator.serving.server import Gateway

NAME = FUNCTIONS[0].name
WAIT = 30
"""Seconds after which a test that hangs fails; never reached by one that passes."""


def function_of(handler: Callable[[object], Reply] | None = None, **changes) -> Function:
    """The first row of the table with another handler (default: the real request core over a fake pipeline)."""
    answer = handler or partial(handle_body, pipeline=FakePipeline(), settings=Settings())
    return replace(FUNCTIONS[0], **{"load": lambda settings: answer, **changes})


def reply_of(body: object = None) -> Reply:
    """A reply that says which body it is for."""
    text = json.dumps({"got": bytes(body or b"").decode("latin-1")})
    return Reply(status=200, body=text, level="info", event="answered", fields={})


class Blocking:
    """A handler whose first call lasts until it is released."""

    def __init__(self) -> None:
        self.entered, self.release, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, body: object) -> Reply:
        self.calls += 1
        if self.calls == 1:
            self.entered.set()
            assert self.release.wait(WAIT)
        return reply_of(body)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, WAIT)


class AppClient:
    """One request after the other to an application, without sockets."""

    def __init__(self, app) -> None:
        self._app = app

    def request(self, method: str, path: str, **options) -> httpx.Response:
        async def one() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://gateway") as client:
                return await client.request(method, path, **options)

        return asyncio.run(one())

    def get(self, path: str, **options) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options) -> httpx.Response:
        return self.request("POST", path, **options)


@contextlib.asynccontextmanager
async def served_app(function: Function, limits: Limits | None = None, *, load: bool = True, direct: bool = False):
    """A client of the application over one function, and the function; no sockets."""
    one = ServedFunction(function, limits or Limits(), port=18101)
    if load:
        await one.load(Settings())
    app = direct_app(one) if direct else dashboard_app([one])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client, one
    one.close()


def invoke(client: httpx.AsyncClient, content, **headers):
    """A coroutine of an invocation through the dashboard."""
    known = {"x-nuclio-function-name": NAME, "x-nuclio-path": "/", "content-type": "application/json"}
    return client.post("/api/function_invocations", content=content, headers=known | headers)


@contextlib.contextmanager
def running_gateway(
    functions: Sequence[Function], settings: Settings | None = None, limits: Limits | None = None
) -> Iterator[Gateway]:
    """A gateway with real servers on free ports, in a thread; ended at the end."""
    free = [0] * len(functions)
    gateway = Gateway(functions, settings or Settings(), host="127.0.0.1", port=0, direct=free, limits=limits)
    ready, failure, control = threading.Event(), [], {}

    async def main() -> None:
        control.update(loop=asyncio.get_running_loop(), stop=asyncio.Event())
        await gateway.run(control["stop"], ready.set)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(120), "the gateway did not get ready"
        assert not failure, failure
        yield gateway
    finally:
        with contextlib.suppress(RuntimeError):  # already ended
            control["loop"].call_soon_threadsafe(control["stop"].set)
        thread.join(WAIT)
        assert not thread.is_alive()
