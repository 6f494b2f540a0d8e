"""Detectors that the ensemble files of these tests name."""

from __future__ import annotations

import sys

import numpy as np
from fakes import SquareDetector


class Squares(SquareDetector):
    """Finds bright squares."""

    def __init__(self, context, *, shift: float = 0.0) -> None:
        super().__init__(shift)


class Gated(Squares):
    """Says on stderr that a picture came, and looks at it only after a line on stdin: a test can stop the run at any picture."""

    def detect(self, canvases, *, threshold):
        sys.stderr.write("picture came\n")
        sys.stderr.flush()
        if not sys.stdin.readline():
            raise SystemExit("the test has gone")
        return super().detect(canvases, threshold=threshold)


class FailsOnBlack(Squares):
    """Breaks on a picture that is all black."""

    def detect(self, canvases, *, threshold):
        if not any(np.any(c) for c in canvases):
            raise RuntimeError("secret of the picture")
        return super().detect(canvases, threshold=threshold)
