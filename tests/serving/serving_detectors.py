"""Detectors that a user's ensemble file names in the tests of the command."""

from __future__ import annotations

from pathlib import Path

from fakes import SquareDetector


class Plain(SquareDetector):
    """Finds bright squares."""

    def __init__(self, context) -> None:
        super().__init__()


class Held(SquareDetector):
    """Says through one named pipe that it has a picture with a bright square, then waits for a word from another."""

    BRIGHT = 180
    """Above the grey of the picture that warms models up."""

    def __init__(self, context, *, begun: str, go: str) -> None:
        super().__init__()
        self.begun, self.go = Path(begun), Path(go)

    def detect(self, canvases, *, threshold):
        if max(int(c.max()) for c in canvases) > self.BRIGHT:
            self.begun.write_text("begun")
            with self.go.open() as pipe:
                pipe.read(1)
        return super().detect(canvases, threshold=threshold)
