"""Bodies in, replies out, without any carrier: good, bad and hostile."""

from __future__ import annotations

import itertools
import json
import os

import numpy as np
import pytest
from contract_fakes import FakePipeline, as_base64, png, random_detection
from cvat_rules import receive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_annotator.config import Settings, load_settings
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError, MemberError
from auto_annotator.serving.requests import handle_body
from auto_annotator.types import Detection

EXAMPLES = int(os.environ.get("AUTO_ANNOTATOR_TEST_EXAMPLES", "500"))
"""Hypothesis examples of the two big properties; 10,000 before a release."""

IMAGE = as_base64(png())
TASK = label_constructor()


@pytest.fixture
def serving():
    return Settings(max_pixels=1_000_000)


def boxes_of(reply):
    assert reply.status == 200
    return {tuple(i["points"]) for i in json.loads(reply.body) if i["type"] == "rectangle"}


def reason_of(reply):
    assert reply.status == 200 and reply.content_type == "application/json"
    verdict = receive(reply.body, TASK)
    assert verdict.shapes == [] and len(verdict.tags) == 1
    return verdict.tags[0]["attributes"]["reason"]


def refused(reply):
    assert reply.status == 400
    assert list(json.loads(reply.body)) == ["error"]
    return json.loads(reply.body)["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"image": IMAGE},
        json.dumps({"image": IMAGE}),
        json.dumps({"image": IMAGE}).encode(),
        bytearray(json.dumps({"image": IMAGE}).encode()),
        memoryview(json.dumps({"image": IMAGE}).encode()),
        {"image": IMAGE, "task": 1, "job": None, "extra": [float("nan")]},
        f'{{"image": "{IMAGE}", "other": NaN, "more": Infinity}}',
        {"image": "data:image/png;base64," + IMAGE},
        {"image": IMAGE[:10] + "\n " + IMAGE[10:]},
    ],
    ids=["dict", "str", "bytes", "bytearray", "memoryview", "extra keys", "NaN elsewhere", "data URL", "white space"],
)
def test_bodies_that_are_requests(body, serving):
    pipeline = FakePipeline()
    assert len(boxes_of(handle_body(body, pipeline, serving))) == 3
    assert pipeline.pictures[0].shape == (40, 50, 3) and pipeline.pictures[0].dtype == np.uint8
    assert pipeline.pictures[0][0, 0].tolist() == [200, 150, 120], "RGB, not BGR"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        [{"image": IMAGE}],
        5,
        "",
        b"",
        "null",
        b"[1]",
        b"\xff\xfe\xfa",
        b'{"image": ',
        "[" * 100_000,
        '{"image": ' + "[" * 5_000 + "]" * 5_000 + "}",
        "9" * 10_000,
        {},
        {"Image": IMAGE},
        {"image": None},
        {"image": 5},
        {"image": [IMAGE]},
        {"image": {"data": IMAGE}},
    ],
)
def test_bodies_that_are_no_requests(body, serving):
    refused(handle_body(body, FakePipeline(), serving))


def test_json_nested_a_thousand_deep_in_another_key_is_no_crash(serving):
    body = '{{"image": "{}", "x": {}1{}}}'.format(IMAGE, "[" * 1000, "]" * 1000)
    assert handle_body(body, FakePipeline(), serving).status in (200, 400)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("", "empty"),
        ("%%%", "not_base64"),
        (IMAGE[:-3], "not_base64"),
        ("\ud800", "not_base64"),
        (as_base64(b"plain text, no picture"), "not_an_image"),
        (as_base64(png()[:60]), "truncated"),
    ],
)
def test_pictures_that_cannot_be_read_get_a_tag(image, reason, serving):
    pipeline = FakePipeline()
    reply = handle_body({"image": image}, pipeline, serving)
    assert reason_of(reply) == reason
    assert reply.fields["reason"] == reason and reply.level == "warn" and pipeline.pictures == []


def test_the_pixel_limit_of_the_settings_holds():
    body = {"image": as_base64(png((50, 40)))}
    assert boxes_of(handle_body(body, FakePipeline(), Settings(max_pixels=2000)))
    assert reason_of(handle_body(body, FakePipeline(), Settings(max_pixels=1999))) == "too_many_pixels"


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        (0, 0.0),
        (1, 1.0),
        (0.3, 0.3),
        ("0.3", 0.3),
        (" 0.5 ", 0.5),
        ("1e-1", 0.1),
        ("1", 1.0),
    ],
)
def test_thresholds_that_are_taken(value, passed, serving):
    pipeline = FakePipeline()
    assert handle_body({"image": IMAGE, "threshold": value}, pipeline, serving).status == 200
    assert pipeline.thresholds == [passed]


