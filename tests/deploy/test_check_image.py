"""check_image.py: what it says of good and of broken images, and once for real."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import numpy as np
import pytest

CPU = {"auto-annotator": "1", "onnxruntime": "1.30", "opencv-python-headless": "5"}
GPU = {"auto-annotator": "1", "onnxruntime-gpu": "1.30", "opencv-python-headless": "5", "torch": "2"}
CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def checker(repository):
    spec = importlib.util.spec_from_file_location("check_image", repository / "deploy" / "check_image.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def image(checker, monkeypatch):
    """Function: pretend that these packages and providers are installed, run, return the status."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")

    def examine(flavour, packages, providers, *options, session=None, load=lambda path, mode=0: None):
        runtime = SimpleNamespace(
            __version__="1.30",
            __file__="/onnxruntime/__init__.py",
            get_available_providers=lambda: list(providers),
            preload_dlls=lambda: None,
            InferenceSession=session,
        )
        monkeypatch.setattr(checker.ctypes, "CDLL", load)
        monkeypatch.setattr(checker, "installed", packages.get)
        monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
        return checker.main([flavour, *options])

    return examine


class FakeSession:
    """Computes the product; says that it ran on `ran`."""

    ran, factor = CUDA[0], 1.0

    def __init__(self, model, providers):
        assert model and providers == [CUDA[0]]

    def get_providers(self):
        return [self.ran]

    def run(self, outputs, feeds):
        return [feeds["x"] @ feeds["x"] * self.factor]


def test_good_images(image, capsys):
    assert image("cpu", CPU, ["CPUExecutionProvider"]) == 0
    assert image("gpu", GPU, CUDA) == 0
    assert "CUDAExecutionProvider is there" in capsys.readouterr().out
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(
    ("flavour", "packages", "providers", "says"),
    [
        ("gpu", GPU, ["CPUExecutionProvider"], "offers CPUExecutionProvider, expected CUDAExecutionProvider"),
        ("gpu", GPU | {"onnxruntime": "1.32"}, CUDA, "onnxruntime 1.32 is installed"),
        ("gpu", CPU, CUDA, "onnxruntime-gpu is not installed: install auto-annotator[gpu]"),
        ("cpu", CPU | {"onnxruntime-gpu": "1.30"}, CUDA, "onnxruntime-gpu 1.30 is installed"),
        ("cpu", CPU | {"torch": "2.15"}, ["CPUExecutionProvider"], "torch 2.15 is installed"),
        ("cpu", CPU | {"opencv-python": "5"}, ["CPUExecutionProvider"], "got 2 OpenCV packages"),
        ("cpu", {"auto-annotator": "1", "onnxruntime": "1"}, ["CPUExecutionProvider"], "got 0 OpenCV packages (none)"),
        ("cpu", {"onnxruntime": "1", "opencv-python-headless": "5"}, ["CPUExecutionProvider"], "auto-annotator is not installed"),
    ],
)
def test_broken_images(image, capsys, flavour, packages, providers, says):
    assert image(flavour, packages, providers) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "status"),
    [("libcublasLt.so.13", 1), ("/onnxruntime/capi/libonnxruntime_providers_cuda.so", 1), ("libcuda.so.1", 0)],
)
def test_cuda_libraries_belong_into_the_image_and_the_driver_does_not(image, capsys, library, status):
    def load(path, mode=0):
        if path.endswith("providers_cuda.so"):
            raise OSError(f"{library}: cannot open shared object file: No such file or directory")

    assert image("gpu", GPU, CUDA, load=load) == status
    assert (f"the CUDA provider does not load: {library}" in capsys.readouterr().err) == bool(status)


def test_another_python(image, checker, capsys, monkeypatch):
    monkeypatch.setattr(checker, "PYTHON", (3, 9))
    assert image("cpu", CPU, ["CPUExecutionProvider"]) == 1
    assert "expected 3.9" in capsys.readouterr().err


def test_onnxruntime_that_cannot_be_imported(checker, monkeypatch, capsys):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setattr(checker, "installed", CPU.get)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert checker.main(["cpu"]) == 1
    assert "cannot be imported" in capsys.readouterr().err


def test_a_gpu_that_works(image, capsys):
    assert image("gpu", GPU, CUDA, "--run", session=FakeSession) == 0
    assert "CUDAExecutionProvider works" in capsys.readouterr().out


def test_a_gpu_that_onnxruntime_silently_replaces(image, capsys):
    session = type("Replaced", (FakeSession,), {"ran": "CPUExecutionProvider"})
    assert image("gpu", GPU, CUDA, "--run", session=session) == 1
    assert "the product ran on CPUExecutionProvider" in capsys.readouterr().err


def test_a_gpu_that_computes_nonsense(image, capsys):
    session = type("Wrong", (FakeSession,), {"factor": np.float32("nan")})
    assert image("gpu", GPU, CUDA, "--run", session=session) == 1
    assert "wrong product" in capsys.readouterr().err


def test_for_real_on_this_machine(repository):
    for name in ("torch", "onnxruntime-gpu"):
        try:
            version(name)
        except PackageNotFoundError:
            continue
        pytest.skip(f"{name} is installed: this is not the CPU flavour")
    command = [sys.executable, str(repository / "deploy" / "check_image.py"), "cpu", "--run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "CPUExecutionProvider works" in result.stdout
