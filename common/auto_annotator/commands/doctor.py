"""`auto-annotator doctor`: the device that is really used, weights and licences, versions, and what to do about problems."""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from auto_annotator import __version__
from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.config import Settings, load_ensemble
from auto_annotator.errors import AutoAnnotatorError, DeviceError
from auto_annotator.pipeline import FaceDetection
from auto_annotator.session import Runtime, import_onnxruntime, onnx_providers, usable_cores
from auto_annotator.weights import Weight, expand, locate

PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "Pillow", "onnxruntime", "onnxruntime-gpu", "ai-edge-litert",
            "torch", "insightface", "cvat-sdk", "starlette", "uvicorn")  # fmt: skip

CLASHES = (
    ("onnxruntime", "onnxruntime", "onnxruntime-gpu", "CUDA disappears"),
    ("cv2", "opencv-python", "opencv-python-headless", "libGL may be asked for"),
)
"""Distributions that overwrite each other's files: folder, the one to remove, the one to keep, what else happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    level: Literal["ok", "note", "problem"]
    text: str


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("doctor", help="what is really used: device, weights, licences, versions")
    add_settings_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report as it comes together; 1 if there is a problem."""
    problems = 0
    for finding in examine(settings_of(args)):
        sys.stdout.write(f"{finding.level:8}{finding.text}\n")
        sys.stdout.flush()
        problems += finding.level == "problem"
    return int(problems > 0)


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything the doctor looks at, in order."""
    yield Finding(level="ok", text=f"auto-annotator {__version__}, Python {platform.python_version()}, {usable_cores()} cores")
    yield from _packages()
    yield from _runtime(settings)
    try:
        weights = expand(load_ensemble(settings.ensemble).weight_names)
    except AutoAnnotatorError as error:
        yield Finding(level="problem", text=str(error))
        return
    unusable = []
    for weight in weights:
        finding = _weight(weight, settings)
        yield finding
        if finding.level == "problem":
            unusable.append(weight)
    if unusable:
        yield from _remedy(unusable, settings)
        return
    yield from _models(settings)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    found = {name: v for name in PACKAGES if (v := _installed(name))}
    yield Finding(level="ok", text=", ".join(f"{name} {v}" for name, v in found.items()))
    for folder, unwanted, wanted, harm in CLASHES:
        if unwanted in found and wanted in found:
            text = f"{unwanted} and {wanted} are both installed and share the folder {folder}, so {harm}"
            yield Finding(
                level="problem", text=f"{text}; run: pip uninstall {unwanted}, then pip install --force-reinstall {wanted}"
            )


def _runtime(settings: Settings) -> Iterator[Finding]:
    """Providers, and whether the GPU that is asked for is among them, which shows before any weight is here."""
    try:
        available = import_onnxruntime().get_available_providers()
    except DeviceError as error:
        yield Finding(level="problem", text=str(error))
        return
    yield Finding(level="ok", text=f"onnxruntime offers {', '.join(available)}")
    try:
        onnx_providers(Runtime(device=settings.device, allow_cpu=settings.allow_cpu), available)
    except DeviceError as error:
        yield Finding(level="problem", text=str(error))


def _weight(weight: Weight, settings: Settings) -> Finding:
    try:
        path = locate(weight.name, settings.models)
    except AutoAnnotatorError as error:
        return Finding(level="problem", text=str(error))
    checked = "your own file, not checked" if weight.task == "own" else "hash checked"
    terms = f"{weight.licence}, commercial use: {weight.commercial}"
    return Finding(level="ok", text=f"weights {weight.name}: {path.stat().st_size / 1e6:.1f} MB, {checked}; {terms}")


def _remedy(unusable: Sequence[Weight], settings: Settings) -> Iterator[Finding]:
    """The one command that brings everything; own files only their owner can bring."""
    names = [weight for weight in unusable if weight.task != "own"]
    if not names:
        return
    options = ["--ensemble", settings.ensemble]
    if settings.models != Settings.model_fields["models"].get_default(call_default_factory=True):
        options += ["--models", str(settings.models)]
    if any(weight.sha256 is None for weight in names):
        options.append("--allow-unverified")
    yield Finding(level="problem", text=f"run: auto-annotator models pull {shlex.join(options)}")


def _models(settings: Settings) -> Iterator[Finding]:
    try:
        start = time.perf_counter()
        pipeline = FaceDetection.from_settings(settings)
        loaded = time.perf_counter()
        pipeline.warm_up()
    except AutoAnnotatorError as error:
        yield Finding(level="problem", text=str(error))
        return
    times = f"loaded in {loaded - start:.1f} s, first picture in {time.perf_counter() - loaded:.1f} s"
    text = f"ensemble {pipeline.ensemble.config.name}: {', '.join(pipeline.members)} on {pipeline.device}; {times}"
    if settings.device != "cpu" and not {"cuda", "tensorrt"} & set(pipeline.ensemble.devices):
        yield Finding(level="note", text=f"{text} (no GPU is used; asked for {settings.device})")
    else:
        yield Finding(level="ok", text=text)
