"""How long to wait before a network step is tried again.

A few lines of our own and no package: reads are simply repeated, but a write must first look at what became of it
(`bridge.converge`), which general retry helpers do not know.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from auto_annotator.errors import ConfigError

RETRY_SECONDS = "AUTO_ANNOTATOR_CVAT_RETRY_SECONDS"
TIMEOUT_SECONDS = "AUTO_ANNOTATOR_CVAT_TIMEOUT_SECONDS"

BUSY = frozenset({429, 502, 503, 504})
"""Answers that say nothing about the request: come back later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waiting times that double.

    Attributes:
        base: seconds before the second try.
        limit: longest wait in seconds that we choose; a server's Retry-After may ask for up to `patience`.
        patience: longest wait in seconds at all.
        attempts: tries in all.
    """

    base: float = 0.5
    limit: float = 30.0
    patience: float = 300.0
    attempts: int = 7

    def seconds(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait after so many failures in a row (from 1)."""
        own = min(self.base * 2.0 ** min(failures - 1, 30), self.limit)
        return min(max(own, retry_after or 0.0), self.patience)


def backoff_of_environment() -> Backoff:
    """The waiting times in force: `AUTO_ANNOTATOR_CVAT_RETRY_SECONDS` is the first wait, 0.5 by default.

    Raises:
        ConfigError: if it is no number of seconds.
    """
    return Backoff(base=seconds_of(RETRY_SECONDS, 0.5))


def seconds_of(variable: str, default: float) -> float:
    """A number of seconds from the environment.

    Raises:
        ConfigError: names the variable.
    """
    text = os.environ.get(variable, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise ConfigError(f"{variable}: got {text!r}, expected a number of seconds, such as {default:g}")
    return value


def parse_retry_after(text: str | None) -> float | None:
    """Seconds of a Retry-After header; None for none, or for a date, which is worth no clock comparison."""
    try:
        return max(float(text), 0.0) if text and len(text) < 20 else None
    except ValueError:
        return None


def pause(seconds: float) -> None:
    """Sleep; every wait of the bridge goes through here."""
    if seconds > 0:
        time.sleep(seconds)
