"""MediaPipe's face mesh with attention as an opinion on the five points: irises and lips from its own looks at eyes and mouth.

Sources: Grishchenko et al., "Attention Mesh: High-fidelity Face Mesh Prediction in Real-time", 2020 (arXiv:2006.10962); the model
card "MediaPipe Face Mesh". The plain mesh (see `landmarks.face_mesh`) finds the crop and the nose, where it is the better one.
"""

from __future__ import annotations

import numpy as np

from auto_annotator.crops import Matrix, Pyramid, eye_angles, inverse, square_matrix, usable_boxes
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.geometry import FLIP_ORDER, transform_points
from auto_annotator.landmarks.face_mesh import MESH_LENGTH, NOSE, CropModel, Points, box_square, mesh_square, usable_square
from auto_annotator.session import Session
from auto_annotator.types import Faces, Float32Array, Image

SIDE = 192
"""Side of the crop in pixels."""
MARGINS = ((1.4, False), (1.6, True))
"""Crops that are averaged: side over the long side of the mesh, and whether mirrored. Two tell as much as four; tighter ones cost
0.2 % of the eye distance on faces that fill their picture. Chosen on the development halves of Helen, LFW and AFLW."""
NOSE_BRIDGE, NOSE_BRIDGE_SHARE = 1, 0.15
"""Vertex above the tip of the nose, and how far the point is moved from the tip to it: annotators differ, Helen's put the point on
the tip (vertex 4), those of AFLW and LFW half-way. Measured against all three."""
IRIS_CENTRE, MOUTH_RIGHT, MOUTH_LEFT = 0, 0, 10
"""Rows of the outputs: the iris centre, and the corners of the mouth from image-left to image-right (vertices 61 and 291)."""


class _AttentionModel:
    """The converted model: eyes and mouth of square crops, which it takes as a batch."""

    OUTPUTS = ("right_iris", "left_iris", "lips")

    def __init__(self, session: Session) -> None:
        self._session = session
        places = {info.name: i for i, info in enumerate(session.outputs)}
        if session.inputs[0].shape[1:] != (SIDE, SIDE, 3) or not set(self.OUTPUTS) <= set(places):
            raise WeightsError(
                f"attention_mesh: got an input {session.inputs[0].shape} and outputs {', '.join(places)}, expected crops of {SIDE}"
                f" pixels and {', '.join(self.OUTPUTS)}; give the weights in the order face mesh, face mesh with attention"
            )
        self._order = [places[name] for name in self.OUTPUTS]

    def run(self, crops: Float32Array) -> Points:
        """(n, 4, 2) eyes and mouth corners, named from the person's side, in pixels of (n, SIDE, SIDE, 3) RGB crops in 0..1."""
        outputs = self._session.run({self._session.inputs[0].name: crops})
        right, left, lips = (np.asarray(outputs[i], np.float64) for i in self._order)
        return np.stack([right[:, IRIS_CENTRE], left[:, IRIS_CENTRE], lips[:, MOUTH_RIGHT], lips[:, MOUTH_LEFT]], axis=1)


class AttentionMesh:
    """Plain mesh on the box, then both meshes on its extent, plain and mirrored: about 17 ms a face on one core.

    Against `FaceMesh` it halves the failures on small faces of all poses and takes a sixth off their error; on large frontal
    ones the two are alike.

    Args:
        context: weights face_landmark.tflite, and face_landmark_with_attention.tflite as converted at pull.
        min_presence: a crop to which the plain mesh model gives a lower probability of a face gives no points.

    Raises:
        ConfigError: for a `min_presence` outside 0..1 or a wrong number of weights.
        WeightsError: if the files are not these models in that order.
    """

    def __init__(self, context: MemberContext, *, min_presence: float = 0.5) -> None:
        if not 0 <= min_presence <= 1:
            raise ConfigError(f"attention_mesh: got min_presence {min_presence}, expected 0..1")
        if len(context.weights) != 2:
            raise ConfigError(
                f"attention_mesh: got {len(context.weights)} weight files, expected two: face mesh, face mesh with attention"
            )
        self._mesh = CropModel(context.session(0), lengths=(MESH_LENGTH, 1), name="face mesh", beside="face mesh with attention")
        self._attention = _AttentionModel(context.session(1))
        self._min_presence = min_presence

    def refine(self, image: Image, faces: Faces) -> Float32Array:
        """(n, 5, 2) float32 points; NaN for an empty box, one outside the picture, or one without a face for the mesh model."""
        return np.asarray(self.looks(image, faces).mean(axis=1), np.float32)

    def looks(self, image: Image, faces: Faces) -> Float32Array:
        """(n, 2, 5, 2) float32 points of the plain and of the mirrored crops, which `refine` averages; NaN as there."""
        pyramid = Pyramid(image)
        points = np.full((len(faces), len(MARGINS), 5, 2), np.nan, np.float32)
        angles = eye_angles(faces.landmarks)
        for row in np.flatnonzero(usable_boxes(faces.boxes, image.shape[1], image.shape[0])):
            rough = self._mesh.mesh(pyramid, box_square(faces.boxes[row], float(angles[row])), min_presence=self._min_presence)
            found = None if rough is None else self._looks(pyramid, rough)
            if found is not None:
                points[row] = found
        return points

    def _looks(self, pyramid: Pyramid, rough: Points) -> Points | None:
        """(2, 5, 2) points of the face that fills a first mesh, None if there is none."""
        nose = self._nose(pyramid, rough)
        others = self._eyes_and_mouth(pyramid, rough)
        if nose is None or others is None:
            return None
        return np.concatenate([others[:, :2], nose[:, None], others[:, 2:]], axis=1)

    def _nose(self, pyramid: Pyramid, rough: Points) -> Points | None:
        """(2, 2) in the plain and the mirrored crop; the plain one alone counts where the mirrored one shows no face."""
        square = mesh_square(rough)
        plain = self._mesh.mesh(pyramid, square, min_presence=self._min_presence)
        if plain is None:
            return None
        twin = self._mesh.mesh(pyramid, square, mirrored=True, min_presence=self._min_presence)
        meshes = np.stack([plain, plain if twin is None else twin])  # both vertices are their own mirror images
        return np.asarray(meshes[:, NOSE] + NOSE_BRIDGE_SHARE * (meshes[:, NOSE_BRIDGE] - meshes[:, NOSE]))

    def _eyes_and_mouth(self, pyramid: Pyramid, rough: Points) -> Points | None:
        """(2, 4, 2) in each crop, None unless all of them show something."""
        crops: list[Float32Array] = []
        backs: list[tuple[Matrix, bool]] = []
        for margin, mirrored in MARGINS:
            square = mesh_square(rough, margin)
            if not usable_square(square):
                return None
            matrix = square_matrix(square.center, square.side, SIDE, angle=square.angle, mirrored=mirrored)
            pixels = pyramid.crop(matrix, SIDE, replicate=True)
            if pixels is None:
                return None
            crops.append(pixels.astype(np.float32) / np.float32(255))
            backs.append((inverse(matrix), mirrored))
        order = np.delete(FLIP_ORDER, 2)
        order = np.where(order > 2, order - 1, order)  # the same without the nose
        found = [
            transform_points(points[order] if mirrored else points, back)
            for points, (back, mirrored) in zip(self._attention.run(np.stack(crops)), backs, strict=True)
        ]
        points = np.asarray(found, np.float64)
        return points if np.isfinite(points).all() else None
