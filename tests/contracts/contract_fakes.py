"""Made-up detections, a pipeline without models, and Nuclio events as the processor sends them."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import nuclio_sdk
import nuclio_sdk.json_encoder
import numpy as np
import PIL.Image
from nuclio_sdk.event import Event, EventDeserializerKinds

from auto_annotator.types import Detection, Faces, Problem, Votes

MEMBERS = ("yunet", "centerface", "mtcnn")
CODES = ("few_votes", "low_score", "edge_spread", "landmark_spread", "small")


def detection_of(boxes, scores=None, landmarks=None, *, width=100, height=80, votes=None, reasons=None, problems=()) -> Detection:
    """A detection from plain lists; every member saw every face with its score unless said otherwise."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(boxes)
    scores = np.full(n, 0.9) if scores is None else np.asarray(scores)
    seen = np.tile(scores[:, None], (1, len(MEMBERS))) if votes is None else np.asarray(votes)
    return Detection(
        width=width,
        height=height,
        faces=Faces.of(boxes, scores, landmarks),
        votes=Votes(members=MEMBERS, scores=seen, edge_spread=np.zeros((n, 4)), landmark_spread=np.zeros((n, 5))),
        reasons=tuple(reasons) if reasons is not None else ((),) * n,
        problems=problems,
    )


def random_detection(rng: np.random.Generator, *, hostile: bool = True) -> Detection:
    """Any picture size, any faces; `hostile` adds NaN, infinities, inverted, tiny, huge and far-off numbers."""
    width, height = (int(v) for v in np.exp(rng.uniform(0, np.log(20_000), 2)))
    n = int(rng.integers(0, 9))
    size = np.array([width, height])
    corner = rng.uniform(-0.2, 1.1, (n, 2)) * size
    boxes = np.hstack([corner, corner + rng.uniform(0, 0.5, (n, 2)) * size])
    points = corner[:, None] + rng.uniform(-0.2, 0.7, (n, 5, 2)) * size
    points[rng.random((n, 5)) < 0.3] = np.nan
    scores, votes = rng.uniform(0, 1, n), rng.uniform(0, 1, (n, len(MEMBERS)))
    votes[rng.random(votes.shape) < 0.3] = np.nan
    if hostile:
        odd = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 1e-30, width, height])
        for array in (boxes, points, scores, votes):
            hit = rng.random(array.shape) < 0.08
            array[hit] = rng.choice(odd, int(hit.sum()))
    reasons = [tuple(rng.choice(CODES, int(rng.integers(0, 3)), replace=False).tolist()) for _ in range(n)]
    problems = (Problem(member="mtcnn", reason="raised"),) if rng.random() < 0.2 else ()
    with np.errstate(over="ignore"):
        return detection_of(boxes, scores, points, width=width, height=height, votes=votes, reasons=reasons, problems=problems)


class FakePipeline:
    """Four faces of known scores for any picture; raises what it is told to."""

    SCORES = (0.95, 0.7, 0.4, 0.1)
    DEFAULT = 0.3

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.device, self.members = error, "cpu", MEMBERS
        self.thresholds: list[float | None] = []
        self.pictures: list[np.ndarray] = []
        self.warm = False

    def warm_up(self) -> None:
        self.warm = True

    def __call__(self, image: np.ndarray, *, threshold: float | None = None) -> Detection:
        self.thresholds.append(threshold)
        self.pictures.append(image)
        if self.error is not None:
            raise self.error
        height, width = image.shape[:2]
        limit = self.DEFAULT if threshold is None else threshold
        scores = [s for s in self.SCORES if s >= limit]
        boxes = [[i * width / 5, 0, (i + 1) * width / 5, height / 2] for i in range(len(scores))]
        return detection_of(boxes, scores, width=width, height=height)


def png(size=(50, 40), color=(200, 150, 120)) -> bytes:
    """A small real picture file."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def event_of(body: bytes, content_type: str = "application/json") -> Event:
    """The event as the wrapper builds it from the processor's msgpack map (strings decoded, body as bytes)."""
    message: dict[str, Any] = {
        "body": body,
        "content_type": content_type,
        "trigger": {"kind": "http", "name": "myHttpTrigger"},
        "fields": {},
        "headers": {"Content-Type": content_type},
        "id": "0",
        "method": "POST",
        "path": "/",
        "size": len(body),
        "timestamp": 1_700_000_000,
        "url": "",
        "shard_id": 0,
        "num_shards": 0,
        "type": "",
        "type_version": "",
        "version": "",
    }
    return Event.deserialize(message, kind=EventDeserializerKinds.msgpack)


def encoded(output: Any) -> dict[str, Any]:
    """What the wrapper sends to the processor for a handler's return value."""
    return nuclio_sdk.Response.from_entrypoint_output(nuclio_sdk.json_encoder.Encoder().encode, output)


class MemoryLog(io.StringIO):
    """Every log line as JSON, as the processor gets it."""

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def context_of() -> tuple[nuclio_sdk.Context, MemoryLog]:
    """Nuclio's own context, and what its logger wrote."""
    stream = MemoryLog()
    logger = nuclio_sdk.Logger(logging.DEBUG, f"test-{id(stream)}")
    logger.set_handler("default", stream, nuclio_sdk.logger.JSONFormatter())
    return nuclio_sdk.Context(logger=logger, worker_id="0"), stream


def load_handler(repository: Path, function: str) -> ModuleType:
    """Import a function's main.py by path, as Nuclio does with /opt/nuclio first on the path."""
    path = repository / "functions" / function / "nuclio" / "main.py"
    spec = importlib.util.spec_from_file_location(f"handler_{function.replace('-', '_')}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
