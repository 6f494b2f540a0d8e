"""What deploy.sh and images.sh refuse, and that each message names the way out."""

from __future__ import annotations

import pytest


def refused(workshop, *says, script="deploy.sh", flavour="cpu", **variables):
    """Run, expect status 1 with every text in the message, and nothing changed."""
    result = workshop.run(script, flavour, **variables)
    assert result.returncode == 1, result.stdout
    assert result.stderr.startswith("error: ")
    for text in says:
        assert text in result.stderr, result.stderr
    assert workshop.changes == []
    return result.stderr


def test_docker_missing(workshop):
    workshop.remove("docker")
    refused(workshop, "docker is missing", "install Docker Engine", "DOCKER=/path/to/docker")


def test_docker_daemon_down(workshop):
    workshop.answer("docker", "info", code=1)
    workshop.answer("docker", "info", "--format", "{{.ServerVersion}}", code=1)
    refused(workshop, "daemon does not answer", "systemctl start docker", "usermod -aG docker")


def test_nuctl_missing(workshop):
    workshop.remove("nuctl")
    refused(workshop, "nuctl is missing", "1.13.0", "1.15.9", "NUCTL=/path/to/nuctl")


def test_programs_can_be_named(workshop):
    for name in ("docker", "nuctl"):
        (workshop.bin / name).rename(workshop.folder / f"my {name}")
    for row in workshop.answers:
        row["program"] = {"docker": "my docker", "nuctl": "my nuctl"}.get(row["program"], row["program"])
    place = workshop.folder / "bin2"
    place.mkdir()
    for name in ("my docker", "my nuctl"):
        (workshop.folder / name).rename(place / name)
    result = workshop.run("deploy.sh", "cpu", DOCKER=str(place / "my docker"), NUCTL=str(place / "my nuctl"))
    assert result.returncode == 0, result.stderr
    assert {c["program"] for c in workshop.calls} == {"my docker", "my nuctl"}


@pytest.mark.parametrize(
    ("cvat", "nuctl"),
    [
        ("2.15", "1.13.0"),
        ("2.51.9", "1.13.0"),
        ("v2.51.0", "1.13.0"),
        ("2.52.0", "1.15.9"),
        ("2.54.1-alpha", "1.15.9"),
        ("2.80", "1.15.9"),
    ],
)
def test_nuctl_must_be_the_one_of_the_named_cvat(workshop, cvat, nuctl):
    workshop.nuctl_is(nuctl)
    assert workshop.run("deploy.sh", "cpu", CVAT_VERSION=cvat).returncode == 0
    other = {"1.13.0": "1.15.9", "1.15.9": "1.13.0"}[nuctl]
    workshop.nuctl_is(other)
    refused(
        workshop,
        f"nuctl is {other}",
        f"CVAT {cvat} ships Nuclio {nuctl}",
        f"get nuctl {nuctl}",
        "NUCTL_CHECK=skip",
        CVAT_VERSION=cvat,
    )
    assert workshop.run("deploy.sh", "cpu", CVAT_VERSION=cvat, NUCTL_CHECK="skip").returncode == 0


def test_nuctl_must_be_the_one_of_the_running_cvat(workshop):
    workshop.running("postgres:15-alpine", "cvat/server:v2.51.0", "cvat/ui:v2.51.0")
    refused(workshop, "nuctl is 1.15.9", "CVAT 2.51.0 ships Nuclio 1.13.0")


def test_the_running_dashboard_knows_best(workshop):
    workshop.running("cvat/server:v2.51.0", "quay.io/nuclio/dashboard:1.15.9-amd64")
    assert workshop.run("deploy.sh", "cpu").returncode == 0
    workshop.nuctl_is("1.13.0")
    refused(workshop, "the running Nuclio dashboard is 1.15.9", CVAT_VERSION="2.51")


def test_a_running_cvat_of_a_branch_says_nothing(workshop):
    workshop.running("cvat/server:dev")
    assert workshop.run("deploy.sh", "cpu").returncode == 0


@pytest.mark.parametrize("version", ["2.14.3", "1.7", "3.0"])
def test_versions_of_cvat_that_nobody_looked_at(workshop, version):
    refused(workshop, f"got '{version}'", "2.15 or newer", CVAT_VERSION=version)


