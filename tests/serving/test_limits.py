"""One event at a time, bounded waits and bodies; events and barriers instead of sleeps."""

from __future__ import annotations

import asyncio
import threading

import pytest
from serving_fakes import NAME, WAIT, Blocking, function_of, invoke, reply_of, served_app

from auto_annotator.config import Settings
from auto_annotator.serving.gateway import ServedFunction, dashboard_app
from auto_annotator.serving.limits import Limits, Overdue, Worker

SHORT = 0.05
"""Seconds: a limit that a test wants to see exceeded."""


def test_no_free_worker_is_503_with_nothing_in_it_and_the_first_is_answered():
    async def scenario():
        handler = Blocking()
        async with served_app(function_of(handler), Limits(wait_seconds=SHORT)) as (client, _):
            first = asyncio.create_task(invoke(client, b"first"))
            await handler.until_entered()
            second = await invoke(client, b"second")
            assert (second.status_code, second.content) == (503, b"") and "content-type" not in second.headers
            handler.release.set()
            assert (await first).json() == {"got": "first"}
            assert handler.calls == 1, "the refused request never reached the function"

    asyncio.run(scenario())


def test_an_event_that_takes_too_long_is_408_and_the_worker_stays_busy_until_it_ends():
    async def scenario():
        handler = Blocking()
        async with served_app(function_of(handler), Limits(event_seconds=SHORT, wait_seconds=WAIT)) as (client, one):
            late = await invoke(client, b"late")
            assert late.status_code == 408 and list(late.json()) == ["error"]
            assert (await client.get("/__internal/health")).status_code == 200
            for check in ("/ready", "/live"):
                answer = await client.get(check)
                assert answer.status_code == 503 and NAME in answer.json()["error"]
            assert (await client.get(f"/api/functions/{NAME}")).json()["status"]["state"] == "unhealthy"
            waiting = asyncio.create_task(invoke(client, b"next"))
            assert one.overdue and handler.calls == 1
            handler.release.set()
            assert (await waiting).json() == {"got": "next"}
            assert (await client.get("/ready")).status_code == (await client.get("/live")).status_code == 200

    asyncio.run(scenario())


def test_while_a_late_event_runs_nobody_else_gets_the_worker():
    async def scenario():
        handler = Blocking()
        async with served_app(function_of(handler), Limits(event_seconds=SHORT, wait_seconds=SHORT)) as (client, _):
            assert (await invoke(client, b"late")).status_code == 408
            assert (await invoke(client, b"next")).status_code == 503, "408 would mean that it was queued behind the late one"
            handler.release.set()

    asyncio.run(scenario())


def test_a_late_event_that_has_ended_is_not_overdue_any_more():
    async def scenario():
        worker, handler = Worker("test", Limits(event_seconds=0)), Blocking()
        with pytest.raises(Overdue):
            await worker.run(lambda: handler(b""))
        assert worker.overdue
        handler.release.set()
        await worker.load(lambda: None)  # waits without a limit until the worker is free
        assert not worker.overdue
        worker.close()

    asyncio.run(scenario())


def test_requests_during_loading_wait_and_readiness_says_so():
    async def scenario():
        begun, go = threading.Event(), threading.Event()

        def load(settings):
            begun.set()
            assert go.wait(WAIT)
            return reply_of

        async with served_app(function_of(load=load), load=False) as (client, one):
            loading = asyncio.create_task(one.load(Settings()))
            assert await asyncio.to_thread(begun.wait, WAIT)
            assert (await client.get("/ready")).status_code == 503
            assert (await client.get("/live")).status_code == (await client.get("/__internal/health")).status_code == 200
            assert (await client.get(f"/api/functions/{NAME}")).json()["status"]["state"] == "building"
            early = asyncio.create_task(invoke(client, b"early"))
            go.set()
            await loading
            assert (await early).json() == {"got": "early"}
            assert (await client.get("/ready")).status_code == 200

    asyncio.run(scenario())


def test_a_function_that_was_never_loaded_is_503():
    async def scenario():
        async with served_app(function_of(), load=False) as (client, _):
            assert (await invoke(client, b"{}")).status_code == 503

    asyncio.run(scenario())


