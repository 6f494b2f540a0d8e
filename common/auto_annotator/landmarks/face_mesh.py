"""MediaPipe's face mesh and iris models as an opinion on the five points: the mesh for nose and mouth, the iris for the eyes.

Sources: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019 (arXiv:1907.06724);
Ablavatski et al., "Real-time Pupil Tracking from Monocular Video for Digital Puppetry", 2020 (arXiv:2006.11341); the model
cards "MediaPipe Face Mesh" and "MediaPipe Iris". Both models come with mediapipe 0.10.14 (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.crops import MIN_SIDE, Pyramid, eye_angles, inverse, square_matrix, usable_boxes
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

MESH_LENGTH, IRIS_LENGTH = 468 * 3, 5 * 3
"""Numbers in the models' main outputs: x y z of each vertex, and of the iris centre and four points on its rim."""

BOX_MARGIN, MESH_MARGIN, EYE_MARGIN = 1.5, 1.25, 2.3
"""Side of the crop over the long side of the box, over the long side of the mesh, and over the width of the eye.
Chosen on the development half of Helen; MediaPipe's own graphs use 1.5 and 2.3 too."""


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
    """Direction from one point to another in radians from the x axis towards the y axis."""
    x, y = end - start
    return float(np.arctan2(y, x))


def box_square(box: Float32Array, angle: float) -> Square:
    """The square around a box x1 y1 x2 y2, turned by an angle."""
    corners = np.asarray(box, np.float64).reshape(2, 2)
    side = float((corners[1] - corners[0]).max())
    return Square(center=corners.mean(axis=0), side=side * BOX_MARGIN, angle=angle)


def mesh_square(mesh: Points, margin: float = MESH_MARGIN) -> Square:
    """The square around a mesh of (n, 2) points, turned by the mesh's own eye line; its side is `margin` times the long side."""
    angle = angle_of(mesh[RIGHT_EYE[0]], mesh[LEFT_EYE[1]])
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # columns: along the eyes, down the face
    upright = mesh @ axes
    low, high = upright.min(axis=0), upright.max(axis=0)
    return Square(center=axes @ ((low + high) / 2), side=float((high - low).max()) * margin, angle=angle)


def usable_square(square: Square) -> bool:
    """Whether a square is finite and long enough to cut a crop from."""
    return bool(np.isfinite(square.center).all() and MIN_SIDE <= square.side < np.inf)


class CropModel:
    """A LiteRT model that takes one RGB crop in 0..1 and returns flat vectors, told apart by their lengths."""

    def __init__(self, session: Session, *, lengths: tuple[int, ...], name: str, beside: str = "iris") -> None:
        self._session = session
        self._size = session.inputs[0].shape[1] or 0
        found = {int(np.prod([d or 1 for d in info.shape])): i for i, info in enumerate(session.outputs)}
        if self._size < 1 or not set(lengths) <= set(found):
            raise WeightsError(
                f"face_mesh: got an input {session.inputs[0].shape} and outputs of {sorted(found)} numbers, expected outputs of"
                f" {lengths} numbers for the {name} model; give the weights in the order face mesh, {beside}"
            )
        self._order = [found[length] for length in lengths]

    def run(self, pyramid: Pyramid, square: Square, *, mirrored: bool = False) -> list[Points] | None:
        """Outputs in the order of `lengths`, each (length,); those of whole triples as (length / 3, 2) picture pixels.

        None where the square is degenerate or shows nothing of the picture.
        """
        if not usable_square(square):
            return None
        matrix = square_matrix(square.center, square.side, self._size, angle=square.angle, mirrored=mirrored)
        pixels = pyramid.crop(matrix, self._size, replicate=True)
        if pixels is None:
            return None
        outputs = self._session.run({self._session.inputs[0].name: pixels[None].astype(np.float32) / np.float32(255)})
        flat = [np.asarray(outputs[i], np.float64).reshape(-1) for i in self._order]
        back = inverse(matrix)
        return [np.asarray(transform_points(v.reshape(-1, 3)[:, :2], back), np.float64) if v.size % 3 == 0 else v for v in flat]

    def mesh(self, pyramid: Pyramid, square: Square, *, min_presence: float, mirrored: bool = False) -> Points | None:
        """(468, 2) vertices in picture pixels, None if a face mesh model gives the crop a lower probability of a face."""
        outputs = self.run(pyramid, square, mirrored=mirrored)
        if outputs is None:
            return None
        mesh, logit = outputs
        present = 1 / (1 + np.exp(-logit[0])) >= min_presence and np.isfinite(mesh).all()
        return mesh if present else None


