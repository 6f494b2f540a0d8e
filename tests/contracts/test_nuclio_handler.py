"""The handler of face-detection through nuclio-sdk's own event and response code: every row of Nuclio's handler table."""

from __future__ import annotations

import json

import pytest
from contract_fakes import MEMBERS, FakePipeline, as_base64, context_of, encoded, event_of, load_handler, png
from cvat_rules import receive

from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import DeviceError, WeightsError
from auto_annotator.pipeline import FaceDetection
from auto_annotator.serving import models

CANARY = "CANARY-d41d8cd98f"
BODY = json.dumps({"image": as_base64(png()), "threshold": 0.5}).encode()


class Deployed:
    """The handler after `init_context`, in a worker of its own."""

    def __init__(self, module, pipeline) -> None:
        self.module, self.pipeline = module, pipeline
        self.context, self.log = context_of()
        module.init_context(self.context)

    def post(self, body: bytes, content_type: str = "application/json"):
        return encoded(self.module.handler(self.context, event_of(body, content_type)))


@pytest.fixture
def deploy(repository, monkeypatch):
    """Function: pipeline -> the deployed handler."""

    class Config:
        weight_names = ("some-weight",)

    def deployed(pipeline=None):
        pipeline = pipeline or FakePipeline()
        pipeline.ensemble = type("Ensemble", (), {"config": Config})
        monkeypatch.setattr(FaceDetection, "from_settings", classmethod(lambda cls, settings: pipeline))
        return Deployed(load_handler(repository, "face-detection"), pipeline)

    return deployed


def landed(response):
    assert response["status_code"] == 200 and response["content_type"] == "application/json"
    assert response["body_encoding"] == "text" and isinstance(response["body"], str)
    verdict = receive(response["body"], label_constructor())
    assert verdict.dropped_items == verdict.dropped_attributes == []
    return verdict


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "text/plain", "", "application/octet-stream"]
)
def test_a_json_body_under_any_content_type(deploy, content_type):
    function = deploy()
    assert len(landed(function.post(BODY, content_type)).shapes) == 2
    assert function.pipeline.thresholds == [0.5]


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b"5", b'"text"', b"{}", b'{"threshold": 0.5}', b"[" * 100_000, b"\xff\xfe", b'{"image": 1}'],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_bodies_that_are_no_requests_get_400(deploy, body, content_type):
    response = deploy().post(body, content_type)
    assert response["status_code"] == 400 and response["content_type"] == "application/json"
    assert list(json.loads(response["body"])) == ["error"]


def test_no_face_is_an_empty_list_and_not_an_empty_batch(deploy):
    response = deploy().post(json.dumps({"image": as_base64(png()), "threshold": 1}).encode())
    assert response["body"] == "[]" and response["status_code"] == 200


def test_a_broken_picture_gets_the_error_tag(deploy):
    verdict = landed(deploy().post(json.dumps({"image": as_base64(b"no picture")}).encode()))
    assert verdict.tags == [{"label": "face_error", "attributes": {"reason": "not_an_image"}}]


@pytest.mark.parametrize("on_error", ["tag", "fail"])
def test_a_pipeline_that_raises_tells_nothing(deploy, monkeypatch, on_error):
    monkeypatch.setenv("AUTO_ANNOTATOR_ON_ERROR", on_error)
    function = deploy(FakePipeline(RuntimeError(f"{CANARY} in /secret/place")))
    response = function.post(BODY)
    if on_error == "tag":
        assert landed(response).tags[0]["attributes"]["reason"] == "internal_error"
    else:
        assert response["status_code"] == 500 and list(json.loads(response["body"])) == ["error"]
    for text in (response["body"], function.log.getvalue()):
        assert CANARY not in text and "Traceback" not in text and "/secret" not in text and ".py" not in text
    assert function.log.records[-1]["level"] == "error"


def test_a_worker_goes_on_after_an_error(deploy):
    function = deploy(FakePipeline(RuntimeError("once")))
    function.post(BODY)
    function.pipeline.error = None
    assert len(landed(function.post(BODY)).shapes) == 2


def test_init_warms_up_and_says_what_runs(deploy):
    function = deploy()
    assert function.pipeline.warm
    ready = function.log.records[-1]
    assert ready["message"] == "ready" and ready["level"] == "info"
    assert ready["with"]["members"] == list(MEMBERS) and ready["with"]["device"] == "cpu"
    assert ready["with"]["licences"] == {"some-weight": "own file"} and ready["with"]["ensemble"] == "embedded"


def test_licences_come_from_the_registry():
    from auto_annotator.weights import registry

    name, weight = next(iter(registry().items()))
    assert models.licences([name]) == {name: f"{weight.licence}, commercial use: {weight.commercial}"}


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_was_asked_for_and_is_absent_is_an_error(deploy, monkeypatch, device):
    monkeypatch.setenv("AUTO_ANNOTATOR_DEVICE", device)
    with pytest.raises(DeviceError, match="AUTO_ANNOTATOR_ALLOW_CPU"):
        deploy()
    monkeypatch.setenv("AUTO_ANNOTATOR_ALLOW_CPU", "1")
    assert deploy().pipeline.warm
    monkeypatch.delenv("AUTO_ANNOTATOR_ALLOW_CPU")
    on_gpu = FakePipeline()
    on_gpu.device = "cuda+cpu"  # a refiner that only the CPU can run is no reason to refuse
    assert deploy(on_gpu).pipeline.warm


def test_missing_weights_stop_the_start(repository, monkeypatch):
    def refuse(cls, settings):
        raise WeightsError("weights yunet: got no file, expected it in the folder; run auto-annotator models pull")

    monkeypatch.setattr(FaceDetection, "from_settings", classmethod(refuse))
    with pytest.raises(WeightsError):
        load_handler(repository, "face-detection").init_context(context_of()[0])


@pytest.mark.parametrize(
    "body", [{"image": CANARY, "name": CANARY, "token": CANARY}, {"image": 1, CANARY: 1}, {"image": "", "threshold": CANARY}]
)
def test_request_data_is_in_no_log_and_no_answer(deploy, body, capfd):
    function = deploy()
    good = {**body, "image": as_base64(png()), "threshold": None}
    answers = [
        function.post(json.dumps(b).encode(), kind)["body"] for b in (body, good) for kind in ("application/json", "text/plain")
    ]
    printed = "".join(capfd.readouterr())
    for text in (*answers, function.log.getvalue(), printed):
        assert CANARY not in text and as_base64(png())[:24] not in text


def test_counts_and_times_are_logged(deploy):
    function = deploy()
    function.post(BODY)
    fields = function.log.records[-1]["with"]
    assert {k: fields[k] for k in ("faces", "items", "to_review", "width", "height", "device", "problems")} == {
        "faces": 2, "items": 2, "to_review": 0, "width": 50, "height": 40, "device": "cpu", "problems": [],
    }  # fmt: skip
    assert fields["milliseconds"] >= fields["decode_milliseconds"] >= 0
