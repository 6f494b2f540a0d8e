"""Ten thousand faces in one picture, from fake members: time, memory and the size of the reply."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from fakes import AnsweringDetector, pipeline
from hostile_pictures import encoded
from hostile_replies import check_reply, request_body

from auto_annotator.config import Settings
from auto_annotator.serving.requests import handle_body
from auto_annotator.types import Faces

FACES = 10_000
WIDTH, HEIGHT = 4000, 3000
FUSE_SECONDS = 1.0
HEAP_SECONDS = 15.0
"""The same where all boxes overlap, which no working detector says (its NMS forbids it); about 3.5 on two cores."""
MEGABYTES = 200
WHOLE_SECONDS = 10.0
"""For decoding, fusing, shapes and JSON of the whole picture; about 1.3 on two cores."""

POINTS = np.array([[-0.2, -0.1], [0.2, -0.1], [0, 0.1], [-0.15, 0.3], [0.15, 0.3]])


def spread_out(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sides of faces in a stadium: a grid with disorder, hardly any overlap."""
    grid = np.stack(np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5), -1).reshape(-1, 2) / 100 * [WIDTH, HEIGHT]
    return grid + rng.uniform(-8, 8, (FACES, 2)), rng.uniform(12, 40, FACES)


def heaped(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The worst that a broken model could say: everything on top of everything in one corner."""
    return rng.uniform(200, 600, (FACES, 2)), rng.uniform(30, 300, FACES)


def member(scene, seed: int) -> AnsweringDetector:
    """One that sees the faces of the scene with a little noise of its own."""
    centers, sides = scene(np.random.default_rng(0))
    rng = np.random.default_rng(seed)
    corners = sides[:, None] / 2
    boxes = np.hstack([centers - corners, centers + corners]) + rng.normal(0, 0.03, (FACES, 4)) * sides[:, None]
    faces = Faces.of(
        np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]),
        rng.uniform(0.35, 1, FACES),
        centers[:, None] + POINTS * sides[:, None, None],
    )
    return AnsweringDetector(lambda canvas: faces)


@pytest.mark.parametrize(("scene", "seconds"), [(spread_out, FUSE_SECONDS), (heaped, HEAP_SECONDS)], ids=["spread out", "heaped"])
def test_fusing_ten_thousand_faces_of_five_members(scene, seconds):
    detect = pipeline({f"m{i}": member(scene, i) for i in range(5)}, views=[{"size": WIDTH}])
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    detection = detect(image)
    assert not detection.problems and len(detection.faces) >= FACES / 100
    assert detection.seconds["fuse"] <= seconds


def test_memory_of_fusing_ten_thousand_faces_of_five_members():
    detect = pipeline({f"m{i}": member(spread_out, i) for i in range(5)}, views=[{"size": WIDTH}])
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    tracemalloc.start()
    detect(image)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak - image.nbytes / 2**20 <= MEGABYTES, "beside the canvas"


def test_the_whole_path_with_ten_thousand_faces():
    detect = pipeline({f"m{i}": member(spread_out, i) for i in range(5)}, views=[{"size": WIDTH}])
    body = request_body(encoded(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "JPEG"))
    start = time.perf_counter()
    reply = handle_body(body, detect, Settings())
    assert time.perf_counter() - start <= WHOLE_SECONDS
    assert reply.fields["faces"] >= FACES and len(reply.body) < 1200 * reply.fields["faces"]
    check_reply(reply)


def test_one_face_more_than_the_limit_is_garbage_and_the_others_answer():
    detect = pipeline(
        {"a": member(spread_out, 1), "b": AnsweringDetector(lambda c: Faces.of([[5, 5, 50, 50]], [0.9]))},
        views=[{"size": WIDTH}],
        settings={"max_faces": FACES - 1},
    )
    detection = detect(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    assert [(p.member, p.reason) for p in detection.problems] == [("a", "too_many_boxes")]
    assert len(detection.faces) == 1
