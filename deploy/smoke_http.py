"""What every smoke check needs: HTTP as CVAT speaks it, and a picture. Nothing but Python's own library."""

from __future__ import annotations

import json
import struct
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

CALL_SECONDS = 120.0
"""CVAT gives up then."""


class SmokeError(Exception):
    """A reply that CVAT would not take, or none at all; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the function sent: status, content type, body, and how long it took in seconds."""

    status: int
    content_type: str
    body: bytes
    seconds: float


def post(url: str, body: bytes) -> Answer:
    """POST a JSON body with the only header CVAT's direct mode sends.

    Raises:
        SmokeError: if nobody answers in `CALL_SECONDS`.
    """
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310 (http, see main)
    start = time.perf_counter()
    try:
        with _opener().open(request, timeout=CALL_SECONDS) as response:
            return Answer(
                status=response.status,
                content_type=response.headers.get("Content-Type", ""),
                body=response.read(),
                seconds=time.perf_counter() - start,
            )
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
        return Answer(
            status=error.code, content_type=error.headers.get("Content-Type", ""), body=body, seconds=time.perf_counter() - start
        )
    except OSError as error:
        raise SmokeError(f"no answer from {url}: {error}") from error


def _opener() -> urllib.request.OpenerDirector:
    """One without proxies: the function is a neighbour, and pictures go nowhere else."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_until_ready(url: str, seconds: float) -> None:
    """Ask Nuclio's health path until somebody answers.

    Raises:
        SmokeError: if nobody did after `seconds`.
    """
    health, end = urljoin(url, "__internal/health"), time.monotonic() + seconds
    while True:
        try:
            with _opener().open(health, timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:  # somebody is there who does not know the path
                return
            reason = f"status {error.code}"
        except OSError as error:
            reason = str(error)
        if time.monotonic() >= end:
            raise SmokeError(
                f"nobody is ready at {url} after {seconds:.0f} s ({reason}): is the function deployed (nuctl get function"
                " --platform local), is the port right (PORT=...), what does docker logs nuclio-nuclio-<name> say"
            )
        time.sleep(0.5)


def generated_picture(side: int = 256) -> bytes:
    """A grey gradient as PNG, made without any library; there is no face in it."""
    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(side)) for y in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def choose_picture(path: Path | None) -> tuple[bytes, str, bool]:
    """Bytes of the picture, what it is, and whether a face is known to be in it.

    Raises:
        SmokeError: if the user's own picture cannot be read.
    """
    if path is not None:
        try:
            return path.read_bytes(), "your picture", False
        except OSError as error:
            raise SmokeError(f"PICTURE: {error}") from error
    try:
        from auto_annotator.config import load_settings
        from auto_annotator.samples import sample_pictures

        return sample_pictures(load_settings().models, progress=False)[0].read_bytes(), "a portrait", True
    except Exception as error:  # the package is not there, or the index is not: no reason to give up
        return generated_picture(), f"a generated picture, no face in it (no sample: {type(error).__name__})", False


def json_of(answer: Answer) -> Any:
    """The JSON of a good reply.

    Raises:
        SmokeError: for another status or content type, or a body that is no JSON.
    """
    if answer.status != 200:
        raise SmokeError(f"status is {answer.status}, expected 200; the reply begins {answer.body[:200]!r}")
    if not answer.content_type.startswith("application/json"):
        raise SmokeError(f"content type is {answer.content_type!r}, expected application/json")
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise SmokeError(f"the reply is not JSON: {error}") from error


def check_refusal(answer: Answer, what: str) -> str:
    """A request that is wrong must be answered 400.

    Raises:
        SmokeError: for another status.
    """
    if answer.status != 400:
        raise SmokeError(f"status is {answer.status}, expected 400 for {what}")
    return "status 400"
