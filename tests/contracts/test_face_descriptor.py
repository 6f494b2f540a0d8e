"""Bodies into face-descriptor, replies out: good, bad and hostile."""

from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import PIL.Image
import pytest
from contract_fakes import as_base64, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_fakes import ColourDescription, ColourDetector, conforms, scene

from auto_annotator.config import Settings
from auto_annotator.serving.descriptor import FaceDescriptor

EXAMPLES = int(os.environ.get("AUTO_ANNOTATOR_TEST_EXAMPLES", "300"))
CANARY = "CANARY-5f3759df"
ANN, BOB = (20, 20, 60, 70), (100, 30, 150, 80)
PICTURE = scene(200, 120, [("ann", ANN), ("bob", BOB)])


def encoded(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return as_base64(buffer.getvalue())


IMAGE = encoded(PICTURE)


def function(description=None, **options) -> FaceDescriptor:
    fakes = {"detection": ColourDetector(), "description": description or ColourDescription()}
    return FaceDescriptor(settings=Settings(max_pixels=1_000_000, **options), **fakes)


def answered(reply) -> dict:
    assert reply.status == 200 and reply.content_type == "application/json", reply.body
    value = json.loads(reply.body)
    conforms(value, "face-descriptor.reply")
    return value


def refused(reply) -> str:
    assert reply.status == 400 and reply.level == "warn", reply
    value = json.loads(reply.body)
    conforms(value, "error.reply")
    return value["error"]


def vector(face: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(face["descriptor"]), "<f2").astype(np.float32)


@pytest.mark.parametrize("form", [dict, json.dumps, lambda b: json.dumps(b).encode(), lambda b: bytearray(json.dumps(b).encode())])
def test_faces_are_found_when_none_are_named(form):
    body = {"image": IMAGE, "faces": None, "threshold": "", "other": [1]}
    conforms({"image": IMAGE}, "face-descriptor.request")
    value = answered(function()(form(body)))
    assert [f["box"] for f in value["faces"]] == [list(ANN), list(BOB)] and [f["score"] for f in value["faces"]] == [0.9, 0.9]
    assert (value["model_set"], value["model_hash"], value["dimension"]) == ("colours", "c0ffee00", 16)
    assert (value["width"], value["height"], value["threshold"], value["problems"]) == (200, 120, 0.4, [])
    ann, bob = map(vector, value["faces"])
    assert ann.shape == (16,) and np.linalg.norm(ann) == pytest.approx(1, abs=1e-3) and float(ann @ bob) < 0.1
    assert len(value["faces"][0]["landmarks"]) == 5


def test_named_faces_keep_their_order_and_get_no_score():
    body = {
        "image": IMAGE,
        "faces": [{"box": list(BOB)}, {"box": list(ANN), "landmarks": [[30, 40], None, [40, 50], [35, 60], [45, 60]]}],
    }
    conforms(body, "face-descriptor.request")
    one = function()
    value = answered(one(body))
    assert [f["box"] for f in value["faces"]] == [list(BOB), list(ANN)] and "score" not in value["faces"][0]
    assert value["faces"][0]["landmarks"] is None and value["faces"][0]["notes"] == ["aligned_by_box"]
    assert value["faces"][1]["landmarks"] == [[30, 40], None, [40, 50], [35, 60], [45, 60]]
    assert one.detection.sizes == [], "nothing was searched"


def test_no_face_is_an_empty_list():
    assert answered(function()({"image": as_base64(png(color=(40, 40, 40)))}))["faces"] == []
    assert answered(function()({"image": IMAGE, "faces": []}))["faces"] == []


@pytest.mark.parametrize(
    "box", [[300, 10, 340, 50], [-90, -90, -10, -10], [200, 0, 240, 50], [50, 50, 50, 50], [60, 70, 20, 20], [10, 10, 10.2, 10.3]]
)
def test_a_box_without_a_pixel_of_the_picture_fails_alone(box):
    value = answered(function()({"image": IMAGE, "faces": [{"box": box}, {"box": list(ANN)}]}))
    bad, good = value["faces"]
    assert (bad["failure"], bad["descriptor"], bad["quality"]) == ("outside_picture", None, 0)
    assert good["failure"] is None and good["quality"] == 0.9 and vector(good).any()


def test_a_box_that_reaches_beyond_the_picture_is_described():
    value = answered(function()({"image": IMAGE, "faces": [{"box": [-20, -20, 60, 70]}]}))
    assert value["faces"][0]["failure"] is None


def test_faces_beyond_the_limit():
    assert "at most 1" in refused(
        function(max_request_faces=1)({"image": IMAGE, "faces": [{"box": list(ANN)}, {"box": list(BOB)}]})
    )
    description = ColourDescription()
    value = answered(function(description, max_request_faces=1)({"image": IMAGE}))
    assert [f["failure"] for f in value["faces"]] == [None, "too_many_faces"] and description.rows == [1]


class Failing(ColourDescription):
    """Cannot describe the first face."""

    def __call__(self, image, faces):
        from dataclasses import replace

        whole = super().__call__(image, faces)
        vectors, quality = whole.vectors.copy(), whole.quality.copy()
        vectors[0], quality[0] = 0, 0
        return replace(whole, vectors=vectors, quality=quality, failures=("no_descriptor", *whole.failures[1:]))


def test_a_face_that_cannot_be_described_has_its_reason():
    value = answered(function(Failing())({"image": IMAGE}))
    assert [f["failure"] for f in value["faces"]] == ["no_descriptor", None] and value["faces"][0]["descriptor"] is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "body: got NoneType"),
        (b"not json", "not JSON"),
        ([], "body: got list"),
        ({}, "image: got no such key"),
        ({"image": 5}, "image: got int"),
        ({"image": IMAGE, "threshold": 2}, "threshold: got a number out of range"),
        ({"image": IMAGE, "faces": {}}, "faces: got no list"),
        ({"image": IMAGE, "faces": [[1, 2, 3, 4]]}, "faces[0]: got no object"),
        ({"image": IMAGE, "faces": [{}]}, "faces[0]: got no object"),
        ({"image": IMAGE, "faces": [{"box": [1, 2, 3]}]}, "faces[0].box: got a list of 3, expected 4 numbers"),
        ({"image": IMAGE, "faces": [{"box": list(ANN)}, {"box": None}]}, "faces[1].box: got null"),
        ({"image": IMAGE, "faces": [{"box": [1, 2, 3, "4"]}]}, "faces[0].box[3]: got a text"),
        ({"image": IMAGE, "faces": [{"box": [1, 2, 3, True]}]}, "faces[0].box[3]: got true or false"),
        ({"image": IMAGE, "faces": [{"box": [1, 2, 3, float("nan")]}]}, "faces[0].box[3]: got a number out of range"),
        ({"image": IMAGE, "faces": [{"box": [1, 2, 3, 10**400]}]}, "faces[0].box[3]: got a number out of range"),
        ({"image": IMAGE, "faces": [{"box": list(ANN), "landmarks": [[1, 2]]}]}, "faces[0].landmarks: got a list of 1, expected 5"),
        ({"image": IMAGE, "faces": [{"box": list(ANN), "landmarks": [[1]] * 5}]}, "faces[0].landmarks[0]: got a list of 1"),
    ],
)
def test_bad_requests_say_got_and_expected(body, words):
    text = refused(function()(body))
    assert words in text and ("expected" in text or "send" in text)


