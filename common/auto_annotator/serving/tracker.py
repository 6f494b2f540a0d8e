"""The function face-tracker in CVAT's words: shapes and states in, shapes and states out.

The first call has a shape for each person and no states. Later calls have the states of the last reply, and null for each shape
(CVAT before 2.40: the shapes of the last reply). A state goes through the browser and back: it holds a random key, the last
box and the size of the picture, and nothing of the face. What the key stands for stays in this process.

Shapes are answered as they were asked: `{"type", "points"}`, or before CVAT 2.40 the bare points. A person who is lost is null,
or with `AUTO_ANNOTATOR_ON_LOST=keep` the last box; the state says `lost` either way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auto_annotator.config import Settings
from auto_annotator.errors import ImageError
from auto_annotator.imageio import decode_base64
from auto_annotator.serving import values
from auto_annotator.serving.replies import Answer, Reply, RequestError, handle_object, milliseconds
from auto_annotator.serving.requests import parse_image
from auto_annotator.serving.tracking import FaceTracking, Target
from auto_annotator.types import Image

EXPECTED = "a JSON object with the keys `image` (base64), `shapes` and `states`"
RECTANGLE = "rectangle"
DIGITS = 2
"""Decimals of a coordinate, as in the replies of face-detection."""

MAX_SHAPES = 200
"""People that one request follows; CVAT sends those that one annotator follows in one frame."""

MAX_SIDE = 10**6
"""Longest side of a picture that a state may speak of, in pixels."""

MAX_KEY = 64
"""Characters of a key; ours are shorter, and a longer one is of nobody."""

MIN_SIDE = 1.0
"""Shortest side of a box that a human may start with, in pixels: in less there is no face."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a caller carries from one reply to the next request.

    Attributes:
        key: random text.
        box: x1 y1 x2 y2 in pixels of the last picture.
        width, height: its size.
        lost: whether the person was not in it.
    """

    key: str
    box: Box
    width: int
    height: int
    lost: bool = False

    def to_json(self) -> dict[str, Any]:
        """The value that goes out."""
        size = [self.width, self.height]
        return {"key": self.key, "box": [round(v, DIGITS) for v in self.box], "size": size, "lost": self.lost}

    def target(self, image: Image) -> Target:
        """Whom to look for in a picture, perhaps of another size."""
        height, width = image.shape[:2]
        sx, sy = width / self.width, height / self.height
        limit = values.MAX_COORDINATE  # the size in a state may be any
        x1, x2 = (min(max(x * sx, -limit), limit) for x in self.box[::2])
        y1, y2 = (min(max(y * sy, -limit), limit) for y in self.box[1::2])
        return Target(box=(x1, y1, x2, y2), key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRequest:
    """A request, checked.

    Attributes:
        image: base64 text.
        boxes: of the first call, one for each person; empty in later calls.
        states: of later calls.
        typed: whether shapes are objects with a type (CVAT 2.40 and later).
    """

    image: str
    boxes: tuple[Box, ...]
    states: tuple[State, ...]
    typed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTracker:
    """The function after its models are loaded; called with bodies.

    Attributes:
        tracking: follows people.
        settings: `max_pixels`, `on_lost` and `on_error` are used here.
    """

    tracking: FaceTracking
    settings: Settings

    def __call__(self, body: object) -> Reply:
        """Answer one request; there is always a reply."""
        return handle_object(body, self._answer, expected=EXPECTED, task="tracking")

    def _answer(self, given: dict[str, Any]) -> Answer:
        request, start = parse_request(given), time.perf_counter()
        try:
            image = decode_base64(request.image, max_pixels=self.settings.max_pixels)
        except ImageError as error:
            if request.boxes or self.settings.on_error == "fail":
                raise
            return self._all_lost(request, error.reason)
        if request.states:
            followed = self.tracking.follow(image, [state.target(image) for state in request.states])
        else:
            followed = self.tracking.start(image, [self._in_picture(i, box, image) for i, box in enumerate(request.boxes)])
        height, width = image.shape[:2]
        states = [State(key=f.key, box=f.box, width=width, height=height, lost=f.lost) for f in followed]
        fields = {
            "people": len(followed),
            "started": len(request.boxes),
            "lost": sum(f.lost for f in followed),
            "anew": sum(f.anew for f in followed),
            "remembered": len(self.tracking.memory),
            "width": width,
            "height": height,
            "track_milliseconds": milliseconds(start),
        }
        return Answer(value=self._value(request, states), fields=fields)

    def _in_picture(self, row: int, box: Box, image: Image) -> Box:
        height, width = image.shape[:2]
        x1, y1, x2, y2 = box
        if min(x2, width) - max(x1, 0) < MIN_SIDE or min(y2, height) - max(y1, 0) < MIN_SIDE:
            raise RequestError(f"shapes[{row}]: got a box beside the picture of {width} x {height} pixels, expected one on a face")
        return box

    def _all_lost(self, request: TrackRequest, reason: str) -> Answer:
        """A frame that cannot be read must not end a run over many frames: whoever is followed is not in it."""
        lost = [State(key=s.key, box=s.box, width=s.width, height=s.height, lost=True) for s in request.states]
        return Answer(
            value=self._value(request, lost), fields={"people": len(lost), "lost": len(lost), "reason": reason}, level="warn"
        )

    def _value(self, request: TrackRequest, states: Sequence[State]) -> dict[str, Any]:
        keep = self.settings.on_lost == "keep"
        shapes = [None if state.lost and not keep else _shape(state.box, typed=request.typed) for state in states]
        return {"shapes": shapes, "states": [state.to_json() for state in states]}


def _shape(box: Box, *, typed: bool) -> Any:
    points = [round(v, DIGITS) for v in box]
    return {"type": RECTANGLE, "points": points} if typed else points


def parse_request(given: dict[str, Any]) -> TrackRequest:
    """Read a request.

    Raises:
        RequestError: names the key, and what it should be.
    """
    image, shapes, states = parse_image(given), given.get("shapes"), given.get("states") or []
    for name, value in (("shapes", shapes), ("states", states)):
        if not isinstance(value, list) or len(value) > MAX_SHAPES:
            raise RequestError(f"{name}: got {values.kind(value)}, expected a list of at most {MAX_SHAPES}, one for each person")
    assert isinstance(shapes, list)
    if states and len(states) != len(shapes):
        raise RequestError(f"states: got {len(states)} for {len(shapes)} shapes, expected one for each, or none in the first call")
    typed = not any(isinstance(shape, list) for shape in shapes)
    if not states:
        boxes = tuple(parse_shape(shape, f"shapes[{i}]") for i, shape in enumerate(shapes))
        return TrackRequest(image=image, boxes=boxes, states=(), typed=typed)
    parsed = tuple(parse_state(state, f"states[{i}]") for i, state in enumerate(states))
    return TrackRequest(image=image, boxes=(), states=parsed, typed=typed)


def parse_shape(value: object, place: str) -> Box:
    """The box of a shape, corners in order.

    Raises:
        RequestError: for anything but a rectangle of four numbers.
    """
    if isinstance(value, dict):
        if value.get("type") != RECTANGLE:
            raise RequestError(f"{place}: got a shape of another type, expected a {RECTANGLE}")
        value, place = value.get("points"), f"{place}.points"
    x1, y1, x2, y2 = values.box(value, place)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def parse_state(value: object, place: str) -> State:
    """A state that an earlier reply gave; a key that is not known any more is no error.

    Raises:
        RequestError: for anything else.
    """
    if not isinstance(value, dict):
        raise RequestError(f"{place}: got {values.kind(value)}, expected the state of an earlier reply, unchanged")
    box, size, key = parse_shape(value.get("box"), f"{place}.box"), value.get("size"), value.get("key")
    if not isinstance(size, list) or len(size) != 2:
        raise RequestError(f"{place}.size: got {values.kind(size)}, expected the state of an earlier reply, unchanged")
    width, height = (values.whole_number(v, f"{place}.size[{i}]", 1, MAX_SIDE) for i, v in enumerate(size))
    key = key if isinstance(key, str) and len(key) <= MAX_KEY else ""
    return State(key=key, box=box, width=width, height=height)