def test_no_threshold_is_the_ensembles_own(serving):
    pipeline = FakePipeline()
    handle_body({"image": IMAGE}, pipeline, serving)
    assert pipeline.thresholds == [None]


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        -1,
        -0.0001,
        "1.5",
        "abc",
        "nan",
        "inf",
        "0,3",
        float("nan"),
        float("inf"),
        True,
        False,
        [],
        {},
        [0.3],
        10**400,
        "9" * 5000,
    ],
)
def test_thresholds_that_are_refused(value, serving):
    pipeline = FakePipeline()
    text = refused(handle_body({"image": IMAGE, "threshold": value}, pipeline, serving))
    assert "from 0 to 1" in text and pipeline.thresholds == []


def test_a_higher_threshold_gives_a_subset(serving):
    sets = [
        boxes_of(handle_body({"image": IMAGE, "threshold": t}, FakePipeline(), serving)) for t in np.linspace(0, 1, 21).tolist()
    ]
    assert all(higher <= lower for lower, higher in itertools.pairwise(sets))
    assert len(sets[0]) == 4 and sets[-1] == set()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CANARY"), "internal_error"),
        (MemoryError("CANARY"), "out_of_memory"),
        (MemberError("no member answered: CANARY"), "no_member_answered"),
        (RecursionError(), "internal_error"),
    ],
)
def test_a_failing_pipeline_gives_a_tag_by_default(error, reason, serving):
    reply = handle_body({"image": IMAGE}, FakePipeline(error), serving)
    assert reason_of(reply) == reason and reply.level == "error"
    assert reply.fields["kind"] == type(error).__name__ and "contract_fakes:" in reply.fields["where"]
    assert "CANARY" not in repr(reply)


def test_a_failing_pipeline_ends_the_run_where_that_was_asked_for():
    reply = handle_body({"image": IMAGE}, FakePipeline(RuntimeError("CANARY")), Settings(on_error="fail"))
    assert reply.status == 500 and list(json.loads(reply.body)) == ["error"]
    for word in ("CANARY", "Traceback", "/", "File", IMAGE[:20]):
        assert word not in reply.body


def test_a_picture_that_cannot_be_read_never_ends_the_run():
    assert reason_of(handle_body({"image": "%"}, FakePipeline(), Settings(on_error="fail"))) == "not_base64"


def test_members_that_broke_are_reported(serving):
    rng = np.random.default_rng(0)
    broken: Detection = next(d for d in iter(lambda: random_detection(rng), None) if d.problems and len(d.faces))

    class Partly(FakePipeline):
        def __call__(self, image, *, threshold=None):
            return broken

    reply = handle_body({"image": IMAGE}, Partly(), serving)
    assert reply.level == "warn" and reply.fields["problems"] == ["mtcnn:raised"]
    assert reply.fields["faces"] == len(broken.faces) and reply.fields["to_review"] == sum(broken.review)


def test_settings_name_the_wrong_variable(monkeypatch):
    monkeypatch.setenv("AUTO_ANNOTATOR_ON_ERROR", "explode")
    with pytest.raises(ConfigError, match="AUTO_ANNOTATOR_ON_ERROR"):
        load_settings()
    monkeypatch.setenv("AUTO_ANNOTATOR_ON_ERROR", "fail")
    assert load_settings(max_pixels=5, device=None).on_error == "fail"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
damaged = st.builds(
    lambda at, byte: png()[:at] + bytes([byte]) + png()[at + 1 :], st.integers(0, len(png()) - 1), st.integers(0, 255)
)
images = (
    st.text(max_size=40)
    | st.binary(max_size=60).map(as_base64)
    | damaged.map(as_base64)
    | st.integers(0, len(png())).map(lambda n: as_base64(png()[:n]))
    | st.just(IMAGE)
)
requests = st.fixed_dictionaries({"image": images}, optional={"threshold": st.floats(-1, 2) | json_values, "extra": json_values})
bodies = requests | requests.map(lambda r: json.dumps(r).encode()) | json_values | st.binary(max_size=60) | st.text(max_size=60)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies, fail=st.booleans())
def test_nothing_ever_comes_out_but_a_reply(body, fail):
    pipeline = FakePipeline(ValueError("CANARY") if fail else None)
    reply = handle_body(body, pipeline, Settings(max_pixels=1_000_000))
    assert reply.status in (200, 400)
    json.dumps(dict(reply.fields), allow_nan=False)
    if reply.status == 200:
        verdict = receive(reply.body, TASK)
        assert verdict.dropped_items == verdict.dropped_attributes == []
    else:
        refused(reply)
    assert "CANARY" not in repr(reply)
