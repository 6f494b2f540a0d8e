"""Limits of a served function, as Nuclio has them: one event at a time, bounded waits, bounded bodies."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The defaults are those of our function files, so that a function answers alike under Nuclio and here.

    Attributes:
        body_bytes: largest request body; base64 adds a third, so 64 MiB carry a picture file of about 48 MiB
            (`maxRequestBodySize`).
        wait_seconds: how long a request waits for the worker before it gets 503 (`workerAvailabilityTimeoutMilliseconds`).
        event_seconds: how long one event may take before its caller gets 408; longer than the 120 s that CVAT waits
            (`eventTimeout`). The same bound holds for a body to arrive.
        requests: bodies held in memory at once for one function, 2 GiB at worst; one more is answered 503 at once.
    """

    body_bytes: int = 64 * 2**20
    wait_seconds: float = 60.0
    event_seconds: float = 180.0
    requests: int = 32


class Busy(Exception):
    """The worker did not become free in time."""


class Overdue(Exception):
    """The event, or the arrival of its body, took too long."""


class BodyTooLarge(Exception):
    """The body is larger than the limit; what was read of it is dropped."""


class Worker:
    """One thread that runs one call at a time: one copy of the models, and inference never blocks the event loop.

    A thread cannot be killed. When a call takes longer than `event_seconds` its caller is answered and the thread goes on:
    the worker stays busy until the call ends, and `overdue` says so, for a supervisor to restart the process, which is what
    Nuclio does to its worker. The thread is a daemon, so that such a call cannot keep the process from ending.

    Args:
        name: name of the thread.
        limits: `wait_seconds` and `event_seconds` are used here.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Lock()
        self._reserved = False
        self._since: float | None = None
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def overdue(self) -> bool:
        """Whether a call is running that should have ended."""
        return self._since is not None and time.monotonic() - self._since >= self._limits.event_seconds

    async def reserve(self) -> None:
        """Take the worker for `load` ahead of its turn, so that requests that come before it wait for the models."""
        await self._free.acquire()
        self._reserved = True

    def release(self) -> None:
        """Give up a reservation that `load` did not use; what waited for the worker goes on."""
        if self._reserved:
            self._reserved = False
            self._free.release()

    async def load(self, call: Callable[[], T]) -> T:
        """Run the call that brings the models, however long it takes; requests that come meanwhile wait.

        Raises:
            Exception: whatever the call raises.
        """
        if not self._reserved:
            await self.reserve()
        self._reserved = False
        return await self._start(call)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call when the worker is free; first come, first served.

        Raises:
            Busy: if it did not become free within `wait_seconds`.
            Overdue: if the call has not ended after `event_seconds`; it goes on, and the worker stays busy.
            Exception: whatever the call raises.
        """
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Busy from None
        self._since = time.monotonic()
        job = self._start(call)
        # Unlike wait_for, wait leaves the job alone when time is up, and so does a caller that goes away.
        await asyncio.wait({job}, timeout=self._limits.event_seconds)
        if not job.done():
            raise Overdue
        return job.result()

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        self._jobs.put(None)

    def _start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Hand a call to the thread; whoever waits for it, the worker is free again only when it has ended."""
        future: Future[T] = Future()
        job = asyncio.wrap_future(future)
        job.add_done_callback(self._ended)
        self._jobs.put((future, call))
        return job

    def _ended(self, _: object) -> None:
        self._since = None
        self._free.release()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            future.set_running_or_notify_cancel()
            try:
                future.set_result(call())
            except BaseException as error:  # SystemExit of a library too: it would end this thread, and with it the service
                future.set_exception(error)
            del job, future, call  # a body of many MiB must not live until the next request


async def read_body(request: Request, limits: Limits) -> bytearray:
    """The whole body, refused as soon as it is known to be too large.

    Raises:
        BodyTooLarge: by its Content-Length before anything is read, or while it streams in.
        Overdue: if it has not arrived after `event_seconds`.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body_bytes:
        raise BodyTooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(limits.event_seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limits.body_bytes:
                    raise BodyTooLarge
                body += chunk
    except TimeoutError:
        raise Overdue from None
    return body