@pytest.mark.parametrize("version", ["dev", "2", "2.x", "two"])
def test_text_that_is_no_version(workshop, version):
    refused(workshop, f"got '{version}'", "such as 2.54.1", CVAT_VERSION=version)


def test_an_unusual_nuctl_is_only_mentioned_when_nothing_is_known_of_cvat(workshop):
    workshop.nuctl_is("1.14.1")
    result = workshop.run("deploy.sh", "cpu")
    assert result.returncode == 0
    assert "nuctl is 1.14.1" in result.stderr and "CVAT_VERSION" in result.stderr


def test_a_nuctl_that_does_not_tell_its_version(workshop):
    workshop.answer("nuctl", "version", stdout="hello\n")
    result = workshop.run("deploy.sh", "cpu", CVAT_VERSION="2.54")
    assert result.returncode == 0
    assert "it should be 1.15.9" in result.stderr


def test_docker_29_and_an_old_dashboard(workshop):
    workshop.answer("docker", "info", "--format", "{{.ServerVersion}}", stdout="29.1.0\n")
    assert workshop.run("deploy.sh", "cpu").stderr == ""
    workshop.nuctl_is("1.13.0")
    assert "Docker is 29.1.0" in workshop.run("deploy.sh", "cpu", CVAT_VERSION="2.51").stderr


def test_the_network_by_its_name_when_it_has_no_label(workshop):
    workshop.networks(by_name=["bridge", "host", "work_cvat", "cvat_other"])
    assert workshop.run("deploy.sh", "cpu").returncode == 0
    assert '{"attributes": {"network": "work_cvat"}}' in workshop.commands("nuctl", "deploy")[0]


def test_no_network(workshop):
    workshop.networks(by_name=["bridge", "host", "none"])
    refused(workshop, "no network of CVAT found", "docker-compose.serverless.yml", "CVAT_NETWORK=")


def test_two_networks(workshop):
    workshop.networks(by_label=["cvat_cvat", "test_cvat"])
    refused(workshop, "cvat_cvat test_cvat", "choose one with CVAT_NETWORK")
    result = workshop.run("deploy.sh", "cpu", CVAT_NETWORK="test_cvat")
    assert result.returncode == 0
    assert '{"attributes": {"network": "test_cvat"}}' in workshop.commands("nuctl", "deploy")[0]


def test_a_network_that_docker_does_not_know(workshop):
    workshop.answer("docker", "network", "inspect", "nowhere", code=1)
    refused(workshop, "no network nowhere", "docker network ls", CVAT_NETWORK="nowhere")


def test_no_driver(workshop):
    workshop.remove("nvidia-smi")
    refused(workshop, "nvidia-smi", "580", "make deploy-cpu", "GPU_CHECK=skip", flavour="gpu")


def test_a_driver_that_does_not_answer(workshop):
    workshop.answer("nvidia-smi", "--query-gpu=driver_version", code=9)
    refused(workshop, "no working NVIDIA driver", flavour="gpu")


def test_an_old_driver_is_mentioned(workshop):
    workshop.answer("nvidia-smi", "--query-gpu=driver_version", stdout="550.54.15\n")
    result = workshop.run("deploy.sh", "gpu")
    assert result.returncode == 0
    assert "driver is 550.54.15" in result.stderr and "CUDA 13" in result.stderr


def test_no_container_toolkit(workshop):
    workshop.answer("docker", "info", "--format", "{{json .Runtimes}}", stdout='{"runc":{"path":"runc"}}\n')
    refused(workshop, "nvidia-container-toolkit", "nvidia-ctk runtime configure", flavour="gpu")


def test_a_gpu_that_is_not_there(workshop):
    refused(workshop, "no GPU 2 here", "nvidia-smi -L", flavour="gpu", GPU="0,2")


def test_an_image_that_cannot_compute_on_the_gpu_is_not_deployed(workshop):
    workshop.answer("docker", "run", code=1)
    result = workshop.run("deploy.sh", "gpu")
    assert result.returncode == 1
    assert "cannot compute on the GPU" in result.stderr and "nvidia-smi" in result.stderr
    assert workshop.commands("nuctl", "deploy") == workshop.commands("nuctl", "create") == []


def test_gpu_checks_can_be_skipped_for_a_daemon_elsewhere(workshop):
    workshop.remove("nvidia-smi")
    assert workshop.run("deploy.sh", "gpu", GPU_CHECK="skip").returncode == 0
    assert workshop.commands("docker", "run") == []


