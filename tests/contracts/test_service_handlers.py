"""The handlers of the functions beside the detector through nuclio-sdk's own event and response code."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
from contract_fakes import as_base64, context_of, encoded, event_of, load_handler, png
from service_fakes import ColourDescription, ColourDetector, RecordingClustering, conforms

from auto_annotator.errors import DeviceError, WeightsError
from auto_annotator.pipeline import FaceDescription, FaceDetection
from auto_annotator.serving import loaders

CANARY = "CANARY-d41d8cd98f"
ROWS = np.eye(4, 8, dtype="<f2")
VECTORS = base64.b64encode(ROWS.tobytes()).decode()
BODIES = {
    "face-descriptor": {"image": as_base64(png(color=(250, 60, 60)))},
    "face-tracker": {
        "image": as_base64(png(color=(250, 60, 60))),
        "shapes": [{"type": "rectangle", "points": [5, 5, 45, 35]}],
        "states": [],
    },
    "face-clustering": {"descriptors": VECTORS, "dimension": 8},
}
NAMES = sorted(BODIES)


class Warm:
    """A pipeline that can be warmed up."""

    ensemble = SimpleNamespace(config=SimpleNamespace(weight_names=("some-weight",)), refiners=())
    warm = 0

    def warm_up(self) -> None:
        self.warm += 1


class Detector(Warm, ColourDetector):
    pass


class Description(Warm, ColourDescription):
    pass


class Deployed:
    """A handler after `init_context`, in a worker of its own."""

    def __init__(self, repository, name) -> None:
        self.module = load_handler(repository, name)
        self.context, self.log = context_of()
        self.module.init_context(self.context)

    def post(self, body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return encoded(self.module.handler(self.context, event_of(data, content_type)))


@pytest.fixture
def models(monkeypatch):
    """The fakes that the functions are built from."""
    fakes = SimpleNamespace(detector=Detector(), description=Description(), engine=RecordingClustering([]))
    monkeypatch.setattr(FaceDetection, "from_settings", classmethod(lambda cls, settings: fakes.detector))
    monkeypatch.setattr(FaceDescription, "from_settings", classmethod(lambda cls, settings: fakes.description))
    monkeypatch.setattr(loaders, "FaceClustering", fakes.engine.with_settings)
    return fakes


@pytest.fixture
def deploy(repository, models):
    """Function: name of a folder -> the deployed handler."""
    return lambda name: Deployed(repository, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
def test_a_json_body_under_any_content_type(deploy, name, content_type):
    response = deploy(name).post(BODIES[name], content_type)
    assert (response["status_code"], response["content_type"], response["body_encoding"]) == (200, "application/json", "text")
    conforms(json.loads(response["body"]), f"{name}.reply")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"5", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"image": 1}'])
def test_bodies_that_are_no_requests_get_400(deploy, name, body):
    response = deploy(name).post(body)
    assert response["status_code"] == 400 and list(json.loads(response["body"])) == ["error"]


@pytest.mark.parametrize("name", ["face-descriptor", "face-tracker"])
def test_init_warms_up_and_says_what_runs(deploy, models, name):
    ready = deploy(name).log.records[-1]
    assert models.detector.warm == models.description.warm == 1
    assert ready["message"] == "ready" and ready["with"]["model_hash"] == "c0ffee00" and ready["with"]["descriptors"] == ["colour"]
    assert ready["with"]["licences"] == {"some-weight": "own file"}


def test_the_clustering_needs_no_weights_and_compiles_before_it_is_ready(deploy, models):
    ready = deploy("face-clustering").log.records[-1]
    assert models.detector.warm == models.description.warm == 0 and models.engine.calls[0]["method"] == "potts"
    assert ready["with"]["most_faces"] == 200_000 and ready["with"]["shared_folder"] is False


@pytest.mark.parametrize("name", ["face-descriptor", "face-tracker"])
def test_a_gpu_that_was_asked_for_and_is_absent_is_an_error(deploy, monkeypatch, name):
    monkeypatch.setenv("AUTO_ANNOTATOR_DEVICE", "cuda")
    with pytest.raises(DeviceError, match="AUTO_ANNOTATOR_ALLOW_CPU"):
        deploy(name)


@pytest.mark.parametrize(("device", "used"), [("cuda", "auto"), ("auto", "auto"), ("cpu", "cpu")])
def test_the_clustering_uses_a_gpu_where_there_is_one_and_does_not_insist(repository, monkeypatch, device, used):
    monkeypatch.setenv("AUTO_ANNOTATOR_DEVICE", device)
    function = Deployed(repository, "face-clustering")
    assert function.log.records[-1]["with"]["device"] == used
    value = json.loads(function.post(BODIES["face-clustering"])["body"])
    assert sorted(value["labels"]) == [0, 1, 2, 3], "four at right angles are four people"


@pytest.mark.parametrize("name", ["face-descriptor", "face-tracker"])
def test_missing_weights_stop_the_start(deploy, monkeypatch, name):
    def refuse(cls, settings):
        raise WeightsError("weights sface: got no file; run auto-annotator models pull")

    monkeypatch.setattr(FaceDescription, "from_settings", classmethod(refuse))
    with pytest.raises(WeightsError):
        deploy(name)


def test_the_tracker_keeps_its_people_between_calls(deploy):
    function = deploy("face-tracker")
    first = json.loads(function.post(BODIES["face-tracker"])["body"])
    again = BODIES["face-tracker"] | {"shapes": [None], "states": first["states"]}
    second = json.loads(function.post(again)["body"])
    assert second["states"][0]["key"] == first["states"][0]["key"]
    assert function.log.records[-1]["with"]["anew"] == 0 and function.log.records[-1]["with"]["remembered"] == 1


def secret_bodies(name):
    """Requests, good and bad, with a canary wherever a caller may put text."""
    good = BODIES[name] | {CANARY: CANARY, "token": CANARY}
    yield good
    yield good | {"image": CANARY, "descriptors": CANARY, "shapes": [CANARY], "faces": [{"box": CANARY}], "threshold": CANARY}
    yield good | {"states": [{"key": CANARY, "box": [0, 0, 9, 9], "size": [50, 40]}], "shapes": [None]}
    yield good | {"path": CANARY, "descriptors": None, "model_hash": CANARY, "method": CANARY}
    yield good | {"images": [CANARY] * 4, "tracks": [CANARY] * 4, "model_hash": CANARY}


@pytest.mark.parametrize("name", NAMES)
def test_request_data_is_in_no_log(deploy, name, capfd):
    function = deploy(name)
    for body in secret_bodies(name):
        response = function.post(body)
        assert response["status_code"] in (200, 400)
        if response["status_code"] == 400:
            assert CANARY not in response["body"]
    said = function.log.getvalue() + "".join(capfd.readouterr())
    for secret in (CANARY, VECTORS[:16], BODIES["face-tracker"]["image"][:24]):
        assert secret not in said


@pytest.mark.parametrize("name", NAMES)
def test_neither_vectors_nor_keys_are_in_a_log(deploy, name):
    function = deploy(name)
    value = json.loads(function.post(BODIES[name])["body"])
    secrets = [f["descriptor"] for f in value.get("faces", [])] + [s["key"] for s in value.get("states", [])] or [VECTORS]
    assert secrets and all(s[:12] not in function.log.getvalue() for s in secrets)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_tells_nothing_and_the_worker_goes_on(deploy, models, name):
    function = deploy(name)
    error = RuntimeError(f"{CANARY} in /secret/place")
    models.description.error = models.engine.error = error
    response = function.post(BODIES[name])
    assert response["status_code"] == 500 and list(json.loads(response["body"])) == ["error"]
    for text in (response["body"], function.log.getvalue()):
        assert CANARY not in text and "Traceback" not in text and "/secret" not in text
    assert function.log.records[-1]["level"] == "error"
    models.description.error = models.engine.error = None
    assert function.post(BODIES[name])["status_code"] == 200
