"""The local index as fixtures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from local_index import Site, serving

from auto_annotator.weights import Client


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that is also the package index in force."""
    with serving() as site:
        monkeypatch.setenv("AUTO_ANNOTATOR_INDEX_URL", f"{site.url}/simple/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield site


@pytest.fixture
def client() -> Client:
    """Gives up soon and does not wait between tries."""
    return Client(attempts=3, backoff=0.0, timeout=(2.0, 5.0))


@pytest.fixture(scope="session")
def content() -> bytes:
    """A file of 300 kB that does not compress."""
    return b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(10_000))[:300_000]
