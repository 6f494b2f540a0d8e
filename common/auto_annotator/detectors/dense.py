"""What the single-pass detectors share: checks of the weight file, running a batch, picking candidates, the last step.

"Dense" as in the papers: the network predicts a face for every cell of a few grids, and most of them are not faces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.detectors.base import Capabilities, nms
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.session import Array, Session, TensorInfo
from auto_annotator.types import Faces, Float32Array, Image

MAX_CANDIDATES = 10_000
"""Best-scored rows that go into NMS: a crowd of a thousand faces has a few thousand, and NMS over a canvas that a broken
model lights up everywhere would take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """The picture input of a model.

    Attributes:
        name: of the input tensor.
        fixed_size: (height, width) if the file takes no other canvas, else None.
        batch: whether the first axis may have any length.
    """

    name: str
    fixed_size: tuple[int, int] | None
    batch: bool


Candidates = tuple[Float32Array, Float32Array, Float32Array | None]
"""Boxes (n, 4) x1 y1 x2 y2, scores (n,), points (n, 5, 2) or None for a model without: float32, in canvas pixels, before NMS."""


class DenseDetector(ABC):
    """The run that all single-pass detectors share; implements `detectors.base.Detector`.

    A family checks its file, sets the attributes below in its constructor, and says how pixels become its input and how its
    outputs become candidates.
    """

    capabilities: Capabilities
    stride: int
    fixed_size: tuple[int, int] | None
    _session: Session
    _input: ImageInput
    _nms_iou: float

    def detect(self, canvases: Sequence[Image], *, threshold: float) -> list[Faces]:
        """Find the faces of each canvas; see `Detector.detect`.

        Raises:
            ValueError: if the canvases do not fit `stride` or `fixed_size`.
            MemberError: if the model's answer is not that of the family.
            WeightsError: if the file proves to be of another family only now, by what it answers.
        """
        if not canvases:
            return []
        size = require_canvases(canvases, stride=self.stride, fixed=self.fixed_size)
        runs = run_each(self._session, self._input.name, self._blob(canvases), together=self.capabilities.batch)
        return [suppressed(self._decode(outputs, size, threshold), self._nms_iou) for outputs in runs]

    @abstractmethod
    def _blob(self, canvases: Sequence[Image]) -> Float32Array:
        """(b, 3, h, w) float32, normalised as the model was trained."""

    @abstractmethod
    def _decode(self, outputs: Sequence[Array], size: tuple[int, int], threshold: float) -> list[Candidates]:
        """Candidates of one canvas of `size` (height, width), a list of them per grid."""


def image_input(session: Session, *, file: str, family: str, stride: int) -> ImageInput:
    """Check that a model takes one (b, 3, h, w) float32 picture, and say which ones.

    Args:
        session: the opened model.
        file: name of the weight file, for the message.
        family: name of the model family, for the message.
        stride: both sides of a fixed canvas must be multiples of it.

    Raises:
        WeightsError: if the input is another one.
    """
    found = "; ".join(f"{i.name} {i.dtype} {list(i.shape)}" for i in session.inputs)
    problem = f"{file}: not a usable file of the {family} family: got input {found or 'none'}, expected"
    if len(session.inputs) != 1 or len(session.inputs[0].shape) != 4 or session.inputs[0].dtype != "float32":
        raise WeightsError(f"{problem} one float32 picture [batch, 3, height, width]; check `use` and `weights` of the member")
    batch, channels, height, width = session.inputs[0].shape
    if channels not in (3, None):
        raise WeightsError(f"{problem} 3 channels on axis 1; check `use` and `weights` of the member")
    if batch not in (1, None):
        raise WeightsError(f"{problem} a batch axis of 1 or any length; make the axes dynamic (`auto-annotator models pull` does)")
    name = session.inputs[0].name
    if height is None and width is None:
        return ImageInput(name=name, fixed_size=None, batch=batch is None)
    if height is None or width is None or height % stride or width % stride:
        raise WeightsError(f"{problem} height and width both free, or both fixed multiples of {stride}; export the model again")
    return ImageInput(name=name, fixed_size=(height, width), batch=batch is None)


def require_tables(outputs: Sequence[TensorInfo], columns: Mapping[int, int], *, file: str, family: str) -> None:
    """Check the declared outputs of a model whose outputs are tables, one row per anchor.

    Args:
        outputs: as the session declares them; axes of free length are accepted as they are.
        columns: columns of a table -> how many tables have that many.
        file: name of the weight file, for the message.
        family: name of the model family, for the message.

    Raises:
        WeightsError: if number, rank or widths of the outputs differ.
    """
    widths = [o.shape[-1] if o.shape else None for o in outputs]
    fits = len(outputs) == sum(columns.values()) and all(len(o.shape) in (0, 2, 3) for o in outputs)
    if not fits or any(w is not None and widths.count(w) > columns.get(w, 0) for w in widths):
        wanted = ", ".join(f"{n} of {width} columns" for width, n in columns.items())
        raise WeightsError(
            f"{file}: not a file of the {family} family: got outputs {[list(o.shape) for o in outputs]}, expected tables: {wanted};"
            " check `use` and `weights` of the member"
        )