def test_a_failure_to_load_is_raised_where_loading_was_asked_for():
    async def scenario():
        def load(settings):
            raise ValueError("no weights")

        one = ServedFunction(function_of(load=load), Limits())
        with pytest.raises(ValueError, match="no weights"):
            await one.load(Settings())
        assert not one.ready
        one.close()

    asyncio.run(scenario())


def test_bodies_in_memory_are_counted():
    async def scenario():
        handler = Blocking()
        async with served_app(function_of(handler), Limits(requests=1)) as (client, _):
            first = asyncio.create_task(invoke(client, b"first"))
            await handler.until_entered()
            assert (await invoke(client, b"second")).status_code == 503
            handler.release.set()
            assert (await first).status_code == 200
            assert (await invoke(client, b"third")).json() == {"got": "third"}, "the place is free again"

    asyncio.run(scenario())


def test_a_streamed_body_is_refused_when_it_passes_the_limit_not_at_its_end():
    async def scenario():
        sent = []

        async def endless():
            while True:
                sent.append(40)
                yield b"x" * 40

        async with served_app(function_of(reply_of), Limits(body_bytes=100)) as (client, _):
            headers = {"x-nuclio-function-name": NAME}
            # httpx's transport without sockets pulls a chunk only when the application asks for one.
            assert (await client.post("/api/function_invocations", content=endless(), headers=headers)).status_code == 400
            assert len(sent) == 3

    asyncio.run(scenario())


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read():
    status, reads = asyncio.run(_raw([(b"content-length", b"101")], ["http.request"]))
    assert (status, reads) == (400, 0)


@pytest.mark.parametrize("length", [b"abc", "²".encode("latin-1"), b"-1", b""])
def test_a_length_that_is_no_number_is_left_to_the_count(length):
    assert asyncio.run(_raw([(b"content-length", length)], ["http.request"])) == (200, 1)


def test_a_body_that_does_not_arrive_is_408_and_keeps_no_worker():
    assert asyncio.run(_raw([], [])) == (408, 1)


def test_a_caller_that_goes_away_while_sending_is_no_error_of_ours(caplog):
    status, _ = asyncio.run(_raw([], ["http.disconnect"]))
    assert status == 400 and "caller went away" in caplog.text and "Traceback" not in caplog.text


async def _raw(headers: list[tuple[bytes, bytes]], messages: list[str]) -> tuple[int, int]:
    """Drive the application by hand: after the messages nothing comes. Status, and how often it asked for more."""
    one = ServedFunction(function_of(reply_of), Limits(body_bytes=100, event_seconds=SHORT if not messages else WAIT))
    await one.load(Settings())
    reads, statuses, queue = [], [], list(messages)

    async def receive():
        reads.append(1)
        if not queue:
            await asyncio.Event().wait()
        return {"type": queue.pop(0), "body": b"x", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    path = "/api/function_invocations"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": [(b"x-nuclio-function-name", NAME.encode()), *headers], "http_version": "1.1", "scheme": "http",
        "server": ("gateway", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
    }  # fmt: skip
    await dashboard_app([one])(scope, receive, send)
    one.close()
    return statuses[0], len(reads)


def test_a_worker_serves_first_come_first_served_and_never_two_at_once():
    async def scenario():
        worker, order, inside = Worker("test", Limits()), [], threading.Lock()

        def call(number):
            assert inside.acquire(blocking=False), "two calls at once"
            order.append(number)
            inside.release()
            return number

        assert await asyncio.gather(*(worker.run(lambda n=n: call(n)) for n in range(50))) == order == list(range(50))
        worker.close()

    asyncio.run(scenario())


def test_a_caller_that_is_cancelled_leaves_the_worker_whole():
    async def scenario():
        worker, handler = Worker("test", Limits()), Blocking()
        running = asyncio.create_task(worker.run(lambda: handler(b"")))
        await handler.until_entered()
        queued = asyncio.create_task(worker.run(lambda: "queued"))
        await asyncio.sleep(0)  # lets it reach the queue
        for task in (running, queued):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        handler.release.set()
        assert await worker.run(lambda: "after") == "after"
        worker.close()

    asyncio.run(scenario())
