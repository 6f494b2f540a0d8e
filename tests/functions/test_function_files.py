"""The function folders: thin handlers, fresh specs, and metadata that CVAT can list."""

from __future__ import annotations

import ast
import json
import sys
import tokenize

import pytest
import yaml
from cvat_rules import list_functions

from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.cvat.linter import lint
from auto_annotator.cvat.specs import function_files, render_specs

FLAVOURS = ("function.yaml", "function-gpu.yaml")
FOLDERS = ("face-clustering", "face-descriptor", "face-detection", "face-tracker")
SERVICES = ("face-clustering", "face-descriptor")
PROJECT = "nuclio.io/project-name"


@pytest.fixture
def functions(repository):
    return repository / "functions"


@pytest.fixture(params=FLAVOURS)
def function(request, functions):
    return yaml.safe_load((functions / "face-detection" / "nuclio" / request.param).read_text())


def test_handlers_hold_no_logic(functions):
    handlers = sorted(functions.rglob("*.py"))
    assert handlers
    for path in handlers:
        text = path.read_text()
        tree = ast.parse(text)
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {n.module if isinstance(n, ast.ImportFrom) else a.name for n in imports for a in n.names}
        assert len(text.splitlines()) <= 25, path
        assert {str(m).split(".")[0] for m in modules} == {"auto_annotator"}, path
        assert not any(isinstance(n, ast.If | ast.For | ast.While | ast.Try) for n in ast.walk(tree)), path


def test_the_linter_has_no_finding(functions):
    assert [str(f) for f in lint(functions)] == []


def test_specs_are_fresh(functions):
    assert render_specs(functions, check=True) == [], "run make specs"


def test_the_spec_is_the_schema(function):
    assert json.loads(function["metadata"]["annotations"]["spec"]) == nuclio_spec()


def of(functions, folder, name="function.yaml"):
    return yaml.safe_load((functions / folder / "nuclio" / name).read_text())


def test_the_folders(functions):
    assert {p.parent.parent.name for p in function_files(functions)} == set(FOLDERS)


@pytest.mark.parametrize("version", ["2.15", "2.54"])
@pytest.mark.parametrize("name", FLAVOURS)
def test_cvat_lists_every_function_of_its_project(functions, version, name):
    files = [of(functions, folder, name) | {"status": {}} for folder in FOLDERS]
    objects = [f for f in files if f["metadata"].get("labels", {}).get(PROJECT, "cvat") == "cvat"]
    listed = {f["id"]: f for f in list_functions(objects, version=version)}
    assert {n: f["kind"] for n, f in listed.items()} == {
        "auto-annotator-face-detection": "detector",
        "auto-annotator-face-tracker": "tracker",
    }
    labels = listed["auto-annotator-face-detection"]["labels_v2"]
    assert [label["name"] for label in labels] == ["face", "face_landmarks", "face_error"]
    assert listed["auto-annotator-face-tracker"]["labels_v2"] == []


@pytest.mark.parametrize("folder", SERVICES)
@pytest.mark.parametrize("name", FLAVOURS)
def test_what_cvat_cannot_call_has_neither_its_project_nor_a_type(functions, folder, name):
    metadata = of(functions, folder, name)["metadata"]
    assert metadata["labels"] == {PROJECT: "faces"} and set(metadata["annotations"]) == {"name"}
    # Deployed into CVAT's project by mistake, it is left out of the list and breaks nothing from 2.18 on.
    assert list_functions([of(functions, folder, name) | {"status": {}}]) == []


def test_the_tracker_gets_typed_shapes(functions):
    assert of(functions, "face-tracker")["metadata"]["annotations"]["supported_shape_types"] == "rectangle"


def test_ports_are_pinned_and_distinct(functions):
    ports = {f: of(functions, f)["spec"]["triggers"]["myHttpTrigger"]["attributes"]["port"] for f in FOLDERS}
    assert ports == {"face-detection": 18101, "face-tracker": 18102, "face-descriptor": 18103, "face-clustering": 18104}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("name", FLAVOURS)
def test_decided_values(functions, folder, name):
    function = of(functions, folder, name)
    spec, trigger = function["spec"], function["spec"]["triggers"]["myHttpTrigger"]
    assert function["metadata"]["name"] == f"auto-annotator-{folder}"
    assert spec["runtime"] == "python:3.11"
    assert (spec["eventTimeout"], spec["readinessTimeoutSeconds"]) == ("180s", 600)
    assert (trigger["numWorkers"], trigger["workerAvailabilityTimeoutMilliseconds"]) == (1, 60000)
    assert trigger["attributes"]["maxRequestBodySize"] == 67108864


@pytest.mark.parametrize("folder", FOLDERS)
def test_flavours_differ_only_in_the_device(functions, folder):
    cpu, gpu = (of(functions, folder, name) for name in FLAVOURS)
    env = {e["name"]: e["value"] for e in gpu["spec"]["env"]}
    assert env["AUTO_ANNOTATOR_DEVICE"] == "cuda" and "AUTO_ANNOTATOR_ALLOW_CPU" not in env
    assert gpu["spec"].pop("resources") == {"limits": {"nvidia.com/gpu": 1}}
    for data, tag in ((cpu, "cpu"), (gpu, "gpu")):
        assert data["spec"]["build"].pop("baseImage") == f"auto-annotator/base:{tag}"
        assert data["spec"]["build"].pop("image").endswith(f":{tag}")
        data["spec"]["env"] = [e for e in data["spec"]["env"] if e["name"] != "AUTO_ANNOTATOR_DEVICE"]
    assert cpu == gpu


def test_cvats_deploy_scripts_find_the_folders(functions):
    """They look for **/function.yaml and **/function-gpu.yaml, and would build a Dockerfile beside it as another base image."""
    for name in FLAVOURS:
        for path in functions.glob(f"**/{name}"):
            assert path.parent.name == "nuclio" and not (path.parent / "Dockerfile").exists()


def test_handlers_are_python_of_the_runtime(functions):
    assert sys.version_info[:2] == (3, 11), "the suite runs on the Python of the functions"
    for path in functions.rglob("*.py"):
        with tokenize.open(path) as source:
            compile(source.read(), path.name, "exec")