@pytest.mark.parametrize(
    ("image", "reason"), [("", "empty"), ("%%", "not_base64"), (as_base64(b"no picture here"), "not_an_image")]
)
def test_a_picture_that_cannot_be_read_is_refused_with_its_reason(image, reason):
    reply = function()({"image": image})
    assert refused(reply) and json.loads(reply.body)["reason"] == reason == reply.fields["reason"]


@pytest.mark.parametrize(("error", "reason"), [(RuntimeError(CANARY), "internal_error"), (MemoryError(CANARY), "out_of_memory")])
def test_our_own_faults_are_500_and_tell_nothing(error, reason):
    description = ColourDescription()
    description.error = error
    reply = function(description)({"image": IMAGE})
    assert reply.status == 500 and reply.level == "error" and reply.fields["reason"] == reason
    assert CANARY not in repr(reply) and reply.fields["where"]


def test_neither_vector_nor_picture_nor_name_is_in_what_may_be_logged():
    reply = function()({"image": IMAGE, "name": CANARY, "token": CANARY, "faces": [{"box": list(ANN), "name": CANARY}]})
    said = repr(dict(reply.fields)) + reply.event
    descriptor = answered(reply)["faces"][0]["descriptor"]
    for secret in (CANARY, descriptor[:8], IMAGE[:16], "0.9", "c0ffee"):
        assert secret not in said
    assert reply.fields["faces"] == reply.fields["described"] == 1 and reply.fields["given"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["box", "landmarks", "x"]), inner, max_size=3),
    max_leaves=12,
)
boxes = st.lists(st.floats(-1e7, 1e7) | st.integers(-300, 300), min_size=4, max_size=4)
marks = st.lists(st.none() | st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=5, max_size=5)
faces = st.lists(st.fixed_dictionaries({"box": boxes}, optional={"landmarks": marks}), max_size=4) | json_values
requests = st.fixed_dictionaries(
    {"image": st.just(IMAGE) | st.text(max_size=20)}, optional={"faces": faces, "threshold": json_values}
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=requests | json_values | st.binary(max_size=40))
def test_nothing_ever_comes_out_but_a_reply(body):
    reply = function()(body)
    json.dumps(dict(reply.fields), allow_nan=False)
    assert answered(reply) if reply.status == 200 else refused(reply)


def test_points_are_looked_for_in_given_boxes_that_come_without():
    asked = []

    def points(image, boxes):
        asked.append(boxes.tolist())
        return np.full((len(boxes), 5, 2), 30.0, np.float32)

    one = FaceDescriptor(detection=ColourDetector(), description=ColourDescription(), settings=Settings(), points=points)
    known = [[30, 40], [45, 40], [40, 50], [35, 60], [45, 60]]
    faces = [{"box": list(ANN)}, {"box": list(ANN), "landmarks": known}, {"box": [9000, 1, 9010, 9]}]
    value = answered(one({"image": IMAGE, "faces": faces}))
    assert asked == [[[float(v) for v in ANN]]], "a box outside the picture is not looked at"
    assert value["faces"][0]["landmarks"] == [[30.0, 30.0]] * 5 and value["faces"][1]["landmarks"][0] == [30.0, 40.0]
