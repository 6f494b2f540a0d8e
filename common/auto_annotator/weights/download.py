"""HTTP for weight files: retries with back-off, and downloads that go on where they stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import requests

from auto_annotator.errors import WeightsError

log = logging.getLogger(__name__)

CHUNK = 1 << 14  # bytes; a broken connection loses the chunk that was under way, so it is small
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0  # seconds; a server's Retry-After beyond it is not waited for
_NO_NETWORK = (
    "check the network and the proxy (HTTPS_PROXY), name a mirror of the package index (AUTO_ANNOTATOR_INDEX_URL), or copy the"
    " folder of models from another machine and point AUTO_ANNOTATOR_MODELS at it"
)

_T = TypeVar("_T")


class Progress(Protocol):
    """Who wants to know how a transfer goes; called from several threads."""

    def expect(self, count: int) -> None:
        """So many bytes more will come; negative: fewer."""

    def advance(self, count: int) -> None:
        """So many bytes have come."""


class Cancelled(Exception):
    """Another thread asked this download to stop; what has arrived stays on disk."""


class _Transient(Exception):
    """A failure that may pass; the text says which."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def without_credentials(url: str) -> str:
    """The address as it may stand in a message: no user, password, query or fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An HTTP client with the package's manners; safe to share between threads.

    Attributes:
        attempts: tries per request before giving up; a try that brought new bytes does not count.
        backoff: seconds before the second try; doubled for each further one.
        timeout: seconds to connect, and to wait for the next bytes.
        auth: host -> (user, password), for indexes whose URL carries them.
        stop: set by the owner to end all downloads at their next chunk.
    """

    attempts: int = 5
    backoff: float = 0.5
    timeout: tuple[float, float] = (10.0, 60.0)
    auth: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """A small document, whole.

        Raises:
            WeightsError: if the server refuses, or does not answer after all attempts.
        """

        def once() -> requests.Response:
            with self._request(url, headers or {}) as response:
                _ = response.content  # read it while failures still count as this attempt's
                return response

        return self._retrying(url, once, arrived=lambda: 0)

    def size_if_ranges(self, url: str) -> int | None:
        """Size in bytes of the file at `url` if the server serves parts of it, else None."""

        def once() -> int | None:
            with self._request(url, {"Range": "bytes=0-0"}) as response:
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                return int(total) if response.status_code == requests.codes.partial and total.isdigit() else None

        return self._retrying(url, once, arrived=lambda: 0)

    def download(self, url: str, part: Path, *, span: tuple[int, int] | None = None, progress: Progress | None = None) -> None:
        """Fill `part` with the file at `url`, or with bytes `span[0]` to `span[1]` (exclusive) of it.

        What is in `part` already is taken for the beginning; the caller checks the hash of the whole in the end.

        Raises:
            WeightsError: if the server refuses, or does not answer after all attempts.
            Cancelled: if `stop` was set; `part` keeps what has arrived.
        """
        part.touch()
        if span is not None and part.stat().st_size > span[1] - span[0]:
            part.write_bytes(b"")
        self._retrying(url, lambda: self._continue(url, part, span, progress), arrived=lambda: part.stat().st_size)

    def _continue(self, url: str, part: Path, span: tuple[int, int] | None, progress: Progress | None) -> None:
        have = part.stat().st_size
        start, end = (0, None) if span is None else span
        if end is not None and have == end - start:
            return
        wanted = start + have
        headers = {"Range": f"bytes={wanted}-{'' if end is None else end - 1}"} if wanted or end is not None else {}
        with self._request(url, headers, allow=(requests.codes.requested_range_not_satisfiable,)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._past_the_end(response, part, have)
                return
            partial = response.status_code == requests.codes.partial
            if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {wanted}-"):
                raise WeightsError(f"{without_credentials(url)}: the server sent another part than asked for; try again later")
            if span is not None and not partial:
                raise WeightsError(f"{without_credentials(url)}: the server stopped serving parts of the file; try again")
            self._receive(response, part, append=partial, progress=progress)  # a plain 200 starts over
        if end is not None and part.stat().st_size < end - start:
            raise _Transient("the server sent fewer bytes than asked for")

    @staticmethod
    def _past_the_end(response: requests.Response, part: Path, have: int) -> None:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if total != str(have):  # what lies here is not a beginning of that file
            part.write_bytes(b"")
            raise _Transient("the partial file did not fit")

    def _receive(self, response: requests.Response, part: Path, *, append: bool, progress: Progress | None) -> None:
        length = response.headers.get("Content-Length", "")
        expected, got = int(length) if length.isdigit() else 0, 0
        if progress is not None:
            progress.expect(expected)
        try:
            with part.open("ab" if append else "wb") as sink:
                for chunk in response.iter_content(CHUNK):
                    if self.stop.is_set():
                        raise Cancelled
                    sink.write(chunk)
                    got += len(chunk)
                    if progress is not None:
                        progress.advance(len(chunk))
        finally:
            if progress is not None:
                progress.expect(got - expected)
        if got < expected:
            raise _Transient(f"the connection ended after {got} of {expected} bytes")

    @contextmanager
    def _request(self, url: str, headers: Mapping[str, str], allow: tuple[int, ...] = ()) -> Iterator[requests.Response]:
        host = urlsplit(url).hostname or ""
        try:
            with requests.get(
                url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=self.timeout, auth=self.auth.get(host)
            ) as response:
                if response.status_code in _TRANSIENT:
                    wait = response.headers.get("Retry-After", "")
                    raise _Transient(f"HTTP {response.status_code}", float(wait) if wait.isdigit() else 0.0)
                if not response.ok and response.status_code not in allow:
                    raise WeightsError(
                        f"{without_credentials(url)}: HTTP {response.status_code} {response.reason}; {_advice(response)}"
                    )
                yield response
        except requests.exceptions.SSLError as error:
            raise WeightsError(
                f"{without_credentials(url)}: the certificate was not accepted; behind an inspecting proxy set REQUESTS_CA_BUNDLE"
            ) from error
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Transient(type(error).__name__) from error
        except requests.RequestException as error:
            raise WeightsError(f"{without_credentials(url)}: {type(error).__name__}; {_NO_NETWORK}") from error

    def _retrying(self, url: str, once: Callable[[], _T], arrived: Callable[[], int]) -> _T:
        failures, before = 0, arrived()
        while True:
            if self.stop.is_set():
                raise Cancelled
            try:
                return once()
            except _Transient as error:
                failures = 1 if arrived() > before else failures + 1
                before = arrived()
                if failures >= self.attempts:
                    raise WeightsError(
                        f"{without_credentials(url)}: gave up after {failures} attempts without progress ({error}); {_NO_NETWORK}"
                    ) from error
                log.info("%s: %s, trying again", urlsplit(url).hostname, error)
                self.stop.wait(min(_LONGEST_WAIT, max(error.wait, self.backoff * 2 ** (failures - 1))))


def _advice(response: requests.Response) -> str:
    if response.status_code in (401, 403):
        return "the server wants a login: put it into AUTO_ANNOTATOR_INDEX_URL or ~/.netrc"
    if response.status_code in (404, 410):
        return "the file is no longer there: name another mirror (AUTO_ANNOTATOR_INDEX_URL), or update the package"
    return _NO_NETWORK
