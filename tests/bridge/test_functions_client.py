"""The client of deployed functions, against the real gateway and request code, and against servers that misbehave."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from auto_annotator.bridge import functions_http
from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.functions_client import CLUSTERING, DESCRIPTOR, DETECTION, REQUEST_FACES, FunctionsClient
from auto_annotator.bridge.retry import Backoff
from auto_annotator.config import Settings
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.exchange.vectors import encode_vector
from auto_annotator.serving.clustering import FaceClusters
from auto_annotator.serving.dashboard import FUNCTIONS
from auto_annotator.serving.descriptor import FaceDescriptor
from auto_annotator.serving.requests import handle_body
from auto_annotator.types import Constraints

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
sys.path.insert(0, str(Path(__file__).parents[1] / "contracts"))
from contract_fakes import FakePipeline
from scripted_answers import HTML, Scripted
from service_fakes import ColourDescription, ColourDetector, RecordingClustering, conforms, scene
from serving_fakes import running_gateway

ANN, BOB = (20, 20, 60, 70), (100, 30, 150, 80)
CANARY = "canary-4711-secret"
QUICK = Backoff(base=0.0, attempts=3)


def png(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = png(scene(200, 120, [("ann", ANN), ("bob", BOB)]))


class Keeping:
    """A handler that keeps the bodies it got."""

    def __init__(self, answer):
        self._answer, self.bodies = answer, []

    def __call__(self, body):
        self.bodies.append(json.loads(body))
        return self._answer(body)


@pytest.fixture(scope="module")
def clustering():
    return RecordingClustering([])


@pytest.fixture(scope="module")
def handlers(clustering):
    settings = Settings()
    return {
        DETECTION: Keeping(partial(handle_body, pipeline=FakePipeline(), settings=settings)),
        DESCRIPTOR: Keeping(FaceDescriptor(detection=ColourDetector(), description=ColourDescription(), settings=settings)),
        CLUSTERING: Keeping(FaceClusters(clustering=clustering.engine, settings=settings)),
    }


@pytest.fixture(scope="module")
def gateway(handlers):
    rows = [replace(row, load=lambda models, h=handlers[row.name]: h) for row in FUNCTIONS if row.name in handlers]
    with running_gateway(rows) as running:
        yield running


@pytest.fixture
def client(gateway):
    return FunctionsClient(f"http://127.0.0.1:{gateway.port}", backoff=QUICK)


def described(count, dimension=4, model_hash="abc", **changes):
    row = encode_vector(np.eye(dimension)[0])
    face = {"box": [0, 0, 1, 1], "landmarks": None, "descriptor": row, "quality": 0.5, "failure": None, "notes": ["small"]}
    reply = {"model_set": "embedded", "model_hash": model_hash, "dimension": dimension, "threshold": None, "width": 1, "height": 1}
    return reply | {"faces": [face] * count, "problems": []} | changes


def test_names_and_limit_are_those_that_are_deployed(repository):
    assert {DETECTION, DESCRIPTOR, CLUSTERING} <= {row.name for row in FUNCTIONS}
    for path in sorted(repository.glob("functions/*/nuclio/function*.yaml")):
        triggers = yaml.safe_load(path.read_text())["spec"]["triggers"].values()
        assert {trigger["attributes"]["maxRequestBodySize"] for trigger in triggers} == {functions_http.BODY_BYTES}
    assert Settings().max_request_faces == REQUEST_FACES


def test_what_is_offered(client):
    assert client.functions() == dict.fromkeys((DETECTION, DESCRIPTOR, CLUSTERING), "ready")


def test_detection_gives_the_items_of_the_reply(client, handlers):
    items = client.detect(PICTURE)
    assert {"rectangle", "skeleton"} >= {item["type"] for item in items} and items[0]["label"] == "face"
    assert "threshold" not in handlers[DETECTION].bodies[-1]
    assert len(client.detect(PICTURE, threshold=0.9)) < len(items)
    assert base64.b64decode(handlers[DETECTION].bodies[-1]["image"]) == PICTURE


def test_a_picture_that_detection_cannot_read_comes_as_its_tag(client):
    (tag,) = client.detect(b"no picture")
    assert (tag["label"], tag["attributes"][0]["value"]) == ("face_error", "not_an_image")


def test_descriptors_are_those_of_the_models(client, handlers):
    boxes = np.array([BOB, ANN, (900, 10, 950, 60)], np.float32)
    landmarks = np.full((3, 5, 2), np.nan, np.float32)
    landmarks[1] = np.linspace(25, 60, 10).reshape(5, 2)
    landmarks[1, 2] = np.nan
    got = client.describe(PICTURE, boxes, landmarks)
    model = ColourDescription()
    want = model.vector(np.array(scene(200, 120, [("bob", BOB)])[55, 125]))
    assert (got.model_set, got.model_hash) == (model.model_set, model.model_hash)
    assert got.vectors.shape == (3, model.dimension) and got.failures == ("", "", "outside_picture")
    assert np.allclose(got.vectors[0], want / np.linalg.norm(want), atol=2e-3)
    assert got.vectors[0] @ got.vectors[1] < 0.99 and not got.vectors[2].any() and got.quality[2] == 0
    body = handlers[DESCRIPTOR].bodies[-1]
    conforms(body, "face-descriptor.request")
    assert body["faces"][0] == {"box": [100.0, 30.0, 150.0, 80.0], "landmarks": None}
    assert body["faces"][1]["landmarks"][2] is None and body["faces"][1]["landmarks"][0] == [25.0, pytest.approx(28.8889, abs=1e-3)]


def test_no_face_to_describe(client):
    got = client.describe(PICTURE, np.zeros((0, 4)))
    assert got.vectors.shape == (0, ColourDescription().dimension) and got.model_hash == ColourDescription().model_hash


def test_what_it_describes_with(client, handlers):
    before = len(handlers[DESCRIPTOR].bodies)
    model = ColourDescription()
    for _ in range(2):
        info = client.models()
    assert (info.model_set, info.model_hash, info.dimension) == (model.model_set, model.model_hash, model.dimension)
    assert info.threshold == model.threshold and len(handlers[DESCRIPTOR].bodies) == before + 1


def test_a_picture_that_the_descriptor_cannot_read(client):
    with pytest.raises(ImageError) as caught:
        client.describe(b"no picture", [ANN])
    assert caught.value.reason == "not_an_image"


def test_clusters_and_everything_known_go_through(client, handlers, clustering):
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    vectors[3] = 0
    constraints = Constraints(must=[[0, 1]], cannot=[[0, 2]], never=[3], images=[0, 0, 1, -1], tracks=[-1, -1, 5, 5])
    got = client.cluster(
        vectors, model_hash="abc", quality=np.array([1, 0.5, 0.25, 0]), constraints=constraints, previous=np.array([0, 0, 1, -1]),
        threshold=0.5,
    )  # fmt: skip
    body = handlers[CLUSTERING].bodies[-1]
    conforms(body, "face-clustering.request")
    assert body["must"] == [[0, 1]] and body["cannot"] == [[0, 2]] and body["never"] == [3] and body["images"] == [0, 0, 1, -1]
    assert body["tracks"] == [-1, -1, 5, 5] and body["previous"] == [0, 0, 1, -1] and body["model_hash"] == "abc"
    assert len(got) == 4 and got.labels.dtype == np.int32 and got.threshold == 0.5


def test_without_anything_known(client, handlers):
    got = client.cluster(np.eye(3), model_hash="abc")
    body = handlers[CLUSTERING].bodies[-1]
    conforms(body, "face-clustering.request")
    assert not {"images", "tracks", "previous", "threshold", "quality"} & body.keys() and len(got) == 3


def test_several_threads_at_once(client):
    alone = client.describe(PICTURE, [ANN, BOB]).vectors
    results, failures = [], []

    def work():
        try:
            results.extend(client.describe(PICTURE, [ANN, BOB]).vectors.tobytes() for _ in range(5))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and results == [alone.tobytes()] * 30


# servers that misbehave


def of(server, **options):
    return FunctionsClient(server.url, backoff=QUICK, **options)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_functions_are_asked_again(monkeypatch, status):
    waits = []
    monkeypatch.setattr(functions_http, "pause", waits.append)
    with Scripted((status, {"Retry-After": "9"}, b""), (status, {}, b""), (200, {}, [])) as server:
        assert of(server).detect(PICTURE) == []
    assert waits == [9.0, 0.0] and len(server.seen) == 3


def test_functions_that_stay_busy():
    with Scripted((503, {}, b"")) as server, pytest.raises(ServerError, match=r"is busy \(503\)"):
        of(server).detect(PICTURE)
    assert len(server.seen) == QUICK.attempts


def test_a_connection_is_kept_open():
    with Scripted((200, {}, [])) as server:
        client = of(server)
        for _ in range(3):
            client.detect(PICTURE)
    assert len(server.seen) == 3 and len(server.peers) == 1


def test_what_is_sent_names_the_function():
    with Scripted((200, {}, [])) as server:
        of(server).detect(PICTURE)
    method, path, headers, _ = server.seen[0]
    sent = {name.lower(): value for name, value in headers.items()}
    assert (method, path) == ("POST", "/api/function_invocations")
    assert (
        sent["x-nuclio-function-name"] == DETECTION
        and sent["x-nuclio-path"] == "/"
        and sent["x-nuclio-function-namespace"] == "nuclio"
    )
    assert sent["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((404, {}, {"error": "Function not found"}), "has no function auto-annotator-face-detection"),
        ((401, {}, b""), "another user name or password"),
        ((302, {"Location": "/login"}, b""), "redirects elsewhere"),
        ((500, {}, f"Traceback {CANARY}"), "answered 500"),
        ((400, {}, {"error": CANARY}), "answered 400"),
        ((200, HTML, "<html>"), "sent no JSON"),
        ((200, {}, {"error": CANARY}), "a reply of another form"),
        ((200, {}, [{"label": "face"}]), "a reply of another form"),
        ((200, {}, ["face"]), "a reply of another form"),
    ],
)
def test_replies_of_something_else(answer, text):
    with Scripted(answer) as server, pytest.raises(ServerError, match=text) as caught:
        of(server).detect(PICTURE)
    assert CANARY not in str(caught.value) and len(server.seen) == 1


@pytest.mark.parametrize(("status", "reason"), [(413, "too_large_to_send"), (408, "out_of_time")])
def test_what_is_wrong_with_one_picture_only(status, reason):
    with Scripted((status, {}, b"")) as server, pytest.raises(ImageError) as caught:
        of(server).detect(PICTURE)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "reply",
    [
        described(1, model_hash=""),
        described(1) | {"dimension": 10**6},
        described(2),
        described(1, faces=None),
        described(1, faces=[{}]),
        described(1, faces=[{"descriptor": encode_vector(np.eye(3)[0]), "quality": 1, "failure": None, "notes": []}]),
        described(1, faces=[{"descriptor": base64.b64encode(np.full(4, 3, "<f2").tobytes()).decode(), "quality": 1, "notes": []}]),
        {key: value for key, value in described(1).items() if key != "model_hash"},
        [],
    ],
    ids=["no hash", "dimension", "more faces", "no faces", "empty face", "short vector", "long vector", "hash left out", "list"],
)
def test_descriptors_that_are_none(reply):
    with Scripted((200, {}, reply)) as server, pytest.raises(ServerError, match="face-descriptor: got a reply of another form"):
        of(server).describe(PICTURE, [ANN])


def test_models_that_change_during_a_run():
    with Scripted((200, {}, described(1)), (200, {}, described(1)), (200, {}, described(1, model_hash="other"))) as server:
        client = of(server)
        assert client.describe(PICTURE, [ANN]).model_hash == client.describe(PICTURE, [ANN]).model_hash == "abc"
        with pytest.raises(ServerError, match="models changed during the run"):
            client.describe(PICTURE, [ANN])


def test_more_faces_than_a_request_carries_go_in_several():
    count = REQUEST_FACES + 3
    with Scripted((200, {}, described(REQUEST_FACES)), (200, {}, described(3))) as server:
        got = of(server).describe(PICTURE, np.tile(ANN, (count, 1)))
    assert len(got) == count and got.notes == (("small",),) * count and got.failures == ("",) * count
    assert [len(json.loads(body)["faces"]) for *_, body in server.seen] == [REQUEST_FACES, 3]


def test_a_body_over_the_limit_is_not_sent(monkeypatch):
    monkeypatch.setattr(functions_http, "BODY_BYTES", 1000)
    with Scripted((200, {}, [])) as server:
        with pytest.raises(ImageError, match="expected at most 1000") as caught:
            of(server).detect(bytes(1000))
        assert caught.value.reason == "too_large_to_send"
        with pytest.raises(ConfigError, match="cluster without --functions"):
            of(server).cluster(np.eye(30), model_hash="abc")
    assert server.seen == []


@pytest.mark.parametrize("change", [{"model_hash": "other"}, {"labels": [0]}, {"labels": "no"}, {"purity": []}, {"conflicts": [1]}])
def test_clusters_that_are_none(change):
    reply = {
        "count": 1, "labels": [0, 0], "confidence": [1, 1], "purity": [1], "nearest": [-1, -1], "nearest_score": [0, 0],
        "suggestions": [], "doubtful": [], "conflicts": [], "threshold": None, "model_hash": "abc", "warnings": [],
    }  # fmt: skip
    with Scripted((200, {}, reply), (200, {}, reply | change)) as server:
        client = of(server)
        assert len(client.cluster(np.eye(2), model_hash="abc")) == 2
        with pytest.raises(ServerError, match="face-clustering: got a reply of another form"):
            client.cluster(np.eye(2), model_hash="abc")


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:port", "http://host:8070/?a=1", "http://[::1"])
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigError, match="--functions: got no address"):
        FunctionsClient(url)


def test_credentials_are_used_and_never_shown(caplog):
    caplog.set_level(logging.DEBUG)
    with Scripted((200, {}, {}), (500, {}, b"")) as server:
        client = FunctionsClient(server.url.replace("http://", f"http://me:{CANARY}@") + "/", backoff=QUICK)
        assert client.url == server.url and client.functions() == {}
        with pytest.raises(ServerError) as caught:
            client.detect(PICTURE)
    sent = base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert server.seen[0][2]["Authorization"] == f"Basic {sent}"
    assert CANARY not in str(caught.value) + caplog.text and sent not in caplog.text


def test_an_address_that_never_answered_is_not_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr(functions_http, "pause", waits.append)
    with pytest.raises(ServerError, match="does not answer: check --functions"):
        FunctionsClient("http://127.0.0.1:1", backoff=QUICK).detect(PICTURE)
    assert waits == []


def test_functions_listed_by_something_else():
    for answer in ((200, {}, []), (200, {}, {"x": 1}), (404, {}, {}), (200, HTML, "<html>")):
        with Scripted(answer) as server, pytest.raises(ServerError, match="check --functions"):
            of(server).functions()
