"""Fixtures of the reports' tests; what they are made of is in reports_strategies.py beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # import mode importlib puts no test folder on the path

from reports_strategies import make_records


@pytest.fixture
def records():
    """A picture with two faces, one without, one with a failed member, one that could not be read."""
    return make_records()
