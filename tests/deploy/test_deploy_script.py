"""deploy.sh with recording stand-ins: the exact commands, what is handed on, and what a second run does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

NAME = "auto-annotator-face-detection"
NETWORK = '{"attributes": {"network": "cvat_cvat"}}'

NUCTL_DEPLOY_FLAGS = {
    "--project-name", "--path", "--file", "--platform", "--namespace", "--env", "--platform-config", "--base-image", "--image",
    "--resource-limit", "--readiness-timeout", "--no-pull", "--registry",
}  # fmt: skip
"""Of those that both nuctl 1.13.0 and 1.15.9 know."""


def build(root, flavour, *, prefix="auto-annotator", weights="baked"):
    ensemble = ["--build-arg", "ENSEMBLE=embedded"] if weights == "baked" else []
    version = next(line for line in (root / "common/auto_annotator/__init__.py").read_text().splitlines() if "__version__" in line)
    return [
        "docker", "build", "--file", str(root / "deploy/Dockerfile"), "--build-arg", f"FLAVOUR={flavour}",
        "--build-arg", f"WEIGHTS={weights}", *ensemble, "--build-arg", f"VERSION={version.split(chr(34))[1]}",
        "--build-arg", "REVISION=unknown", "--tag", f"{prefix}/base:{flavour}", str(root),
    ]  # fmt: skip


def deploy(workshop, file="function.yaml", *more):
    folder = workshop.nuclio_folder
    return [
        "nuctl", "deploy", "--project-name", "cvat", "--path", folder, "--file", f"{folder}/{file}", "--platform", "local",
        "--platform-config", NETWORK, *more,
    ]  # fmt: skip


def environment(command):
    pairs = [value.split("=", 1) for flag, value in itertools.pairwise(command) if flag == "--env"]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


CREATE = ["nuctl", "create", "project", "cvat", "--platform", "local"]


def test_cpu(workshop):
    result = workshop.run("deploy.sh", "cpu")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert workshop.changes == [
        build(workshop.root, "cpu"),
        CREATE,
        deploy(workshop, "function.yaml", "--env", "AUTO_ANNOTATOR_ENSEMBLE=embedded"),
    ]
    assert workshop.calls[-1]["args"] == ["get", "function", "--platform", "local"]
    assert not any(c["program"] == "nvidia-smi" for c in workshop.calls)


def test_gpu(workshop):
    result = workshop.run("deploy.sh", "gpu")
    assert result.returncode == 0, result.stderr
    check = ["python", "/opt/auto-annotator/check_image.py", "gpu", "--run"]
    order = ["--env", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]
    assert workshop.changes == [
        build(workshop.root, "gpu"),
        ["docker", "run", "--rm", "--gpus", "all", *order, "auto-annotator/base:gpu", *check],
        CREATE,
        deploy(workshop, "function-gpu.yaml", "--env", "AUTO_ANNOTATOR_ENSEMBLE=embedded", *order),
    ]


@pytest.mark.parametrize("gpu", ["0", "1", "0,1", "GPU-8f6c1e2a-0b1c-2d3e-4f50-617283940a1b"])
def test_gpu_choice_reaches_function_and_check(workshop, gpu):
    result = workshop.run("deploy.sh", "gpu", GPU=gpu)
    assert result.returncode == 0, result.stderr
    assert environment(workshop.commands("nuctl", "deploy")[0])["CUDA_VISIBLE_DEVICES"] == gpu
    assert f"CUDA_VISIBLE_DEVICES={gpu}" in workshop.commands("docker", "run")[0]


def test_gpu_choice_is_no_matter_of_the_cpu_flavour(workshop):
    assert workshop.run("deploy.sh", "cpu", GPU="1").returncode == 0
    assert "CUDA_VISIBLE_DEVICES" not in environment(workshop.commands("nuctl", "deploy")[0])


def test_a_second_run_does_the_same_again(workshop):
    first = workshop.run("deploy.sh", "cpu")
    changes = workshop.changes
    second = workshop.run("deploy.sh", "cpu")
    assert (first.returncode, second.returncode) == (0, 0)
    assert workshop.changes == changes


@pytest.mark.parametrize(("cvat", "nuctl"), [("2.51.0", "1.13.0"), ("2.54.1", "1.15.9")])
def test_both_nuctls_get_the_same_command_of_flags_that_both_know(workshop, cvat, nuctl):
    workshop.nuctl_is(nuctl)
    options = {"IMAGE_PREFIX": "r.example/x", "CPUS": "4", "MEMORY": "8Gi", "READINESS_TIMEOUT": "900", "OFFLINE": "1"}
    result = workshop.run("deploy.sh", "gpu", CVAT_VERSION=cvat, NUCLIO_NAMESPACE="other", REGISTRY="r.example", **options)
    assert (result.returncode, result.stderr) == (0, "")
    (command,) = workshop.commands("nuctl", "deploy")
    assert {a for a in command if a.startswith("--")} == NUCTL_DEPLOY_FLAGS
    place = command.index("--base-image")
    assert command[place : place + 4] == ["--base-image", "r.example/x/base:gpu", "--image", "r.example/x/face-detection:gpu"]
    assert [v for f, v in itertools.pairwise(command) if f == "--resource-limit"] == ["cpu=4", "memory=8Gi"]
    assert workshop.commands("nuctl", "create") == [["create", "project", "cvat", "--platform", "local", "--namespace", "other"]]


def test_settings_of_the_function_are_handed_on_and_no_others(workshop):
    given = {
        "ON_ERROR": "fail",
        "BUDGET_SECONDS": "30",
        "THREADS": "4",
        "GPU_MEMORY_MB": "4096",
        "MAX_PIXELS": "1000000",
        "ROTATIONS": "always",
    }
    mine = {
        "MODELS": "/home/me/models",
        "DEVICE": "cuda",
        "INDEX_URL": "https://user:password@index.example/simple",
        "ALLOW_CPU": "1",
    }
    result = workshop.run("deploy.sh", "cpu", **{f"AUTO_ANNOTATOR_{k}": v for k, v in (given | mine).items()})
    assert result.returncode == 0
    expected = {f"AUTO_ANNOTATOR_{k}": v for k, v in given.items()} | {"AUTO_ANNOTATOR_ENSEMBLE": "embedded"}
    assert environment(workshop.commands("nuctl", "deploy")[0]) == expected
    assert "password" not in json.dumps(workshop.calls) + result.stdout + result.stderr


def test_odd_characters_stay_one_argument(workshop):
    value = '60 $(touch pwned) "; `touch pwned` & * ü'
    result = workshop.run("deploy.sh", "cpu", AUTO_ANNOTATOR_BUDGET_SECONDS=value)
    assert result.returncode == 0
    assert environment(workshop.commands("nuctl", "deploy")[0])["AUTO_ANNOTATOR_BUDGET_SECONDS"] == value
    assert not list(workshop.folder.rglob("pwned"))


def test_mounted_weights_are_a_read_only_volume_of_a_copy(workshop):
    models = workshop.models("my models $(x) ü")
    result = workshop.run("deploy.sh", "cpu", MODELS_DIR="my models $(x) ü")
    assert result.returncode == 0, result.stderr
    (call,) = [c for c in workshop.calls if c["args"][0] == "deploy"]
    given = yaml.safe_load(call["file"])
    assert given["spec"].pop("volumes") == [
        {
            "volume": {"name": "models", "hostPath": {"path": str(models)}},
            "volumeMount": {"name": "models", "mountPath": "/opt/auto-annotator/models", "readOnly": True},
        }
    ]
    assert given == yaml.safe_load((workshop.root / "functions/face-detection/nuclio/function.yaml").read_text())
    assert call["args"][call["args"].index("--path") + 1] == workshop.nuclio_folder
    assert workshop.changes[0] == build(workshop.root, "cpu", weights="mounted")
    assert list((workshop.folder / "tmp").iterdir()) == [], "the copy is gone"


def test_an_own_ensemble_is_mounted_with_its_folder(workshop):
    workshop.models()
    own = workshop.folder / "my files" / "mine.yaml"
    own.parent.mkdir()
    own.write_text("name: mine\n")
    result = workshop.run("deploy.sh", "cpu", MODELS_DIR="models", ENSEMBLE=str(own))
    assert result.returncode == 0, result.stderr
    (call,) = [c for c in workshop.calls if c["args"][0] == "deploy"]
    volumes = {v["volume"]["name"]: v for v in yaml.safe_load(call["file"])["spec"]["volumes"]}
    assert volumes["ensemble"]["volume"]["hostPath"]["path"] == str(own.parent)
    assert volumes["ensemble"]["volumeMount"]["readOnly"] is True
    inside = volumes["ensemble"]["volumeMount"]["mountPath"]
    assert environment(call["args"]) == {"AUTO_ANNOTATOR_ENSEMBLE": f"{inside}/mine.yaml", "PYTHONPATH": inside}


def test_images_can_be_skipped(workshop):
    assert workshop.run("deploy.sh", "cpu", IMAGES="skip").returncode == 0
    assert workshop.commands("docker", "build") == []
    assert len(workshop.commands("nuctl", "deploy")) == 1


def test_a_later_function_comes_by_itself_and_what_cvat_cannot_call_stays_out_of_its_project(workshop):
    detector = workshop.root / "functions/face-detection/nuclio/function.yaml"
    other = workshop.root / "functions/face-clustering/nuclio/function.yaml"
    other.parent.mkdir(parents=True)
    text = detector.read_text().replace(NAME, "later").replace("    type: detector\n", "")
    other.write_text(text)
    assert workshop.run("deploy.sh", "cpu").returncode == 0
    assert [c[2] for c in workshop.commands("nuctl", "create")] == ["cvat", "faces"]
    projects = {c[c.index("--path") + 1]: c[c.index("--project-name") + 1] for c in workshop.commands("nuctl", "deploy")}
    assert projects == {str(other.parent): "faces", str(detector.parent): "cvat"}


def test_projects_can_be_named(workshop):
    assert workshop.run("deploy.sh", "cpu", NUCLIO_PROJECT="cvat-two").returncode == 0
    assert workshop.commands("nuctl", "create")[0][2] == "cvat-two"
    assert workshop.commands("nuctl", "deploy")[0][2] == "cvat-two"


def test_kubernetes_has_no_docker_network(workshop):
    for name in ("docker", "nvidia-smi"):
        workshop.remove(name)
    options = {"REGISTRY": "r.example", "IMAGE_PREFIX": "r.example/x", "IMAGES": "skip"}
    result = workshop.run("deploy.sh", "gpu", NUCTL_PLATFORM="kube", **options)
    assert result.returncode == 0, result.stderr
    (command,) = workshop.commands("nuctl", "deploy")
    assert "--platform-config" not in command and command[command.index("--platform") + 1] == "kube"


def test_empty_variables_as_make_hands_them_on_mean_not_given(workshop):
    exported = next(line for line in (REPOSITORY / "Makefile").read_text().splitlines() if line.startswith("export "))
    names = f"{exported.removeprefix('export ')} IMAGES WEIGHTS"
    assert workshop.run("deploy.sh", "cpu", **dict.fromkeys(names.split(), "")).returncode == 0
    assert workshop.changes[1:] == [CREATE, deploy(workshop, "function.yaml", "--env", "AUTO_ANNOTATOR_ENSEMBLE=embedded")]


def test_a_dry_run_prints_the_commands_and_changes_nothing(workshop):
    real = workshop.run("deploy.sh", "gpu", GPU="1")
    printed = [line for line in real.stdout.splitlines() if line.startswith("+ ")]
    dry = workshop.run("deploy.sh", "gpu", GPU="1", DRY_RUN="1")
    assert dry.returncode == 0
    assert workshop.changes == []
    assert [line for line in dry.stdout.splitlines() if line.startswith("+ ")] == printed
    assert len(printed) == 5


def test_a_dry_run_needs_nothing_installed(workshop):
    for name in ("docker", "nuctl", "nvidia-smi"):
        workshop.remove(name)
    result = workshop.run("deploy.sh", "gpu", DRY_RUN="1")
    assert result.returncode == 0
    assert "nuctl deploy" in result.stdout
    for missing in ("docker is missing", "nuctl is missing", "nvidia-smi", "no network of CVAT"):
        assert missing in result.stderr
