"""The table of functions is what is deployed to Nuclio, and CVAT can read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml
from cvat_rules import list_functions

from auto_annotator.config import Settings
from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.errors import DeviceError
from auto_annotator.pipeline import FaceDetection
from auto_annotator.serving.dashboard import FUNCTIONS
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.server import direct_ports

FILES = {"auto-annotator-face-detection": "face-detection"}


def test_every_function_has_a_folder_a_name_and_a_port_of_its_own():
    assert {f.name for f in FUNCTIONS} == set(FILES)
    assert len({f.port for f in FUNCTIONS}) == len({f.name for f in FUNCTIONS}) == len(FUNCTIONS)


@pytest.mark.parametrize("flavour", ["function.yaml", "function-gpu.yaml"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_a_row_equals_its_function_file(function, flavour, repository):
    file = yaml.safe_load((repository / "functions" / FILES[function.name] / "nuclio" / flavour).read_text())
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
def test_cvat_reads_the_objects(version):
    (listed,) = list_functions([f.describe(state="ready", port=f.port) for f in FUNCTIONS], version=version)
    assert (listed["id"], listed["kind"]) == ("auto-annotator-face-detection", "detector") and listed["description"]
    assert [label["name"] for label in listed["labels_v2"]] == [label["name"] for label in nuclio_spec()]


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
    warm = 0

    def warm_up(self):
        self.warm += 1


def test_loading_warms_up_and_refuses_a_gpu_that_is_not_there(monkeypatch):
    pipeline = _Pipeline()
    monkeypatch.setattr(FaceDetection, "from_settings", lambda settings: pipeline)
    assert FUNCTIONS[0].load(Settings())(b"{}").status == 400
    assert pipeline.warm == 1
    with pytest.raises(DeviceError, match="asked for 'cuda'"):
        FUNCTIONS[0].load(Settings(device="cuda"))
