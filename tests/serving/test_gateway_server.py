"""Real servers on real sockets, driven by what CVAT does."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import numpy as np
import PIL.Image
import pytest
import requests
from contract_fakes import as_base64, png
from cvat_client import CvatClient
from cvat_rules import list_functions, receive
from fakes import SquareDetector, picture, pipeline
from serving_fakes import NAME, WAIT, function_of, reply_of, running_gateway

from auto_annotator.config import Settings
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.requests import handle_body
from auto_annotator.serving.server import Gateway

CLIENTS, REQUESTS = 16, 600


@pytest.mark.parametrize("method", ["dashboard", "direct"])
def test_cvat_lists_gets_and_invokes(live_gateway, method):
    cvat = CvatClient("127.0.0.1", live_gateway.port, method)
    (listed,) = list_functions(cvat.list())
    assert listed["id"] == NAME and listed["kind"] == "detector"
    text = cvat.invoke(NAME, {"image": as_base64(png()), "threshold": 0.5})
    verdict = receive(text, label_constructor())
    assert sum(shape["type"] == "rectangle" for shape in verdict.shapes) == 2
    assert not verdict.dropped_items and not verdict.dropped_attributes


def test_cvat_sees_errors_as_http_errors(live_gateway):
    cvat = CvatClient("127.0.0.1", live_gateway.port)
    with pytest.raises(requests.HTTPError, match="404"):
        cvat.get("other")
    with pytest.raises(requests.HTTPError, match="400"):
        cvat.invoke(NAME, {})


def encoded(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return as_base64(buffer.getvalue())


class Alone(SquareDetector):
    """Fails if two threads are in it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Lock()

    def detect(self, canvases, *, threshold):
        assert self.inside.acquire(blocking=False), "two at once"
        try:
            return super().detect(canvases, threshold=threshold)
        finally:
            self.inside.release()


def test_16_clients_at_once_on_one_worker_get_what_a_serial_caller_gets():
    alone = pipeline({"square": Alone()}, views=({"size": 64},))
    settings = Settings()
    squares = [(4 + 3 * n, 5, 30 + 3 * n, 30) for n in range(10)]
    bodies = [json.dumps({"image": encoded(picture(64, 48, [square]))}).encode() for square in squares]
    serial = [handle_body(body, alone, settings).body.encode() for body in bodies]
    assert len(set(serial)) == len(bodies), "each picture has an answer of its own"

    def client(port: int, barrier: threading.Barrier, numbers: range) -> list[tuple[int, bool]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        barrier.wait(WAIT)
        results = []
        for number in numbers:
            which = number % len(bodies)
            connection.request("POST", "/", bodies[which], {"Content-Type": "application/json"})
            reply = connection.getresponse()
            results.append((reply.status, reply.read() == serial[which]))
        connection.close()
        return results

    with running_gateway([function_of(partial(handle_body, pipeline=alone, settings=settings))]) as gateway:
        barrier = threading.Barrier(CLIENTS)
        shares = [range(first, REQUESTS, CLIENTS) for first in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            done = [pool.submit(client, gateway.served[0].port, barrier, share) for share in shares]
            results = [result for one in done for result in one.result()]
    assert results == [(200, True)] * REQUESTS


@pytest.mark.parametrize("streamed", [False, True])
def test_a_caller_that_sends_too_much_reads_the_refusal_and_may_go_on(streamed):
    chunk, count = b"x" * 65536, 200
    with running_gateway([function_of(reply_of)], limits=Limits(body_bytes=100_000)) as gateway, requests.Session() as session:
        url = f"http://127.0.0.1:{gateway.served[0].port}/"
        body = (chunk for _ in range(count)) if streamed else chunk * count
        refused = session.post(url, data=body, timeout=WAIT)
        assert refused.status_code == 400 and "100000 bytes" in refused.json()["error"]
        assert session.post(url, data=b"small", timeout=WAIT).json() == {"got": "small"}


def test_no_server_name_in_the_headers_and_a_garbled_request_is_400(live_gateway):
    assert "server" not in requests.get(f"http://127.0.0.1:{live_gateway.port}/ready", timeout=WAIT).headers
    with socket.create_connection(("127.0.0.1", live_gateway.port), WAIT) as connection:
        connection.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


def test_a_function_that_cannot_load_ends_the_gateway_with_its_error_and_frees_the_ports():
    def load(settings):
        raise WeightsError("weights: not there; run models pull")

    with pytest.raises(AssertionError, match="run models pull"), running_gateway([function_of(load=load)]):
        pass


def gateway_on(host: str, port: int, direct: int | None = None) -> Gateway:
    return Gateway([function_of()], Settings(), host=host, port=port, direct=[direct])


def test_a_port_in_use_is_an_error_and_leaves_none_of_the_others_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127.0.0.1 port {port}: the port is in use"):
            gateway_on("127.0.0.1", port)
        with socket.create_server(("127.0.0.1", 0)) as other:
            free = other.getsockname()[1]
        with pytest.raises(ConfigError, match="in use"):
            gateway_on("127.0.0.1", free, direct=port)
        socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize(("host", "words"), [("192.0.2.1", "not one of this machine"), ("no such name!", "no address or name")])
def test_an_address_that_cannot_be_had_is_an_error(host, words):
    with pytest.raises(ConfigError, match=words):
        gateway_on(host, 0)


def first_and_second(load_first):
    """Two functions on one gateway; the second is loaded after the first."""
    return [function_of(load=load_first), function_of(reply_of, name="second")]


def test_a_request_to_a_function_whose_turn_to_load_has_not_come_waits_for_it():
    entered, release, turn = threading.Event(), threading.Event(), []

    def load_first(settings):
        entered.set()
        assert release.wait(WAIT)
        turn.append("first loaded")
        return reply_of

    async def main() -> None:
        gateway = Gateway(first_and_second(load_first), Settings(), host="127.0.0.1", port=0, direct=[None, 0])
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(gateway.run(stop, ready.set))
        assert await asyncio.to_thread(entered.wait, WAIT)
        async with httpx.AsyncClient(timeout=WAIT) as client:
            request = asyncio.create_task(client.post(f"http://127.0.0.1:{gateway.served[1].port}/", content=b"early"))
            while not gateway.served[1]._present:  # until it has come in; a refusal would end it
                assert not request.done()
                await asyncio.sleep(0)
            release.set()
            reply = await request
        assert (reply.status_code, reply.json()) == (200, {"got": "early"}) and turn
        stop.set()
        await running

    asyncio.run(main())


def test_a_failure_to_load_lets_the_requests_to_the_other_functions_go():
    entered, release = threading.Event(), threading.Event()

    def load_first(settings):
        entered.set()
        assert release.wait(WAIT)
        raise WeightsError("weights: not there")

    async def main() -> None:
        gateway = Gateway(first_and_second(load_first), Settings(), host="127.0.0.1", port=0, direct=[None, 0])
        running = asyncio.create_task(gateway.run(asyncio.Event(), lambda: None))
        assert await asyncio.to_thread(entered.wait, WAIT)
        async with httpx.AsyncClient(timeout=WAIT) as client:
            request = asyncio.create_task(client.post(f"http://127.0.0.1:{gateway.served[1].port}/", content=b"early"))
            while not gateway.served[1]._present:
                assert not request.done()
                await asyncio.sleep(0)
            release.set()
            assert (await request).status_code == 503
        with pytest.raises(WeightsError):
            await running

    asyncio.run(main())
