"""What goes back to a caller, and the way from a body to it that every function goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from auto_annotator.cvat.failures import failure_place, failure_reason
from auto_annotator.errors import AutoAnnotatorError, ImageError

CONTENT_TYPE = "application/json"

Level = Literal["info", "warn", "error"]


class RequestError(AutoAnnotatorError):
    """A body that is no request of the function; the message is for the caller and repeats nothing of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back, and what may be logged about it.

    Attributes:
        status: HTTP status code.
        body: JSON text.
        level: log level: `info`, `warn` (the picture or the request is bad) or `error` (we are).
        event: what happened, a constant line.
        fields: counts, sizes, times, reason codes; never anything of the picture or of the request's text.
    """

    status: int
    body: str
    level: Level
    event: str
    fields: Mapping[str, Any]
    content_type: str = CONTENT_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a function that speaks JSON objects has to say: the object, and what may be logged about it, as in `Reply`."""

    value: Mapping[str, Any]
    fields: Mapping[str, Any] = field(default_factory=dict)
    level: Level = "info"


def json_object(body: object, expected: str) -> dict[str, Any]:
    """The JSON object of a body.

    Args:
        body: the decoded object, or its text as str or UTF-8 bytes.
        expected: what the function wants, for the message: `an object with an `image` key (base64)`.

    Raises:
        RequestError: if there is none.
    """
    if isinstance(body, memoryview):
        body = bytes(body)
    if isinstance(body, str | bytes | bytearray):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8; RecursionError: nested without end
            raise RequestError(f"body: got text that is not JSON; send {expected}") from None
    if not isinstance(body, dict):
        raise RequestError(f"body: got {type(body).__name__}, expected {expected}")
    return body


def handle_object(body: object, respond: Callable[[dict[str, Any]], Answer], *, expected: str, task: str) -> Reply:
    """Answer one request of a function that CVAT does not call; whatever is in it and whatever goes wrong, there is a reply.

    Args:
        body: as in `json_object`.
        respond: the function.
        expected: as in `json_object`.
        task: what it does, for the lines of the log: `description`.

    Returns:
        200 with the object, 400 `{"error", "reason"?}` for a bad request or a picture that cannot be read, 500 for our own faults.
    """
    start = time.perf_counter()
    try:
        answer = respond(json_object(body, expected))
        text = json.dumps(answer.value, allow_nan=False)
    except RequestError as error:
        return refused(error)
    except ImageError as error:
        text = json.dumps({"error": str(error), "reason": error.reason})
        fields = {"reason": error.reason, "milliseconds": milliseconds(start)}
        return Reply(status=400, body=text, level="warn", event="picture refused", fields=fields)
    except Exception as error:
        return failed(error, task, start)
    fields = dict(answer.fields) | {"milliseconds": milliseconds(start)}
    return Reply(status=200, body=text, level=answer.level, event="answered", fields=fields)


def refused(error: RequestError) -> Reply:
    """The reply to a body that is no request."""
    text = json.dumps({"error": str(error)})
    return Reply(status=400, body=text, level="warn", event="request refused", fields={"why": str(error)})


def failed(error: Exception, task: str, start: float) -> Reply:
    """Our own fault: type and place go to the log, because the message of a foreign error may hold anything."""
    reason = failure_reason(error)
    text = json.dumps({"error": f"{task} failed ({reason}); the function's log has the place"})
    fields = {"reason": reason, "kind": type(error).__name__, "where": failure_place(error), "milliseconds": milliseconds(start)}
    return Reply(status=500, body=text, level="error", event=f"{task} failed", fields=fields)


def milliseconds(start: float) -> int:
    """Whole milliseconds since a reading of `time.perf_counter`."""
    return round((time.perf_counter() - start) * 1000)