class FaceMesh:
    """Mesh on the box, mesh again on its own extent, then the iris model on each eye: about 7 ms a face on one core.

    The points hardly depend on how exactly the box was drawn, and little on the size of the face: down to an eye distance
    of about 16 pixels they beat those of detectors.

    Args:
        context: weights face_landmark.tflite (192 px, 468 vertices), iris_landmark.tflite (64 px).
        mirrored: average with the mesh of the mirrored crop; 2 ms a face for a little less error.
        min_presence: a crop to which the mesh model gives a lower probability of a face gives no points (0.5 as in MediaPipe).
            It tells faces from walls, not upright faces from upside-down ones.

    Raises:
        ConfigError: for a `min_presence` outside 0..1 or a wrong number of weights.
        WeightsError: if the files are not these models in that order.
    """

    def __init__(self, context: MemberContext, *, mirrored: bool = False, min_presence: float = 0.5) -> None:
        if not 0 <= min_presence <= 1:
            raise ConfigError(f"face_mesh: got min_presence {min_presence}, expected 0..1")
        if len(context.weights) != 2:
            raise ConfigError(f"face_mesh: got {len(context.weights)} weight files, expected two: face mesh, iris")
        self._mirrored = mirrored
        self._min_presence = min_presence
        self._mesh_model = CropModel(context.session(0), lengths=(MESH_LENGTH, 1), name="face mesh")
        self._iris_model = CropModel(context.session(1), lengths=(IRIS_LENGTH,), name="iris")

    def refine(self, image: Image, faces: Faces) -> Float32Array:
        """(n, 5, 2) float32 points; NaN for an empty box, one outside the picture, or one without a face for the mesh model."""
        pyramid = Pyramid(image)
        points = np.full((len(faces), 5, 2), np.nan, np.float32)
        angles = eye_angles(faces.landmarks)
        for row in np.flatnonzero(usable_boxes(faces.boxes, image.shape[1], image.shape[0])):
            found = self._points(pyramid, box_square(faces.boxes[row], float(angles[row])))
            if found is not None:
                points[row] = found
        return points

    def _points(self, pyramid: Pyramid, square: Square) -> Points | None:
        """(5, 2) points of the face in a square, None if there is none."""
        rough = self._mesh(pyramid, square)
        if rough is None:
            return None
        square = mesh_square(rough)
        mesh = self._mesh(pyramid, square)
        if mesh is None:
            return None
        vertices = mesh[list(VERTICES)]
        twin = self._mesh(pyramid, square, mirrored=True) if self._mirrored else None
        if twin is not None:
            vertices = (vertices + twin[list(VERTICES)][list(MIRRORED)]) / 2
        eyes = [self._eye(pyramid, vertices[:2]), self._eye(pyramid, vertices[2:4], mirrored=True)]
        return np.stack([*eyes, *vertices[4:]])

    def _mesh(self, pyramid: Pyramid, square: Square, *, mirrored: bool = False) -> Points | None:
        return self._mesh_model.mesh(pyramid, square, min_presence=self._min_presence, mirrored=mirrored)

    def _eye(self, pyramid: Pyramid, corners: Points, *, mirrored: bool = False) -> Points:
        """(2,) iris centre, or the middle of the (2, 2) corners where the eye is too narrow or not in the picture."""
        middle = corners.mean(axis=0)
        width = float(np.linalg.norm(corners[1] - corners[0]))
        square = Square(center=middle, side=width * EYE_MARGIN, angle=angle_of(corners[0], corners[1]))
        outputs = self._iris_model.run(pyramid, square, mirrored=mirrored)
        center = middle if outputs is None else outputs[0][0]
        return np.asarray(center if np.isfinite(center).all() else middle, np.float64)
