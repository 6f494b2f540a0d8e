"""Request body -> pipeline -> reply, with no word about who carries it: the Nuclio handler and the gateway share it.

CVAT sends `{"image": "<base64>", "threshold": 0.4}`, the threshold only if a person typed one. It fails a whole run at the
first answer that is not 200, so a picture that cannot be worked on is answered with a `face_error` tag.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from auto_annotator.config import Settings
from auto_annotator.cvat import shapes
from auto_annotator.cvat.failures import failure_place, failure_reason
from auto_annotator.errors import AutoAnnotatorError, ImageError
from auto_annotator.imageio import decode_base64
from auto_annotator.types import Detection, Image

CONTENT_TYPE = "application/json"


class RequestError(AutoAnnotatorError):
    """A body that is not a detector request; the message is for the caller and repeats nothing of the body."""


class Pipeline(Protocol):
    """What this module needs of `pipeline.FaceDetection`."""

    @property
    def device(self) -> str:
        """Where the models run."""

    def __call__(self, image: Image, *, threshold: float | None = None) -> Detection:
        """Find the faces of one RGB picture; `threshold=None` = the ensemble's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A detector request: the picture as base64 text, and a threshold of 0..1 or None for the ensemble's own."""

    image: str
    threshold: float | None


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
    level: Literal["info", "warn", "error"]
    event: str
    fields: Mapping[str, Any]
    content_type: str = CONTENT_TYPE


def handle_body(body: object, pipeline: Pipeline, settings: Settings) -> Reply:
    """Answer one request; whatever is in it and whatever goes wrong, there is a reply.

    Args:
        body: the decoded JSON object, or its text as str or UTF-8 bytes.
        pipeline: the detector.
        settings: `max_pixels` and `on_error` are used here.

    Returns:
        200 with a list that CVAT accepts, 400 for a body that is no request, and 500 only with `on_error="fail"`.
    """
    start = time.perf_counter()
    try:
        request = parse_body(body)
        return _answer(request, pipeline, settings, start)
    except RequestError as error:
        text = json.dumps({"error": str(error)})
        return Reply(status=400, body=text, level="warn", event="request refused", fields={"why": str(error)})
    except ImageError as error:
        text = json.dumps(shapes.error_reply(error.reason))
        fields = {"reason": error.reason, "milliseconds": _milliseconds(start)}
        return Reply(status=200, body=text, level="warn", event="picture refused", fields=fields)
    except Exception as error:
        return _failure(error, settings, start)


def parse_body(body: object) -> Request:
    """Read a request; keys other than `image` and `threshold` are left alone.

    Raises:
        RequestError: if the body is not a JSON object with an image, or the threshold is no number of 0..1.
    """
    if isinstance(body, memoryview):
        body = bytes(body)
    if isinstance(body, str | bytes | bytearray):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8; RecursionError: nested without end
            raise RequestError("body: got text that is not JSON; send an object with an `image` key (base64)") from None
    if not isinstance(body, dict):
        raise RequestError(f"body: got {type(body).__name__}, expected a JSON object with an `image` key (base64)")
    image = body.get("image")
    if not isinstance(image, str):
        got = type(image).__name__ if "image" in body else "no such key"
        raise RequestError(f"image: got {got}, expected the bytes of a picture file as base64 text")
    return Request(image=image, threshold=parse_threshold(body.get("threshold")))


def parse_threshold(value: object) -> float | None:
    """A threshold of 0..1 from a JSON value; None, and the empty text that a cleared form field sends, = the ensemble's own.

    Raises:
        RequestError: for anything else than a number of 0..1 or its text.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    expected = "expected a number from 0 to 1, or none for the ensemble's default"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RequestError(f"threshold: got {type(value).__name__}, {expected}")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise RequestError(f"threshold: got {type(value).__name__} that is not a number of that range, {expected}") from None
    if not math.isfinite(number) or not 0 <= number <= 1:
        raise RequestError(f"threshold: got a number out of range, {expected}")
    return number


def _answer(request: Request, pipeline: Pipeline, settings: Settings, start: float) -> Reply:
    image = decode_base64(request.image, max_pixels=settings.max_pixels)
    decoded = time.perf_counter()
    detection = pipeline(image, threshold=request.threshold)
    items = shapes.reply(detection)
    text = json.dumps(items, allow_nan=False)
    fields = {
        "faces": len(detection.faces),
        "to_review": sum(detection.review),
        "items": len(items),
        "width": detection.width,
        "height": detection.height,
        "decode_milliseconds": round((decoded - start) * 1000),
        "milliseconds": _milliseconds(start),
        "device": pipeline.device,
        "problems": [f"{p.member}:{p.reason}" for p in detection.problems],
    }
    return Reply(status=200, body=text, level="warn" if detection.problems else "info", event="answered", fields=fields)


def _failure(error: Exception, settings: Settings, start: float) -> Reply:
    """Our own fault: type and place go to the log, because the message of a foreign error may hold anything."""
    reason = failure_reason(error)
    fields = {"reason": reason, "kind": type(error).__name__, "where": failure_place(error), "milliseconds": _milliseconds(start)}
    if settings.on_error == "fail":
        text = json.dumps({"error": f"detection failed ({reason}); the function's log has the place"})
        return Reply(status=500, body=text, level="error", event="detection failed", fields=fields)
    return Reply(status=200, body=json.dumps(shapes.error_reply(reason)), level="error", event="detection failed", fields=fields)


def _milliseconds(start: float) -> int:
    return round((time.perf_counter() - start) * 1000)
