"""Providers in order, a GPU that must be there, and real little models."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from auto_annotator.errors import DeviceError, WeightsError
from auto_annotator.session import Runtime, onnx_providers, usable_cores

GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", GPU, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("auto", CPU, ["CPUExecutionProvider"]),
        ("cpu", GPU, ["CPUExecutionProvider"]),
        ("cuda", GPU, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("tensorrt", GPU, GPU),
        ("tensorrt", GPU[1:], GPU[1:]),
    ],
)
def test_providers_in_order(device, available, expected):
    assert [name for name, _ in onnx_providers(Runtime(device=device), available)] == expected


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error_unless_allowed(device, caplog):
    with pytest.raises(DeviceError, match="AUTO_ANNOTATOR_ALLOW_CPU"):
        onnx_providers(Runtime(device=device), CPU)
    assert [name for name, _ in onnx_providers(Runtime(device=device, allow_cpu=True), CPU)] == ["CPUExecutionProvider"]
    assert "running on the CPU" in caplog.text


def test_memory_limit_reaches_the_gpu_provider():
    options = dict(onnx_providers(Runtime(device="cuda", gpu_memory_mb=512), GPU))["CUDAExecutionProvider"]
    assert options["gpu_mem_limit"] == 512 * 1024 * 1024


def test_cores_are_shared_fairly():
    assert Runtime(threads=8).shared_between(3).threads == 2
    assert Runtime(threads=2).shared_between(5).threads == 1
    assert Runtime().shared_between(1).threads == usable_cores()


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="expected one of"):
        Runtime(device="tpu")


def doubling_model(path: Path) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_an_onnx_model_runs_and_tells_its_shapes(tmp_path):
    session = Runtime(device="cpu", threads=1).open(doubling_model(tmp_path / "double.onnx"))
    assert session.device == "cpu"
    assert (session.inputs[0].name, session.inputs[0].shape, session.inputs[0].dtype) == ("x", (None, 3), "float32")
    (out,) = session.run({"x": np.ones((2, 3), np.float32)})
    assert out.tolist() == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("name", ["broken.onnx", "broken.tflite"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match=name):
        Runtime(device="cpu").open(path)


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_is_imported_with_its_telemetry_off(given, expected):
    probe = """
import builtins, os, sys
real = builtins.__import__
def watch(name, *args, **kwargs):
    if name.split(".")[0] == "onnxruntime":
        print(os.environ.get("ORT_DISABLE_TELEMETRY"))
        sys.exit()
    return real(name, *args, **kwargs)
builtins.__import__ = watch
from auto_annotator.commands import doctor
from auto_annotator.session import import_onnxruntime
import_onnxruntime()
"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | (
        {"ORT_DISABLE_TELEMETRY": given} if given else {}
    )
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_a_cuda_session_without_cuda_never_runs_silently_on_the_cpu(tmp_path):
    import onnxruntime as ort

    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    with pytest.raises(DeviceError, match="asked for 'cuda'"):
        Runtime(device="cuda").open(doubling_model(tmp_path / "double.onnx"))
