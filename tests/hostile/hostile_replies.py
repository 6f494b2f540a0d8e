"""Requests as CVAT sends them, and what is asked of every reply."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from cvat_rules import receive

from auto_annotator.cvat.labels import label_constructor
from auto_annotator.geometry import iou_matrix
from auto_annotator.serving.requests import Reply

TASK = label_constructor()

ROUNDING = 0.006
"""Coordinates are rounded to a hundredth of a pixel."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A reply that CVAT takes whole."""

    items: list[dict[str, Any]]
    fields: dict[str, Any]
    seconds: float
    body: str

    @property
    def boxes(self) -> np.ndarray:
        """(n, 4) x1 y1 x2 y2, in the order of the reply."""
        return np.array([i["points"] for i in self.items if i["type"] == "rectangle"], float).reshape(-1, 4)

    @property
    def scores(self) -> np.ndarray:
        """(n,) confidences of the boxes."""
        return np.array([float(i["confidence"]) for i in self.items if i["type"] == "rectangle"])

    @property
    def attributes(self) -> list[dict[str, str]]:
        """Attributes of each box."""
        return [{a["name"]: a["value"] for a in i["attributes"]} for i in self.items if i["type"] == "rectangle"]

    @property
    def points(self) -> np.ndarray:
        """(n, 5, 2) landmarks of the skeletons."""
        skeletons = [i["elements"] for i in self.items if i["type"] == "skeleton"]
        return np.array([[e["points"] for e in elements] for elements in skeletons], float).reshape(-1, 5, 2)

    @property
    def error(self) -> str:
        """Reason of the `face_error` tag, empty where there is none."""
        return next((i["attributes"][0]["value"] for i in self.items if i["type"] == "tag"), "")


def request_body(data: bytes, **request: Any) -> bytes:
    """The body of a request with a picture file."""
    return json.dumps({"image": base64.b64encode(data).decode("ascii"), **request}).encode()


def check_reply(reply: Reply) -> None:
    """200, a list that CVAT stores without a loss, every box and visible point inside the picture."""
    assert reply.status == 200, reply.body
    verdict = receive(reply.body, TASK)
    assert verdict.dropped_items == verdict.dropped_attributes == []
    items = json.loads(reply.body)
    assert len(items) == len(verdict.shapes) + len(verdict.tags)
    if any(i["type"] == "tag" for i in items):
        assert len(items) == 1
        return
    size = np.array([reply.fields["width"], reply.fields["height"]])
    for item in items:
        if item["type"] == "rectangle":
            low, high = np.array(item["points"]).reshape(2, 2)
            assert (low >= 0).all() and (high <= size).all() and (high - low >= 2 - ROUNDING).all()
            assert item["attributes"][0]["value"].isdigit()
        else:
            points = np.array([e["points"] for e in item["elements"]])
            assert (points >= 0).all() and (points <= size).all()
    assert len(json.dumps(items, allow_nan=False)) > 0


def same_faces(found: np.ndarray, expected: np.ndarray, iou: float) -> bool:
    """Whether both lists hold the same boxes, each overlapping its partner by at least `iou`."""
    if len(found) != len(expected):
        return False
    overlaps = iou_matrix(found, expected)
    return len(found) == 0 or bool((overlaps.max(axis=0) >= iou).all() and (overlaps.max(axis=1) >= iou).all())
