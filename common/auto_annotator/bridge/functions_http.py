"""Requests to deployed functions: repeated while they are busy, connections kept open, every failure with the fix."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any
from urllib.parse import urlsplit

import requests

from auto_annotator import imageio
from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.retry import BUSY, Backoff, backoff_of_environment, parse_retry_after, pause
from auto_annotator.errors import ConfigError, ImageError

logger = logging.getLogger(__name__)

BODY_BYTES = 67_108_864
"""Largest request that the functions take, the `maxRequestBodySize` of their function files."""

NAMESPACE = "nuclio"
CONNECT_SECONDS = 15.0
READ_SECONDS = 250.0  # 60 s for a free worker, 180 s of work

TOO_LARGE = "too_large_to_send"
OUT_OF_TIME = "out_of_time"


class FunctionsHttp:
    """Sends bodies to functions by name; safe to use from several threads.

    Args:
        url: with or without user name and password.
        backoff: waiting times between tries; None = those of the environment.

    Attributes:
        url: the address without user name and password.

    Raises:
        ConfigError: if the address is none.
    """

    def __init__(self, url: str, *, backoff: Backoff | None = None) -> None:
        self.url, self._auth = _address(url)
        self._backoff = backoff or backoff_of_environment()
        self._local = threading.local()
        self._answered = False

    def functions(self) -> dict[str, str]:
        """State of every function that the address offers, by name.

        Raises:
            ServerError: if nothing that offers functions answers there.
        """
        headers = {"x-nuclio-function-namespace": NAMESPACE}
        answer = self._send("GET", "/api/functions", None, headers, what="the list of functions")
        value = _json(answer)
        if answer.status_code != 200 or not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
            raise ServerError(f"{self.url} answers, but not as Nuclio's dashboard or `auto-annotator serve`: check --functions")
        return {str(name): str((entry.get("status") or {}).get("state", "")) for name, entry in value.items()}

    def call(self, function: str, body: dict[str, Any], *, what: str) -> Any:
        """The JSON of a function's reply.

        Raises:
            ImageError: if this request cannot be worked on: the next picture may be fine.
            ServerError: if the function cannot be used.
        """
        data = json.dumps(body, allow_nan=False).encode("utf-8")
        if len(data) > BODY_BYTES:
            raise ImageError(TOO_LARGE, f"{what}: got a request of {len(data)} bytes, expected at most {BODY_BYTES}")
        headers = {
            "Content-Type": "application/json",
            "x-nuclio-function-name": function,
            "x-nuclio-function-namespace": NAMESPACE,
            "x-nuclio-path": "/",
            "X-Nuclio-Invoke-Timeout": f"{READ_SECONDS:.0f}s",
        }
        answer = self._send("POST", "/api/function_invocations", data, headers, what=what)
        if answer.status_code == 200:
            value = _json(answer)
            if value is None:
                raise ServerError(f"{what}: {self.url} sent no JSON, expected a reply as in docs/functions.md: check --functions")
            return value
        raise self._refusal(answer, function, what)

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str], *, what: str) -> requests.Response:
        """The functions change nothing, so that every request may be repeated."""
        failures = 0
        while True:
            wait = None
            try:
                answer = self._session().request(
                    method,
                    self.url + path,
                    data=data,
                    headers=headers,
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    auth=self._auth,
                    allow_redirects=False,
                )
                self._answered = True
                if answer.status_code not in BUSY:
                    return answer
                text = f"{what}: {self.url} is busy ({answer.status_code}): try again later, or send fewer pictures at once"
                wait = parse_retry_after(answer.headers.get("Retry-After"))
            except requests.exceptions.SSLError:
                raise ServerError(
                    f"{self.url}: the TLS certificate was not accepted: check --functions, or set REQUESTS_CA_BUNDLE"
                ) from None
            except requests.RequestException:  # its text may hold the address with a password
                text = f"{what}: {self.url} does not answer: check --functions and that the functions run"
                if not self._answered:  # an address that never answered is wrong more often than it is late
                    raise ServerError(text) from None
            failures += 1
            if failures >= self._backoff.attempts:
                raise ServerError(text)
            logger.info("%s: try %d failed, again soon", what, failures)
            pause(self._backoff.seconds(failures, wait))

    def _session(self) -> requests.Session:
        """One for each thread: connections are kept open, and no two threads meet in one."""
        session = getattr(self._local, "session", None)
        if not isinstance(session, requests.Session):
            session = self._local.session = requests.Session()
        return session

    def _refusal(self, answer: requests.Response, function: str, what: str) -> ImageError | ServerError:
        status, value = answer.status_code, _json(answer)
        reason = value.get("reason") if isinstance(value, dict) else None
        if status == 400 and reason in imageio.REASONS:
            return ImageError(reason, f"{what} could not read the picture ({reason})")
        if status == 413:
            return ImageError(TOO_LARGE, f"{what}: a proxy before {self.url} refused the size of the request (413)")
        if status == 408:
            return ImageError(OUT_OF_TIME, f"{what}: the picture took longer than the function may work (408)")
        if status in (401, 403):
            text = f"{what}: {self.url} asks for another user name or password ({status}): give them as https://user:password@host"
        elif status == 404:
            text = (
                f"{what}: {self.url} has no function {function} (404): deploy it (make deploy-cpu), or start `auto-annotator serve`"
            )
        elif 300 <= status < 400:
            text = f"{what}: {self.url} redirects elsewhere ({status}): give that address as --functions"
        else:
            text = f"{what}: {self.url} answered {status}; the function's log has the reason"
        return ServerError(text, status=status)


def _address(url: str) -> tuple[str, tuple[str, str] | None]:
    """Address without credentials or slash at its end, and the credentials."""
    text = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            "--functions: got no address, expected that of `auto-annotator serve` or Nuclio's dashboard, http://HOST:8070"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    base = f"{parts.scheme}://{host}" + (f":{port}" if port else "") + parts.path.rstrip("/")
    return base, None if parts.username is None else (parts.username, parts.password or "")


def _json(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content)
    except ValueError:
        return None
