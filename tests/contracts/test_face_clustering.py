"""Bodies into face-clustering, replies out: what reaches the engine, what is refused and how."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_fakes import RecordingClustering, conforms

from auto_annotator.config import Settings
from auto_annotator.serving.clustering import FaceClusters

EXAMPLES = int(os.environ.get("AUTO_ANNOTATOR_TEST_EXAMPLES", "300"))
CANARY = "CANARY-5f3759df"
N, D = 6, 8


def unit(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f2")


def text_of(rows: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(rows, "<f2").tobytes()).decode()


TEXT = text_of(unit())
GOOD = {"descriptors": TEXT, "dimension": D}


@pytest.fixture
def engine():
    return RecordingClustering([])


@pytest.fixture
def ask(engine):
    """Function: body and settings -> reply."""

    def asked(body, **options):
        return FaceClusters(clustering=engine.engine, settings=Settings(**options))(body)

    return asked


def answered(reply) -> dict:
    assert reply.status == 200, reply.body
    value = json.loads(reply.body)
    conforms(value, "face-clustering.reply")
    return value


def refused(reply) -> str:
    assert reply.status == 400 and reply.level == "warn", reply
    conforms(json.loads(reply.body), "error.reply")
    return json.loads(reply.body)["error"]


@pytest.mark.parametrize("size", [{"dimension": D}, {"count": N}, {"count": N, "dimension": D}])
def test_descriptors_reach_the_engine(ask, engine, size):
    value = answered(ask({"descriptors": TEXT} | size))
    (call,) = engine.calls
    assert call["method"] == "potts" and call["vectors"].shape == (N, D) and call["vectors"].dtype == np.float32
    assert np.abs(call["vectors"] - unit().astype(np.float32)).max() < 1e-3
    assert call["quality"] is call["previous"] is call["threshold"] is None and call["constraints"].images is None
    assert value["labels"] == list(range(N)) and value["confidence"] == [0.9877] * N and value["threshold"] is None
    assert value["suggestions"] == [{"first": 0, "second": 1, "score": 0.5123, "reason": "look_alike"}]
    assert value["conflicts"] == [{"kind": "never_in_must", "rows": [0, 1]}] and value["warnings"] == ["few faces"]


def test_everything_that_is_known_reaches_the_engine(ask, engine):
    body = GOOD | {
        "images": ["a.jpg", "a.jpg", None, -1, 7, "7"],
        "tracks": [0, 0, -1, -1, -1, None],
        "quality": [0.1, 1, 0, 0.5, 0.25, 1.0],
        "must": [[0, 1]],
        "cannot": [[2, 3], [4, 5]],
        "never": [5, 5],
        "previous": [0, 0, 1, -1, -1, 2],
        "threshold": 0.42,
        "method": "dbscan",
        "model_hash": "c0ffee",
    }
    conforms(body, "face-clustering.request")
    value = answered(ask(body))
    (call,) = engine.calls
    known = call["constraints"]
    assert known.images.tolist() == [0, 0, -1, -1, 1, 2], "the number 7 and the text 7 are two names"
    assert known.tracks.tolist() == [0, 0, -1, -1, -1, -1]
    assert known.must.tolist() == [[0, 1]] and known.cannot.tolist() == [[2, 3], [4, 5]] and known.never.tolist() == [5]
    assert call["quality"].tolist() == pytest.approx([0.1, 1, 0, 0.5, 0.25, 1.0])
    assert call["previous"].tolist() == [0, 0, 1, -1, -1, 2]
    assert (call["threshold"], call["method"], value["threshold"], value["model_hash"]) == (0.42, "dbscan", 0.42, "c0ffee")


def test_a_face_without_descriptor_is_a_row_of_zeros(ask, engine):
    rows = unit()
    rows[2] = 0
    answered(ask({"descriptors": text_of(rows), "dimension": D}))
    assert not engine.calls[0]["vectors"][2].any()


def test_null_is_as_good_as_absent(ask):
    assert answered(ask(GOOD | dict.fromkeys(("path", "images", "must", "quality", "threshold", "method", "previous"))))


def damaged(row, column, value):
    rows = unit()
    rows[row, column] = value
    return text_of(rows)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "got neither"),
        (GOOD | {"path": "x.npz"}, "got both"),
        ({"descriptors": TEXT}, "dimension: got none"),
        ({"descriptors": 5, "dimension": D}, "descriptors: got no text"),
        ({"descriptors": TEXT, "dimension": 0}, "dimension: got a number out of range"),
        ({"descriptors": TEXT, "dimension": 8.0}, "dimension: got a number, expected a whole number"),
        ({"descriptors": TEXT, "dimension": 10**30}, "dimension: got a number out of range"),
        ({"descriptors": TEXT, "dimension": 7}, "descriptors: "),
        ({"descriptors": TEXT, "count": 5}, "descriptors: "),
        ({"descriptors": TEXT, "count": 5, "dimension": D}, "expected 80 (5 x 8 float16)"),
        ({"descriptors": "%" * len(TEXT), "dimension": D}, "not base64"),
        ({"descriptors": "ü" * len(TEXT), "dimension": D}, "not base64"),
        ({"descriptors": damaged(3, 0, np.nan), "dimension": D}, "row 3"),
        ({"descriptors": damaged(4, 1, 3), "dimension": D}, "row 4"),
        ({"descriptors": text_of(unit() * 2), "dimension": D}, "expected unit length"),
        (GOOD | {"images": [0] * 5}, "images: got a list of 5, expected 6"),
        (GOOD | {"images": [0.5] * N}, "images[0]: got a number, expected a text"),
        (GOOD | {"tracks": "x"}, "tracks: got a text"),
        (GOOD | {"quality": [0.5] * 5 + [1.5]}, "quality[5]: got a number, expected a number 0..1"),
        (GOOD | {"quality": [0.5] * 5 + [float("nan")]}, "quality[5]"),
        (GOOD | {"quality": [True] * N}, "quality[0]: got true or false"),
        (GOOD | {"must": [0, 1]}, "must[0]: got a number, expected a pair"),
        (GOOD | {"must": [[0, 1, 2]]}, "must[0]: got a list of 3, expected a pair"),
        (GOOD | {"must": [[0, 1], [1, N]]}, "must[1]: got a number out of range, expected a whole number from 0 to 5"),
        (GOOD | {"cannot": [[0, -1]]}, "cannot[0]: got a number out of range"),
        (GOOD | {"cannot": [[0, True]]}, "cannot[0]: got true or false"),
        (GOOD | {"cannot": [[2, 2]]}, "cannot[0]: got one face twice"),
        (GOOD | {"cannot": {}}, "cannot: got an object"),
        (GOOD | {"never": [N]}, "never[0]: got a number out of range"),
        (GOOD | {"never": [[1]]}, "never[0]: got a list of 1"),
        (GOOD | {"previous": [0] * 7}, "previous: got a list of 7, expected 6"),
        (GOOD | {"previous": [0] * 5 + [-2]}, "previous[5]: got a number out of range, expected a whole number from -1"),
        (GOOD | {"previous": [0] * 5 + [2**70]}, "previous[5]"),
        (GOOD | {"threshold": 1.5}, "threshold: got a number out of range"),
        (GOOD | {"threshold": "0.4"}, "threshold: got a text"),
        (GOOD | {"method": "kmeans"}, "method: got another one, expected one of potts, dbscan, hdbscan"),
        (GOOD | {"method": ["potts"]}, "method: got another one"),
        (GOOD | {"model_hash": 5}, "model_hash: got something else"),
        (GOOD | {"model_hash": "x" * 200}, "model_hash: got something else"),
    ],
)
def test_bad_requests_say_got_and_expected(ask, engine, body, words):
    text = refused(ask(body))
    assert words in text and engine.calls == []


def test_too_many_faces_are_refused_with_the_ways_out(ask, engine):
    text = refused(ask(GOOD, max_cluster_faces=5))
    assert "got 6 faces, expected at most 5" in text and "auto-annotator cluster" in text and "MAX_CLUSTER_FACES" in text
    assert answered(ask(GOOD, max_cluster_faces=6))


@pytest.mark.parametrize(("method", "most"), [("dbscan", 20_000), ("hdbscan", 5_000)])
def test_methods_that_look_at_every_pair_get_fewer(ask, engine, method, most):
    rows = np.zeros((most + 1, 1))
    text = refused(ask({"descriptors": text_of(rows), "dimension": 1, "method": method}))
    assert f"expected at most {most} in one request of this method" in text
    assert answered(ask({"descriptors": text_of(rows[1:]), "dimension": 1, "method": method}))
    assert answered(ask({"descriptors": text_of(rows), "dimension": 1}))


def test_what_a_body_carries_is_what_the_documentation_says(repository):
    """64 MiB of base64, with a few bytes of JSON beside it."""
    page = (repository / "docs" / "functions.md").read_text(encoding="utf-8")
    for dimension in (128, 256, 512):
        most = (64 * 2**20 * 3 // 4) // (2 * dimension)
        assert f"{most // 1000 * 1000:,}" in page


@pytest.mark.parametrize(("error", "reason"), [(RuntimeError(CANARY), "internal_error"), (MemoryError(CANARY), "out_of_memory")])
def test_our_own_faults_are_500_and_tell_nothing(ask, engine, error, reason):
    engine.error = error
    reply = ask(GOOD)
    assert reply.status == 500 and reply.fields["reason"] == reason and CANARY not in repr(reply)


def test_neither_vectors_nor_names_are_in_what_may_be_logged(ask):
    reply = ask(GOOD | {"images": [CANARY] * N, "tracks": [CANARY] * N, "token": CANARY, "model_hash": CANARY})
    said = repr(dict(reply.fields)) + reply.event
    assert CANARY not in said and TEXT[:8] not in said
    assert {k: reply.fields[k] for k in ("faces", "dimension", "people", "nobody", "from_file")} == {
        "faces": N, "dimension": D, "people": N, "nobody": 0, "from_file": False,
    }  # fmt: skip
    bad = ask(GOOD | {"images": [[CANARY]] * N})
    assert CANARY not in repr(bad)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=12,
)
rows = st.lists(st.integers(-2, 7), min_size=N, max_size=N)
pairs = st.lists(st.lists(st.integers(-1, 6), min_size=2, max_size=2), max_size=4)
optional = {
    "count": st.integers(-1, 8) | json_values,
    "images": rows | json_values,
    "tracks": rows | json_values,
    "previous": rows | json_values,
    "must": pairs | json_values,
    "cannot": pairs | json_values,
    "never": st.lists(st.integers(-1, 6), max_size=4) | json_values,
    "quality": st.lists(st.floats(-0.1, 1.1), min_size=N, max_size=N) | json_values,
    "threshold": st.floats(-1.1, 1.1) | json_values,
    "path": json_values,
}
requests = st.fixed_dictionaries(
    {"descriptors": st.just(TEXT) | st.text(max_size=30), "dimension": st.integers(-1, 9)}, optional=optional
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=requests | json_values | st.binary(max_size=40))
def test_nothing_ever_comes_out_but_a_reply(body):
    reply = FaceClusters(clustering=RecordingClustering([]).engine, settings=Settings())(body)
    json.dumps(dict(reply.fields), allow_nan=False)
    assert answered(reply) if reply.status == 200 else refused(reply)
