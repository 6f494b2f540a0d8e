"""The picture input of a convolutional detector: what its file promises, and running it canvas by canvas or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from auto_annotator.errors import WeightsError
from auto_annotator.session import Array, Session
from auto_annotator.types import Float32Array

Shape = tuple[int | None, ...]

_DTYPES = ("float32", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureInput:
    """The one input (b, 3, h, w) of a detector.

    Attributes:
        name: the input's name in the file.
        dtype: `float32` or `float16`.
        batch: whether any number of canvases goes in at once; otherwise exactly one.
        size: (height, width) where the file fixes them, else None.
    """

    name: str
    dtype: str
    batch: bool
    size: tuple[int, int] | None

    @classmethod
    def of(cls, session: Session, *, family: str) -> PictureInput:
        """Read it from an opened file.

        Args:
            session: the opened file.
            family: name of the model family for messages.

        Raises:
            WeightsError: if the file does not take pictures as (b, 3, h, w) floats, with b dynamic or 1 and both sides fixed or
                both dynamic.
        """
        found = ", ".join(f"{i.name} {describe_shape(i.shape)} {i.dtype}" for i in session.inputs)
        if len(session.inputs) == 1:
            info = session.inputs[0]
            fits = len(info.shape) == 4 and info.shape[0] in (None, 1) and info.shape[1] in (None, 3) and info.dtype in _DTYPES
            if fits and (info.shape[2] is None) == (info.shape[3] is None):
                height, width = info.shape[2:]
                size = None if height is None or width is None else (height, width)
                return cls(name=info.name, dtype=info.dtype, batch=info.shape[0] is None, size=size)
        raise WeightsError(
            f"{family}: got a file with the inputs [{found}], expected one input (batch, 3, height, width) float32 with batch dynamic"
            " or 1 and both sides fixed or both dynamic; check that `use:` and `weights:` belong together, or export the model again"
        )

    def run(self, session: Session, blob: Float32Array) -> Iterator[list[Float32Array]]:
        """Yield for each row of `blob` (b, 3, h, w) float32 the model's outputs without their batch axis, as float32.

        Raises:
            WeightsError: if an output has not one row per canvas.
        """
        step = len(blob) if self.batch else 1
        for start in range(0, len(blob), step):
            rows = blob[start : start + step]
            outputs = session.run({self.name: rows.astype(self.dtype, copy=False)})
            self._check_rows(outputs, len(rows))
            for row in range(len(rows)):
                yield [output[row].astype(np.float32, copy=False) for output in outputs]

    @staticmethod
    def _check_rows(outputs: Sequence[Array], rows: int) -> None:
        if any(output.ndim < 1 or len(output) != rows for output in outputs):
            shapes = ", ".join(describe_shape(output.shape) for output in outputs)
            raise WeightsError(
                f"got outputs [{shapes}] for {rows} canvases, expected the batch as first axis; export the model again with a"
                " batch axis that is fixed to 1 or really dynamic"
            )


def describe_shape(shape: Sequence[int | None]) -> str:
    """`(1, 3, ?, ?)`: a shape as messages show it."""
    return f"({', '.join('?' if d is None else str(d) for d in shape)})"


def describe_outputs(session: Session) -> str:
    """Names and shapes of all outputs, for messages."""
    return "[" + ", ".join(f"{o.name} {describe_shape(o.shape)}" for o in session.outputs) + "]"
