"""MediaPipe's face mesh and iris models as an opinion on the five points: the mesh for nose and mouth, the iris for the eyes.

Sources: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019 (arXiv:1907.06724);
Ablavatski et al., "Real-time Pupil Tracking from Monocular Video for Digital Puppetry", 2020 (arXiv:2006.11341); the model
cards "MediaPipe Face Mesh" and "MediaPipe Iris". Both models come with mediapipe 0.10.14 (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.crops import Pyramid, inverse, square_matrix
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.geometry import transform_points
from auto_annotator.session import Session
from auto_annotator.types import Faces, Float32Array, Image

Points = npt.NDArray[np.float64]

RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
"""Vertices of the eye corners from image-left to image-right, of the person's right and left eye."""
NOSE, MOUTH = 4, (61, 291)
"""Vertices of the nose tip and of the mouth corners (right, left). Chosen on the development half of Helen."""
VERTICES = (*RIGHT_EYE, *LEFT_EYE, NOSE, *MOUTH)
"""What is kept of the mesh, in this order, for everything but the extent."""
MIRRORED = (3, 2, 1, 0, 4, 6, 5)
"""Where each of `VERTICES` lies in the mesh of the mirrored face."""

BOX_MARGIN, MESH_MARGIN, EYE_MARGIN = 1.5, 1.25, 2.3
"""Side of the crop over the long side of the box, over the long side of the mesh, and over the width of the eye.
Chosen on the development half of Helen; the model cards name 1.5 and 2.3 as well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Square:
    """A turned square of the picture.

    Attributes:
        center: (2,) x y in picture pixels.
        side: length in pixels.
        angle: radians from the x axis towards the y axis.
    """

    center: Points
    side: float
    angle: float


def angle_of(start: Points, end: Points) -> float:
    """Direction from one point to another in radians from the x axis towards the y axis; 0 where unknown."""
    x, y = end - start
    return float(np.arctan2(y, x)) if np.isfinite([x, y]).all() else 0.0


class _CropModel:
    """A LiteRT model that takes one RGB crop in 0..1 and returns flat vectors."""

    def __init__(self, session: Session, *, lengths: tuple[int, ...], name: str) -> None:
        self._session, self.size = session, session.inputs[0].shape[1] or 0
        found = {int(np.prod([d or 1 for d in info.shape])): i for i, info in enumerate(session.outputs)}
        if self.size < 1 or not set(lengths) <= set(found):
            raise WeightsError(
                f"face_mesh: got an input of {session.inputs[0].shape} and outputs of {sorted(found)} numbers, expected outputs"
                f" of {lengths} ({name}); give the weights in the order face mesh, iris"
            )
        self._order = [found[length] for length in lengths]

    def run(self, pyramid: Pyramid, square: Square, *, mirrored: bool) -> tuple[list[Float32Array], Points] | None:
        """Flat outputs in the order of `lengths` and the (2, 3) way from crop to picture; None where nothing is to be seen."""
        if not square.side >= 1:
            return None
        matrix = square_matrix(square.center, square.side, self.size, angle=square.angle, mirrored=mirrored)
        pixels = pyramid.crop(matrix, self.size, replicate=True)
        if pixels is None:
            return None
        outputs = self._session.run({self._session.inputs[0].name: pixels[None].astype(np.float32) / np.float32(255)})
        return [np.asarray(outputs[i], np.float32).reshape(-1) for i in self._order], inverse(matrix)
