"""`auto-annotator doctor`, `labels` and `specs`: what they report."""

from __future__ import annotations

import json

import pytest

from auto_annotator.commands import doctor
from auto_annotator.cvat.labels import label_constructor


def report(result) -> dict[str, list[str]]:
    """Texts of the findings by level."""
    findings: dict[str, list[str]] = {"ok": [], "note": [], "problem": []}
    for line in result.out.splitlines():
        findings[line[:8].strip()].append(line[8:])
    return findings


def has(texts: list[str], *parts: str) -> bool:
    return any(all(part in text for part in parts) for text in texts)


@pytest.fixture
def installed(monkeypatch):
    """Function: the distributions that seem to be installed."""

    def pretend(**versions: str) -> None:
        def version(name):
            if name not in names:
                raise doctor.PackageNotFoundError(name)
            return names[name]

        names = {name.replace("_", "-"): v for name, v in versions.items()}
        monkeypatch.setattr(doctor, "version", version)

    return pretend


@pytest.fixture
def providers(monkeypatch):
    """Function: what ONNX Runtime seems to offer."""
    ort = pytest.importorskip("onnxruntime")
    return lambda *names: monkeypatch.setattr(ort, "get_available_providers", lambda: list(names))


def test_a_healthy_machine_has_no_problem(cli, ensemble):
    result = cli("doctor", "--ensemble", ensemble(), "--device", "cpu")
    found = report(result)
    assert (result.code, found["problem"], found["note"]) == (0, [], [])
    assert has(found["ok"], "ensemble fakes: squares on cpu", "loaded in")


def test_without_a_gpu_auto_is_no_problem_but_is_said(cli, ensemble):
    found = report(cli("doctor", "--ensemble", ensemble(), "--device", "auto"))
    assert has(found["note"], "on cpu", "no GPU is used; asked for auto")
    assert found["problem"] == []


def test_missing_weights_are_problems_with_the_command_that_helps(cli, tmp_path):
    folder = tmp_path / "no models"
    result = cli("doctor", "--ensemble", "embedded", "--models", folder)
    found = report(result)
    assert result.code == 1
    assert has(found["problem"], "yunet_2023mar.onnx: not in the folder of models")
    assert found["problem"][-1] == f"run: auto-annotator models pull --ensemble embedded --models '{folder}'"


def test_the_command_allows_unverified_weights_where_the_ensemble_has_some(cli, ensemble, tmp_path, unverified):
    member = {"name": "r", "use": "command_detectors:Squares", "views": [{"size": 320}], "weights": unverified}
    found = report(cli("doctor", "--ensemble", ensemble(members=[member]), "--models", tmp_path))
    assert found["problem"][-1].endswith("--allow-unverified")


def test_an_own_file_that_is_missing_cannot_be_pulled(cli, ensemble, tmp_path):
    member = {"name": "r", "use": "command_detectors:Squares", "views": [{"size": 320}], "weights": "mine.onnx"}
    result = cli("doctor", "--ensemble", ensemble(members=[member]), "--models", tmp_path)
    assert result.code == 1
    assert report(result)["problem"] == ["weights: 'mine.onnx' is not a file; expected the path of an own model"]


def test_a_gpu_that_is_asked_for_and_absent_is_a_problem_even_before_weights_are_here(cli, providers, tmp_path):
    providers("CPUExecutionProvider")
    result = cli("doctor", "--device", "cuda", "--models", tmp_path)
    assert result.code == 1
    assert has(report(result)["problem"], "asked for 'cuda'", "onnxruntime offers only CPUExecutionProvider")


def test_a_gpu_that_may_be_replaced_by_the_cpu_is_no_problem(cli, providers, ensemble):
    providers("CPUExecutionProvider")
    result = cli("doctor", "--device", "cuda", "--allow-cpu", "--ensemble", ensemble())
    assert result.code == 0
    assert has(report(result)["note"], "on cpu", "asked for cuda")


@pytest.mark.parametrize(
    ("versions", "unwanted"),
    [
        ({"onnxruntime": "1.24", "onnxruntime_gpu": "1.24"}, "onnxruntime"),
        ({"opencv_python": "4.12", "opencv_python_headless": "4.12"}, "opencv-python"),
    ],
)
def test_two_distributions_that_share_a_folder_are_a_problem(cli, installed, ensemble, versions, unwanted):
    installed(**versions)
    result = cli("doctor", "--ensemble", ensemble(), "--device", "cpu")
    assert result.code == 1
    assert has(report(result)["problem"], "are both installed", f"pip uninstall {unwanted}, then pip install --force-reinstall")


def test_one_of_them_alone_is_none(cli, installed, ensemble):
    installed(onnxruntime_gpu="1.24", opencv_python_headless="4.12")
    assert cli("doctor", "--ensemble", ensemble(), "--device", "cpu").code == 0


def test_a_wrong_ensemble_is_a_problem(cli):
    result = cli("doctor", "--ensemble", "embeded")
    assert result.code == 1
    assert has(report(result)["problem"], "got 'embeded', expected one of")


def test_a_member_that_cannot_look_at_a_plain_picture_is_a_problem(cli, ensemble, monkeypatch):
    import command_detectors

    def fail(*_, **__):
        raise RuntimeError("any")

    monkeypatch.setattr(command_detectors.Squares, "detect", fail)
    result = cli("doctor", "--ensemble", ensemble(), "--device", "cpu")
    assert result.code == 1
    assert has(report(result)["problem"], "squares: raised")


@pytest.mark.weights
def test_the_embedded_ensemble_says_its_members_device_and_licences(cli, pulled):
    for name in ("yunet-2023mar", "centerface", "face-mesh", "face-mesh-attention", "mtcnn-onet"):
        folder = pulled(name).parent
    result = cli("doctor", "--models", folder, "--device", "cpu")
    found = report(result)
    assert (result.code, found["problem"]) == (0, [])
    assert has(found["ok"], "yunet, centerface on cpu") and has(found["ok"], "weights yunet-2023mar", "hash checked", "MIT")


def test_labels_prints_what_the_raw_editor_takes(cli):
    result = cli("labels")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == label_constructor()


def test_specs_of_the_repository_are_fresh(cli, repository):
    result = cli("specs", repository / "functions", "--check")
    assert (result.code, result.out) == (0, "")


def test_specs_of_a_folder_that_is_not_there_exit_2(cli, tmp_path):
    result = cli("specs", tmp_path / "absent", "--check")
    assert result.code == 2
    assert "absent" in result.one_line
