#!/usr/bin/env python3
"""Refuse an image that would not do what its name says: `check_image.py cpu|gpu [--run]`.

Without `--run` it looks at what is installed, which needs no GPU: the build ends with it. With `--run` it also computes one
matrix product on the device, which shows that driver, container toolkit and CUDA parts fit each other.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PYTHON = (3, 11)
"""The runtime that the function files name; Nuclio brings wheels for exactly that version."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}
WANTED = {"cpu": ("onnxruntime",), "gpu": ("onnxruntime-gpu",)}
UNWANTED = {
    "cpu": {"onnxruntime-gpu": "it shares a folder with onnxruntime", "torch": "the CPU flavour has no use for it"},
    "gpu": {"onnxruntime": "it shares a folder with onnxruntime-gpu and takes the CUDA provider away"},
}
DRIVER = "libcuda.so.1"
"""The one library that no image carries: the container toolkit brings it in, so it is missing while the image is built."""

OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
"""All of them write into the folder cv2; two would damage each other."""


def installed(name: str) -> str | None:
    """Version of an installed distribution, None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def problems(flavour: str) -> Iterator[str]:
    """What is wrong with what is installed; each line says what to do."""
    if sys.version_info[:2] != PYTHON:
        got = ".".join(map(str, sys.version_info[:2]))
        yield f"Python is {got}, expected {'.'.join(map(str, PYTHON))}: Nuclio's wheels would not install; change PYTHON_IMAGE"
    if installed("auto-annotator") is None:
        yield "auto-annotator is not installed"
    for name in WANTED[flavour]:
        if installed(name) is None:
            yield f"{name} is not installed: install auto-annotator[{flavour}]"
    for name, reason in UNWANTED[flavour].items():
        if installed(name) is not None:
            yield f"{name} {installed(name)} is installed, but {reason}: pip show {name} says who asks for it"
    opencv = [name for name in OPENCV if installed(name)]
    if len(opencv) != 1:
        yield f"got {len(opencv)} OpenCV packages ({', '.join(opencv) or 'none'}), expected opencv-python-headless alone"
    yield from _provider_problems(flavour)


def _provider_problems(flavour: str) -> Iterator[str]:
    try:
        import onnxruntime
    except ImportError as error:
        yield f"onnxruntime cannot be imported: {error}"
        return
    offered = onnxruntime.get_available_providers()
    if PROVIDERS[flavour] not in offered:
        yield f"onnxruntime {onnxruntime.__version__} offers {', '.join(offered)}, expected {PROVIDERS[flavour]} among them"
    elif flavour == "gpu":
        yield from _library_problems(onnxruntime)


def _library_problems(onnxruntime: Any) -> Iterator[str]:
    """The provider is offered even where its CUDA libraries are missing: load it. Only the driver comes from the host."""
    onnxruntime.preload_dlls()
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        if "cannot open shared object file" in str(error) and DRIVER not in str(error):
            yield f"the CUDA provider does not load: {error}: install onnxruntime-gpu[cuda,cudnn]"


def run_problems(flavour: str) -> Iterator[str]:
    """Compute something on the device; says on which one it really ran."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper

    if flavour == "gpu":
        onnxruntime.preload_dlls()
    matrix = helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])
    product = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [matrix], [product])
    # Versions that every ONNX Runtime of the last years reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[PROVIDERS[flavour]])
    if session.get_providers()[0] != PROVIDERS[flavour]:
        yield (
            f"the product ran on {session.get_providers()[0]}, expected {PROVIDERS[flavour]}: see the lines of onnxruntime above;"
            " usually the driver is older than 580 (CUDA 13) or the container got no GPU (--gpus all)"
        )
        return
    x = np.eye(64, dtype=np.float32) * 3
    (y,) = session.run(None, {"x": x})
    if not np.allclose(y, x @ x):
        yield f"{PROVIDERS[flavour]} computed a wrong product"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is wrong; 0 = nothing."""
    parser = argparse.ArgumentParser(description="Refuse an image that would not do what its name says.")
    parser.add_argument("flavour", choices=sorted(PROVIDERS))
    parser.add_argument("--run", action="store_true", help="also compute on the device")
    args = parser.parse_args(argv)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: ONNX Runtime reports to its maker from then on
    found = list(problems(args.flavour))
    if args.run and not found:
        found = list(run_problems(args.flavour))
    for problem in found:
        sys.stderr.write(f"check_image {args.flavour}: {problem}\n")
    if not found:
        sys.stdout.write(f"check_image {args.flavour}: {PROVIDERS[args.flavour]} {'works' if args.run else 'is there'}\n")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
