"""From a request to a reply: the table of endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_cvat.queries import listing
from fake_cvat.store import JSON, Job, Refused, Store


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    store: Store
    base: str
    path: str
    query: Mapping[str, str]
    body: Any
    organization: int | str | None
    """Id of the organisation asked for, None for the personal workspace, "" for all."""

    def rows(self, items: Mapping[int, Any], render: Callable[..., JSON], *arguments: Any, **options: Any) -> Reply:
        """One page of what the organisation asked for holds."""
        shown = [render(self.store, item, self.base) for item in items.values() if self._visible(item)]
        return Reply(body=listing(shown, self.query, self.base + self.path, **options))

    def _visible(self, item: Any) -> bool:
        if self.organization == "":
            return True
        while not hasattr(item, "organization"):
            item = self.store.tasks[item.task] if isinstance(item, Job) else self.store.jobs[item.job]
        return bool(item.organization == self.organization)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON, or bytes with a media type."""

    status: int = 200
    body: Any = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[..., Reply]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, path: str) -> Callable[[Route], Route]:
    """Registers a function for a method and a path; `{n}` is a number and an argument."""
    pattern = re.compile(path.replace("{n}", r"(\d+)") + "/?")

    def register(function: Route) -> Route:
        ROUTES.append((method, pattern, function))
        return function

    return register


def dispatch(call: Call, method: str) -> Reply:
    """The reply of a request.

    Raises:
        Refused: for anything that CVAT answers with an error.
    """
    known = False
    for verb, pattern, function in ROUTES:
        if match := pattern.fullmatch(call.path):
            known = True
            if verb == method:
                with call.store.lock:
                    return function(call, *(int(number) for number in match.groups()))
    raise Refused(405, {"detail": f'Method "{method}" not allowed.'}) if known else Refused(404, {"detail": "Not found."})
