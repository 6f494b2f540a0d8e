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


@pytest.mark.parametrize("version", ["2.15", "2.54"])
def test_cvat_lists_every_function(functions, version):
    for name in FLAVOURS:
        objects = [yaml.safe_load(p.read_text()) | {"status": {}} for p in function_files(functions) if p.name == name]
        listed = list_functions(objects, version=version)
        face = next(f for f in listed if f["id"] == "auto-annotator-face-detection")
        assert len(listed) == len(objects) and face["kind"] == "detector"
        assert [label["name"] for label in face["labels_v2"]] == ["face", "face_landmarks", "face_error"]


def test_decided_values(function):
    spec, trigger = function["spec"], function["spec"]["triggers"]["myHttpTrigger"]
    assert function["metadata"]["name"] == "auto-annotator-face-detection"
    assert spec["runtime"] == "python:3.11"
    assert (spec["eventTimeout"], spec["readinessTimeoutSeconds"]) == ("180s", 600)
    assert (trigger["numWorkers"], trigger["workerAvailabilityTimeoutMilliseconds"]) == (1, 60000)
    assert trigger["attributes"]["maxRequestBodySize"] == 67108864


def test_flavours_differ_only_in_the_device(functions):
    cpu, gpu = (yaml.safe_load((functions / "face-detection" / "nuclio" / name).read_text()) for name in FLAVOURS)
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
