"""The real embedded ensemble behind the function's request handling, built once, and what to ask of every reply."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "contracts")]  # import mode importlib does not make helpers importable

from hostile_replies import Answer, check_reply, request_body  # noqa: E402

from auto_annotator.config import load_ensemble, load_settings  # noqa: E402
from auto_annotator.pipeline import FaceDetection  # noqa: E402
from auto_annotator.serving.requests import handle_body  # noqa: E402


@pytest.fixture(scope="session")
def serving():
    """Settings of the served function, on the CPU."""
    return load_settings(device="cpu")


@pytest.fixture(scope="session")
def detector(pulled, serving):
    """The embedded ensemble."""
    for name in load_ensemble("embedded").weight_names:
        pulled(name)
    return FaceDetection.from_settings(serving)


@pytest.fixture(scope="session")
def astronaut(pulled):
    """(512, 512, 3) uint8 with one frontal face, at `hostile_pictures.ASTRONAUT_FACE`."""
    return np.asarray(PIL.Image.open(pulled("sample-astronaut")).convert("RGB"))


@pytest.fixture(scope="session")
def street(pulled):
    """(564, 800, 3) uint8 with some twenty faces of 10 to 45 pixels."""
    return np.asarray(PIL.Image.open(pulled("sample-crossing")).convert("RGB"))


@pytest.fixture(scope="session")
def portrait(astronaut):
    """(184, 160, 3) uint8: the astronaut's head; small, so that many tests can afford the whole ensemble."""
    return astronaut[16:200, 144:304].copy()


@pytest.fixture(scope="session")
def answer(detector, serving):
    """Function: bytes of a file, further keys of the request -> a checked `Answer`."""

    def ask(data: bytes, *, pipeline=detector, **request) -> Answer:
        settings = serving.model_copy(update=request.pop("settings", {}))
        body = request_body(data, **request)
        start = time.perf_counter()
        reply = handle_body(body, pipeline, settings)
        seconds = time.perf_counter() - start
        assert seconds <= settings.budget_seconds
        check_reply(reply)
        return Answer(items=json.loads(reply.body), fields=dict(reply.fields), seconds=seconds, body=reply.body)

    return ask
