"""face-tracker as CVAT calls it, with people made of colours: who is found where, who is lost, what goes back and forth."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import PIL.Image
import pytest
from contract_fakes import as_base64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_fakes import ColourDescription, ColourDetector, conforms, moved, scene

from auto_annotator.config import Settings
from auto_annotator.serving.track_memory import TrackMemory
from auto_annotator.serving.tracker import FaceTracker
from auto_annotator.serving.tracking import FaceTracking

EXAMPLES = int(os.environ.get("AUTO_ANNOTATOR_TEST_EXAMPLES", "300"))
CANARY = "CANARY-5f3759df"
WIDTH, HEIGHT = 1200, 900
ANN, BOB = (400, 300, 460, 370), (500, 310, 560, 380)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Cvat:
    """One annotator's browser: keeps shapes and states from frame to frame, as CVAT's side bar does.

    Args:
        legacy: CVAT before 2.40: bare points, and the last shapes in later calls.
    """

    def __init__(self, *, legacy: bool = False, most: int = 100, seconds: float = 1000, **options) -> None:
        self.legacy, self.clock = legacy, Clock()
        self.detector, self.description = ColourDetector(), ColourDescription()
        self.memory = TrackMemory(most, seconds, self.clock)
        tracking = FaceTracking(self.detector, self.description, self.memory)
        self.function = FaceTracker(tracking=tracking, settings=Settings(**options))
        self.shapes: list = []
        self.states: list = []
        self.reply = None

    def call(self, image: np.ndarray | str, shapes: list, states: list) -> dict:
        text = image if isinstance(image, str) else encoded(image)
        body = {"image": text, "shapes": shapes, "states": states}
        conforms(body, "face-tracker.request")
        self.reply = self.function(json.loads(json.dumps(body)))
        assert self.reply.status == 200, self.reply
        value = json.loads(self.reply.body)
        conforms(value, "face-tracker.reply")
        assert len(value["shapes"]) == len(value["states"]) == len(shapes)
        self.shapes, self.states = value["shapes"], value["states"]
        return value

    def start(self, image: np.ndarray, *boxes) -> dict:
        given = [list(map(float, box)) for box in boxes]
        return self.call(image, given if self.legacy else [{"type": "rectangle", "points": box} for box in given], [])

    def follow(self, image: np.ndarray | str) -> list:
        """Boxes of everybody, None = lost."""
        before = self.shapes if self.legacy else [None] * len(self.states)
        value = self.call(image, before, self.states)
        return [None if s is None else tuple(s if self.legacy else s["points"]) for s in value["shapes"]]


def encoded(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return as_base64(buffer.getvalue())


def frame(*faces, width=WIDTH, height=HEIGHT, grey=False):
    return scene(width, height, faces, grey=grey)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_person_who_moves_is_followed(legacy):
    cvat = Cvat(legacy=legacy)
    first = cvat.start(frame(("ann", ANN)), ANN)
    box = list(map(float, ANN))
    assert first["shapes"] == [box if legacy else {"type": "rectangle", "points": box}], "a human's box stays as it is"
    for step in range(1, 6):
        assert cvat.follow(frame(("ann", moved(ANN, 40 * step, 10 * step)))) == [moved(ANN, 40 * step, 10 * step)]
        assert cvat.states[0]["lost"] is False
    assert all(max(size) < WIDTH / 2 for size in cvat.detector.sizes), "only around the last box was searched"


def test_a_state_holds_a_random_key_the_box_and_the_size_and_nothing_else():
    states = [Cvat().start(frame(("ann", ANN)), ANN)["states"][0] for _ in range(2)]
    assert [set(s) for s in states] == [{"key", "box", "size", "lost"}] * 2
    assert states[0]["key"] != states[1]["key"], "the same face, another key"
    assert states[0]["box"] == list(ANN) and states[0]["size"] == [WIDTH, HEIGHT]
    assert len(json.dumps(states[0])) < 150


def test_two_who_cross_keep_their_names():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN), ("bob", BOB)), ANN, BOB)
    for step in range(1, 11):
        ann, bob = moved(ANN, 15 * step), moved(BOB, -15 * step)
        found = cvat.follow(frame(("ann", ann), ("bob", bob)))
        covered = bob[0] < ann[2] and bob[2] > ann[0]
        assert found == [None if covered else ann, bob], step
    assert found == [moved(ANN, 150), moved(BOB, -150)]


def test_who_jumps_into_anothers_place_is_not_taken_for_the_other():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN), ("bob", BOB)), ANN, BOB)
    assert cvat.follow(frame(("bob", ANN), ("ann", BOB))) == [BOB, ANN]


def test_two_who_look_alike_are_told_apart_by_motion():
    cvat = Cvat()
    twin = moved(ANN, 90)
    cvat.start(frame(("ann", ANN), ("ann", twin)), ANN, twin)
    assert cvat.follow(frame(("ann", moved(ANN, 8)), ("ann", moved(twin, 8)))) == [moved(ANN, 8), moved(twin, 8)]


def test_a_stranger_in_the_place_of_the_person_is_not_taken():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    assert cvat.follow(frame(("bob", ANN))) == [None]
    assert cvat.states[0]["lost"] is True and cvat.states[0]["box"] == list(ANN)


def test_who_is_covered_for_a_while_is_lost_and_found_again():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    key = cvat.states[0]["key"]
    for _ in range(3):
        assert cvat.follow(frame(("eve", moved(ANN, 5)))) == [None]
    assert cvat.reply.fields["lost"] == 1
    assert cvat.follow(frame(("ann", moved(ANN, 20)))) == [moved(ANN, 20)]
    assert cvat.states[0]["key"] == key and cvat.states[0]["lost"] is False


def test_who_leaves_the_frame_is_lost_and_found_at_the_other_end_of_it():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    assert cvat.follow(frame()) == [None]
    far = (1000, 700, 1060, 770)
    assert cvat.follow(frame(("ann", far), ("bob", BOB))) == [far], "by the descriptor, in the whole picture"
    assert cvat.reply.fields["lost"] == 0 and cvat.reply.fields["anew"] == 0


def test_everybody_but_the_one_who_left_is_still_followed():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN), ("bob", BOB)), ANN, BOB)
    assert cvat.follow(frame(("bob", moved(BOB, 10)))) == [None, moved(BOB, 10)]
    assert cvat.follow(frame(("bob", moved(BOB, 20)), ("ann", (50, 50, 110, 120)))) == [(50, 50, 110, 120), moved(BOB, 20)]


def test_keeping_the_last_box_of_who_is_lost_is_a_choice():
    cvat = Cvat(on_lost="keep")
    cvat.start(frame(("ann", ANN)), ANN)
    assert cvat.follow(frame()) == [ANN] and cvat.states[0]["lost"] is True


@pytest.mark.parametrize("how", ["time", "number", "restart", "foreign"])
def test_a_forgotten_key_starts_anew_from_the_box(how):
    cvat = Cvat(most=2)
    cvat.start(frame(("ann", ANN)), ANN)
    key = cvat.states[0]["key"]
    if how == "time":
        cvat.clock.now = 2000
    elif how == "number":
        kept = cvat.states
        cvat.start(frame(("bob", BOB)), BOB, BOB)
        cvat.states = kept
    elif how == "restart":
        fresh = Cvat()
        fresh.states, cvat = cvat.states, fresh
    else:
        cvat.states[0]["key"] = key = "x" * 64
    # Whoever is near the box is taken, even if it is somebody else: nobody remembers who it was.
    assert cvat.follow(frame(("bob", moved(ANN, 12)), ("ann", moved(ANN, 300)))) == [moved(ANN, 12)]
    assert cvat.states[0]["key"] != key and cvat.reply.fields["anew"] == 1
    assert cvat.follow(frame(("ann", moved(ANN, 12)), ("bob", moved(ANN, 120)))) == [moved(ANN, 120)], (
        "now it is bob who is followed"
    )


def test_a_forgotten_key_with_nobody_near_is_lost():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    cvat.clock.now = 2000
    assert cvat.follow(frame(("ann", (900, 700, 960, 770)))) == [None]


def test_grey_frames_are_followed_by_motion_alone():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN), grey=True), ANN)
    assert cvat.follow(frame(("ann", moved(ANN, 10)), grey=True)) == [moved(ANN, 10)]
    one_channel = PIL.Image.fromarray(frame(("ann", moved(ANN, 20)), grey=True)[..., 0])
    buffer = io.BytesIO()
    one_channel.save(buffer, "PNG")
    assert cvat.follow(as_base64(buffer.getvalue())) == [moved(ANN, 20)]


def test_frames_of_another_size():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    half = tuple(v // 2 for v in ANN)
    assert cvat.follow(frame(("ann", moved(half, 4)), width=WIDTH // 2, height=HEIGHT // 2)) == [moved(half, 4)]
    assert cvat.states[0]["size"] == [WIDTH // 2, HEIGHT // 2]
    assert cvat.follow(frame(("ann", moved(ANN, 16)))) == [moved(ANN, 16)]


def test_a_box_without_a_detected_face_is_described_as_it_is():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), (ANN[0] - 200, ANN[1], ANN[0] - 150, ANN[1] + 50))
    assert len(cvat.memory) == 1 and cvat.description.rows == [1]


def test_nobody_to_follow():
    cvat = Cvat()
    assert cvat.start(frame(("ann", ANN))) == {"shapes": [], "states": []}


def test_a_slow_change_is_learned_and_a_stranger_never():
    from service_fakes import PEOPLE

    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    (key,) = [s["key"] for s in cvat.states]
    first = cvat.memory.get(key).template
    image = frame(("ann", moved(ANN, 5)))
    image[(image == PEOPLE["ann"]).all(axis=2)] = (250, 120, 60)  # ann in other light
    assert cvat.follow(image) == [moved(ANN, 5)]
    learned = cvat.memory.get(key)
    assert 0 < np.abs(learned.template - first).max() < 0.1 and np.array_equal(learned.anchor, first)
    cvat.description.quality = 0.1
    cvat.follow(image)
    assert np.array_equal(cvat.memory.get(key).template, learned.template), "nothing is learned from a poor picture"
    cvat.follow(frame(("bob", ANN)))
    assert np.array_equal(cvat.memory.get(key).template, learned.template)


def test_a_frame_that_cannot_be_read_is_one_without_the_people():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    assert cvat.follow(as_base64(b"no picture")) == [None]
    assert cvat.reply.level == "warn" and cvat.reply.fields["reason"] == "not_an_image"
    assert cvat.follow(frame(("ann", moved(ANN, 5)))) == [moved(ANN, 5)]


def refused(reply) -> str:
    assert reply.status == 400, reply
    conforms(json.loads(reply.body), "error.reply")
    return json.loads(reply.body)["error"]


def test_a_frame_that_cannot_be_read_is_an_error_in_the_first_call_and_where_that_was_asked_for():
    state = Cvat().start(frame(("ann", ANN)), ANN)["states"][0]
    bad = as_base64(b"no picture")
    assert refused(Cvat().function({"image": bad, "shapes": [list(ANN)], "states": []}))
    assert refused(Cvat(on_error="fail").function({"image": bad, "shapes": [None], "states": [state]}))


STATE = {"key": "k", "box": list(ANN), "size": [WIDTH, HEIGHT], "lost": False}
IMAGE = encoded(frame(("ann", ANN)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "image: got no such key"),
        ({"image": IMAGE}, "shapes: got null"),
        ({"image": IMAGE, "shapes": {}}, "shapes: got an object"),
        ({"image": IMAGE, "shapes": [list(ANN)] * 201}, "shapes: got a list of 201, expected a list of at most 200"),
        ({"image": IMAGE, "shapes": [None]}, "shapes[0]: got null"),
        ({"image": IMAGE, "shapes": [[1, 2, 3]]}, "shapes[0]: got a list of 3"),
        ({"image": IMAGE, "shapes": [{"type": "polygon", "points": list(ANN)}]}, "shapes[0]: got a shape of another type"),
        ({"image": IMAGE, "shapes": [{"type": "rectangle"}]}, "shapes[0].points: got null"),
        ({"image": IMAGE, "shapes": [[5000, 0, 5100, 90]]}, "shapes[0]: got a box beside the picture of 1200 x 900"),
        ({"image": IMAGE, "shapes": [[9, 9, 9, 9]]}, "shapes[0]: got a box beside"),
        ({"image": IMAGE, "shapes": [float("nan")]}, "shapes[0]: got a number"),
        ({"image": IMAGE, "shapes": [None, None], "states": [STATE]}, "states: got 1 for 2 shapes"),
        ({"image": IMAGE, "shapes": [None], "states": "x"}, "states: got a text"),
        ({"image": IMAGE, "shapes": [None], "states": [None]}, "states[0]: got null, expected the state of an earlier reply"),
        ({"image": IMAGE, "shapes": [None], "states": [{}]}, "states[0].box: got null"),
        ({"image": IMAGE, "shapes": [None], "states": [STATE | {"box": [1, 2, 3, float("inf")]}]}, "states[0].box[3]"),
        ({"image": IMAGE, "shapes": [None], "states": [STATE | {"size": [0, 5]}]}, "states[0].size[0]: got a number out of range"),
        ({"image": IMAGE, "shapes": [None], "states": [STATE | {"size": None}]}, "states[0].size: got null"),
        ({"image": IMAGE, "shapes": [None], "states": [STATE | {"size": [1.5, 5]}]}, "states[0].size[0]: got a number"),
    ],
)
def test_bad_requests_say_got_and_expected(body, words):
    assert words in refused(Cvat().function(body))


@pytest.mark.parametrize("key", [None, 5, [], {"a": 1}, "x" * 10_000, "\ud800", ""])
def test_a_key_that_is_none_is_a_forgotten_one(key):
    cvat = Cvat()
    reply = cvat.function({"image": IMAGE, "shapes": [None], "states": [STATE | {"key": key}]})
    value = json.loads(reply.body)
    assert reply.status == 200 and value["shapes"][0]["points"] == list(ANN) and reply.fields["anew"] == 1
    conforms(value, "face-tracker.reply")


def test_boxes_far_beyond_the_picture_are_lost():
    for box in ([1e6, 1e6, 1e6, 1e6], [-1e6, -1e6, 1e6, 1e6], [-500, -500, -400, -400]):
        reply = Cvat().function({"image": IMAGE, "shapes": [None], "states": [STATE | {"box": box}]})
        assert reply.status == 200


def test_neither_vectors_nor_keys_nor_names_are_in_what_may_be_logged_or_goes_out():
    cvat = Cvat()
    cvat.start(frame(("ann", ANN)), ANN)
    key, fields = cvat.states[0]["key"], repr(dict(cvat.reply.fields))
    reply = cvat.function({"image": IMAGE, "shapes": [None], "states": [cvat.states[0] | {"name": CANARY}], "token": CANARY})
    for said in (fields, repr(dict(reply.fields)) + reply.event):
        assert CANARY not in said and key not in said and IMAGE[:16] not in said
    assert CANARY not in reply.body
    vector = np.round(cvat.memory.get(key).anchor[:3], 3)
    assert not any(str(v) in reply.body for v in vector.tolist())


@pytest.mark.parametrize(("error", "reason"), [(RuntimeError(CANARY), "internal_error"), (MemoryError(CANARY), "out_of_memory")])
def test_our_own_faults_are_500_and_tell_nothing(error, reason):
    cvat = Cvat()
    cvat.description.error = error
    reply = cvat.function({"image": IMAGE, "shapes": [list(ANN)], "states": []})
    assert reply.status == 500 and reply.fields["reason"] == reason and CANARY not in repr(reply)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["key", "box", "size", "points"]), inner, max_size=4)
    ),
    max_leaves=12,
)
boxes = st.lists(st.floats(-1e6, 1e6) | st.integers(-300, 1500), min_size=4, max_size=4)
shapes = boxes | st.none() | st.fixed_dictionaries({"type": st.just("rectangle"), "points": boxes}) | json_values
sizes = st.lists(st.integers(1, 10**6), min_size=2, max_size=2)
states = st.fixed_dictionaries({"key": st.text(max_size=70), "box": boxes, "size": sizes}) | json_values
small = encoded(scene(80, 60, [("ann", (20, 20, 40, 45)), ("bob", (50, 10, 70, 30))]))
requests = st.integers(0, 3).flatmap(
    lambda n: st.fixed_dictionaries(
        {"image": st.just(small), "shapes": st.lists(shapes, min_size=n, max_size=n)},
        optional={"states": st.lists(states, min_size=n, max_size=n) | json_values},
    )
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=requests | json_values | st.binary(max_size=40))
def test_nothing_ever_comes_out_but_a_reply(body):
    reply = Cvat().function(body)
    json.dumps(dict(reply.fields), allow_nan=False)
    if reply.status == 200:
        conforms(json.loads(reply.body), "face-tracker.reply")
    else:
        refused(reply)
