"""`auto-annotator doctor`: the device that is really used, weights and licences, versions, and what to do about problems."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from auto_annotator import __version__
from auto_annotator.commands.options import add_settings_options, settings_of
from auto_annotator.config import Settings, load_ensemble
from auto_annotator.errors import AutoAnnotatorError
from auto_annotator.pipeline import FaceDetection
from auto_annotator.session import usable_cores
from auto_annotator.weights import locate, registry

PACKAGES = ("numpy", "opencv-python-headless", "opencv-python", "Pillow", "onnxruntime", "onnxruntime-gpu", "ai-edge-litert",
            "torch", "insightface", "cvat-sdk", "starlette", "uvicorn")  # fmt: skip


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
    """Print the report; 1 if there is a problem."""
    findings = list(examine(settings_of(args)))
    for finding in findings:
        sys.stdout.write(f"{finding.level:8}{finding.text}\n")
    return int(any(finding.level == "problem" for finding in findings))


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything the doctor looks at, in order."""
    yield Finding(level="ok", text=f"auto-annotator {__version__}, Python {platform.python_version()}, {usable_cores()} cores")
    yield from _packages()
    try:
        config = load_ensemble(settings.ensemble)
    except AutoAnnotatorError as error:
        yield Finding(level="problem", text=str(error))
        return
    missing = False
    for name in config.weight_names:
        finding = _weight(name, settings)
        missing |= finding.level == "problem"
        yield finding
    if missing:
        yield Finding(level="problem", text=f"run: auto-annotator models pull --ensemble {settings.ensemble}")
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
    if "onnxruntime" in found and "onnxruntime-gpu" in found:
        text = "onnxruntime and onnxruntime-gpu are both installed; they share a folder and CUDA disappears: pip uninstall onnxruntime, then reinstall onnxruntime-gpu"
        yield Finding(level="problem", text=text)
    if "opencv-python" in found and "opencv-python-headless" in found:
        yield Finding(level="problem", text="two OpenCV wheels share the folder cv2: pip uninstall opencv-python, then reinstall opencv-python-headless")
    try:
        import onnxruntime as ort

        yield Finding(level="ok", text=f"onnxruntime offers {', '.join(ort.get_available_providers())}")
    except ImportError:
        yield Finding(level="problem", text="onnxruntime is missing: pip install 'auto-annotator[cpu]' or 'auto-annotator[gpu]'")


def _weight(name: str, settings: Settings) -> Finding:
    known = registry().get(name)
    terms = f"{known.licence}, commercial use: {known.commercial}" if known else "your own file, licence not known"
    try:
        path = locate(name, settings.models)
    except AutoAnnotatorError as error:
        return Finding(level="problem", text=str(error))
    return Finding(level="ok", text=f"weights {name}: {path.stat().st_size / 1e6:.1f} MB, hash checked; {terms}")


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
    wanted = settings.device
    level: Literal["ok", "note"] = "note" if wanted == "auto" and "cuda" not in pipeline.device else "ok"
    yield Finding(level=level, text=text + (" (no GPU found; asked for auto)" if level == "note" else ""))
