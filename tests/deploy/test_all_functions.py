"""deploy.sh, undeploy.sh and smoke.sh over all functions of the checkout: projects, ports, the shared folder."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest
import yaml

PROJECTS = {"face-clustering": "faces", "face-descriptor": "faces", "face-detection": "cvat", "face-tracker": "cvat"}
PORTS = {"face-clustering": 18104, "face-descriptor": 18103, "face-detection": 18101, "face-tracker": 18102}


def option(command, name):
    return [value for flag, value in itertools.pairwise(command) if flag == name]


@pytest.mark.parametrize(("flavour", "file"), [("cpu", "function.yaml"), ("gpu", "function-gpu.yaml")])
def test_every_function_goes_to_its_project(whole, flavour, file):
    result = whole.run("deploy.sh", flavour)
    assert (result.returncode, result.stderr) == (0, "")
    assert [c[2] for c in whole.commands("nuctl", "create")] == ["cvat", "faces"]
    deployed = whole.commands("nuctl", "deploy")
    folders = [option(c, "--path")[0].removeprefix(f"{whole.root}/functions/").removesuffix("/nuclio") for c in deployed]
    assert {folder: option(c, "--project-name")[0] for folder, c in zip(folders, deployed, strict=True)} == PROJECTS
    assert [option(c, "--file")[0].rpartition("/")[2] for c in deployed] == [file] * len(PROJECTS)
    assert all(option(c, "--env")[0] == "AUTO_ANNOTATOR_ENSEMBLE=embedded" for c in deployed)
    assert len(whole.commands("docker", "build")) == 1, "one base image carries them all"


@pytest.mark.parametrize("weights", ["baked", "mounted"])
def test_the_shared_folder_is_mounted_read_only_for_the_clustering_alone(whole, weights):
    shared, models = whole.models("my shared $(x)"), whole.models()
    options = {"MODELS_DIR": str(models)} if weights == "mounted" else {}
    result = whole.run("deploy.sh", "cpu", SHARED_DIR="my shared $(x)", **options)
    assert (result.returncode, result.stderr) == (0, "")
    for call in [c for c in whole.calls if c["args"][0] == "deploy"]:
        mounts = {
            v["volume"]["hostPath"]["path"]: (v["volumeMount"]["mountPath"], v["volumeMount"]["readOnly"])
            for v in yaml.safe_load(call["file"])["spec"].get("volumes", [])
        }
        expected = {str(models): ("/opt/auto-annotator/models", True)} if weights == "mounted" else {}
        clusters = "face-clustering" in call["args"][call["args"].index("--path") + 1]
        assert mounts == expected | ({str(shared): ("/opt/auto-annotator/shared", True)} if clusters else {})
        assert ("AUTO_ANNOTATOR_SHARED_DIR=/opt/auto-annotator/shared" in call["args"]) == clusters
    assert list((whole.folder / "tmp").iterdir()) == [], "the copies are gone"


@pytest.mark.parametrize("value", ["not there", 'quo"te'])
def test_a_shared_folder_that_cannot_be_mounted(whole, value):
    if value != "not there":
        whole.models(value)
    result = whole.run("deploy.sh", "cpu", SHARED_DIR=value)
    assert result.returncode == 1 and "SHARED_DIR" in result.stderr and whole.changes == []


def test_settings_of_the_new_functions_are_handed_on(whole):
    given = {"MAX_REQUEST_FACES": "50", "MAX_CLUSTER_FACES": "1000", "TRACKS": "9", "TRACK_MINUTES": "5", "ON_LOST": "keep"}
    assert whole.run("deploy.sh", "cpu", **{f"AUTO_ANNOTATOR_{k}": v for k, v in given.items()}).returncode == 0
    for command in whole.commands("nuctl", "deploy"):
        assert {f"AUTO_ANNOTATOR_{k}={v}" for k, v in given.items()} <= set(option(command, "--env"))


def test_undeploy_removes_them_all(whole):
    assert whole.run("undeploy.sh", IMAGES="remove").returncode == 0
    names = [c[2] for c in whole.commands("nuctl", "delete")]
    assert names == [f"auto-annotator-{folder}" for folder in PROJECTS]
    images = {f"auto-annotator/{name}:{flavour}" for name in (*PROJECTS, "base") for flavour in ("cpu", "gpu")}
    assert {c[-1] for c in whole.commands("docker", "image", "rm")} == images


@pytest.mark.parametrize("name", ["function.yaml", "function-gpu.yaml"])
@pytest.mark.parametrize("folder", PROJECTS)
def test_the_scripts_read_of_every_function_file_what_is_there(whole, folder, name):
    path = whole.root / "functions" / folder / "nuclio" / name
    data = yaml.safe_load(path.read_text())
    script = 'source "$0"; for f in name kind image port project; do "function_${f}" "$1"; echo; done'
    command = ["bash", "-c", script, str(whole.root / "deploy/lib.sh"), str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n\n")
    values = [line.strip() for line in lines][:5]
    kind = data["metadata"]["annotations"].get("type", "")
    assert [v for v in values if v] == [
        v for v in (data["metadata"]["name"], kind, data["spec"]["build"]["image"], str(PORTS[folder]), PROJECTS[folder]) if v
    ]
    assert data["metadata"].get("labels", {}).get("nuclio.io/project-name", "cvat") == PROJECTS[folder]


def asked(result):
    return re.findall(r"smoke\.py http://\S+?:(\d+)/ --name (\S+) --function (\S+)", result.stdout)


def test_smoke_asks_every_function_at_its_port(whole):
    result = whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable)
    assert result.returncode == 0
    assert asked(result) == [(str(PORTS[f]), f"auto-annotator-{f}", f) for f in PROJECTS]
    moved = whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable, PORT="30001")
    assert [port for port, *_ in asked(moved)] == [str(PORTS[f] - 18101 + 30001) for f in PROJECTS]


def test_smoke_asks_one_function_and_none_that_it_does_not_know(whole):
    result = whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable, FUNCTION="face-tracker")
    assert [folder for *_, folder in asked(result)] == ["face-tracker"]
    (whole.root / "functions/face-tracker").rename(whole.root / "functions/mine")
    assert len(asked(whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable))) == 3
    wrong = whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable, FUNCTION="face-tracker")
    assert wrong.returncode == 1 and "FUNCTION" in wrong.stderr
    port = whole.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable, PORT="x")
    assert port.returncode == 1 and "PORT" in port.stderr
