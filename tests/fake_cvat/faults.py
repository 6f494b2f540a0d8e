"""Faults of a server and of the network before it, on the requests that a test names.

Kinds (`FAULTS`):

- `status`: answered with `status` (502, 503, 504, 429, 500, ...) and nothing done; `retry_after` seconds in a header;
- `status_after_commit`: done, then answered with `status`: a proxy that lost patience;
- `reset`: the connection is reset before the body of the request is read; nothing done;
- `reset_in_body`: reset after half of the body was read; nothing done;
- `reset_after_commit`: done, then reset without a reply;
- `slow`: nothing happens for `seconds`, then all is well; `slow_reply`: done at once, the reply waits;
- `truncated`: done, and half of the reply is sent before the connection closes.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FAULTS = ("status", "status_after_commit", "reset", "reset_in_body", "reset_after_commit", "slow", "slow_reply", "truncated")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server saw it; no header and no body is kept."""

    method: str
    path: str
    query: dict[str, str]
    has_auth: bool


@dataclass(slots=True)
class Fault:
    """What happens to a request.

    Attributes:
        kind: one of `FAULTS`.
        method: only requests of this method; "" for all, "!GET" for all writes.
        path: regular expression searched in the path.
        count: how many requests it hits; then it is over.
        skip: how many matching requests pass first.
        rate: share of the matching requests that it hits, drawn with `seed`.
    """

    kind: str
    status: int = 503
    retry_after: float | None = None
    seconds: float = 0.0
    method: str = ""
    path: str = ""
    count: int = 1
    skip: int = 0
    rate: float = 1.0
    seed: int = 0
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"kind: got {self.kind!r}, expected one of {', '.join(FAULTS)}")
        self.rng.seed(self.seed)

    def matches(self, request: Request) -> bool:
        """Whether method and path are meant."""
        methods = request.method != self.method[1:] if self.method.startswith("!") else self.method in ("", request.method)
        return methods and re.search(self.path, request.path) is not None


@dataclass(slots=True)
class _Hook:
    call: Callable[[Request], Any]
    fault: Fault


class Faults:
    """The faults that wait for their request, and hooks that wait the same way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._hooks: list[_Hook] = []
        self.fired: list[tuple[str, Request]] = []
        """What happened: kind and request."""

    def add(self, fault: Fault) -> None:
        """Lets a fault wait; of several that match one request the first is taken."""
        with self._lock:
            self._faults.append(fault)

    def hook(self, call: Callable[[Request], Any], when: Fault) -> None:
        """Calls a function in the server's thread just before a matching request is handled."""
        with self._lock:
            self._hooks.append(_Hook(call, when))

    def clear(self) -> None:
        """Forgets all that still wait."""
        with self._lock:
            self._faults.clear()
            self._hooks.clear()

    def take(self, request: Request) -> Fault | None:
        """The fault of this request, after the hooks were called."""
        with self._lock:
            calls = [hook.call for hook in list(self._hooks) if self._hit(hook.fault, request)]
            self._hooks = [hook for hook in self._hooks if hook.fault.count > 0]
            fault = next((f for f in list(self._faults) if self._hit(f, request)), None)
            self._faults = [f for f in self._faults if f.count > 0]
            if fault:
                self.fired.append((fault.kind, request))
        for call in calls:
            call(request)
        return fault

    @staticmethod
    def _hit(fault: Fault, request: Request) -> bool:
        if fault.count <= 0 or not fault.matches(request):
            return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.rng.random() >= fault.rate:
            return False
        fault.count -= 1
        return True
