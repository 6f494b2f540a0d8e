"""One gateway over all functions: the models are there once, CVAT sees what is for CVAT, and each port answers for its function."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import requests
from contract_fakes import as_base64, png
from cvat_client import CvatClient
from cvat_rules import list_functions
from service_fakes import ColourDescription, ColourDetector, RecordingClustering, conforms
from serving_fakes import WAIT, running_gateway

from auto_annotator.config import Settings
from auto_annotator.pipeline import FaceDescription, FaceDetection
from auto_annotator.serving import loaders
from auto_annotator.serving.dashboard import FUNCTIONS
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.models import Models

IMAGE = as_base64(png(color=(250, 60, 60)))


class Detector(ColourDetector):
    ensemble = SimpleNamespace(config=SimpleNamespace(weight_names=()), refiners=())

    def warm_up(self) -> None:
        pass


class Description(ColourDescription):
    def warm_up(self) -> None:
        pass


@pytest.fixture
def built(monkeypatch):
    """What was built, in order."""
    built = []

    def detector(cls, settings):
        built.append("detection")
        return Detector()

    def description(cls, settings):
        built.append("description")
        return Description()

    monkeypatch.setattr(FaceDetection, "from_settings", classmethod(detector))
    monkeypatch.setattr(FaceDescription, "from_settings", classmethod(description))
    engine = RecordingClustering([])
    monkeypatch.setattr(loaders, "FaceClustering", engine.with_settings)
    return built


def test_the_models_of_a_process_are_built_once(built):
    models = Models(Settings())
    for function in FUNCTIONS:
        function.load(models)
    assert built == ["detection", "description"]
    FUNCTIONS[0].load(Models(Settings()))
    assert built[2:] == ["detection"], "nothing outlives its process's settings"


def test_a_process_of_the_clustering_builds_no_model(built):
    FUNCTIONS[-1].load(Models(Settings()))
    assert built == []


def test_the_gateway_serves_them_all_and_cvat_sees_its_own(built):
    with running_gateway(FUNCTIONS, Settings()) as gateway:
        assert built == ["detection", "description"]
        cvat = CvatClient("127.0.0.1", gateway.port)
        assert {f["kind"] for f in list_functions(cvat.list())} == {"detector", "tracker"}
        everything = requests.get(f"http://127.0.0.1:{gateway.port}/api/functions", timeout=WAIT).json()
        assert set(everything) == {f.name for f in FUNCTIONS}
        services = {"x-nuclio-project-name": "faces"}
        listed = requests.get(f"http://127.0.0.1:{gateway.port}/api/functions", headers=services, timeout=WAIT).json()
        assert set(listed) == {f.name for f in FUNCTIONS if f.project == "faces"}
        ports = {one.function.name: one.port for one in gateway.served}
        bodies = {
            "auto-annotator-face-descriptor": ({"image": IMAGE}, "face-descriptor.reply"),
            "auto-annotator-face-clustering": ({"descriptors": "AAA8", "dimension": 1}, "error.reply"),
            "auto-annotator-face-tracker": ({"image": IMAGE, "shapes": [[5, 5, 45, 35]], "states": []}, "face-tracker.reply"),
        }
        for name, (body, schema) in bodies.items():
            direct = requests.post(f"http://127.0.0.1:{ports[name]}/", json=body, timeout=WAIT)
            headers = {"x-nuclio-function-name": name}
            invoked = requests.post(
                f"http://127.0.0.1:{gateway.port}/api/function_invocations", json=body, headers=headers, timeout=WAIT
            )
            assert direct.status_code == invoked.status_code
            conforms(direct.json(), schema)
            conforms(invoked.json(), schema)


def test_a_body_that_is_too_large_says_where_else_to_go(built):
    with running_gateway([FUNCTIONS[-1], FUNCTIONS[0]], Settings(), Limits(body_bytes=100)) as gateway:
        clustering, detection = (
            requests.post(f"http://127.0.0.1:{s.port}/", data=b"x" * 200, timeout=WAIT) for s in gateway.served
        )
    for reply in (clustering, detection):
        assert reply.status_code == 400 and "100 bytes" in reply.json()["error"]
    assert "`path`" in clustering.json()["error"] and "auto-annotator cluster" in clustering.json()["error"]
    assert "path" not in json.dumps(detection.json())
