"""Face mesh and iris: fakes that see where their crop lies, and the real models."""

from __future__ import annotations

import numpy as np
import pytest
from coordinate_pictures import coordinate_picture, read_transform
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.crops import inverse
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.geometry import transform_points
from auto_annotator.landmarks.face_mesh import FaceMesh, mesh_square
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces

WIDTH, HEIGHT = 320, 240
IRIS = {"right": np.array([141.0, 90.0]), "left": np.array([182.0, 101.0])}
NAMED = {33: (133, 88), 133: (149, 92), 362: (173, 99), 263: (190, 103), 4: (158, 120), 61: (136, 140), 291: (172, 148)}
TWINS = {33: 263, 133: 362, 61: 291, 4: 4}
EXPECTED = np.array([IRIS["right"], IRIS["left"], NAMED[4], NAMED[61], NAMED[291]])
FACE = np.array([[110, 50], [205, 175]], np.float64)
"""Extent of the fake mesh."""
BOX = [110, 60, 200, 170]


def vertices(mirrored):
    """(468, 2) picture positions; in a mirrored crop the model calls the right eye left, as it should."""
    mesh = FACE[0] + np.random.default_rng(0).uniform(0, 1, (468, 2)) * (FACE[1] - FACE[0])
    twin = TWINS | {b: a for a, b in TWINS.items()}
    for index, place in NAMED.items():
        mesh[twin[index] if mirrored else index] = place
    return mesh


class FakeModel:
    """Fits where its crop lies in `coordinate_picture` and answers in crop pixels, as the real models do."""

    device = "cpu"

    def __init__(self, size, *lengths):
        self.size, self.transforms = size, []
        self.inputs = (TensorInfo(name="in", shape=(1, size, size, 3), dtype="float32"),)
        self.outputs = tuple(TensorInfo(name=str(n), shape=(1, n), dtype="float32") for n in lengths)

    def look(self, feeds):
        crop = np.asarray(feeds["in"])
        assert crop.shape == (1, self.size, self.size, 3)
        assert crop.dtype == np.float32
        assert 0 <= crop.min() <= crop.max() <= 1
        matrix = read_transform(crop[0] * 255, WIDTH, HEIGHT)
        self.transforms.append(matrix)
        return matrix, inverse(matrix)

    def angle(self, call):
        along = self.transforms[call][:, 0]
        return np.degrees(np.arctan2(along[1], along[0]))


class FakeMesh(FakeModel):
    def __init__(self, logit=5.0):
        super().__init__(192, 1, 1404)
        self.logit = logit

    def run(self, feeds):
        matrix, to_crop = self.look(feeds)
        mesh = transform_points(vertices(np.linalg.det(matrix[:, :2]) < 0), to_crop)
        logit = self.logit if np.isscalar(self.logit) else self.logit[len(self.transforms) - 1]
        return [
            np.full((1, 1, 1, 1), logit, np.float32),
            np.hstack([mesh, np.zeros((468, 1))]).reshape(1, 1, 1, -1).astype(np.float32),
        ]


class FakeIris(FakeModel):
    def __init__(self):
        super().__init__(64, 213, 15)

    def run(self, feeds):
        matrix, to_crop = self.look(feeds)
        eye = IRIS["left" if np.linalg.det(matrix[:, :2]) < 0 else "right"]  # only the left eye's crop is mirrored
        rim = np.zeros((5, 3))
        rim[0, :2] = transform_points(eye[None], to_crop)[0]
        return [np.zeros((1, 213), np.float32), rim.reshape(1, 15).astype(np.float32)]


def build(tmp_path, mesh=None, iris=None, **options):
    sessions = {"mesh": mesh or FakeMesh(), "iris": iris or FakeIris()}
    context = MemberContext(weights=(tmp_path / "mesh", tmp_path / "iris"), open_session=lambda path: sessions[path.name])
    return FaceMesh(context, **options)


@pytest.fixture(scope="module")
def picture():
    return coordinate_picture(WIDTH, HEIGHT)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [BOX, [100, 90, 240, 150], [-40, 0, 210, 190], [150, 110, 152, 112]])
def test_points_come_back_in_picture_pixels(tmp_path, picture, box, mirrored):
    points = build(tmp_path, mirrored=mirrored).refine(picture, Faces.of([box], [1]))
    np.testing.assert_allclose(points[0], EXPECTED, atol=1.5)