def test_a_failed_build_ends_it(workshop):
    workshop.answer("docker", "build", code=1)
    assert workshop.run("deploy.sh", "cpu").returncode != 0
    assert workshop.commands("nuctl", "deploy") == []


def test_a_failed_deployment_says_where_to_look(workshop):
    workshop.answer("nuctl", "deploy", code=1)
    result = workshop.run("deploy.sh", "cpu")
    assert result.returncode == 1
    assert "auto-annotator-face-detection was not deployed" in result.stderr
    assert "docker logs nuclio-nuclio-auto-annotator-face-detection" in result.stderr
    assert workshop.commands("nuctl", "get") == []


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ENSEMBLE", "embeded", "embedded research or the path of a .yaml file"),
        ("ENSEMBLE", "../secret", "expected one of"),
        ("ENSEMBLE", "nowhere/mine.yaml", "a .yaml file that exists"),
        ("GPU", "first", "nvidia-smi -L"),
        ("GPU", "0;reboot", "nvidia-smi -L"),
        ("NUCTL_PLATFORM", "auto", "expected one of: local kube"),
        ("WEIGHTS", "both", "expected one of: baked mounted"),
        ("WEIGHTS", "mounted", "WEIGHTS=mounted needs MODELS_DIR"),
        ("MODELS_DIR", "not/there", "is not a folder; fill it with auto-annotator models pull --models 'not/there'"),
        ("IMAGE_PREFIX", "Team/Faces", "such as registry.example.com/team"),
        ("IMAGE_PREFIX", "x; reboot", "such as registry.example.com/team"),
        ("IMAGES", "pictures", "expected one of: build skip"),
        ("CVAT_NETWORK", 'x"}}', "no name of a Docker network"),
        ("CPUS", "many", "a number of cores"),
        ("MEMORY", "4 GB", "such as 4Gi"),
        ("READINESS_TIMEOUT", "10m", "expected seconds"),
        ("AUTO_ANNOTATOR_ON_ERROR", "it's", "cannot carry a single quote"),
        ("AUTO_ANNOTATOR_ON_ERROR", "a\nb", "line break"),
    ],
)
def test_wrong_values(workshop, variable, value, says):
    assert variable in refused(workshop, says, **{variable: value})


@pytest.mark.parametrize("name", ["a,b", "a:b", 'a"b', "a'b", "a\\b", "a\nb"])
def test_folders_that_docker_or_yaml_would_misread(workshop, name):
    (workshop.folder / name).mkdir()
    refused(workshop, "cannot be mounted", MODELS_DIR=name)


def test_baked_and_mounted_at_once(workshop):
    refused(workshop, "unset one of them", WEIGHTS="baked", MODELS_DIR=str(workshop.folder))


def test_an_own_ensemble_needs_mounted_weights(workshop):
    own = workshop.folder / "mine.yaml"
    own.touch()
    refused(workshop, "the weights are mounted", "auto-annotator models pull --ensemble", "MODELS_DIR=FOLDER", ENSEMBLE=str(own))


def test_weights_that_the_function_may_not_read(workshop):
    models = workshop.models()
    (models / "secret.onnx").touch(mode=0o600)
    refused(workshop, "secret.onnx", "chmod -R o+rX", MODELS_DIR=str(models))


@pytest.mark.parametrize("arguments", [(), ("cpu", "gpu"), ("tpu",), ("",)])
@pytest.mark.parametrize("script", ["deploy.sh", "images.sh"])
def test_flavours(workshop, script, arguments):
    result = workshop.run(script, *arguments)
    assert result.returncode == 1
    assert "cpu" in result.stderr and "gpu" in result.stderr
    assert workshop.changes == []


def test_a_function_file_with_its_own_volumes_is_not_changed_blindly(workshop):
    path = workshop.root / "functions/face-detection/nuclio/function.yaml"
    path.write_text(path.read_text() + "\n  volumes: []\n")
    result = workshop.run("deploy.sh", "cpu", MODELS_DIR=str(workshop.models()))
    assert result.returncode == 1
    assert "no volumes of its own" in result.stderr and "WEIGHTS=baked" in result.stderr
    assert workshop.commands("nuctl", "deploy") == []
