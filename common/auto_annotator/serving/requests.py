"""Request body -> pipeline -> reply, with no word about who carries it: the Nuclio handler and the gateway share it.

CVAT sends `{"image": "<base64>", "threshold": 0.4}`, the threshold only if a person typed one. It fails a whole run at the
first answer that is not 200, so a picture that cannot be worked on is answered with a `face_error` tag.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

from auto_annotator.config import Settings
from auto_annotator.cvat import shapes
from auto_annotator.cvat.failures import failure_reason
from auto_annotator.errors import ImageError
from auto_annotator.imageio import decode_base64
from auto_annotator.serving.replies import Reply, RequestError, failed, json_object, milliseconds, refused
from auto_annotator.types import Detection, Image


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
        return refused(error)
    except ImageError as error:
        text = json.dumps(shapes.error_reply(error.reason))
        fields = {"reason": error.reason, "milliseconds": milliseconds(start)}
        return Reply(status=200, body=text, level="warn", event="picture refused", fields=fields)
    except Exception as error:
        return _failure(error, settings, start)


def parse_body(body: object) -> Request:
    """Read a request; keys other than `image` and `threshold` are left alone.

    Raises:
        RequestError: if the body is not a JSON object with an image, or the threshold is no number of 0..1.
    """
    given = json_object(body, "a JSON object with an `image` key (base64)")
    return Request(image=parse_image(given), threshold=parse_threshold(given.get("threshold")))


def parse_image(given: dict[str, Any]) -> str:
    """The base64 text of the `image` key.

    Raises:
        RequestError: if there is none.
    """
    image = given.get("image")
    if not isinstance(image, str):
        got = type(image).__name__ if "image" in given else "no such key"
        raise RequestError(f"image: got {got}, expected the bytes of a picture file as base64 text")
    return image


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
        "milliseconds": milliseconds(start),
        "device": pipeline.device,
        "problems": [f"{p.member}:{p.reason}" for p in detection.problems],
    }
    return Reply(status=200, body=text, level="warn" if detection.problems else "info", event="answered", fields=fields)


def _failure(error: Exception, settings: Settings, start: float) -> Reply:
    reply = failed(error, "detection", start)
    if settings.on_error == "fail":
        return reply
    return replace(reply, status=200, body=json.dumps(shapes.error_reply(failure_reason(error))))