def test_first_crop_turns_with_the_first_points_then_with_the_mesh(tmp_path, picture):
    mesh, first = FakeMesh(), np.full((1, 5, 2), np.nan, np.float32)
    first[0, :2] = [[140, 90], [140, 130]]
    points = build(tmp_path, mesh).refine(picture, Faces.of([BOX], [1], first))
    np.testing.assert_allclose(points[0], EXPECTED, atol=1.5)
    assert mesh.angle(0) == pytest.approx(90, abs=2)
    own = np.degrees(np.arctan2(NAMED[263][1] - NAMED[33][1], NAMED[263][0] - NAMED[33][0]))
    assert mesh.angle(1) == pytest.approx(own, abs=2)


@settings(deadline=None)
@given(st.floats(-3.1, 3.1), st.tuples(st.floats(-50, 400), st.floats(-50, 400)), st.floats(2, 200), st.floats(2, 200))
def test_second_square_holds_a_turned_mesh(angle, center, width, height):
    """A turned rectangle of vertices: its own middle, its long side and its angle, whatever the axes of the picture."""
    right, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    places = np.random.default_rng(0).uniform(-0.5, 0.5, (468, 2))
    places[:4] = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
    places[[33, 263]] = [[-0.2, -0.1], [0.3, -0.1]]
    square = mesh_square(np.array(center) + places * [width, height] @ np.stack([right, down]))
    np.testing.assert_allclose(square.center, center, atol=1e-6)
    assert square.side == pytest.approx(1.25 * max(width, height))
    assert square.angle == pytest.approx(angle, abs=1e-6)


def test_crop_sizes(tmp_path, picture):
    mesh, iris = FakeMesh(), FakeIris()
    build(tmp_path, mesh, iris).refine(picture, Faces.of([BOX], [1]))
    sides = [np.linalg.norm(t[:, 0]) * 192 for t in mesh.transforms]
    assert sides[0] == pytest.approx(1.5 * 110, rel=0.02)
    assert 1.25 * 120 < sides[1] < 1.25 * 160  # the extent of a turned rectangle of 95 x 125 with random points in it
    widths = [np.hypot(16, 4), np.hypot(17, 4)]
    assert [np.linalg.norm(t[:, 0]) * 64 for t in iris.transforms] == pytest.approx([2.3 * w for w in widths], rel=0.15)


@pytest.mark.parametrize("logits", [[-3, 5], [5, -3]])
def test_no_face_in_either_crop_means_unknown(tmp_path, picture, logits):
    points = build(tmp_path, FakeMesh(logits)).refine(picture, Faces.of([BOX], [1]))
    assert np.isnan(points).all()


def test_a_mirrored_crop_without_a_face_has_no_say(tmp_path, picture):
    points = build(tmp_path, FakeMesh([5, 5, -3]), mirrored=True).refine(picture, Faces.of([BOX], [1]))
    np.testing.assert_allclose(points[0], EXPECTED, atol=1.5)


def test_min_presence_is_a_probability(tmp_path, picture):
    faces = Faces.of([BOX], [1])
    assert np.isnan(build(tmp_path, FakeMesh(1.0), min_presence=0.74).refine(picture, faces)).all()
    assert np.isfinite(build(tmp_path, FakeMesh(1.0), min_presence=0.73).refine(picture, faces)).all()


def test_eyes_fall_back_to_the_corners(tmp_path, picture):
    class Blind(FakeIris):
        def run(self, feeds):
            return [np.full_like(o, np.nan) for o in super().run(feeds)]

    points = build(tmp_path, iris=Blind()).refine(picture, Faces.of([BOX], [1]))
    np.testing.assert_allclose(points[0, 0], [141, 90], atol=1.5)
    np.testing.assert_allclose(points[0, 1], [181.5, 101], atol=1.5)


def test_rows_keep_their_order_and_bad_boxes_are_unknown(tmp_path, picture):
    boxes = [BOX, [500, 500, 600, 600], [50, 50, 50, 50], [np.nan] * 4, [200, 170, 110, 60], BOX]
    points = build(tmp_path).refine(picture, Faces.of(boxes, [1] * 6))
    assert np.isfinite(points).all(axis=(1, 2)).tolist() == [True, False, False, False, False, True]
    assert np.isnan(points[1:5]).all()
    assert build(tmp_path).refine(picture, Faces.empty()).shape == (0, 5, 2)


