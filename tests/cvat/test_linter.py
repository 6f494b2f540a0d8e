"""The linter of function files: every rule is broken once."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy

import pytest
import yaml

from auto_annotator.cvat import linter
from auto_annotator.cvat.function_rules import base_python, duration_seconds
from auto_annotator.cvat.label_rules import spec_problems
from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.errors import ConfigError

TRIGGER = "spec.triggers.myHttpTrigger"


@pytest.fixture
def functions(repository, tmp_path):
    return shutil.copytree(repository / "functions", tmp_path / "functions")


@pytest.fixture
def folder(functions):
    return functions / "face-detection" / "nuclio"


@pytest.fixture
def change(folder):
    """Function: dotted path -> value (None removes the key) in both flavours or one of them."""

    def changed(path, value=None, names=("function.yaml", "function-gpu.yaml")):
        for name in names:
            data = yaml.safe_load((folder / name).read_text())
            *parents, last = path.split(".")
            place = data
            for key in parents:
                place = place[key]
            if value is None:
                place.pop(last, None)
            else:
                place[last] = deepcopy(value)
            (folder / name).write_text(yaml.safe_dump(data))

    return changed


def rules(functions, **options):
    return {finding.rule for finding in linter.lint(functions, **options)}


@pytest.fixture
def of(functions):
    """Function: folder, dotted path, value -> the change in both flavours of that function."""

    def changed(name, path, value=None):
        for file in ("function.yaml", "function-gpu.yaml"):
            target = functions / name / "nuclio" / file
            data = yaml.safe_load(target.read_text())
            *parents, last = path.split(".")
            place = data
            for key in parents:
                place = place[key]
            if value is None:
                place.pop(last)
            else:
                place[last] = value
            target.write_text(yaml.safe_dump(data))

    return changed


PROJECT = {"nuclio.io/project-name": "faces"}


@pytest.mark.parametrize(
    ("name", "path", "value", "found"),
    [
        ("face-descriptor", "metadata.annotations.type", "tracker", {"type"}),
        ("face-descriptor", "metadata.annotations.spec", json.dumps(nuclio_spec()), {"annotation"}),
        ("face-descriptor", "metadata.annotations.version", "1", {"annotation"}),
        ("face-descriptor", "metadata.annotations.name", None, set()),
        ("face-descriptor", "metadata.annotations", None, {"annotation"}),
        ("face-clustering", "metadata.labels", None, {"type"}),
        ("face-clustering", "metadata.labels", {"nuclio.io/project-name": "cvat"}, {"type"}),
        ("face-clustering", "metadata.labels", {"nuclio.io/project-name": "other"}, {"project", "type"}),
        ("face-clustering", "metadata.labels", {"nuclio.io/project-name": ["faces"]}, {"project", "type"}),
        ("face-clustering", "metadata.labels", "faces", {"project", "type"}),
        ("face-clustering", "metadata.labels", PROJECT | {"team": "faces"}, set()),
        ("face-detection", "metadata.labels", PROJECT, {"type", "annotation"}),
        ("face-tracker", "metadata.labels", PROJECT, {"type", "annotation"}),
        ("face-tracker", "metadata.annotations.supported_shape_types", None, set()),
        ("face-tracker", "metadata.annotations.supported_shape_types", "rectangle, polygon", set()),
        ("face-tracker", "metadata.annotations.supported_shape_types", "", {"annotation"}),
        ("face-tracker", "metadata.annotations.supported_shape_types", "box", {"annotation"}),
        ("face-tracker", "metadata.annotations.min_pos_points", "1", {"annotation"}),
        ("face-tracker", "metadata.annotations.type", None, {"type", "annotation"}),
        ("face-detection", "metadata.annotations.supported_shape_types", "rectangle", {"annotation"}),
        ("face-tracker", f"{TRIGGER}.attributes.port", 18103, {"unique-port"}),
    ],
)
def test_services_trackers_and_what_cvat_may_see(functions, of, name, path, value, found):
    of(name, path, value)
    assert rules(functions) == found


def test_a_round_trip_through_yaml_has_no_finding(functions, change):
    change("metadata.labels", {"team": "faces"})
    assert [str(f) for f in linter.lint(functions)] == []


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("extra", 1, "key"),
        ("metadata.annotation", {}, "key"),
        ("metadata", "text", "key"),
        ("spec.readinessTimeoutSecond", 600, "key"),
        ("spec.build.baseimage", "x:y", "key"),
        ("spec.platform.attributes.mountMode", "volume", "key"),
        ("spec.resources", {"requests": {"cpu": 1}}, "key"),
        ("spec.resources", {"limits": {"nvidia.com/gpus": 1}}, "key"),
        ("metadata.name", "Face_Detection", "name"),
        ("metadata.name", "a" * 64, "name"),
        ("metadata.name", None, "name"),
        ("metadata.annotations", None, "annotation"),
        ("metadata.annotations.tpye", "detector", "annotation"),
        ("metadata.annotations.version", 1, "annotation"),
        ("metadata.annotations.min_pos_points", "1", "annotation"),
        ("metadata.annotations.version", "1.0", "version"),
        ("metadata.annotations.type", "Detector", "type"),
        ("metadata.annotations.type", None, "type"),
        ("metadata.annotations.spec", None, "label"),
        ("metadata.annotations.spec", "[{},]", "label"),
        ("spec.description", None, "description"),
        ("spec.description", "  ", "description"),
        ("spec.runtime", "python:3.9", "runtime"),
        ("spec.handler", "main", "handler"),
        ("spec.handler", "elsewhere:handler", "handler"),
        ("spec.handler", "main:handle", "handler"),
        ("spec.build.baseImage", None, "image"),
        ("spec.build.baseImage", "auto-annotator/base", "image"),
        ("spec.build.noCache", True, "image"),
        ("spec.eventTimeout", 180, "time"),
        ("spec.eventTimeout", "30s", "time"),
        ("spec.eventTimeout", "3 minutes", "time"),
        ("spec.eventTimeout", None, "time"),
        ("spec.readinessTimeoutSeconds", 120, "time"),
        ("spec.readinessTimeoutSeconds", "600", "time"),
        ("spec.env", [{"name": "AUTO_ANNOTATOR_DEVICES", "value": "cpu"}], "env"),
        ("spec.env", [{"name": "X", "value": 1}], "env"),
        ("spec.env", [{"name": "X", "valueFrom": {"secretKeyRef": {}}}], "env"),
        ("spec.env", [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}], "env"),
        ("spec.env", [], "device"),
        ("spec.env", {"AUTO_ANNOTATOR_DEVICE": "cpu"}, "env"),
        ("spec.volumes", {"name": "a"}, "volume"),
        ("spec.triggers", {}, "trigger"),
        ("spec.triggers.second", {"kind": "http", "numWorkers": 1}, "trigger"),
        ("spec.triggers.timer", {"kind": "cron"}, "trigger"),
        (f"{TRIGGER}.name", "other", "trigger"),
        (f"{TRIGGER}.mode", "async", "trigger"),
        (f"{TRIGGER}.batch", {"mode": "enable"}, "trigger"),
        (f"{TRIGGER}.attributes", None, "trigger"),
        (f"{TRIGGER}.attributes.ports", 1, "trigger"),
        (f"{TRIGGER}.maxWorkers", 1, "workers"),
        (f"{TRIGGER}.numWorkers", None, "workers"),
        (f"{TRIGGER}.numWorkers", 0, "workers"),
        (f"{TRIGGER}.workerAvailabilityTimeoutMilliseconds", "60000", "workers"),
        (f"{TRIGGER}.attributes.port", None, "port"),
        (f"{TRIGGER}.attributes.port", 40000, "port"),
        (f"{TRIGGER}.attributes.port", "18101", "port"),
        (f"{TRIGGER}.attributes.maxRequestBodySize", 4194304, "body"),
        (f"{TRIGGER}.attributes.maxRequestBodySize", "64Mi", "body"),
        ("spec.platform.attributes.healthCheckInterval", 5, "platform"),
        ("spec.platform.attributes.restartPolicy", None, "platform"),
        ("spec.platform.attributes.restartPolicy", {"name": "always", "maximumRetryCount": 3}, "platform"),
        ("spec.volumes", [{"volume": {"name": "a", "emptyDir": {}}, "volumeMount": {"name": "a"}}], "volume"),
        ("spec.volumes", [{"volume": {"name": "a", "hostPath": {"path": "/m"}}, "volumeMount": {"name": "b"}}], "volume"),
    ],
)
def test_a_broken_rule_is_found_in_both_files(functions, change, path, value, rule):
    change(path, value)
    findings = linter.lint(functions)
    assert {f.path.name for f in findings if f.rule == rule} == {"function.yaml", "function-gpu.yaml"}, findings


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("spec.resources", None, ("function-gpu.yaml",)),
        ("spec.resources", {"limits": {"nvidia.com/gpu": 1}}, ("function.yaml",)),
        ("spec.env", [{"name": "AUTO_ANNOTATOR_DEVICE", "value": "auto"}], ("function-gpu.yaml",)),
    ],
)
def test_the_device_of_a_flavour(functions, change, path, value, names):
    change(path, value, names)
    assert rules(functions) == {"device"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "other-name"),
        ("metadata.annotations.spec", json.dumps(nuclio_spec()[:1])),
        ("spec.description", "other"),
        (f"{TRIGGER}.attributes.port", 18999),
    ],
)
def test_flavours_must_agree(functions, change, path, value):
    change(path, value, ("function-gpu.yaml",))
    findings = linter.lint(functions)
    assert {(f.rule, f.path.name) for f in findings} == {("pair", "function-gpu.yaml")}


def test_both_flavours_must_be_there(functions, folder):
    (folder / "function-gpu.yaml").unlink()
    assert rules(functions) == {"pair"}


def test_two_functions_may_not_share_a_name_or_a_port(functions, folder):
    shutil.copytree(folder, functions / "twin" / "nuclio")
    assert rules(functions) == {"unique-name", "unique-port"}


@pytest.mark.parametrize("name", ["whl", "wrapper_common.py", "_nuclio_wrapper.py"])
def test_names_that_nuclio_puts_there_itself(functions, folder, name):
    (folder / name).touch()
    assert rules(functions) == {"folder"}


@pytest.mark.parametrize(
    "text", ["a: [", "a: 1\na: 2", "metadata:\n  name: a\n  name: b", "a: !!python/object/apply:os.system [echo]"]
)
def test_yaml_that_is_broken_ambiguous_or_runs_code(functions, folder, text):
    (folder / "function.yaml").write_text(text)
    assert "yaml" in rules(functions)


@pytest.mark.parametrize(
    "text", ["", "[]", "text", "spec: 5", "spec: {triggers: [1], env: {a: b}, platform: 3, build: []}\nmetadata: {name: [1]}"]
)
def test_any_yaml_gives_findings_and_no_crash(functions, folder, text):
    (folder / "function.yaml").write_text(text)
    assert {"key", "name", "annotation", "description"} <= rules(functions)


@pytest.mark.parametrize(
    ("dockerfile", "clean"),
    [
        ("FROM python:3.11-slim-bookworm\n", True),
        ("ARG PYTHON=3.11\nFROM python:${PYTHON}-slim\n", True),
        ("FROM python:3.12 AS build\nFROM --platform=linux/amd64 mirror/python:3.11-slim\n", True),
        ("FROM python:3.12-slim\n", False),
        ("FROM debian:12\n", False),
    ],
)
def test_the_runtime_is_the_python_of_the_base_image(functions, tmp_path, dockerfile, clean):
    (tmp_path / "images").mkdir()
    for tag in ("cpu", "gpu"):
        (tmp_path / "images" / f"Dockerfile.{tag}").write_text(dockerfile)
    assert rules(functions, deploy_dir=tmp_path / "images") == (set() if clean else {"runtime"})


@pytest.mark.parametrize(("python", "found"), [("3.11", set()), ("3.12", {"runtime"})])
def test_the_one_dockerfile_of_this_project_is_read(repository, functions, python, found):
    text = (repository / "deploy" / "Dockerfile").read_text()
    start = "ARG PYTHON_IMAGE=python:"
    assert f"{start}3.11" in text
    (functions.parent / "deploy").mkdir()
    (functions.parent / "deploy" / "Dockerfile").write_text(text.replace(f"{start}3.11", f"{start}{python}"))
    assert rules(functions) == found


def test_python_of_a_dockerfile_and_go_durations():
    assert base_python("FROM python:3.10\nFROM python:3.11") == "3.11" and base_python("FROM scratch") is None
    assert [duration_seconds(t) for t in ("180s", "3m", "1h1m1.5s", "500ms")] == [180, 180, 3661.5, 0.5]
    assert [duration_seconds(t) for t in ("", "180", "3 m", 180, None, "-1s")] == [None] * 6


def face(**changes):
    return [{"name": "face", "type": "rectangle", "attributes": []} | changes]


def attribute(**changes):
    return face(attributes=[{"name": "a", "input_type": "text", "values": [""]} | changes])


def skeleton(**changes):
    svg = '<circle data-label-name="a"></circle><circle data-label-name="b"></circle>'
    points = [{"name": n, "type": "points", "attributes": []} for n in ("a", "b")]
    return [{"name": "s", "type": "skeleton", "svg": svg, "sublabels": points} | changes]


@pytest.mark.parametrize("spec", [face(), attribute(), skeleton(), attribute(input_type="select", values=["x", "y"])])
def test_good_specs(spec):
    assert list(spec_problems(json.dumps(spec))) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "expected a list"),
        ([], "at least one label"),
        (["face"], "expected an object"),
        (face(name=""), "name is ''"),
        (face() * 2, "2 times"),
        (face(type="box"), "type is 'box'"),
        (face(colour="#fff"), "unknown key 'colour'"),
        (face(attributes={}), "must be a list"),
        (face(attributes=["a"]), "must be an object"),
        (face(svg=""), "only a skeleton"),
        (face(attributes=[{"name": "a", "values": []}]), "no input_type"),
        (face(attributes=[{"name": "a", "input_type": "text"}]), "no values"),
        (face(attributes=attribute()[0]["attributes"] * 2), "2 times"),
        (attribute(default="x"), "unknown key 'default'"),
        (attribute(input_type="range"), "input_type is 'range'"),
        (attribute(values="x"), "list of texts"),
        (attribute(values=["x" * 201]), "at most 200"),
        (attribute(values=[1]), "list of texts"),
        (attribute(input_type="number", values=["0", "1", "0.1"]), "whole minimum"),
        (attribute(input_type="number", values=["0", "100"]), "whole minimum"),
        (attribute(input_type="number", values=["0", "100", "7"]), "whole minimum"),
        (attribute(input_type="select", values=[]), "options"),
        (attribute(input_type="radio", values=["x", "x"]), "options"),
        (attribute(input_type="checkbox", values=["yes"]), "true or false"),
        (skeleton(sublabels=[]), "needs sublabels"),
        (skeleton(svg=""), "needs an svg"),
        (skeleton(svg='<circle data-label-name="b"></circle>'), "nodes"),
        (skeleton(sublabels=[{"name": n, "type": "mask"} for n in ("a", "b")]), "must have type points"),
        (skeleton(sublabels=[{"name": n, "type": "points"} for n in ("a", "a")]), "2 times"),
    ],
)
def test_each_rule_of_labels_broken_once(spec, words):
    problems = list(spec_problems(json.dumps(spec)))
    assert any(words in problem for problem in problems), problems


def test_a_folder_without_functions_is_an_error(tmp_path):
    with pytest.raises(ConfigError):
        linter.lint(tmp_path)
