"""What every recogniser is, and the run that all ONNX families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from auto_annotator.alignment import TEMPLATES
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.types import Float32Array, Image

BATCH = 32
"""Crops run together: beyond it a CPU gains nothing, and memory grows."""

Channels = tuple[float, float, float]


class Recogniser(Protocol):
    """A face recogniser: aligned crops in, vectors out.

    It is built as `Class(context, **options)` with the `options` of its YAML entry. The caller aligns, mirrors and scales to unit
    length.

    Attributes:
        template: name of the crop it looks at, a key of `alignment.TEMPLATES`.
        dimension: length of its vectors.
    """

    template: str
    dimension: int

    def describe(self, crops: Sequence[Image]) -> Float32Array:
        """The vectors of aligned crops, each independent of the others in the call.

        Args:
            crops: RGB (h, w, 3) uint8, all of the template's size; may be empty.

        Returns:
            (n, dimension) float32, raw as the model gives them; only their direction counts.
        """


class OnnxRecogniser:
    """A network of one input (n, 3, h, w) and one row of numbers per crop, whose pixels become (value - mean) / std.

    Args:
        context: one weight file (ONNX).
        template: name of the crop.
        mean: of each channel in the order R G B, 0..255.
        std: of each channel in the order R G B, in the same unit.
        bgr: the network wants its channels in the order B G R.

    Raises:
        ConfigError: for another number of weight files than one.
        WeightsError: if the file is not such a network.
    """

    def __init__(
        self,
        context: MemberContext,
        *,
        template: str = "arcface",
        mean: Channels = (0.0, 0.0, 0.0),
        std: Channels = (1.0, 1.0, 1.0),
        bgr: bool = False,
    ) -> None:
        name = type(self).__name__
        if len(context.weights) != 1:
            raise ConfigError(f"{name}: got {len(context.weights)} weight files, expected one")
        self.template = template
        self._session = context.session()
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
        self._bgr = bgr
        self._file = context.weights[0].name
        shape = self._session.inputs[0].shape if self._session.inputs else ()
        size = TEMPLATES[template]
        expected = (None, 3, size.height, size.width)
        if (
            len(self._session.inputs) != 1
            or len(shape) != 4
            or any(got not in (None, want) for got, want in zip(shape[1:], expected[1:], strict=True))
        ):
            raise WeightsError(
                f"{name}: {self._file} takes {[tuple(i.shape) for i in self._session.inputs]}, expected one input"
                f" (n, 3, {size.height}, {size.width})"
            )
        self._batch = min(BATCH, shape[0] or BATCH)
        self._fixed_batch = shape[0] is not None
        self.dimension = self._run([np.zeros((size.height, size.width, 3), np.uint8)]).shape[1]

    def describe(self, crops: Sequence[Image]) -> Float32Array:
        """(n, dimension) float32 raw vectors of RGB crops."""
        if not len(crops):
            return np.zeros((0, self.dimension), np.float32)
        parts = [self._run(crops[first : first + self._batch]) for first in range(0, len(crops), self._batch)]
        return np.concatenate(parts)

    def _run(self, crops: Sequence[Image]) -> Float32Array:
        blob = self._prepare(np.stack(crops))
        missing = self._rows(len(blob)) - len(blob)
        if missing:
            blob = np.concatenate([blob, np.zeros((missing, *blob.shape[1:]), np.float32)])
        outputs = self._session.run({self._session.inputs[0].name: blob})
        output = np.asarray(max(outputs, key=np.size), np.float32)  # some exports also give the vector's length
        if len(output) != len(blob):
            raise WeightsError(
                f"{type(self).__name__}: {self._file} gives {output.shape} for {len(blob)} crops, expected a row each"
            )
        return output.reshape(len(blob), -1)[: len(crops)]

    def _rows(self, count: int) -> int:
        """How many rows to run for so many crops: a GPU pays for every new shape, so there it is a power of two."""
        if self._fixed_batch:
            return self._batch
        return count if self._session.device == "cpu" else min(self._batch, 1 << (count - 1).bit_length())

    def _prepare(self, pixels: Image) -> Float32Array:
        """(n, 3, h, w) float32 of (n, h, w, 3) RGB crops."""
        blob = (pixels.astype(np.float32) - self._mean) / self._std
        if self._bgr:
            blob = blob[..., ::-1]
        return np.ascontiguousarray(blob.transpose(0, 3, 1, 2))