def test_wrong_files_and_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="min_presence"):
        build(tmp_path, min_presence=-1)
    with pytest.raises(WeightsError, match="order face mesh, iris"):
        build(tmp_path, FakeIris(), FakeMesh())
    with pytest.raises(ConfigError, match="got 1 weight files"):
        FaceMesh(MemberContext(weights=(tmp_path,), open_session=lambda _: FakeMesh()))


@pytest.fixture(scope="module")
def real(pulled):
    return FaceMesh(
        MemberContext(weights=(pulled("face-mesh"), pulled("iris")), open_session=Runtime(device="cpu").open), mirrored=True
    )


coordinates = st.floats(-200, 200, width=32)
boxes = st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=4)


@pytest.mark.weights
@settings(deadline=None, max_examples=40)
@given(boxes, st.booleans(), st.booleans())
def test_any_boxes(real, boxes, tiny, pointed):
    """Boxes anywhere on and around a real face: never an error, and a row is known as a whole or not at all."""
    from skimage.data import astronaut

    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    if tiny:
        boxes[:, 2:] = boxes[:, :2] + 2
    first = np.random.default_rng(len(boxes)).uniform(-20, 200, (len(boxes), 5, 2)) if pointed else None
    points = real.refine(astronaut()[20:220, 120:320], Faces.of(boxes, np.ones(len(boxes)), first))
    assert points.shape == (len(boxes), 5, 2)
    finite = np.isfinite(points).all(axis=(1, 2))
    assert np.isnan(points[~finite]).all()


@pytest.mark.weights
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("zoom", [1, 4])
def test_astronaut_turned_and_enlarged(real, turns, zoom):
    """Positions measured by eye; a large face goes through the pyramid."""
    import cv2
    from skimage.data import astronaut

    image = cv2.resize(astronaut(), None, fx=zoom, fy=zoom)
    expected = np.array([[204.5, 100.5], [248.5, 103], [225, 128], [203, 140], [246, 142]], np.float32) * zoom
    corners = np.array([[180, 62], [268, 175]], np.float32) * zoom
    for _ in range(turns):  # np.rot90 turns against the clock: (x, y) -> (y, width - x)
        expected, corners = (np.stack([p[:, 1], image.shape[1] - p[:, 0]], axis=1) for p in (expected, corners))
        image = np.rot90(image)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    points = real.refine(np.ascontiguousarray(image), Faces.of([box], [1], expected[None]))
    assert np.abs(points[0] - expected).max() < 4 * zoom


@pytest.mark.weights
def test_a_plain_wall_has_no_face(real):
    assert np.isnan(real.refine(np.full((100, 100, 3), 180, np.uint8), Faces.of([[20, 20, 80, 80]], [1]))).all()


@pytest.mark.weights
@pytest.mark.shared
def test_error_on_helen(real, pulled, shared_data):
    """Mean error by eye distance on development faces: well below the 6 % of the detector that found them."""
    import json

    import cv2

    from auto_annotator.detectors.mtcnn import MTCNN

    weights = tuple(pulled(f"mtcnn-{name}") for name in ("pnet", "rnet", "onet"))
    detector = MTCNN(MemberContext(weights=weights, open_session=Runtime(device="cpu").open), min_face=60)
    errors = []
    for row in json.loads((shared_data / "helen" / "annotations.json").read_text())[::8]:
        image = cv2.imread(str(shared_data / "helen" / "images" / row["file"]))[..., ::-1].copy()
        truth = np.array(row["landmarks5"])
        (faces,) = detector.detect([image], threshold=0.5)
        near = np.argmin(np.linalg.norm(faces.landmarks.mean(axis=1) - truth.mean(axis=0), axis=1))
        faces = faces.select([near])
        both = np.stack([faces.landmarks[0], real.refine(image, faces)[0]])
        errors.append(np.linalg.norm(both - truth, axis=2).mean(axis=1) / np.linalg.norm(truth[0] - truth[1]))
    found, refined = np.mean(errors, axis=0)
    assert refined < 0.055
    assert refined < 0.85 * found
