"""Makes the helpers of this folder and of the contract tests importable; one running gateway for the tests over real sockets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "contracts"):
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="module")
def live_gateway():
    """A gateway over one fake function, on free ports of this machine."""
    from serving_fakes import function_of, running_gateway

    with running_gateway([function_of()]) as gateway:
        yield gateway
