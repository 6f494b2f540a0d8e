"""The fake server as a test holds it: start and stop, builders, faults, records, snapshots."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from fake_cvat import builders
from fake_cvat.albums import Album, make_album
from fake_cvat.faults import Fault, Faults, Request
from fake_cvat.http import Handler, LoopbackServer
from fake_cvat.human import Human
from fake_cvat.snapshots import snapshot
from fake_cvat.store import JSON, Project, Store, Task

UNCOUNTED = ("/api/auth/login", "/api/auth/logout")


class FakeCvat:
    """A CVAT server on a free port of the loopback; use it as a context manager.

    Args:
        seed: of the order in which attributes and elements come back.
        ids_change_on_update: an update gives new ids, as CVAT 2.15 does.
        keeps_score: shapes have a `score`, as SDK 2.80 knows it; CVAT 2.54 drops it.
        version: what the server says of itself.
        port: 0 for a free one.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        ids_change_on_update: bool = False,
        keeps_score: bool = True,
        version: str = "2.54.1",
        port: int = 0,
    ) -> None:
        self.store = Store(seed=seed, ids_change_on_update=ids_change_on_update, keeps_score=keeps_score, version=version)
        self.faults = Faults()
        self.human = Human(self.store)
        self.requests: list[Request] = []
        """All requests, in the order of their arrival, those that a fault hit too."""
        self.token = "fake-token-0123456789"
        self.login = ("annotator", "fake-password")
        self.tokens = {self.token}
        self.sessions: set[str] = set()
        self._lock = threading.Lock()
        self._http = LoopbackServer(("127.0.0.1", port), Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Address without a slash at the end."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeCvat:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()

    # what tests ask and arrange

    def environment(self, **more: str) -> dict[str, str]:
        """Environment of a command in a process of its own: the token, quick retries, and the tests' folder to import from."""
        paths = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        own = {"CVAT_ACCESS_TOKEN": self.token, "AUTO_ANNOTATOR_CVAT_RETRY_SECONDS": "0.01"}
        return os.environ | own | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | more

    @property
    def writes(self) -> int:
        """Number of requests that were not GET, logins not counted."""
        return sum(r.method != "GET" and r.path not in UNCOUNTED for r in list(self.requests))

    def forget(self) -> None:
        """Empties the record of requests and of fired faults."""
        with self._lock:
            self.requests.clear()
            self.faults.fired.clear()

    def fault(self, kind: str, **options: Any) -> None:
        """Lets a fault wait for its request; see `faults` for kinds, and `faults.Fault` for options."""
        self.faults.add(Fault(kind, **options))

    def before(self, call: Callable[[Request], Any], **options: Any) -> None:
        """Calls a function just before a matching request is handled (once, or `count` times); options as of a fault."""
        self.faults.hook(call, Fault("slow", **options))

    def snapshot(self) -> JSON:
        """Deep copy of what the server holds, comparable; see `snapshots.snapshot`."""
        return snapshot(self.store)

    def expire_token(self) -> None:
        """From now on the token is refused with 401."""
        self.tokens.clear()

    # builders

    def make_project(self, name: str = "people", **options: Any) -> Project:
        """A project; see `builders.make_project`."""
        return builders.make_project(self.store, name, **options)

    def make_task(self, frames: Any = 1, **options: Any) -> Task:
        """A task; see `builders.make_task`."""
        return builders.make_task(self.store, frames, **options)

    def add_organization(self, slug: str) -> int:
        """An organisation; its id is an argument of the builders."""
        return builders.add_organization(self.store, slug)

    def album(self, people: int = 5, frames: int = 20, seed: int = 0, **options: Any) -> Album:
        """A task with pictures of people; see `albums.make_album`."""
        return make_album(self.store, people, frames, seed, **options)

    # what the HTTP side calls

    def record(self, request: Request) -> None:
        """Remembers a request."""
        with self._lock:
            self.requests.append(request)

    def new_session(self) -> str:
        """A new login."""
        session = f"session-{len(self.sessions) + 1}-{id(self) % 997}"
        self.sessions.add(session)
        return session


def serve_until_stdin_closes(server: FakeCvat) -> None:
    """Keeps a started server alive as long as its parent holds the pipe to it."""
    with server:
        while sys.stdin.readline():
            pass
