"""images.sh and undeploy.sh with recording stand-ins."""

from __future__ import annotations

import itertools
import subprocess

import pytest
import yaml

IMAGES = [f"auto-annotator/{name}:{flavour}" for flavour in ("cpu", "gpu") for name in ("face-detection", "base")]


def arguments(workshop):
    (command,) = workshop.commands("docker", "build")
    return {value.split("=", 1)[0]: value.split("=", 1)[1] for flag, value in itertools.pairwise(command) if flag == "--build-arg"}


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_an_image_of_one_flavour(workshop, flavour):
    assert workshop.run("images.sh", flavour).returncode == 0
    (command,) = workshop.commands("docker", "build")
    assert command[-3:] == ["--tag", f"auto-annotator/base:{flavour}", str(workshop.root)]
    built = arguments(workshop)
    assert (built["FLAVOUR"], built["WEIGHTS"], built["ENSEMBLE"]) == (flavour, "baked", "embedded")
    assert "EXTRA_PIP" not in built and "--secret" not in command
    (call,) = [c for c in workshop.calls if c["args"] == command]
    assert call["env"]["DOCKER_BUILDKIT"] == "1"
    assert workshop.commands("nuctl") == [], "building needs no nuctl"


def test_what_is_asked_for_reaches_the_build_as_one_argument_each(workshop):
    extra = "insightface==2.1 'other>=1; python_version<\"4\"'"
    options = {"EXTRA_PIP": extra, "ALLOW_UNVERIFIED": "1", "PYTHON_IMAGE": "mirror.example/python:3.11-slim-bookworm"}
    assert workshop.run("images.sh", "gpu", ENSEMBLE="research", **options).returncode == 0
    built = arguments(workshop)
    assert {k: built[k] for k in options} == options
    assert built["ENSEMBLE"] == "research"


def test_an_index_with_a_password_is_a_secret_and_no_argument(workshop):
    url = "https://user:s3cr3t@index.example/simple"
    result = workshop.run("images.sh", "cpu", PIP_INDEX_URL=url)
    (command,) = workshop.commands("docker", "build")
    assert command[command.index("--secret") + 1] == "id=index_url,env=PIP_INDEX_URL"
    assert "s3cr3t" not in " ".join(command) + result.stdout + result.stderr
    (call,) = [c for c in workshop.calls if c["args"] == command]
    assert call["env"]["PIP_INDEX_URL"] == url


def test_mounted_weights_are_not_in_the_image(workshop):
    assert workshop.run("images.sh", "cpu", MODELS_DIR=str(workshop.models()), ENSEMBLE="research").returncode == 0
    built = arguments(workshop)
    assert built["WEIGHTS"] == "mounted" and "ENSEMBLE" not in built


def test_the_label_names_the_commit(workshop):
    git = workshop.bin / "git"
    git.write_text(f'#!{workshop.bin}/bash\n[[ "$*" == "-C {workshop.root} rev-parse HEAD" ]] && echo 0123abc\n')
    git.chmod(0o755)
    assert workshop.run("images.sh", "cpu").returncode == 0
    assert arguments(workshop)["REVISION"] == "0123abc"


def test_make_calls_the_scripts_with_its_variables(workshop, repository):
    """make's own command lines, so that a renamed script or a lost export is found."""
    dry = {"DRY_RUN": "1", "PATH": f"{workshop.bin}:/usr/bin:/bin", "HOME": str(workshop.folder)}
    (workshop.folder / "answers.json").write_text("[]")
    for target, words in (
        ("images", "FLAVOUR=gpu"),
        ("deploy-cpu", "base:cpu"),
        ("deploy-gpu", "CUDA_VISIBLE_DEVICES=1"),
        ("undeploy", "delete"),
    ):
        command = ["make", "--no-print-directory", target, "FLAVOUR=gpu", "GPU=1"]
        result = subprocess.run(command, env=dry, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stderr
        assert words in result.stdout


def test_undeploy(workshop):
    result = workshop.run("undeploy.sh")
    assert (result.returncode, result.stderr) == (0, "")
    assert workshop.changes == [["nuctl", "delete", "function", "auto-annotator-face-detection", "--platform", "local"]]
    assert workshop.commands("docker") == []


def test_undeploy_in_another_namespace_although_the_models_are_gone(workshop):
    result = workshop.run("undeploy.sh", NUCLIO_NAMESPACE="other", MODELS_DIR="gone", ENSEMBLE="gone.yaml", WEIGHTS="mounted")
    assert result.returncode == 0
    assert workshop.changes[0][-2:] == ["--namespace", "other"]


def test_undeploy_with_the_images_that_are_there(workshop):
    workshop.answer("docker", "image", "inspect", "auto-annotator/base:gpu", code=1)
    assert workshop.run("undeploy.sh", IMAGES="remove").returncode == 0
    assert [c[-1] for c in workshop.commands("docker", "image", "rm")] == [i for i in IMAGES if i != "auto-annotator/base:gpu"]


def test_a_failed_removal_is_not_hidden(workshop):
    workshop.answer("nuctl", "delete", code=1)
    assert workshop.run("undeploy.sh", IMAGES="remove").returncode != 0
    assert workshop.commands("docker", "image", "rm") == []


@pytest.mark.parametrize(("arguments", "variables"), [(("cpu",), {}), ((), {"IMAGES": "skip"})])
def test_undeploy_refuses(workshop, arguments, variables):
    result = workshop.run("undeploy.sh", *arguments, **variables)
    assert result.returncode == 1 and result.stderr.startswith("error: ")
    assert workshop.changes == []


@pytest.mark.parametrize("name", ["function.yaml", "function-gpu.yaml"])
def test_the_scripts_read_of_a_function_file_what_is_there(workshop, name):
    """They read YAML with sed; this holds the places where the values stand."""
    path = workshop.root / "functions/face-detection/nuclio" / name
    data = yaml.safe_load(path.read_text())
    script = 'source "$0"; for f in name kind image port project; do "function_${f}" "$1"; done'
    command = ["bash", "-c", script, str(workshop.root / "deploy/lib.sh"), str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    trigger = data["spec"]["triggers"]["myHttpTrigger"]
    expected = [data["metadata"]["name"], "detector", data["spec"]["build"]["image"], str(trigger["attributes"]["port"]), "cvat"]
    assert lines == expected
