"""Lists: filters, JSON logic, order and pages, as CVAT's list endpoints have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fake_cvat.store import JSON, Refused

PLAIN = ("page", "page_size", "sort", "filter", "search", "org", "org_id")


def listing(
    rows: Sequence[JSON],
    query: Mapping[str, str],
    url: str,
    *,
    fields: Mapping[str, Callable[[JSON], Any]] | None = None,
    sort: str = "-id",
) -> JSON:
    """One page of rows.

    Args:
        rows: all of them, as they are shown.
        query: the request's; a name that is a field of the rows filters by equality.
        url: of the list, without the query, for `next`.
        fields: filters that are not a field of the rows.
        sort: the order when the query says none.

    Raises:
        Refused: 404 for a page beyond the last, 400 for a filter that CVAT does not know.
    """
    fields = fields or {}

    def value(row: JSON, name: str) -> Any:
        if name in fields:
            return fields[name](row)
        if name not in row:
            raise Refused(400, [f"{name} is not a valid filter"])
        return row[name]

    found = list(rows)
    for name, wanted in query.items():
        if name not in PLAIN:
            found = [row for row in found if _same(value(row, name), wanted)]
    if query.get("search"):
        found = [row for row in found if query["search"].lower() in str(row.get("name", "")).lower()]
    if query.get("filter"):
        try:
            rule = json.loads(query["filter"])
        except ValueError as error:
            raise Refused(400, ["filter: not JSON"]) from error
        found = [row for row in found if logic(rule, lambda name, row=row: value(row, name))]
    key = query.get("sort") or sort
    found.sort(key=lambda row: value(row, key.lstrip("-")), reverse=key.startswith("-"))
    return _page(found, query, url)


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    return ("" if value is None else str(value)) == wanted


def _page(rows: list[JSON], query: Mapping[str, str], url: str) -> JSON:
    try:
        number, size = int(query.get("page", 1)), min(100, int(query.get("page_size", 10)))
    except ValueError as error:
        raise Refused(404, {"detail": "Invalid page."}) from error
    pages = max(1, -(-len(rows) // size))
    if not 1 <= number <= pages:
        raise Refused(404, {"detail": "Invalid page."})

    def link(page: int) -> str | None:
        return f"{url}?{urlencode(dict(query) | {'page': page})}" if 1 <= page <= pages else None

    shown = rows[(number - 1) * size : number * size]
    return {"count": len(rows), "next": link(number + 1), "previous": link(number - 1), "results": shown}


def logic(rule: Any, value: Callable[[str], Any]) -> Any:
    """What a JSON logic rule says; `value` gives the field of a name."""
    if not isinstance(rule, dict):
        return rule
    (name, arguments), *rest = rule.items()
    if rest:
        raise Refused(400, ["filter: one operation per object"])
    if name == "var":
        return value(arguments)
    arguments = arguments if isinstance(arguments, list) else [arguments]
    if name == "and":
        return all(logic(a, value) for a in arguments)
    if name == "or":
        return any(logic(a, value) for a in arguments)
    terms = [logic(a, value) for a in arguments]
    operations: dict[str, Callable[..., Any]] = {
        "!": lambda a: not a,
        "==": lambda a, b: a == b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b, c=None: a <= b and (c is None or b <= c),
        "in": lambda a, b: a in b,
    }
    if name not in operations:
        raise Refused(400, [f"filter: {name} operation is not supported"])
    return operations[name](*terms)