def batched_tables(image: ImageInput, outputs: Sequence[TensorInfo]) -> bool:
    """Whether one run answers for several canvases: input and all outputs have a batch axis of any length.

    An export whose tables have no batch axis mixes the rows of all pictures of a batch, so it runs one by one.
    """
    return image.batch and all(len(o.shape) == 3 and o.shape[0] is None for o in outputs)


def require_overlap(nms_iou: float) -> float:
    """The option `nms_iou`, checked.

    Raises:
        ConfigError: if it is not within 0 < nms_iou <= 1.
    """
    if not 0 < nms_iou <= 1:
        raise ConfigError(f"options: got nms_iou {nms_iou}, expected 0 < nms_iou <= 1")
    return float(nms_iou)


def require_canvases(canvases: Sequence[Image], *, stride: int, fixed: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of the canvases, checked.

    Raises:
        ValueError: if they are not RGB uint8 of one shape, or the model cannot take that shape.
    """
    shapes = {(c.shape, c.dtype.name) for c in canvases}
    (shape, dtype), *others = shapes
    if others or dtype != "uint8" or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"canvases: got {sorted(map(str, shapes))}, expected uint8 (h, w, 3) of one shape; use views.make_canvas")
    height, width = shape[:2]
    if (height, width) != (fixed or (height, width)) or height % stride or width % stride or not height * width:
        wanted = f"exactly {fixed[0]} x {fixed[1]}" if fixed else f"multiples of {stride}"
        raise ValueError(f"canvases: got {height} x {width} (height x width), expected {wanted}; use views.make_canvas")
    return height, width


def run_each(session: Session, name: str, blob: Float32Array, *, together: bool) -> Iterator[list[Array]]:
    """The outputs for each picture of a blob, each with a batch axis of 1 where the model has one.

    Args:
        session: the opened model.
        name: of its input.
        blob: (b, 3, h, w) float32.
        together: one run for all pictures; False = one run for each.

    Raises:
        MemberError: if the batch axis of an output is not that of the blob.
    """
    if not together or len(blob) == 1:
        for i in range(len(blob)):
            yield session.run({name: blob[i : i + 1]})
        return
    outputs = session.run({name: blob})
    if any(o.shape[0] != len(blob) for o in outputs):
        raise MemberError(f"outputs: got shapes {[o.shape for o in outputs]}, expected a first axis of {len(blob)} pictures")
    for i in range(len(blob)):
        yield [o[i : i + 1] for o in outputs]


def tables(outputs: Sequence[Array], columns: Mapping[int, int]) -> dict[int, list[Float32Array]]:
    """Outputs of one picture by their number of columns, each (rows, columns) float32, finest grid first.

    Exporters name and order outputs in many ways; columns and rows say which is which. Outputs of equal shape keep their order.

    Raises:
        MemberError: if there are not as many tables of each width as `columns` says.
    """
    found: dict[int, list[Float32Array]] = {width: [] for width in columns}
    for output in outputs:
        if output.ndim and output.shape[-1] in found:
            found[output.shape[-1]].append(np.asarray(output, np.float32).reshape(-1, output.shape[-1]))
    if any(len(found[width]) != n for width, n in columns.items()):
        raise MemberError(f"outputs: got shapes {[o.shape for o in outputs]}, expected {dict(columns)} (columns: tables)")
    return {width: sorted(group, key=len, reverse=True) for width, group in found.items()}


def candidates(scores: Float32Array, threshold: float) -> npt.NDArray[np.intp]:
    """Indexes into the flat `scores` of those at or above `threshold`.

    Raises:
        MemberError: if a score is not finite; a broken model must not look like a picture without faces.
    """
    if not np.isfinite(scores).all():
        raise MemberError(f"scores: got {int((~np.isfinite(scores)).sum())} of {scores.size} not finite, expected 0..1")
    return np.flatnonzero(scores >= threshold)


def suppressed(parts: Sequence[Candidates], nms_iou: float) -> Faces:
    """The faces left after NMS over the candidates of all grids, best score first.

    Boxes without area go: at low thresholds networks predict inverted ones on empty padding, and NMS cannot merge them.

    Args:
        parts: the candidates of each grid.
        nms_iou: a box that overlaps a better one by more than this goes.
    """
    faces = Faces.concat([Faces.of(*part) for part in parts])
    faces = faces.select((faces.boxes[:, 2:] > faces.boxes[:, :2]).all(axis=1))
    best = np.argsort(-faces.scores, kind="stable")[:MAX_CANDIDATES]
    faces = faces.select(best)
    return faces.select(nms(faces.boxes, faces.scores, nms_iou))
