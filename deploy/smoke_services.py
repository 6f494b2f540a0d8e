"""Checks of the functions beside the detector: a face is followed, described and put together with itself."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from smoke_http import Answer, SmokeError, check_refusal, json_of, post

Check = tuple[str, Callable[[], str]]

PEOPLE, EACH, DIMENSION = 3, 4, 16
"""The set that face-clustering is asked for: people, faces of each, numbers of a descriptor."""


def ask(url: str, body: dict[str, Any]) -> Answer:
    """POST a JSON object."""
    return post(url, json.dumps(body).encode("utf-8"))


def keys_of(answer: Answer, *keys: str) -> dict[str, Any]:
    """The object of a good reply, which must have the keys.

    Raises:
        SmokeError: names what is missing.
    """
    value = json_of(answer)
    if not isinstance(value, dict) or not set(keys) <= value.keys():
        got = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise SmokeError(f"the reply has {got}, expected an object with {', '.join(keys)}")
    return value


def text_of(picture: bytes) -> str:
    """Base64 of a picture."""
    return base64.b64encode(picture).decode("ascii")


def descriptor(url: str, picture: bytes, *, face: bool) -> Iterator[Check]:
    """A picture, a face that is named, a broken picture, no picture."""

    def describes() -> str:
        answer = ask(url, {"image": text_of(picture)})
        value = keys_of(answer, "faces", "dimension", "model_hash")
        described = [f for f in value["faces"] if f.get("descriptor") is not None]
        if face and not described:
            raise SmokeError("got no descriptor, expected at least one: which ensemble and weights were deployed?")
        for one in described:
            check_vector(one["descriptor"], value["dimension"])
        return f"faces: {len(value['faces'])}, described: {len(described)}, {answer.seconds:.2f} s"

    def takes_boxes() -> str:
        value = keys_of(ask(url, {"image": text_of(picture), "faces": [{"box": [-20, -20, -10, -10]}]}), "faces")
        if [f.get("failure") for f in value["faces"]] != ["outside_picture"]:
            raise SmokeError("expected one face with the failure outside_picture")
        return "a box beside the picture: outside_picture"

    yield "a picture", describes
    yield "a box", takes_boxes
    yield "a broken picture", lambda: check_refusal(ask(url, {"image": text_of(b"this is not a picture")}), "a broken picture")
    yield "a request without picture", lambda: check_refusal(ask(url, {"no": "image"}), "a request without a picture")


def check_vector(text: str, dimension: int) -> None:
    """A descriptor must be as many float16 numbers as are said, of length 1.

    Raises:
        SmokeError: if it is not.
    """
    data = base64.b64decode(text)
    if len(data) != 2 * dimension:
        raise SmokeError(f"a descriptor has {len(data)} bytes, expected {2 * dimension} (float16)")
    length = math.sqrt(sum(v * v for v in struct.unpack(f"<{dimension}e", data)))
    if abs(length - 1) > 0.01:
        raise SmokeError(f"a descriptor has length {length:.3f}, expected 1")


def vectors() -> str:
    """Base64 of float16 rows: people at right angles, four equal faces of each."""
    rows: list[float] = []
    for person in range(PEOPLE):
        rows += [float(column == person) for column in range(DIMENSION)] * EACH
    return base64.b64encode(struct.pack(f"<{len(rows)}e", *rows)).decode("ascii")


def clustering(url: str, _picture: bytes, *, face: bool) -> Iterator[Check]:
    """Three people, two of them kept apart by a person, wrong vectors, no vectors."""
    del face
    body: dict[str, Any] = {"descriptors": vectors(), "dimension": DIMENSION, "threshold": 0.5}

    def groups() -> str:
        answer = ask(url, body)
        labels = keys_of(answer, "labels", "confidence", "purity")["labels"]
        check_groups(labels, [[EACH * p + i for i in range(EACH)] for p in range(PEOPLE)])
        return f"{len(labels)} faces are {PEOPLE} people, {answer.seconds:.2f} s"

    def keeps_apart() -> str:
        labels = keys_of(ask(url, body | {"cannot": [[0, 1]]}), "labels")["labels"]
        if labels[0] == labels[1]:
            raise SmokeError("two faces that a person kept apart have one label")
        return "a cannot-link holds"

    yield "three people", groups
    yield "a word of a person", keeps_apart
    yield "a wrong length", lambda: check_refusal(ask(url, body | {"dimension": 5}), "vectors of another length")
    yield "a request without vectors", lambda: check_refusal(ask(url, {"no": "vectors"}), "a request without vectors")


def check_groups(labels: Sequence[int], groups: Sequence[Sequence[int]]) -> None:
    """Each group must have one label, and no two the same.

    Raises:
        SmokeError: if not.
    """
    found = [{labels[row] for row in group} for group in groups]
    if any(len(one) != 1 for one in found) or len(set.union(*found)) != len(groups) or -1 in set.union(*found):
        raise SmokeError(f"labels are {list(labels)}, expected one for each of the {len(groups)} groups")


def tracker(url: str, picture: bytes, *, face: bool) -> Iterator[Check]:
    """A face is started on and followed into the same picture; one that is not there is lost; nonsense is refused."""
    state: list[Any] = []
    box = [10.0, 10.0, 60.0, 60.0]

    def starts() -> str:
        shape = {"type": "rectangle", "points": box}
        value = keys_of(ask(url, {"image": text_of(picture), "shapes": [shape], "states": []}), "shapes", "states")
        if value["shapes"] != [shape] or len(value["states"]) != 1:
            raise SmokeError("expected the shape as it was sent, and one state")
        state[:] = value["states"]
        return f"a state of {len(json.dumps(state[0]))} bytes"

    def follows() -> str:
        if not state:
            raise SmokeError("no state to follow from")
        answer = ask(url, {"image": text_of(picture), "shapes": [None], "states": state})
        value = keys_of(answer, "shapes", "states")
        if len(value["shapes"]) != 1 or len(value["states"]) != 1:
            raise SmokeError("expected one shape, or null for lost, and one state")
        what = "lost" if value["shapes"][0] is None else "found"
        return f"{what}, {answer.seconds:.2f} s"

    def refuses() -> str:
        return check_refusal(ask(url, {"image": text_of(picture), "shapes": [None], "states": ["x"]}), "a state that is none")

    del face
    yield "a first frame", starts
    yield "the next frame", follows
    yield "a state that is none", refuses
    yield "a request without picture", lambda: check_refusal(ask(url, {"no": "image"}), "a request without a picture")
