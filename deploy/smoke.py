#!/usr/bin/env python3
"""Post requests to a deployed function as CVAT and others do, and check what comes back.

`smoke.py http://127.0.0.1:18101/` asks face-detection, `--function` names another. It needs nothing but Python. Where the package
is installed the picture is a real face (one of its samples); else a generated picture without a face, for which only the form of
the reply is checked.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where Python runs isolated

import smoke_services
from smoke_http import Answer, SmokeError, check_refusal, choose_picture, generated_picture, json_of, post, wait_until_ready

__all__ = ["generated_picture"]

LABELS = {"face": "rectangle", "face_landmarks": "skeleton", "face_error": "tag"}
POINTS = {"right_eye", "left_eye", "nose", "mouth_right", "mouth_left"}
HIGH_THRESHOLD = 0.99


def request_body(picture: bytes, threshold: float | None = None) -> bytes:
    """The body that CVAT sends to a detector."""
    body: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    return json.dumps(body | {"image": base64.b64encode(picture).decode("ascii")}).encode("utf-8")


def items_of(answer: Answer) -> list[dict[str, Any]]:
    """The items of a reply, checked by the rules that CVAT has for them.

    Raises:
        SmokeError: names the first broken rule.
    """
    items = json_of(answer)
    if not isinstance(items, list):
        raise SmokeError(f"the reply is a JSON {type(items).__name__}, expected a list")
    for item in items:
        try:
            _check_item(item)
        except (AttributeError, KeyError, TypeError) as error:  # a list where an object belongs, and the like
            raise SmokeError(f"item {str(item)[:100]}: malformed ({error})") from error
    return items


def _check_item(item: Any) -> None:
    label = item.get("label") if isinstance(item, dict) else None
    if label not in LABELS or item.get("type") != LABELS[label]:
        raise SmokeError(f"item {str(item)[:100]}: expected a label of {', '.join(LABELS)} with its own type")
    if label == "face":
        _check_numbers(item.get("points"), 4, "face")
        x1, y1, x2, y2 = item["points"]
        if x2 <= x1 or y2 <= y1:
            raise SmokeError(f"face: the box {item['points']} has no area")
    if label == "face_landmarks":
        elements = item.get("elements", [])
        if {e.get("label") for e in elements} != POINTS or len(elements) != len(POINTS):
            raise SmokeError(
                f"face_landmarks: got {[e.get('label') for e in elements]}, expected each of {', '.join(sorted(POINTS))} once"
            )
        for element in elements:
            _check_numbers(element.get("points"), 2, f"face_landmarks {element['label']}")


def _check_numbers(values: Any, count: int, what: str) -> None:
    numbers = isinstance(values, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    if not numbers or len(values) != count:
        raise SmokeError(f"{what}: points are {str(values)[:100]}, expected {count} finite numbers")


def attribute(item: dict[str, Any], name: str) -> str:
    """Value of a named attribute of an item.

    Raises:
        SmokeError: if it has none.
    """
    for entry in item.get("attributes", []):
        if entry.get("name") == name:
            return str(entry.get("value"))
    raise SmokeError(f"{item.get('label')}: the attribute {name} is missing")


def _percent(item: dict[str, Any]) -> int:
    value = attribute(item, "score")
    if not value.isdecimal() or int(value) > 100:
        raise SmokeError(f"face: the attribute score is {value[:20]!r}, expected a whole number of 0..100")
    return int(value)


def checks(url: str, picture: bytes, *, face: bool) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and function of each check; a function says what it saw, or raises SmokeError."""

    def finds() -> str:
        answer = post(url, request_body(picture))
        items = items_of(answer)
        counts = {label: sum(i["label"] == label for i in items) for label in LABELS}
        if counts["face_error"]:
            raise SmokeError(f"got a face_error tag ({attribute(items[0], 'reason')}), expected a reply about faces")
        if face and not counts["face"]:
            raise SmokeError("got no face, expected at least one: which ensemble and weights were deployed?")
        groups = {i.get("group_id") for i in items if i["label"] == "face"}
        if not {i.get("group_id") for i in items if i["label"] == "face_landmarks"} <= groups:
            raise SmokeError("landmarks without a box of the same group_id")
        return f"faces: {counts['face']}, with landmarks: {counts['face_landmarks']}, {answer.seconds:.2f} s"

    def honours_threshold() -> str:
        items = items_of(post(url, request_body(picture, HIGH_THRESHOLD)))
        scores = [_percent(i) for i in items if i["label"] == "face"]
        if any(score < round(HIGH_THRESHOLD * 100) for score in scores):
            raise SmokeError(f"asked for scores of {HIGH_THRESHOLD}, got {min(scores)} %")
        return f"faces left at {HIGH_THRESHOLD}: {len(scores)}"

    def tags_broken() -> str:
        items = items_of(post(url, request_body(b"this is not a picture")))
        if [i["label"] for i in items] != ["face_error"]:
            raise SmokeError(f"got {[i['label'] for i in items]}, expected one face_error tag")
        return f"face_error, reason {attribute(items[0], 'reason')}"

    def refuses_nonsense() -> str:
        return check_refusal(post(url, b'{"no": "image"}'), "a request without a picture")

    yield "a picture", finds
    yield "a threshold", honours_threshold
    yield "a broken picture", tags_broken
    yield "a request without picture", refuses_nonsense


CHECKS: dict[str, Callable[..., Iterator[tuple[str, Callable[[], str]]]]] = {
    "face-detection": checks,
    "face-tracker": smoke_services.tracker,
    "face-descriptor": smoke_services.descriptor,
    "face-clustering": smoke_services.clustering,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run every check; 0 = all is well, 1 = something is not, 2 = nobody there or wrong arguments."""
    parser = argparse.ArgumentParser(description="Post pictures to a deployed function as CVAT does, and check the replies.")
    parser.add_argument("url", help="address of the function's own port, http://HOST:PORT/")
    parser.add_argument("--name", default="the function", help="how to call it in the report")
    parser.add_argument("--function", choices=sorted(CHECKS), default="face-detection", help="what the function is")
    parser.add_argument("--picture", type=Path, help="a picture of your own")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait until it is ready")
    args = parser.parse_args(argv)
    if not args.url.startswith(("http://", "https://")):
        parser.error(f"url: got {args.url!r}, expected http://HOST:PORT/")
    try:
        picture, what, face = choose_picture(args.picture)
        wait_until_ready(args.url, args.wait)
    except SmokeError as error:
        sys.stderr.write(f"smoke: {error}\n")
        return 2
    sys.stdout.write(f"{args.name} at {args.url}, with {what}\n")
    failed = False
    for name, check in CHECKS[args.function](args.url, picture, face=face):
        try:
            sys.stdout.write(f"  ok    {name}: {check()}\n")
        except SmokeError as error:
            failed = True
            sys.stdout.write(f"  FAIL  {name}: {error}\n")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
