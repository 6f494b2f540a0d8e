"""The table of functions is what is deployed to Nuclio, and CVAT can read it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from cvat_rules import list_functions

from auto_annotator.config import Settings
from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.errors import ConfigError, DeviceError
from auto_annotator.pipeline import FaceDetection
from auto_annotator.serving.dashboard import FUNCTIONS, function_of, functions_for
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.models import Models
from auto_annotator.serving.server import direct_ports

FILES = {f"auto-annotator-{name}": name for name in ("face-detection", "face-tracker", "face-descriptor", "face-clustering")}


def test_every_function_has_a_folder_a_name_and_a_port_of_its_own():
    assert {f.name for f in FUNCTIONS} == set(FILES)
    assert len({f.port for f in FUNCTIONS}) == len({f.name for f in FUNCTIONS}) == len(FUNCTIONS)


@pytest.mark.parametrize("flavour", ["function.yaml", "function-gpu.yaml"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_a_row_equals_its_function_file(function, flavour, repository):
    file = yaml.safe_load((repository / "functions" / FILES[function.name] / "nuclio" / flavour).read_text())
    assert file["metadata"].get("labels", {}).get("nuclio.io/project-name", "cvat") == function.project
    assert file["metadata"]["name"] == function.name
    assert file["metadata"]["annotations"] == function.annotations
    assert file["spec"]["description"] == function.description
    trigger = file["spec"]["triggers"]["myHttpTrigger"]
    assert trigger["attributes"]["port"] == function.port
    limits = Limits()
    assert trigger["numWorkers"] == 1 and trigger["workerAvailabilityTimeoutMilliseconds"] == limits.wait_seconds * 1000
    assert trigger["attributes"]["maxRequestBodySize"] == limits.body_bytes
    assert file["spec"]["eventTimeout"] == f"{limits.event_seconds:g}s"


@pytest.mark.parametrize("version", ["2.15", "2.54"])
def test_cvat_reads_the_objects_of_its_project(version):
    objects = [f.describe(state="ready", port=f.port) for f in FUNCTIONS if f.project == "cvat"]
    listed, tracker = list_functions(objects, version=version)
    assert (listed["id"], listed["kind"]) == ("auto-annotator-face-detection", "detector") and listed["description"]
    assert [label["name"] for label in listed["labels_v2"]] == [label["name"] for label in nuclio_spec()]
    assert (tracker["id"], tracker["kind"], tracker["labels_v2"]) == ("auto-annotator-face-tracker", "tracker", [])


def test_a_function_has_a_type_exactly_where_cvat_may_call_it():
    assert {f.project for f in FUNCTIONS if f.kind} == {"cvat"}
    assert {f.project for f in FUNCTIONS if not f.kind} == {"faces"}


def test_only_what_the_ensemble_can_do_is_served(tmp_path):
    member = {"name": "fake", "use": "tests:Fake", "views": [{"size": 64}]}
    (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "members": [member]}))
    names = [f.name for f in functions_for(Settings(ensemble=str(tmp_path / "mine.yaml")))]
    assert names == ["auto-annotator-face-detection", "auto-annotator-face-clustering"]
    recogniser = {"name": "fake", "use": "tests:Fake"}
    (tmp_path / "both.yaml").write_text(json.dumps({"name": "both", "members": [member], "descriptors": [recogniser]}))
    assert functions_for(Settings(ensemble=str(tmp_path / "both.yaml"))) == FUNCTIONS


def test_a_function_that_is_not_there():
    assert function_of(FUNCTIONS[1].name) is FUNCTIONS[1]
    with pytest.raises(ConfigError, match="expected one of auto-annotator-face-detection"):
        function_of("face-detection")


def test_a_function_without_labels_has_no_spec_and_one_without_direct_mode_no_port():
    row = replace(FUNCTIONS[0], spec=None)
    described = row.describe(state="building", port=None)
    assert set(described["metadata"]["annotations"]) == {"name", "type"}
    assert described["status"] == {"state": "building"}
    assert json.loads(json.dumps(described)) == described


def test_direct_ports_are_pinned_off_or_counted_up():
    rows = [FUNCTIONS[0], replace(FUNCTIONS[0], name="other", port=18102)]
    assert direct_ports(rows, None) == [FUNCTIONS[0].port, 18102]
    assert direct_ports(rows, 0) == [None, None]
    assert direct_ports(rows, 32001) == [32001, 32002]


class _Pipeline:
    device = "cpu"
    members = ("fake",)
    ensemble = SimpleNamespace(config=SimpleNamespace(weight_names=()))
    warm = 0

    def warm_up(self):
        self.warm += 1


def test_loading_warms_up_and_refuses_a_gpu_that_is_not_there(monkeypatch):
    pipeline = _Pipeline()
    monkeypatch.setattr(FaceDetection, "from_settings", lambda settings: pipeline)
    assert FUNCTIONS[0].load(Models(Settings()))(b"{}").status == 400
    assert pipeline.warm == 1
    with pytest.raises(DeviceError, match="asked for 'cuda'"):
        FUNCTIONS[0].load(Models(Settings(device="cuda")))
